package delegation

import (
	"testing"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestEvaluatePodSecurity: a workload keeps the level of its hop, which is no weaker than that of the hop above.
func TestEvaluatePodSecurity(t *testing.T) {
	const (
		privileged, baseline, restricted = v1alpha1.PodSecurityPrivileged, v1alpha1.PodSecurityBaseline, v1alpha1.PodSecurityRestricted
	)
	at := func(level v1alpha1.PodSecurityLevel) hopOption {
		return hopSpec(func(s *v1alpha1.DelegationHopSpec) { s.Workload.PodSecurity = level })
	}
	against := func(levels ...v1alpha1.PodSecurityLevel) func(*Workload) {
		return func(w *Workload) {
			w.Violates = map[v1alpha1.PodSecurityLevel]string{}
			for _, level := range levels {
				w.Violates[level] = "host namespaces (hostNetwork=true)"
			}
		}
	}
	under := func(level v1alpha1.PodSecurityLevel, violated ...v1alpha1.PodSecurityLevel) Input {
		return run(ask(path(), hop("isolate", at(level))), against(violated...))
	}
	chain := func(above, below v1alpha1.PodSecurityLevel) Input {
		return ask(path(), hop("triage", at(above)), hop("isolate", withParent("triage"), at(below)))
	}
	madeBelow := func(level v1alpha1.PodSecurityLevel) Input {
		idle := hop("triage", delegating(1), hopSpec(func(s *v1alpha1.DelegationHopSpec) { s.Workload = nil }))
		below := hop("isolate", withParent("triage"), authoredBy(identityOf("triage")), at(level))
		return ask(path(running([]string{image})), idle, below)
	}
	violated := []fault{{Reason: v1alpha1.ReasonPodSecurityViolated}}
	weaker := []fault{{Reason: v1alpha1.ReasonPodSecurityViolated, Field: "spec.workload.podSecurity"}}
	checkDenials(t, map[string]denial{
		"by default, baseline":   {in: under("", baseline, restricted), twin: under("", restricted), want: violated},
		"baseline":               {in: under(baseline, baseline, restricted), twin: under(baseline, restricted), want: violated},
		"restricted":             {in: under(restricted, restricted), twin: under(restricted), want: violated},
		"a level of the future":  {in: under("strict", restricted), twin: under(privileged, baseline, restricted), want: violated},
		"weaker than the parent": {in: chain(restricted, baseline), twin: chain(restricted, restricted), want: weaker},
		"of who has no workload, weaker than the default": {
			in: madeBelow(privileged), twin: madeBelow(baseline), want: weaker,
		},
		"weaker than a default": {in: chain("", privileged), twin: chain(privileged, ""), want: weaker},
	})
}
