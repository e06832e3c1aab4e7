package delegation

import (
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestDependsOnOthers: what another object of the same commit may mend, each beside what it may not.
func TestDependsOnOthers(t *testing.T) {
	const yes, no = true, false
	workload := ask(path(), hop("isolate"))
	wide := withScope(pods("get", "list", "delete", "patch"))
	for name, test := range map[string]struct {
		in     Input
		reason v1alpha1.Reason
		want   bool
	}{
		"a first hop beyond its path": {ask(path(), hop("isolate", wide)), v1alpha1.ReasonScopeExceedsPath, yes},
		"a hop beyond its parent": {
			ask(path(), hop("triage"), hop("isolate", withParent("triage"), wide)),
			v1alpha1.ReasonScopeExceedsParent, yes,
		},
		"a hop that outlives its path": {
			ask(path(), hop("isolate", withLifetime(lasting(99*time.Hour)))),
			v1alpha1.ReasonLifetimeExceedsParent, yes,
		},
		"a hop in another namespace": {
			ask(path(), hop("isolate", in("payments"))),
			v1alpha1.ReasonNamespaceNotAllowed, yes,
		},
		"a hop deeper than its path": {
			but(ask(path(), hop("isolate")), func(i *Input) { i.Below = MaxDepth(i.Path) }),
			v1alpha1.ReasonDepthExceeded, yes,
		},
		"a hop deeper than any may be": {
			but(ask(path(), hop("isolate")), func(i *Input) { i.Below = MaxChain }),
			v1alpha1.ReasonDepthExceeded, no,
		},
		"a hop that amplifies": {
			ask(path(), hop("isolate", withScope(pods("*")))),
			v1alpha1.ReasonScopeAmplifies, no,
		},
		"a hop below one that does": {
			ask(path(), hop("triage", withScope(pods("*"))), hop("isolate", withParent("triage"))),
			v1alpha1.ReasonScopeAmplifies, yes,
		},
		"an audience that is inherited": {
			ask(path(), hop("isolate", hopSpec(inherits), withToken("billing"))),
			v1alpha1.ReasonScopeExceedsPath, yes,
		},
		"an audience beyond its own": {
			ask(path(), hop("isolate", withScope(pods("get")), withToken("billing"))),
			v1alpha1.ReasonScopeExceedsPath, no,
		},
		"an author without delegate": {
			but(ask(path(), hop("isolate")), func(i *Input) { i.Facts.Authors = []Answer{{Outcome: Deny}} }),
			v1alpha1.ReasonNotPermittedToDelegate, no,
		},
		"a path beyond its origin": {
			but(ask(path()), func(i *Input) { i.Facts.Origin = Answer{Outcome: Deny} }),
			v1alpha1.ReasonScopeExceedsOrigin, no,
		},
		"a hop of a path beyond it": {
			but(ask(path(), hop("isolate")), func(i *Input) { i.Facts.Origin = Answer{Outcome: Deny} }),
			v1alpha1.ReasonScopeExceedsOrigin, yes,
		},
		"a hop beyond the ceiling": {
			but(ask(path(), hop("isolate")), func(i *Input) { i.Facts.Ceiling = Answer{Outcome: Deny} }),
			v1alpha1.ReasonScopeExceedsCeiling, yes,
		},
		"an open question": {
			but(ask(path()), func(i *Input) { i.Facts.Origin = Answer{} }),
			v1alpha1.ReasonUndetermined, no,
		},

		"a workload whose image is not listed": {
			run(workload, func(w *Workload) { w.Images = []string{"evil"} }),
			v1alpha1.ReasonImageNotAllowed, yes,
		},
		"a workload of another kind": {
			run(workload, func(w *Workload) { w.Kinds = nil }),
			v1alpha1.ReasonWorkloadNotAllowed, yes,
		},
		"a workload of a hop that amplifies": {
			run(ask(path(), hop("isolate", withScope(pods("*"))))),
			v1alpha1.ReasonScopeAmplifies, yes,
		},
		"a workload of a hop whose author may not": {
			run(but(ask(path(), hop("isolate")), func(i *Input) { i.Facts.Authors = []Answer{{Outcome: Deny}} })),
			v1alpha1.ReasonNotPermittedToDelegate, yes,
		},
		"a workload that needs too much": {
			run(workload, func(w *Workload) { w.Requires = needs("patch") }),
			v1alpha1.ReasonWorkloadNotAllowed, yes,
		},
		"a workload that needs a wildcard": {
			run(workload, func(w *Workload) { w.RequiresProblem = "prose" }),
			v1alpha1.ReasonWorkloadNotAllowed, no,
		},
		"a workload without use": {
			run(workload, func(w *Workload) { w.Use = Answer{Outcome: Deny} }),
			v1alpha1.ReasonNotPermittedToUse, no,
		},
		"a workload with an account of its own": {
			run(workload, func(w *Workload) { w.ServiceAccountName = "robot" }),
			v1alpha1.ReasonWrongServiceAccount, no,
		},
		"a workload of a hop that was revoked": {
			run(ask(path(), hop("isolate", hopSpec(func(s *v1alpha1.DelegationHopSpec) { s.Revoked = revoked("x") })))), v1alpha1.ReasonRevoked, no,
		},
		"a workload before its hop": {run(ask(nil)), v1alpha1.ReasonHopNotFound, yes},
	} {
		f, found := Evaluate(test.in).Find(test.reason)
		if !found || test.in.DependsOnOthers(f) != test.want {
			t.Errorf("%s: found %t, %+v; want %t", name, found, f, test.want)
		}
	}
}

func inherits(s *v1alpha1.DelegationHopSpec) { s.Scope, s.InheritScope = nil, new(true) }

func needs(verb string) []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{verb}}}
}

// TestStreamsAreThePathsToAccept: one commit may add the risk to the path and the watch to its hop.
func TestStreamsAreThePathsToAccept(t *testing.T) {
	watching := path(withPathScope(pods("get", "watch")))
	for name, c := range map[string]struct {
		in   Input
		want bool
	}{
		"a hop that watches":               {in: ask(watching, hop("isolate", withScope(pods("watch")))), want: true},
		"a hop with a token never may":     {in: ask(watching, hop("isolate", withScope(pods("watch")), withToken("")))},
		"a path that watches mends itself": {in: ask(watching)},
	} {
		for _, f := range Evaluate(c.in).Findings {
			if f.Reason == v1alpha1.ReasonScopeAmplifies && f.Node == "" && c.in.DependsOnOthers(f) != c.want {
				t.Errorf("%s: it depends on others: %t", name, !c.want)
			}
		}
		if _, found := Evaluate(c.in).Find(v1alpha1.ReasonScopeAmplifies); !found {
			t.Errorf("%s: nothing amplifies", name)
		}
	}
}
