package delegation

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// identityOf is the user name of an account of a hop in namespace agents.
func identityOf(hop string) string {
	return "system:serviceaccount:agents:dhop-" + hop + ".5f0d.1790000000"
}

func authoredBy(user string) hopOption {
	return hopSpec(func(s *v1alpha1.DelegationHopSpec) { s.Author = &v1alpha1.Subject{User: user} })
}

func delegating(levels int32) hopOption {
	return hopSpec(func(s *v1alpha1.DelegationHopSpec) { s.Delegation = &v1alpha1.Delegation{MaxDepth: levels} })
}

// TestEvaluateDelegation: the identity of a hop makes hops below itself, as deep as its delegation says, and nowhere else.
func TestEvaluateDelegation(t *testing.T) {
	triaged := func(levels int32) *v1alpha1.DelegationHop { return hop("triage", delegating(levels)) }
	child := func(options ...hopOption) *v1alpha1.DelegationHop {
		return hop("isolate", append([]hopOption{withParent("triage"), authoredBy(identityOf("triage"))}, options...)...)
	}
	twin := ask(path(), triaged(1), child())
	notPermitted := []fault{{Reason: v1alpha1.ReasonNotPermittedToDelegate, Field: "spec.author"}}
	checkDenials(t, map[string]denial{
		"without a delegation": {in: ask(path(), hop("triage"), child()), twin: twin, want: notPermitted},
		"of another hop":       {in: ask(path(), triaged(1), child(authoredBy(identityOf("other")))), twin: twin, want: notPermitted},
		"of a hop whose name begins so": {
			in: ask(path(), triaged(1), child(authoredBy(identityOf("triage-2")))), twin: twin, want: notPermitted,
		},
		"of a hop of the name in another namespace": {
			in: ask(path(), triaged(1), child(authoredBy("system:serviceaccount:billing:dhop-triage.5f0d.1790000000"))), twin: twin,
			want: notPermitted,
		},
		"in another namespace": {in: ask(path(), triaged(1), child(in("billing"))), twin: twin, want: append([]fault{
			{Reason: v1alpha1.ReasonNamespaceNotAllowed, Field: "metadata.namespace"},
		}, notPermitted...)},
		"a first hop": {
			in: ask(path(), hop("isolate", authoredBy(identityOf("triage")))), twin: ask(path(), hop("isolate")),
			want: append(notPermitted, fault{Reason: v1alpha1.ReasonImageNotAllowed, Field: "spec.workload.images"}),
		},
		"as deep as the parent": {
			in: ask(path(), triaged(1), child(delegating(1))), twin: ask(path(), triaged(2), child(delegating(1))),
			want: []fault{{Reason: v1alpha1.ReasonDepthExceeded, Field: "spec.delegation.maxDepth"}},
		},
	})
}

// TestMadeBy: a hop that was made anew under its name did not make what an earlier one did.
func TestMadeBy(t *testing.T) {
	parent := hop("triage", withUID("new"))
	for uid, want := range map[string]bool{"": true, "new": true, "old": false} {
		made := hop("isolate", withParent("triage"), authoredBy(identityOf("triage")))
		made.Status.ParentUID = uid
		if got := MadeBy(parent, made); got != want {
			t.Errorf("a hop whose parent has the UID %q was made by it: %t", uid, got)
		}
	}
	if MadeBy(parent, hop("isolate", withParent("triage"))) {
		t.Error("a hop of another author was made by the identity of its parent")
	}
}

// TestGrantBesideScope: what an identity is given that no scope names.
func TestGrantBesideScope(t *testing.T) {
	ours := func(resource, verb string, names ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{
			APIGroups: []string{"delegation.wayleave.dev"}, Resources: []string{resource}, Verbs: []string{verb}, ResourceNames: names,
		}
	}
	given := func(p *v1alpha1.DelegationPath, h *v1alpha1.DelegationHop, made ...string) map[string][]rbacv1.PolicyRule {
		input := ask(p, h)
		input.Facts.Made = made
		v := Evaluate(input)
		if v.Outcome != Allow {
			t.Fatal(v.Message())
		}
		rules := GrantFor(p, h, v, nil, "5f0d", false).Rules
		rules["payments"] = rules["payments"][1:] // what the scope says
		return rules
	}
	type rules = map[string][]rbacv1.PolicyRule
	for name, test := range map[string]struct{ want, got rules }{
		"nothing":    {rules{"payments": {}}, given(path(), hop("isolate"), "other")},
		"delegation": {rules{"payments": {}, "agents": {ours("delegationhops", "create")}}, given(path(), hop("isolate", delegating(1)))},
		"delegation with hops that it made": {
			rules{"payments": {}, "agents": {ours("delegationhops", "create"), ours("delegationhops", "use", "a", "b")}},
			given(path(), hop("isolate", delegating(1)), "a", "b"),
		},
		"Workloads": {rules{"payments": {ours("delegationpaths", "deploy")}}, given(path(accepts(v1alpha1.RiskWorkloads)), hop("isolate"))},
		"Exec":      {rules{"payments": {}}, given(path(accepts(v1alpha1.RiskExec)), hop("isolate"))},
	} {
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
