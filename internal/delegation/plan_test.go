package delegation

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
)

// object is one object of a grant called "g"; content is what it says.
func object(kind Kind, namespace, content string) Object {
	return Object{Kind: kind, Key: types.NamespacedName{Namespace: namespace, Name: "g"}, Content: content}
}

// grantObjects is a grant in two namespaces and on the cluster, out of order.
func grantObjects() []Object {
	return []Object{
		object(Secret, "agents", ""), object(RoleBinding, "b", "1"), object(ClusterRoleBinding, "", "1"), object(Role, "b", "1"),
		object(ServiceAccount, "agents", ""), object(ClusterRole, "", "1"), object(RoleBinding, "a", "1"), object(Role, "a", "1"),
	}
}

func TestPlanFor(t *testing.T) {
	sa, secret := object(ServiceAccount, "agents", ""), object(Secret, "agents", "")
	role, roleNow := object(Role, "a", "wanted"), object(Role, "a", "wide")
	binding, bindingNow := object(RoleBinding, "a", "wanted"), object(RoleBinding, "a", "to somebody else")
	old := Object{Kind: ServiceAccount, Key: types.NamespacedName{Namespace: "agents", Name: "before"}, UID: "1"}
	oldBinding := Object{Kind: RoleBinding, Key: types.NamespacedName{Namespace: "a", Name: "before"}, UID: "2", Content: "1"}
	for name, test := range map[string]struct {
		desired, observed []Object
		want              Plan
	}{
		"nothing of nothing": {},
		"a grant is made so that nothing refers to what is not there": {
			desired: grantObjects(),
			want: Plan{Make: []Step{
				{object(ServiceAccount, "agents", "")},
				{object(ClusterRole, "", "1"), object(Role, "a", "1"), object(Role, "b", "1")},
				{object(ClusterRoleBinding, "", "1"), object(RoleBinding, "a", "1"), object(RoleBinding, "b", "1")},
				{object(Secret, "agents", "")},
			}},
		},
		"a grant goes with its bindings first, of all namespaces at the same time, and its roles last": {
			observed: grantObjects(),
			want: Plan{Remove: []Step{
				{object(ClusterRoleBinding, "", "1"), object(RoleBinding, "a", "1"), object(RoleBinding, "b", "1")},
				{object(Secret, "agents", ""), object(ServiceAccount, "agents", "")},
				{object(ClusterRole, "", "1"), object(Role, "a", "1"), object(Role, "b", "1")},
			}},
		},
		"a grant that stands is kept": {
			desired: []Object{role, sa, binding}, observed: []Object{binding, sa, role}, want: Plan{Keep: []Object{role, binding, sa}},
		},
		"a grant that was left half made is completed": {
			desired: []Object{sa, role, binding, secret}, observed: []Object{sa, role},
			want: Plan{Make: []Step{{binding}, {secret}}, Keep: []Object{role, sa}},
		},
		"a role that somebody widened is written over": {
			desired: []Object{role, binding}, observed: []Object{roleNow, binding}, want: Plan{Make: []Step{{role}}, Keep: []Object{binding}},
		},
		"a binding that somebody turned is removed and made again": {
			desired: []Object{role, binding}, observed: []Object{role, bindingNow},
			want: Plan{Remove: []Step{{bindingNow}}, Make: []Step{{binding}}, Keep: []Object{role}},
		},
		"the identity before goes as the next one comes": {
			desired: []Object{sa, role, binding}, observed: []Object{old, oldBinding},
			want: Plan{Remove: []Step{{oldBinding}, {old}}, Make: []Step{{sa}, {role}, {binding}}},
		},
		"a namespace that left the scope loses its rights alone": {
			desired: []Object{sa, role, binding}, observed: []Object{sa, role, binding, object(Role, "b", "1"), object(RoleBinding, "b", "1")},
			want: Plan{Remove: []Step{{object(RoleBinding, "b", "1")}, {object(Role, "b", "1")}}, Keep: []Object{role, binding, sa}},
		},
		"an object that was seen twice is not removed": {
			desired: []Object{sa, binding}, observed: []Object{sa, binding, binding, sa}, want: Plan{Keep: []Object{binding, binding, sa, sa}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := PlanFor(test.desired, test.observed)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if done := PlanFor(test.desired, test.desired); !done.Empty() {
				t.Errorf("with all that is desired there, there is still %+v", done)
			}
			if nothing := len(test.want.Remove)+len(test.want.Make) == 0; got.Empty() != nothing {
				t.Errorf("empty: %v", got.Empty())
			}
		})
	}
}

func TestGrantFor(t *testing.T) {
	isolate := hop("isolate", withScope(podsIn("payments", "get", "delete")), withToken(""))
	isolate.Spec.Scope.Namespaced = append(isolate.Spec.Scope.Namespaced, podsIn("billing", "list").Namespaced...)
	broad := path(withPathScope(*isolate.Spec.Scope))
	v := Evaluate(ask(broad, isolate))
	if v.Outcome != Allow {
		t.Fatal(v.Message())
	}
	g := GrantFor(broad, isolate, 2, v)
	name := AccountName(isolate, 2, noon.Add(30*time.Minute))
	rule := func(verbs ...string) []rbacv1.PolicyRule {
		return []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: verbs}}
	}
	want := Grant{
		Account: types.NamespacedName{Namespace: "agents", Name: name},
		Labels: map[string]string{
			"app.kubernetes.io/managed-by":          "wayleave",
			"delegation.wayleave.dev/hop-name":      "isolate",
			"delegation.wayleave.dev/hop-namespace": "agents",
			"delegation.wayleave.dev/hop-uid":       "isolate-uid",
			"delegation.wayleave.dev/path-uid":      "path-uid",
			"delegation.wayleave.dev/incarnation":   "2",
		},
		Rules:      map[string][]rbacv1.PolicyRule{"billing": rule("list"), "payments": rule("delete", "get")},
		SecretName: "isolate-token",
	}
	if diff := cmp.Diff(want, g); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	subjects := []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "agents", Name: name}}
	binding := BindingContent(rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: name}, subjects)
	wantObjects := []Object{
		{Kind: ServiceAccount, Key: types.NamespacedName{Namespace: "agents", Name: name}},
		{Kind: Role, Key: types.NamespacedName{Namespace: "billing", Name: name}, Content: RoleContent(rule("list"))},
		{Kind: RoleBinding, Key: types.NamespacedName{Namespace: "billing", Name: name}, Content: binding},
		{Kind: Role, Key: types.NamespacedName{Namespace: "payments", Name: name}, Content: RoleContent(rule("delete", "get"))},
		{Kind: RoleBinding, Key: types.NamespacedName{Namespace: "payments", Name: name}, Content: binding},
		{Kind: Secret, Key: types.NamespacedName{Namespace: "agents", Name: "isolate-token"}},
	}
	if diff := cmp.Diff(wantObjects, g.Objects()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestGrantOnTheCluster(t *testing.T) {
	nodes := pods("get")
	nodes.Namespaced = nil
	nodes.Cluster = append(nodes.Cluster, clusterRule("get", "nodes"))
	p := path(withPathScope(nodes))
	g := GrantFor(p, hop("isolate"), 1, Evaluate(ask(p, hop("isolate"))))
	var kinds []Kind
	for _, o := range g.Objects() {
		kinds = append(kinds, o.Kind)
	}
	if diff := cmp.Diff([]Kind{ServiceAccount, ClusterRole, ClusterRoleBinding}, kinds); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: g.Account.Name}, g.RoleRef("")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestBindingContentTellsApart what would let somebody else in.
func TestBindingContentTellsApart(t *testing.T) {
	ref := rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: "g"}
	account := rbacv1.Subject{Kind: "ServiceAccount", Namespace: "agents", Name: "g"}
	ours := BindingContent(ref, []rbacv1.Subject{account})
	for name, test := range map[string]struct {
		ref      rbacv1.RoleRef
		subjects []rbacv1.Subject
		wantSame bool
	}{
		"as it was made":      {ref, []rbacv1.Subject{account}, true},
		"one subject more":    {ref, []rbacv1.Subject{account, {Kind: "User", Name: "mallory"}}, false},
		"no subject":          {ref, nil, false},
		"another account":     {ref, []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "default", Name: "g"}}, false},
		"a user of that name": {ref, []rbacv1.Subject{{Kind: "User", Namespace: "agents", Name: "g"}}, false},
		"another role":        {rbacv1.RoleRef{APIGroup: ref.APIGroup, Kind: "ClusterRole", Name: "g"}, []rbacv1.Subject{account}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := BindingContent(test.ref, test.subjects) == ours; got != test.wantSame {
				t.Errorf("same: %v", got)
			}
		})
	}
}
