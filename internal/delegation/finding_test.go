package delegation

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/scope"
)

func TestMessages(t *testing.T) {
	falseAlarm := pathSpec(func(s *v1alpha1.DelegationPathSpec) { s.Revoked = revoked("false alarm") })
	anonymous := pathSpec(func(s *v1alpha1.DelegationPathSpec) { s.Revoked = &v1alpha1.Revocation{Reason: "false alarm"} })
	stopped := hopSpec(func(s *v1alpha1.DelegationHopSpec) { s.Revoked = revoked("false alarm") })
	fromTomorrow := hopSpec(func(s *v1alpha1.DelegationHopSpec) {
		s.Revoked = &v1alpha1.Revocation{Reason: "skew", By: bob, At: at(time.Minute)}
	})
	by := func(author string) hopOption {
		return hopSpec(func(s *v1alpha1.DelegationHopSpec) { s.Author = &v1alpha1.Subject{User: author} })
	}
	for name, test := range map[string]struct {
		in                         Input
		wantRelative, wantAbsolute string
	}{
		"revoked": {
			in:           run(ask(path(), hop("isolate", stopped))),
			wantRelative: `Revoked by alice@example.com 3m ago ("false alarm")`,
			wantAbsolute: `Revoked by alice@example.com at 2026-07-01T11:57:00Z ("false alarm")`,
		},
		"revoked above": {
			in:           ask(path(falseAlarm), hop("isolate")),
			wantRelative: `Revoked by alice@example.com 3m ago ("false alarm")`,
			wantAbsolute: `Revoked by alice@example.com at 2026-07-01T11:57:00Z ("false alarm")`,
		},
		"revoked by an unknown user": {
			in: ask(path(anonymous)), wantRelative: `Revoked ("false alarm")`, wantAbsolute: `Revoked ("false alarm")`,
		},
		"revoked by a clock that is ahead": {
			in:           ask(path(), hop("isolate", fromTomorrow)),
			wantRelative: `Revoked by bob@example.com 0s ago ("skew")`,
			wantAbsolute: `Revoked by bob@example.com at 2026-07-01T12:01:00Z ("skew")`,
		},
		"expired": {
			in:           ask(path(), hop("triage", withLifetime(lasting(5*time.Minute))), hop("isolate", withParent("triage"))),
			wantRelative: "Expired 5m ago: the lifetime has ended [hop agents/triage]",
			wantAbsolute: "Expired at 2026-07-01T11:55:00Z: the lifetime has ended [hop agents/triage]",
		},
		"too much": {
			in:           ask(path(), hop("isolate", withScope(podsIn("billing", "get", "list")))),
			wantRelative: "ScopeExceedsPath: spec.scope: the path may not get, list pods in namespace billing: leave it out, or widen the path",
		},
		"too much for the parent": {
			in: ask(path(), hop("triage", withScope(pods("get"))), hop("isolate", withParent("triage"), withScope(pods("delete")))),
			wantRelative: "ScopeExceedsParent: spec.scope: the parent hop agents/triage may not delete pods in namespace " +
				"payments: leave it out, or widen the parent",
		},
		"too much for the origin": {
			in: but(ask(path(), hop("isolate")), func(i *Input) {
				i.Facts.Origin = Answer{Outcome: Deny, Missing: []scope.Permission{{Namespace: "payments", Resource: "pods", Verb: "delete"}}}
			}),
			wantRelative: `ScopeExceedsOrigin: spec.scope: the origin "alice@example.com" may not itself delete pods in ` +
				`namespace payments: narrow the path, or give the origin that right (resources are plural, and the core group is ` +
				`"") [path incident-response/contain-4711]`,
		},
		"too much for the controller": {
			in: but(ask(path(), hop("isolate")), func(i *Input) {
				i.Facts.Ceiling = Answer{Outcome: Deny, Missing: []scope.Permission{{Namespace: "payments", Resource: "pods", Verb: "delete"}}}
			}),
			wantRelative: "ScopeExceedsCeiling: spec.scope: the controller was not given the right to delete pods in namespace payments: " +
				"bind a ClusterRole that allows it and is labelled delegation.wayleave.dev/ceiling=true to the controller there",
		},
		"too deep": {
			in: ask(
				path(pathSpec(func(s *v1alpha1.DelegationPathSpec) { s.Hops.MaxDepth = 1 })), hop("triage"),
				hop("isolate", withParent("triage")),
			),
			wantRelative: "DepthExceeded: spec.parentRef: the hop has depth 2, the path allows 1: raise hops.maxDepth of the " +
				"path, or name an earlier parent",
		},
		"a stranger's hop": {
			in: but(ask(path(), hop("isolate", by(bob))), func(i *Input) { i.Facts.Authors = []Answer{{Outcome: Deny}} }),
			wantRelative: `NotPermittedToDelegate: spec.author: the author "bob@example.com" is not the path's origin and does ` +
				`not hold the verb delegate on the path: let the origin apply the hop, or give its author that verb`,
		},
		"too long for the path": {
			in:           ask(path(), hop("isolate", withLifetime(lasting(48*time.Hour)))),
			wantRelative: "LifetimeExceedsParent: spec.lifetime: 48h is longer than the path's 1h: shorten it, or leave it out",
		},
		"too long for the parent": {
			in: ask(
				path(), hop("triage", withLifetime(lasting(15*time.Minute))),
				hop("isolate", withParent("triage"), withLifetime(lasting(20*time.Minute))),
			),
			wantRelative: "LifetimeExceedsParent: spec.lifetime: 20m is longer than hop agents/triage's 15m: shorten it, or leave it out",
		},
		"no path": {
			in:           ask(nil, hop("isolate", withoutStatus)),
			wantRelative: "PathNotFound: path incident-response/contain-4711 does not exist",
		},
		"unknown": {
			in: but(ask(path(), hop("isolate")), func(i *Input) { i.Facts.Origin = Answer{Detail: "connection refused"} }),
			wantRelative: `Undetermined: could not determine what the origin "alice@example.com" may do: connection refused ` +
				`[path incident-response/contain-4711]`,
		},
		"a stranger's Job": {
			in:           run(ask(path(), hop("isolate")), func(w *Workload) { w.Use = Answer{Outcome: Deny} }),
			wantRelative: `NotPermittedToUse: you do not hold the verb use on this delegationhop: get a Role in this namespace that gives it`,
		},
		"a foreign image": {
			in: run(ask(path(), hop("isolate")), func(w *Workload) { w.Images = []string{image, "evil"} }),
			wantRelative: `ImageNotAllowed: the hop does not list "evil", it lists "registry.example.com/isolate:1.4": use such ` +
				`an image, or add yours to workload.images of the hop`,
		},
		"a foreign need": {
			in: run(ask(path(), hop("isolate")), func(w *Workload) {
				w.Requires = []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"create"}}}
			}),
			wantRelative: "WorkloadNotAllowed: metadata.annotations[delegation.wayleave.dev/requires]: the workload needs what " +
				"the hop may not do: create pods (the hop may do that in none of its namespaces)",
		},
		"two of them": {
			in: ask(path(), hop("isolate", stopped, withScope(podsIn("billing", "get")))),
			wantRelative: `Revoked by alice@example.com 3m ago ("false alarm"); ScopeExceedsPath: spec.scope: the path may not ` +
				`get pods in namespace billing: leave it out, or widen the path`,
			wantAbsolute: `Revoked by alice@example.com at 2026-07-01T11:57:00Z ("false alarm"); ` +
				`ScopeExceedsPath: spec.scope: the path may not get pods in namespace billing: leave it out, or widen the path`,
		},
		"nothing": {in: ask(path()), wantAbsolute: "valid until 2026-07-01T12:30:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			v := Evaluate(test.in)
			if test.wantAbsolute == "" {
				test.wantAbsolute = test.wantRelative // without a time there is no difference
			}
			if diff := cmp.Diff([]string{test.wantRelative, test.wantAbsolute}, []string{v.RelativeMessage(noon), v.Message()}); diff != "" {
				t.Errorf("relative, and absolute (-want +got):\n%s", diff)
			}
		})
	}
}

// TestMessagesAreBounded holds the verdict to what a condition, a warning or an Event can carry.
func TestMessagesAreBounded(t *testing.T) {
	v := Verdict{}
	for range 100 {
		v.Findings = append(v.Findings, Finding{Reason: v1alpha1.ReasonRevoked, Message: strings.Repeat("ß", 600)})
	}
	for how, text := range map[string]string{"relative": v.RelativeMessage(noon), "absolute": v.Message()} {
		if len(text) > 1024 || !utf8.ValidString(text) || !strings.HasSuffix(text, "…") {
			t.Errorf("%s in %d bytes: %q", how, len(text), text)
		}
	}
	for i := range v.Findings {
		v.Findings[i].Message = "no"
	}
	if text := v.Message(); strings.Count(text, "Revoked") != 4 || !strings.HasSuffix(text, "; and more") {
		t.Errorf("%q", text)
	}

	denied := run(ask(path(), hop("isolate")), func(w *Workload) {
		w.Images = nil
		for i := range 1000 {
			w.Images = append(w.Images, fmt.Sprintf("evil-%d-%s", i, strings.Repeat("x", 4096)))
		}
	})
	f, _ := Evaluate(denied).Find(v1alpha1.ReasonImageNotAllowed)
	if len(f.Message) > 1024 || !strings.Contains(f.Message, " and 996 more") {
		t.Errorf("%d bytes: %.600q", len(f.Message), f.Message)
	}
}
