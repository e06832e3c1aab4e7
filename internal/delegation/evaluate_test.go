package delegation

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/scope"
)

// denial is a question that is answered with no, and its twin, which differs in the one thing and is answered with yes.
type denial struct {
	in, twin Input
	want     []fault
}

func checkDenials(t *testing.T, denials map[string]denial) {
	t.Helper()
	for name, test := range denials {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(result{Deny, test.want}, evaluate(test.in)); diff != "" {
				t.Errorf("denied (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(result{Outcome: Allow}, evaluate(test.twin)); diff != "" {
				t.Errorf("the twin (-want +got):\n%s", diff)
			}
			for _, f := range Evaluate(test.in).Findings {
				if f.Message == "" {
					t.Errorf("%s says nothing that a person could act on", f.Reason)
				}
			}
		})
	}
}

func TestEvaluatePath(t *testing.T) {
	suspended := func(yes bool) pathOption {
		return pathSpec(func(s *v1alpha1.DelegationPathSpec) { s.Suspend = &yes })
	}
	missing := Answer{Outcome: Deny, Missing: []scope.Permission{{Namespace: "payments", Resource: "pods", Verb: "delete"}}}
	checkDenials(t, map[string]denial{
		"a path that is not there": {
			in: ask(nil), twin: ask(path()), want: []fault{{Reason: v1alpha1.ReasonPathNotFound}},
		},
		"a path that is being deleted": {
			in: ask(path(deletedPath)), twin: ask(path()), want: []fault{{Reason: v1alpha1.ReasonPathNotFound}},
		},
		"a path that a user revoked": {
			in: ask(path(pathSpec(func(s *v1alpha1.DelegationPathSpec) { s.Revoked = revoked("false alarm") }))), twin: ask(path()),
			want: []fault{{Reason: v1alpha1.ReasonRevoked, Field: "spec.revoked"}},
		},
		"a path that a user suspended, and resumed": {
			in: ask(path(suspended(true))), twin: ask(path(suspended(false))), want: []fault{
				{Reason: v1alpha1.ReasonSuspended, Field: "spec.suspend"},
			},
		},
		"a path past its end": {
			in: ask(path(withPathLifetime(until(0)))), twin: ask(path(withPathLifetime(until(1e9)))),
			want: []fault{{Reason: v1alpha1.ReasonExpired, Field: "spec.lifetime"}},
		},
		"a path without an origin": {
			in: but(
				ask(path(pathSpec(func(s *v1alpha1.DelegationPathSpec) { s.Origin = nil }))),
				func(i *Input) { i.Facts.Origin = Answer{Outcome: Deny} },
			),
			twin: ask(path()), want: []fault{{Reason: v1alpha1.ReasonOriginUnauthorized, Field: "spec.origin"}},
		},
		"a path whose origin lost a right": {
			in: but(ask(path()), func(i *Input) { i.Facts.Origin = missing }), twin: ask(path()),
			want: []fault{{Reason: v1alpha1.ReasonScopeExceedsOrigin, Field: "spec.scope"}},
		},
		"a scope that names nothing to do": {
			in: ask(path(withPathScope(pods()))), twin: ask(path(withPathScope(pods("get")))),
			want: []fault{{Reason: v1alpha1.ReasonScopeInvalid, Field: "spec.scope.namespaced[0].rules[0].verbs"}},
		},
		"a scope that could leave the path": {
			in: ask(path(withPathScope(pods("get", "*")))), twin: ask(path(withPathScope(pods("get")))),
			want: []fault{{Reason: v1alpha1.ReasonScopeAmplifies, Field: "spec.scope.namespaced[0].rules[0].verbs[1]"}},
		},
		"a scope that reaches into the operator's own namespace": {
			in:   but(ask(path(withPathScope(podsIn("ours", "delete")))), func(i *Input) { i.OperatorNamespace = "ours" }),
			twin: ask(path(withPathScope(podsIn("ours", "delete")))),
			want: []fault{{Reason: v1alpha1.ReasonScopeAmplifies, Field: "spec.scope.namespaced[0].rules[0].resources[0]"}},
		},
	})
}

func deletedPath(p *v1alpha1.DelegationPath) { beingDeleted(p) }

func TestEvaluateHop(t *testing.T) {
	hops := func(depth int32, namespaces ...string) pathOption {
		return pathSpec(func(s *v1alpha1.DelegationPathSpec) {
			s.Hops = &v1alpha1.HopBounds{MaxDepth: depth, Namespaces: namespaces}
		})
	}
	noBounds := pathSpec(func(s *v1alpha1.DelegationPathSpec) { s.Hops = nil })
	revokedHop := hopSpec(func(s *v1alpha1.DelegationHopSpec) { s.Revoked = revoked("false alarm") })
	inherited := ask(path(), hop("isolate"))
	below := ask(path(), hop("triage"), hop("isolate", withParent("triage")))
	checkDenials(t, map[string]denial{
		"a path that is not there yet": {
			in: ask(nil, hop("isolate", withoutStatus)), twin: inherited,
			want: []fault{{Reason: v1alpha1.ReasonPathNotFound, Field: "spec.pathRef"}},
		},
		"a path that is being deleted takes its hops, whatever their scope": {
			in: ask(path(deletedPath), hop("isolate", withScope(pods("get")))), twin: ask(path(), hop("isolate", withScope(pods("get")))),
			want: []fault{{Reason: v1alpha1.ReasonPathNotFound, Field: "spec.pathRef"}},
		},
		"a path that was recreated under the old name": {
			in: ask(path(func(p *v1alpha1.DelegationPath) { p.UID = "second" }), hop("isolate")), twin: inherited,
			want: []fault{{Reason: v1alpha1.ReasonChainBroken, Field: "spec.pathRef"}},
		},
		"a path that is not active yet": {
			in: ask(path(neverActive), hop("isolate", withoutStatus)), twin: ask(path(), hop("isolate", withoutStatus)),
			want: []fault{{Reason: v1alpha1.ReasonNotYetValid, Node: thePath}},
		},
		"a path that a user revoked takes a hop far below": {
			in: ask(path(pathSpec(func(s *v1alpha1.DelegationPathSpec) { s.Revoked = revoked("false alarm") })), below.Chain.Hops...), twin: below,
			want: []fault{{Reason: v1alpha1.ReasonRevoked, Node: thePath, Field: "spec.revoked"}},
		},
		"a hop that a user revoked": {
			in: ask(path(), hop("isolate", revokedHop)), twin: inherited, want: []fault{{Reason: v1alpha1.ReasonRevoked, Field: "spec.revoked"}},
		},
		"a parent that a user revoked": {
			in: ask(path(), hop("triage", revokedHop), hop("isolate", withParent("triage"))), twin: below,
			want: []fault{{Reason: v1alpha1.ReasonRevoked, Node: triage, Field: "spec.revoked"}},
		},
		"a child that a user revoked leaves its parent alone": {
			in: ask(path(), hop("triage"), hop("isolate", withParent("triage"), revokedHop)), twin: ask(path(), hop("triage")),
			want: []fault{{Reason: v1alpha1.ReasonRevoked, Field: "spec.revoked"}},
		},
		"a hop that is being deleted": {
			in: ask(path(), hop("isolate", deletedHop)), twin: inherited, want: []fault{{Reason: v1alpha1.ReasonHopNotFound}},
		},
		"a parent that was never granted": {
			in: ask(path(), hop("triage", withoutStatus), hop("isolate", withParent("triage"))), twin: below,
			want: []fault{{Reason: v1alpha1.ReasonParentNotReady, Node: triage}},
		},
		"a chain that does not hold together": {
			in: but(below, func(i *Input) {
				i.Chain.Breaks = []Finding{{Reason: v1alpha1.ReasonChainBroken, Node: triage, Field: "spec.parentRef", Message: "gone"}}
			}), twin: below, want: []fault{{Reason: v1alpha1.ReasonChainBroken, Node: triage, Field: "spec.parentRef"}},
		},
		"a hop deeper than the path allows": {
			in: ask(path(hops(1, "agents")), below.Chain.Hops...), twin: ask(path(hops(2, "agents")), below.Chain.Hops...),
			want: []fault{{Reason: v1alpha1.ReasonDepthExceeded, Field: "spec.parentRef"}},
		},
		"a path that says nothing of depth allows first hops": {
			in:   ask(path(noBounds), hop("triage", in("incident-response")), hop("isolate", in("incident-response"), withParent("triage"))),
			twin: ask(path(noBounds), hop("triage", in("incident-response"))),
			want: []fault{{Reason: v1alpha1.ReasonDepthExceeded, Field: "spec.parentRef"}},
		},
		"a path that bounds the namespaces alone": {
			in: ask(path(hops(0, "agents")), below.Chain.Hops...), twin: ask(path(hops(0, "agents")), hop("triage")),
			want: []fault{{Reason: v1alpha1.ReasonDepthExceeded, Field: "spec.parentRef"}},
		},
		"a hop in a namespace that the path does not name": {
			in: ask(path(hops(1, "incident-response")), hop("isolate")), twin: ask(path(hops(1, "incident-response", "agents")), hop("isolate")),
			want: []fault{{Reason: v1alpha1.ReasonNamespaceNotAllowed, Field: "metadata.namespace"}},
		},
		"a path that names no namespace means its own": {
			in: ask(path(hops(1)), hop("isolate")), twin: ask(path(hops(1)), hop("isolate", in("incident-response"))),
			want: []fault{{Reason: v1alpha1.ReasonNamespaceNotAllowed, Field: "metadata.namespace"}},
		},
		"a parent in a namespace that the path no longer names": {
			in:   ask(path(hops(2, "agents")), hop("triage", in("old")), hop("isolate", withParent("triage"))),
			twin: ask(path(hops(2, "agents", "old")), hop("triage", in("old")), hop("isolate", withParent("triage"))),
			want: []fault{{Reason: v1alpha1.ReasonNamespaceNotAllowed, Node: "hop old/triage", Field: "metadata.namespace"}},
		},
		"a hop without an author": {
			in: ask(path(), hop("isolate", hopSpec(func(s *v1alpha1.DelegationHopSpec) { s.Author = nil }))), twin: inherited,
			want: []fault{{Reason: v1alpha1.ReasonNotPermittedToDelegate, Field: "spec.author"}},
		},
		"an author who may not delegate": {
			in: but(inherited, func(i *Input) { i.Facts.Authors = []Answer{{Outcome: Deny}} }), twin: inherited,
			want: []fault{{Reason: v1alpha1.ReasonNotPermittedToDelegate, Field: "spec.author"}},
		},
		"an author of the parent who may delegate no more": {
			in: but(below, func(i *Input) { i.Facts.Authors = []Answer{{Outcome: Deny}, yes} }), twin: below,
			want: []fault{{Reason: v1alpha1.ReasonNotPermittedToDelegate, Node: triage, Field: "spec.author"}},
		},
		"an origin that lost a right": {
			in: but(inherited, func(i *Input) { i.Facts.Origin = Answer{Outcome: Deny} }), twin: inherited,
			want: []fault{{Reason: v1alpha1.ReasonScopeExceedsOrigin, Node: thePath, Field: "spec.scope"}},
		},
		"a Secret that another path's hop keeps its token in": {
			in: but(inherited, func(i *Input) {
				i.Facts.TokenSecrets = Answer{Outcome: Deny, Missing: []scope.Permission{{Resource: "secrets", Verb: "get", Name: "x"}}}
			}), twin: inherited, want: []fault{{Reason: v1alpha1.ReasonScopeAmplifies, Node: thePath, Field: "spec.scope"}},
		},
		"a namespace in which the controller may not work": {
			in: but(inherited, func(i *Input) {
				i.Facts.HopNamespace = Answer{Outcome: Deny, Missing: []scope.Permission{{Resource: "serviceaccounts", Verb: "create"}}}
			}), twin: inherited, want: []fault{{Reason: v1alpha1.ReasonHopNamespaceNotBound, Field: "metadata.namespace"}},
		},
		"a scope above what the controller was given": {
			in: but(inherited, func(i *Input) {
				i.Facts.Ceiling = Answer{Outcome: Deny, Missing: []scope.Permission{{Resource: "nodes", Verb: "get"}}}
			}), twin: inherited, want: []fault{{Reason: v1alpha1.ReasonScopeExceedsCeiling, Field: "spec.scope"}},
		},
	})
}

func TestEvaluateHopScope(t *testing.T) {
	exceedsPath := []fault{{Reason: v1alpha1.ReasonScopeExceedsPath, Field: "spec.scope"}}
	exceedsParent := []fault{{Reason: v1alpha1.ReasonScopeExceedsParent, Field: "spec.scope"}}
	watching := path(withPathScope(pods("get", "watch")), accepts(v1alpha1.RiskStreams))
	unaware := path(withPathScope(pods("get", "watch")))
	log := pods("get")
	log.Namespaced[0].Rules[0].Resources = []string{"pods/log"}
	readers := hop("triage", withScope(pods("get", "list")))
	isolate := func(options ...hopOption) *v1alpha1.DelegationHop {
		return hop("isolate", append(options, withParent("triage"))...)
	}
	checkDenials(t, map[string]denial{
		"another verb than the path's": {
			in: ask(path(), hop("isolate", withScope(pods("get", "create")))), twin: ask(path(), hop("isolate", withScope(pods("get", "delete")))),
			want: exceedsPath,
		},
		"another namespace than the path's": {
			in: ask(path(), hop("isolate", withScope(podsIn("billing", "get")))), twin: ask(
				path(), hop("isolate", withScope(podsIn("payments", "get"))),
			),
			want: exceedsPath,
		},
		"another audience than the path's": {
			in:   ask(path(), hop("isolate", withScope(forAudience(pods("get"), "aws")))),
			twin: ask(path(), hop("isolate", withScope(forAudience(pods("get"), "vault")))), want: exceedsPath,
		},
		"what the path may do but the parent may not": {
			in: ask(path(), readers, isolate(withScope(pods("get", "delete")))), twin: ask(path(), readers, isolate(withScope(pods("get")))),
			want: exceedsParent,
		},
		"a grandchild is held to its parent and not to its grandparent": {
			in: ask(
				path(), hop("start", withScope(pods("get", "list"))), hop("triage", withParent("start"), withScope(pods("get"))),
				isolate(withScope(pods("list"))),
			),
			twin: ask(
				path(), hop("start", withScope(pods("get", "list"))), hop("triage", withParent("start"), withScope(pods("get"))),
				isolate(withScope(pods("get"))),
			),
			want: exceedsParent,
		},
		"what a parent inherits is what its children are held to": {
			in:   ask(path(), readers, isolate(), hop("report", withParent("isolate"), withScope(pods("delete")))),
			twin: ask(path(), readers, isolate(), hop("report", withParent("isolate"), withScope(pods("list")))), want: []fault{
				{Reason: v1alpha1.ReasonScopeExceedsParent, Field: "spec.scope"},
			},
		},
		"a parent that was narrowed under its path takes its child along": {
			in:   ask(path(), hop("triage", withScope(pods("get", "patch"))), isolate(withScope(pods("get")))),
			twin: ask(path(), readers, isolate(withScope(pods("get")))),
			want: []fault{
				{Reason: v1alpha1.ReasonScopeAmplifies, Node: triage, Field: "spec.scope.namespaced[0].rules[0].resources[0]"},
				{Reason: v1alpha1.ReasonScopeExceedsPath, Node: triage, Field: "spec.scope"},
			},
		},
		"a scope that cannot be parsed allows its children nothing": {
			in: ask(path(), hop("triage", withScope(pods())), isolate(withScope(pods("get")))), twin: ask(
				path(), readers, isolate(withScope(pods("get"))),
			),
			want: []fault{
				{Reason: v1alpha1.ReasonScopeInvalid, Node: triage, Field: "spec.scope.namespaced[0].rules[0].verbs"},
				{Reason: v1alpha1.ReasonScopeExceedsParent, Field: "spec.scope"},
			},
		},
		"a path that may watch and accepts no risk": {
			in: ask(unaware), twin: ask(watching),
			want: []fault{{Reason: v1alpha1.ReasonScopeAmplifies, Field: "spec.scope.namespaced[0].rules[0].verbs[1]"}},
		},
		"a hop that may watch, of a path that accepts no risk": {
			in:   ask(unaware, hop("isolate", withScope(pods("watch")))),
			twin: ask(watching, hop("isolate", withScope(pods("watch")))),
			want: []fault{
				{Reason: v1alpha1.ReasonScopeAmplifies, Node: contain, Field: "spec.scope.namespaced[0].rules[0].verbs[1]"},
				{Reason: v1alpha1.ReasonScopeAmplifies, Field: "spec.scope.namespaced[0].rules[0].verbs[0]"},
			},
		},
		"a hop that inherits watch from a path that accepts no risk": {
			in: ask(unaware, hop("isolate")), twin: ask(watching, hop("isolate")),
			want: []fault{{Reason: v1alpha1.ReasonScopeAmplifies, Node: contain, Field: "spec.scope.namespaced[0].rules[0].verbs[1]"}},
		},
		"a hop that reads logs, of a path that accepts no risk": {
			in:   ask(path(withPathScope(log)), hop("isolate", withScope(log))),
			twin: ask(path(withPathScope(log), accepts(v1alpha1.RiskStreams)), hop("isolate", withScope(log))),
			want: []fault{
				{Reason: v1alpha1.ReasonScopeAmplifies, Node: contain, Field: "spec.scope.namespaced[0].rules[0].resources[0]"},
				{Reason: v1alpha1.ReasonScopeAmplifies, Field: "spec.scope.namespaced[0].rules[0].resources[0]"},
			},
		},
		"a hop that accepts a risk for itself, which the schema rejects": {
			in:   ask(unaware, hop("isolate", withScope(withRisks(pods("watch"), v1alpha1.RiskStreams)))),
			twin: ask(watching, hop("isolate", withScope(pods("watch")))),
			want: []fault{
				{Reason: v1alpha1.ReasonScopeAmplifies, Node: contain, Field: "spec.scope.namespaced[0].rules[0].verbs[1]"},
				{Reason: v1alpha1.ReasonScopeAmplifies, Field: "spec.scope.namespaced[0].rules[0].verbs[0]"},
			},
		},
		"a hop that is applied before its path, whose risks are not known": {
			in:   ask(nil, hop("isolate", withScope(pods("watch")))),
			twin: ask(watching, hop("isolate", withScope(pods("watch")))),
			want: []fault{{Reason: v1alpha1.ReasonPathNotFound, Field: "spec.pathRef"}},
		},
		"a token that may watch": {
			in:   ask(watching, hop("isolate", withScope(pods("get", "watch")), withToken(""))),
			twin: ask(watching, hop("isolate", withScope(pods("get", "watch")))),
			want: []fault{{Reason: v1alpha1.ReasonScopeAmplifies, Field: "spec.scope.namespaced[0].rules[0].verbs[1]"}},
		},
		"a token that would inherit watch from the path": {
			in: ask(watching, hop("isolate", withToken(""))), twin: ask(watching, hop("isolate")),
			want: []fault{{Reason: v1alpha1.ReasonScopeAmplifies, Field: "spec.scope.namespaced[0].rules[0].verbs[1]"}},
		},
		"a token that would inherit watch from two hops above": {
			in:   ask(watching, hop("start", withScope(pods("watch"))), hop("triage", withParent("start")), isolate(withToken(""))),
			twin: ask(watching, hop("start", withScope(pods("get"))), hop("triage", withParent("start")), isolate(withToken(""))),
			want: []fault{{Reason: v1alpha1.ReasonScopeAmplifies, Field: "spec.scope.namespaced[0].rules[0].verbs[0]"}},
		},
		"a token for an audience that the hop does not list": {
			in:   ask(path(), hop("isolate", withScope(pods("get")), withToken("vault"))),
			twin: ask(path(), hop("isolate", withScope(forAudience(pods("get"), "vault")), withToken("vault"))),
			want: []fault{{Reason: v1alpha1.ReasonScopeExceedsPath, Field: "spec.token.audience"}},
		},
		"a token for an audience that is not inherited": {
			in: ask(path(), hop("isolate", withToken("aws"))), twin: ask(path(), hop("isolate", withToken("vault"))),
			want: []fault{{Reason: v1alpha1.ReasonScopeExceedsPath, Field: "spec.token.audience"}},
		},
		"a token for an audience that the parent gave up": {
			in:   ask(path(), readers, isolate(withToken("vault"))),
			twin: ask(path(), hop("triage"), isolate(withToken("vault"))),
			want: []fault{{Reason: v1alpha1.ReasonScopeExceedsParent, Field: "spec.token.audience"}},
		},
	})
}

func TestEvaluateGivesTheScopeOfTheHopAskedAbout(t *testing.T) {
	for name, test := range map[string]struct {
		in   Input
		want string
	}{
		"of the path":             {ask(path()), `delete, get, list pods in namespace payments; audience "vault"`},
		"inherited from the path": {ask(path(), hop("isolate")), `delete, get, list pods in namespace payments; audience "vault"`},
		"its own":                 {ask(path(), hop("isolate", withScope(pods("get")))), "get pods in namespace payments"},
		"inherited from the parent": {
			ask(path(), hop("triage", withScope(pods("get"))), hop("isolate", withParent("triage"))), "get pods in namespace payments",
		},
		"inherited with a token": {
			ask(path(), hop("triage", withScope(pods("get"))), hop("isolate", withParent("triage"), withToken(""))),
			"get pods in namespace payments",
		},
		"one that cannot be parsed":   {ask(path(), hop("isolate", withScope(pods()))), ""},
		"of a path that is not there": {ask(nil, hop("isolate")), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, scope.Describe(Evaluate(test.in).Scope.Permissions())); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			// What is asked of the ceiling is what is granted.
			written, ok := WrittenScope(test.in)
			if set, _ := scope.Parse(written); ok && scope.Describe(set.Permissions()) != test.want {
				t.Errorf("written: %s", scope.Describe(set.Permissions()))
			}
		})
	}
}

func TestWrittenScopeIsNotGuessedOnABrokenChain(t *testing.T) {
	orphan := but(ask(path(), hop("isolate", withParent("triage"))), func(i *Input) { i.Chain.Breaks = []Finding{{}} })
	if s, ok := WrittenScope(orphan); ok {
		t.Errorf("the scope of an unknown parent is taken for %v", s)
	}
	own := but(ask(path(), hop("isolate", withParent("triage"), withScope(pods("get")))), func(i *Input) { i.Chain.Breaks = []Finding{{}} })
	if _, ok := WrittenScope(own); !ok {
		t.Error("the hop says its scope itself")
	}
}

// TestJobsMadeByHand: a Job that a user makes from a CronJob needs kind Job, and the denial says so.
func TestJobsMadeByHand(t *testing.T) {
	for name, test := range map[string]struct {
		kinds  []v1alpha1.WorkloadKind // of the hop
		manual bool
		want   string
	}{
		"made from a CronJob": {
			kinds: []v1alpha1.WorkloadKind{v1alpha1.WorkloadCronJob}, manual: true,
			want: "the hop allows workload of kind CronJob only; a Job that a user makes from a CronJob is a Job of that user: " +
				"list kind Job in workload.kinds of the hop, too",
		},
		"any other": {
			kinds: []v1alpha1.WorkloadKind{v1alpha1.WorkloadCronJob}, want: "the hop allows workload of kind CronJob only",
		},
		"the hop lists it": {kinds: []v1alpha1.WorkloadKind{v1alpha1.WorkloadCronJob, v1alpha1.WorkloadJob}, manual: true},
	} {
		in := ask(path(), hop("isolate", hopSpec(func(s *v1alpha1.DelegationHopSpec) { s.Workload.Kinds = test.kinds })))
		got, _ := Evaluate(run(in, func(w *Workload) { w.Manual = test.manual })).Find(v1alpha1.ReasonWorkloadNotAllowed)
		if got.Message != test.want {
			t.Errorf("%s: %q, want %q", name, got.Message, test.want)
		}
	}
}

func TestEvaluateWorkload(t *testing.T) {
	hopFor := func(kinds ...v1alpha1.WorkloadKind) Input {
		return ask(path(), hop("isolate", hopSpec(func(s *v1alpha1.DelegationHopSpec) { s.Workload.Kinds = kinds })))
	}
	job := ask(path(), hop("isolate"))
	pod := func(account string) func(*Workload) {
		return func(w *Workload) { w.Template, w.ServiceAccountName = false, account }
	}
	template := func(account string) func(*Workload) { return func(w *Workload) { w.ServiceAccountName = account } }
	kinds := func(kinds ...v1alpha1.WorkloadKind) func(*Workload) { return func(w *Workload) { w.Kinds = kinds } }
	needs := func(verb, group, resource string) func(*Workload) {
		return func(w *Workload) {
			w.Requires = []rbacv1.PolicyRule{{APIGroups: []string{group}, Resources: []string{resource}, Verbs: []string{verb}}}
		}
	}
	notAllowed := []fault{{Reason: v1alpha1.ReasonWorkloadNotAllowed}}
	excessive := []fault{{Reason: v1alpha1.ReasonWorkloadNotAllowed, Field: "metadata.annotations[delegation.wayleave.dev/requires]"}}
	wrongAccount := []fault{{Reason: v1alpha1.ReasonWrongServiceAccount}}
	const own = "dhop-isolate.0.0"
	checkDenials(t, map[string]denial{
		"a hop that is not there": {in: run(Input{Now: noon}), twin: run(job), want: []fault{{Reason: v1alpha1.ReasonHopNotFound}}},
		"a user who may not use the hop": {
			in: run(job, func(w *Workload) { w.Use = Answer{Outcome: Deny} }), twin: run(job), want: []fault{
				{Reason: v1alpha1.ReasonNotPermittedToUse},
			},
		},
		"a hop under which nothing runs": {
			in: run(
				ask(path(), hop("isolate", hopSpec(func(s *v1alpha1.DelegationHopSpec) { s.Workload = nil }))),
			), twin: run(job), want: notAllowed,
		},
		"a kind that the hop does not list": {
			in: run(job, kinds(v1alpha1.WorkloadPod)), twin: run(hopFor(v1alpha1.WorkloadPod), kinds(v1alpha1.WorkloadPod)),
			want: notAllowed,
		},
		"a kind that no hop can list": {in: run(job, kinds()), twin: run(job), want: notAllowed},
		"the pod of a Job, or of a CronJob's": {
			in:   run(hopFor(v1alpha1.WorkloadPod), kinds(v1alpha1.WorkloadJob, v1alpha1.WorkloadCronJob)),
			twin: run(hopFor(v1alpha1.WorkloadCronJob), kinds(v1alpha1.WorkloadJob, v1alpha1.WorkloadCronJob)), want: notAllowed,
		},
		"one image among others that is not listed": {
			in: run(job, func(w *Workload) { w.Images = []string{image, "evil"} }), twin: run(
				job, func(w *Workload) { w.Images = []string{image, image} },
			),
			want: []fault{{Reason: v1alpha1.ReasonImageNotAllowed}},
		},
		"a template that names an account": {
			in: run(job, template("admin")), twin: run(job, template("default")), want: wrongAccount,
		},
		"a template that names the hop's account":        {in: run(job, template(own)), twin: run(job, template("")), want: wrongAccount},
		"a pod that names an account":                    {in: run(job, pod("admin")), twin: run(job, pod(own)), want: wrongAccount},
		"a pod that names an account the hop had before": {in: run(job, pod("dhop-isolate.9.9")), twin: run(job, pod("")), want: wrongAccount},
		"a hop that has no account yet": {
			in: run(ask(path(), hop("isolate", withoutStatus))), twin: run(job), want: []fault{{Reason: v1alpha1.ReasonNotYetValid}},
		},
		"a pod of a hop that has no account yet": {
			in: run(ask(path(), hop("isolate", withoutStatus)), pod("dhop-isolate.9.9")), twin: run(job, pod(own)),
			want: []fault{{Reason: v1alpha1.ReasonWrongServiceAccount}},
		},
		"a need outside the scope": {in: run(job, needs("create", "", "pods")), twin: run(job, needs("delete", "", "pods")), want: excessive},
		"a need in another group": {
			in: run(job, needs("get", "metrics.k8s.io", "pods")), twin: run(job, needs("get", "", "pods")), want: excessive,
		},
		"a need for everything": {in: run(job, needs("*", "*", "*")), twin: run(job, needs("get", "", "pods")), want: excessive},
		"a need inside the path but not the hop": {
			in: run(ask(path(), hop("isolate", withScope(pods("get")))), needs("delete", "", "pods")), twin: run(
				ask(path(), hop("isolate", withScope(pods("delete")))), needs("delete", "", "pods"),
			),
			want: excessive,
		},
		"a need that names nothing": {
			in: run(job, func(w *Workload) { w.Requires = []rbacv1.PolicyRule{{}} }), twin: run(job),
			want: append(append(excessive, excessive...), excessive...),
		},
		"a need that cannot be read": {in: run(job, func(w *Workload) { w.RequiresProblem = "it is no YAML" }), twin: run(job), want: excessive},
		"a hop that may not be granted may not be used": {
			in: run(but(job, func(i *Input) { i.Facts.Ceiling = Answer{Outcome: Deny} })), twin: run(job), want: []fault{
				{Reason: v1alpha1.ReasonScopeExceedsCeiling, Field: "spec.scope"},
			},
		},
	})
}

func TestImagePatterns(t *testing.T) {
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for name, test := range map[string]struct {
		pattern, image string
		want           bool
	}{
		"the very image":                        {"registry.example.com/isolate:1.4", "registry.example.com/isolate:1.4", true},
		"another tag":                           {"registry.example.com/isolate:1.4", "registry.example.com/isolate:1.5", false},
		"no tag for a tag":                      {"registry.example.com/isolate:1.4", "registry.example.com/isolate", false},
		"another registry":                      {"registry.example.com/isolate:1.4", "evil.example.com/isolate:1.4", false},
		"the short name of the same image":      {"docker.io/library/busybox:1", "busybox:1", false},
		"any digest":                            {"registry.example.com/isolate@sha256:*", "registry.example.com/isolate@" + digest, true},
		"any digest of any sort":                {"registry.example.com/isolate@*", "registry.example.com/isolate@" + digest, true},
		"a tag for any digest":                  {"registry.example.com/isolate@sha256:*", "registry.example.com/isolate:1.4", false},
		"a digest of nothing":                   {"registry.example.com/isolate@sha256:*", "registry.example.com/isolate@sha256:", false},
		"a tag of a series":                     {"registry.example.com/isolate:1.*", "registry.example.com/isolate:1.4", true},
		"a tag of another series":               {"registry.example.com/isolate:1.*", "registry.example.com/isolate:2.4", false},
		"a tag that is the start of the series": {"registry.example.com/isolate:1.*", "registry.example.com/isolate:1.", false},
		"a repository on a port that is a tag":  {"registry:5*", "registry:5000/evil", false},
		"a path below a port that is a tag":     {"registry:5*", "registry:5000/evil:1.0", false},
		"a tag that looks like a port":          {"registry:5*", "registry:5000", true},
		"a port and a tag":                      {"registry:5000/isolate:1*", "registry:5000/isolate:1.4", true},
		"a repository whose name is longer":     {"registry.example.com/isolate:*", "registry.example.com/isolate-evil:1", false},
		"any digest behind a tag of the series": {"registry.example.com/isolate:1.*", "registry.example.com/isolate:1.4@" + digest, false},
		"any digest behind any tag":             {"registry.example.com/isolate:*", "registry.example.com/isolate:1.4@" + digest, false},
		"any digest behind the one tag": {
			"registry.example.com/isolate:1.4@sha256:*", "registry.example.com/isolate:1.4@" + digest, true,
		},
		"a digest that is listed, behind no tag":  {"registry.example.com/isolate:1.4@" + digest, "registry.example.com/isolate@" + digest, true},
		"a digest that is listed, behind a tag":   {"registry.example.com/isolate@" + digest, "registry.example.com/isolate:1.4@" + digest, true},
		"any digest, behind a tag":                {"agent@sha256:*", "agent:1.0@" + digest, true},
		"another digest":                          {"agent@" + digest, "agent@" + digest[:len(digest)-1] + "0", false},
		"any digest of another repository":        {"agent@sha256:*", "agents:1.0@" + digest, false},
		"any digest of a repository on a port":    {"registry:5000/agent@*", "registry:5000/agent:1@" + digest, true},
		"a digest for an image that has only tag": {"agent@" + digest, "agent:1.0", false},
		"what is no digest":                       {"agent@sha256:*", "agent@sha256:0123", false},
		"an asterisk is no image":                 {"registry.example.com/isolate:*", "registry.example.com/isolate", false},
		"nothing":                                 {"registry.example.com/isolate:*", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := imageMatches(test.pattern, test.image); got != test.want {
				t.Errorf("%s matches %s: %v", test.pattern, test.image, got)
			}
		})
	}
}

// TestEvaluatePutsTheWorstFirst: final before fixable, fixable before waiting, and open questions last. Beside a final
// reason there are none: nothing depends on their answers any more.
func TestEvaluatePutsTheWorstFirst(t *testing.T) {
	suspend := true
	worst := ask(
		path(pathSpec(func(s *v1alpha1.DelegationPathSpec) { s.Suspend, s.Lifetime = &suspend, until(0) })),
		hop("triage", withScope(pods("get", "delete", "list")), hopSpec(func(s *v1alpha1.DelegationHopSpec) { s.Author = nil })),
		hop(
			"isolate", withParent("triage"), withScope(podsIn("billing", "get")),
			hopSpec(func(s *v1alpha1.DelegationHopSpec) { s.Revoked = revoked("no") }),
		))
	worst.Facts = Facts{}
	want := result{Deny, []fault{
		{v1alpha1.ReasonExpired, thePath, "spec.lifetime"},
		{v1alpha1.ReasonRevoked, "", "spec.revoked"},
		{v1alpha1.ReasonNotPermittedToDelegate, triage, "spec.author"},
		{v1alpha1.ReasonScopeExceedsParent, "", "spec.scope"},
		{v1alpha1.ReasonSuspended, thePath, "spec.suspend"},
	}}
	if diff := cmp.Diff(want, evaluate(worst)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	notFinal := worst
	notFinal.Path = worst.Path.DeepCopy()
	notFinal.Path.Spec.Lifetime = until(3600e9)
	notFinal.Chain.Hops = []*v1alpha1.DelegationHop{worst.Chain.Hops[0], worst.Chain.Hops[1].DeepCopy()}
	notFinal.Chain.Hops[1].Spec.Revoked = nil
	want = result{Deny, append(slices.Clone(want.Faults[2:]),
		fault{v1alpha1.ReasonUndetermined, thePath, "spec.scope"},
		fault{v1alpha1.ReasonUndetermined, thePath, "spec.scope"},
		fault{v1alpha1.ReasonUndetermined, "", "spec.author"},
		fault{v1alpha1.ReasonUndetermined, "", "metadata.namespace"},
		fault{v1alpha1.ReasonUndetermined, "", "spec.scope"},
	)}
	if diff := cmp.Diff(want, evaluate(notFinal)); diff != "" {
		t.Errorf("without a final reason (-want +got):\n%s", diff)
	}
	v := Evaluate(worst)
	if v.Class() != v1alpha1.ClassFinal || v.Reason(v1alpha1.ReasonGranted) != v1alpha1.ReasonExpired {
		t.Errorf("class %s, reason %s", v.Class(), v.Reason(v1alpha1.ReasonGranted))
	}
	if f, ok := v.Find(v1alpha1.ReasonSuspended); !ok || f.Node != thePath {
		t.Errorf("found %v, %v", f, ok)
	}
}

func TestAGoodVerdictHasTheReasonThatItIsGiven(t *testing.T) {
	v := Evaluate(ask(path(), hop("isolate")))
	reason := v.Reason(v1alpha1.ReasonGranted)
	if v.Class() != v1alpha1.ClassGood || reason != v1alpha1.ReasonGranted || v.Message() != "valid until 2026-07-01T12:30:00Z" {
		t.Errorf("%+v", v)
	}
	if f, ok := v.Find(v1alpha1.ReasonRevoked); ok {
		t.Errorf("found %v", f)
	}
}

// TestWhatNobodyAnsweredIsNeverAllowed takes the answers away one by one, in each way in which there may be none.
func TestWhatNobodyAnsweredIsNeverAllowed(t *testing.T) {
	question := func() Input {
		return run(ask(path(), hop("triage"), hop("isolate", withParent("triage"))))
	}
	for name, test := range map[string]struct {
		take func(*Input, Answer)
		want fault
	}{
		"of the origin": {func(i *Input, a Answer) { i.Facts.Origin = a }, fault{
			v1alpha1.ReasonUndetermined, thePath, "spec.scope",
		}},
		"of the parent's author": {func(i *Input, a Answer) { i.Facts.Authors = []Answer{a, yes} }, fault{
			v1alpha1.ReasonUndetermined, triage, "spec.author",
		}},
		"of the author": {func(i *Input, a Answer) { i.Facts.Authors = []Answer{yes, a} }, fault{
			v1alpha1.ReasonUndetermined, "", "spec.author",
		}},
		"of an author not looked up": {func(i *Input, _ Answer) { i.Facts.Authors = i.Facts.Authors[:1] }, fault{
			v1alpha1.ReasonUndetermined, "", "spec.author",
		}},
		"of the hop's namespace": {func(i *Input, a Answer) { i.Facts.HopNamespace = a }, fault{
			v1alpha1.ReasonUndetermined, "", "metadata.namespace",
		}},
		"of the ceiling":      {func(i *Input, a Answer) { i.Facts.Ceiling = a }, fault{v1alpha1.ReasonUndetermined, "", "spec.scope"}},
		"of who uses the hop": {func(i *Input, a Answer) { i.Workload.Use = a }, fault{Reason: v1alpha1.ReasonUndetermined}},
	} {
		for how, answer := range map[string]Answer{
			"zero":                     {},
			"an error":                 {Detail: "connection refused"},
			"a wrong word":             {Outcome: "allow"},
			"a list without an answer": {Missing: []scope.Permission{{Verb: "get", Resource: "pods"}}},
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				input := question()
				test.take(&input, answer)
				if diff := cmp.Diff(result{Undetermined, []fault{test.want}}, evaluate(input)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
	if diff := cmp.Diff(result{Outcome: Allow}, evaluate(question())); diff != "" {
		t.Errorf("with all answers (-want +got):\n%s", diff)
	}
	for name, input := range map[string]Input{
		"nothing": {}, "a workload": {Workload: &Workload{}}, "a path": {Path: &v1alpha1.DelegationPath{}},
		"a hop": {Chain: Chain{Hops: []*v1alpha1.DelegationHop{{}}}},
	} {
		if v := Evaluate(input); v.Outcome == Allow {
			t.Errorf("zero value with %s is allowed", name)
		}
	}
}

func TestOutcomesHaveNames(t *testing.T) {
	var unknown Answer
	if diff := cmp.Diff(
		[]string{"Allow", "Deny", "Undetermined"}, []string{Allow.String(), Deny.String(), unknown.Outcome.String()},
	); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
