package delegation

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

func listing(images []string, secrets ...string) hopOption {
	return hopSpec(func(s *v1alpha1.DelegationHopSpec) {
		s.Workload = &v1alpha1.Workload{Kinds: []v1alpha1.WorkloadKind{v1alpha1.WorkloadJob}, Images: images, Secrets: secrets}
	})
}

func ofKind(kind v1alpha1.WorkloadKind) hopOption {
	return hopSpec(func(s *v1alpha1.DelegationHopSpec) { s.Workload.Kinds = []v1alpha1.WorkloadKind{kind} })
}

func lastingAtMost(d time.Duration) hopOption {
	return hopSpec(func(s *v1alpha1.DelegationHopSpec) { s.Workload.MaxDuration = &metav1.Duration{Duration: d} })
}

func running(images []string, secrets ...string) pathOption {
	return pathSpec(func(s *v1alpha1.DelegationPathSpec) { s.Hops.Images, s.Hops.Secrets = images, secrets })
}

// TestEvaluateBounds: what a hop lists is no more than the path, and the hops above it, list.
func TestEvaluateBounds(t *testing.T) {
	fault := func(reason v1alpha1.Reason, field string) []fault { return []fault{{Reason: reason, Field: field}} }
	secrets := fault(v1alpha1.ReasonSecretNotInScope, "spec.workload.secrets")
	images := fault(v1alpha1.ReasonImageNotAllowed, "spec.workload.images")
	any1 := []string{image}
	child := func(made bool, options ...hopOption) *v1alpha1.DelegationHop {
		options = append([]hopOption{withParent("triage")}, options...)
		if made {
			options = append(options, authoredBy(identityOf("triage")))
		}
		return hop("isolate", options...)
	}
	ask := func(p *v1alpha1.DelegationPath, hops ...*v1alpha1.DelegationHop) Input {
		return but(ask(p, hops...), func(in *Input) { in.Facts.Secrets = yes })
	}
	idle := hop("triage", delegating(1), hopSpec(func(s *v1alpha1.DelegationHopSpec) { s.Workload = nil }))
	checkDenials(t, map[string]denial{
		"a Secret that the path does not list": {
			in: ask(path(running(nil, "a")), hop("isolate", listing(any1, "a", "b"))), want: secrets,
			twin: ask(path(running(nil, "a", "b")), hop("isolate", listing(any1, "a", "b"))),
		},
		"a Secret of a path that lists none": {
			in: ask(path(), hop("isolate", listing(any1, "a"))), twin: ask(path(), hop("isolate", listing(any1))), want: secrets,
		},
		"a Secret that the parent does not list": {
			in:   ask(path(running(nil, "a", "b")), hop("triage", listing(any1, "a")), child(false, listing(any1, "b"))),
			twin: ask(path(running(nil, "a", "b")), hop("triage", listing(any1, "a")), child(false, listing(any1, "a"))), want: secrets,
		},
		"an image that the path does not list": {
			in:   ask(path(running([]string{"r/a:1.*"})), hop("isolate", listing([]string{"r/a:2.0"}))),
			twin: ask(path(running([]string{"r/a:1.*"})), hop("isolate", listing([]string{"r/a:1.0", "r/a:1.2*"}))), want: images,
		},
		"a wider pattern than the path's": {
			in:   ask(path(running([]string{"r/a:1.*"})), hop("isolate", listing([]string{"r/a:*"}))),
			twin: ask(path(running([]string{"r/a:*"})), hop("isolate", listing([]string{"r/a:1.*"}))), want: images,
		},
		"an image that the parent, which made the hop, does not list": {
			in:   ask(path(), hop("triage", delegating(1), listing([]string{"r/a:1"})), child(true, listing([]string{"r/b:1"}))),
			twin: ask(path(), hop("triage", delegating(1), listing([]string{"r/a:1"})), child(false, listing([]string{"r/b:1"}))), want: images,
		},
		"a kind that the maker does not allow": {
			in:   ask(path(), hop("triage", delegating(1)), child(true, ofKind(v1alpha1.WorkloadPod))),
			twin: ask(path(), hop("triage", delegating(1)), child(false, ofKind(v1alpha1.WorkloadPod))),
			want: fault(v1alpha1.ReasonWorkloadNotAllowed, "spec.workload.kinds"),
		},
		"uses that last longer than the maker's": {
			in:   ask(path(), hop("triage", delegating(1), lastingAtMost(time.Minute)), child(true)),
			twin: ask(path(), hop("triage", delegating(1), lastingAtMost(time.Minute)), child(true, lastingAtMost(time.Minute))),
			want: fault(v1alpha1.ReasonLifetimeExceedsParent, "spec.workload.maxDuration"),
		},
		"an image that nobody above lists, of a hop that was made": {
			in: ask(path(), idle, child(true)), twin: ask(path(running([]string{image})), idle, child(true)), want: images,
		},
	})
}

// TestEvaluateSecrets: the author of a hop may get what it lists, and a workload reads what its hop lists.
func TestEvaluateSecrets(t *testing.T) {
	listed := ask(path(running(nil, "a")), hop("isolate", listing([]string{image}, "a")))
	may := func(outcome Outcome) Input {
		return but(listed, func(in *Input) { in.Facts.Secrets = Answer{Outcome: outcome} })
	}
	reads := func(names ...string) Input { return run(may(Allow), func(w *Workload) { w.Secrets = names }) }
	checkDenials(t, map[string]denial{
		"the author may not": {
			in: may(Deny), twin: may(Allow), want: []fault{{Reason: v1alpha1.ReasonSecretNotInScope, Field: "spec.workload.secrets"}},
		},
		"not listed": {in: reads("a", "b"), twin: reads("a"), want: []fault{{Reason: v1alpha1.ReasonSecretNotInScope}}},
	})
	if v := Evaluate(may(Undetermined)); v.Outcome != Undetermined {
		t.Errorf("where nobody knows whether the author may, the verdict is %+v", v)
	}
}
