package delegation

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wayleave/wayleave/api/v1alpha1"
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

func unlabelled(o Object) Object {
	o.Unlabelled = true
	return o
}

func exists(o Object, uid types.UID) Object {
	o.UID = uid
	return o
}

func deleting(o Object) Object {
	o.Deleting = true
	return o
}

func owned(o Object, by Ownership) Object {
	o.Ownership = by
	return o
}

func TestPlan(t *testing.T) {
	sa, secret := object(ServiceAccount, "agents", ""), object(Secret, "agents", "")
	role, roleNow := object(Role, "a", "wanted"), object(Role, "a", "wide")
	binding, bindingNow := object(RoleBinding, "a", "wanted"), object(RoleBinding, "a", "to another user")
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
		"a grant is removed with its bindings first, of all namespaces at the same time, and its roles last": {
			observed: grantObjects(),
			want: Plan{Remove: []Step{
				{object(ClusterRoleBinding, "", "1"), object(RoleBinding, "a", "1"), object(RoleBinding, "b", "1")},
				{object(Secret, "agents", ""), object(ServiceAccount, "agents", "")},
				{object(ClusterRole, "", "1"), object(Role, "a", "1"), object(Role, "b", "1")},
			}},
		},
		"a grant that exists is kept": {
			desired: []Object{role, sa, binding}, observed: []Object{binding, sa, role}, want: Plan{Keep: []Object{role, binding, sa}},
		},
		"a grant that was left half made is completed": {
			desired: []Object{sa, role, binding, secret}, observed: []Object{sa, role},
			want: Plan{Make: []Step{{binding}, {secret}}, Keep: []Object{role, sa}},
		},
		"a role that a user widened is overwritten": {
			desired: []Object{role, binding}, observed: []Object{roleNow, binding}, want: Plan{Make: []Step{{role}}, Keep: []Object{binding}},
		},
		"a binding that a user changed is removed and recreated": {
			desired: []Object{role, binding}, observed: []Object{role, bindingNow},
			want: Plan{Remove: []Step{{bindingNow}}, Make: []Step{{binding}}, Keep: []Object{role}},
		},
		"the previous identity is removed when the next one is created": {
			desired: []Object{sa, role, binding}, observed: []Object{old, oldBinding},
			want: Plan{Remove: []Step{{oldBinding}, {old}}, Make: []Step{{sa}, {role}, {binding}}},
		},
		"a namespace that left the scope loses its rights alone": {
			desired: []Object{sa, role, binding}, observed: []Object{sa, role, binding, object(Role, "b", "1"), object(RoleBinding, "b", "1")},
			want: Plan{Remove: []Step{{object(RoleBinding, "b", "1")}, {object(Role, "b", "1")}}, Keep: []Object{role, binding, sa}},
		},
		"an account that was changed after its creation is put back, and stays the same": {
			desired: []Object{sa}, observed: []Object{exists(object(ServiceAccount, "agents", "with another owner"), "1")},
			want: Plan{Make: []Step{{exists(sa, "1")}}},
		},
		"what lost its labels is applied again": {
			desired: []Object{role, binding}, observed: []Object{unlabelled(role), unlabelled(binding)},
			want: Plan{Make: []Step{{role}, {binding}}},
		},
		"what lost its labels and is not wanted is discarded before nothing finds it": {
			desired: []Object{sa}, observed: []Object{sa, unlabelled(old)}, want: Plan{Discard: []Object{unlabelled(old)}, Keep: []Object{sa}},
		},
		"a Secret of another team blocks the name and stays": {
			desired: []Object{sa, secret}, observed: []Object{sa, owned(secret, OwnedByOthers)},
			want: Plan{Keep: []Object{sa}, Blocked: []Object{owned(secret, OwnedByOthers)}},
		},
		"a Secret of another team that is not wanted stays": {
			desired: []Object{sa}, observed: []Object{sa, owned(secret, OwnedByOthers)}, want: Plan{Keep: []Object{sa}},
		},
		"a Secret that an earlier hop of the name left is replaced": {
			desired: []Object{sa, secret}, observed: []Object{sa, owned(secret, OwnedByPredecessor)},
			want: Plan{Discard: []Object{owned(secret, OwnedByPredecessor)}, Make: []Step{{secret}}, Keep: []Object{sa}},
		},
		"an object that was seen twice is not removed": {
			desired: []Object{sa, binding}, observed: []Object{sa, binding, binding, sa}, want: Plan{Keep: []Object{binding, binding, sa, sa}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := planFor(test.desired, test.observed)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if done := planFor(test.desired, test.desired); !done.Empty() {
				t.Errorf("with all that is desired there, there is still %+v", done)
			}
			if nothing := len(test.want.Discard)+len(test.want.Remove)+len(test.want.Make)+len(test.want.Blocked) == 0; got.Empty() != nothing {
				t.Errorf("empty: %v", got.Empty())
			}
		})
	}
}

// TestTakeUnboundRoles: a role that something binds gives rights at once, and is not written before its turn.
func TestTakeUnboundRoles(t *testing.T) {
	sa, role, binding := object(ServiceAccount, "agents", ""), object(Role, "a", "1"), object(RoleBinding, "a", "1")
	for name, test := range map[string]struct {
		plan, left Plan
		want       Step
	}{
		"nothing to do": {},
		"the roles of a hop that holds none": {
			plan: Plan{Make: []Step{{role}, {binding}}, Keep: []Object{exists(sa, "1")}}, want: Step{role},
			left: Plan{Make: []Step{{binding}}, Keep: []Object{exists(sa, "1")}},
		},
		"a binding exists": {
			plan: Plan{Make: []Step{{role}}, Keep: []Object{exists(binding, "1")}},
			left: Plan{Make: []Step{{role}}, Keep: []Object{exists(binding, "1")}},
		},
		"a binding exists and has lost its labels": {
			plan: Plan{Make: []Step{{role}, {exists(binding, "1")}}}, left: Plan{Make: []Step{{role}, {exists(binding, "1")}}},
		},
		"a binding is to be removed": {
			plan: Plan{Make: []Step{{role}, {binding}}, Remove: []Step{{exists(binding, "1")}}},
			left: Plan{Make: []Step{{role}, {binding}}, Remove: []Step{{exists(binding, "1")}}},
		},
		"the account is first": {
			plan: Plan{Make: []Step{{sa}, {role}, {binding}}}, left: Plan{Make: []Step{{sa}, {role}, {binding}}},
		},
		"the role was put back a moment ago": {plan: Plan{Make: []Step{{}, {binding}}}, left: Plan{Make: []Step{{binding}}}, want: Step{}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.plan.TakeUnboundRoles()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.left, test.plan); diff != "" {
				t.Errorf("what is left: %s", diff)
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
	isolate.Status.Incarnation = 1
	g := GrantFor(broad, isolate, v, nil, "5f0d", false)
	name := AccountName(isolate, "5f0d", noon.Add(30*time.Minute))
	rule := func(verbs ...string) []rbacv1.PolicyRule {
		return []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: verbs}}
	}
	want := Grant{
		Account:     types.NamespacedName{Namespace: "agents", Name: name},
		Incarnation: 2,
		Owner:       "isolate-uid",
		Labels: map[string]string{
			"app.kubernetes.io/managed-by":          "wayleave",
			"delegation.wayleave.dev/hop-name":      "isolate",
			"delegation.wayleave.dev/hop-namespace": "agents",
			"delegation.wayleave.dev/hop-uid":       "isolate-uid",
			"delegation.wayleave.dev/path-uid":      "path-uid",
			"delegation.wayleave.dev/incarnation":   "2",
		},
		Rules: map[string][]rbacv1.PolicyRule{"billing": rule("list"), "payments": rule("delete", "get")},
		Token: &TokenSpec{SecretName: "isolate-token", Life: 10 * time.Minute},
	}
	if diff := cmp.Diff(want, g); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	subjects := []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "agents", Name: name}}
	binding := BindingContent(rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: name}, subjects)
	wantObjects := []Object{
		{
			Kind: ServiceAccount, Key: types.NamespacedName{Namespace: "agents", Name: name},
			Content: AccountContent(true, new(false)),
		},
		{Kind: Role, Key: types.NamespacedName{Namespace: "billing", Name: name}, Content: RoleContent(rule("list"))},
		{Kind: RoleBinding, Key: types.NamespacedName{Namespace: "billing", Name: name}, Content: binding},
		{Kind: Role, Key: types.NamespacedName{Namespace: "payments", Name: name}, Content: RoleContent(rule("delete", "get"))},
		{Kind: RoleBinding, Key: types.NamespacedName{Namespace: "payments", Name: name}, Content: binding},
		{Kind: Secret, Key: types.NamespacedName{Namespace: "agents", Name: "isolate-token"}, Life: 10 * time.Minute},
	}
	if diff := cmp.Diff(wantObjects, g.Objects(true)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestGrantForKeepsTheIdentity while its account exists, whatever a policy makes of it.
func TestGrantForKeepsTheIdentity(t *testing.T) {
	p := path()
	isolate := hop("isolate", withToken(""))
	v := Evaluate(ask(p, isolate))
	if v.Outcome != Allow {
		t.Fatal(v.Message())
	}
	isolate.Status.Incarnation = 3
	current := grantOf(p, isolate, 3, AccountName(isolate, "5f0d", v.NotAfter), v)
	isolate.Status.ServiceAccountName = current.Account.Name
	account := exists(current.account(), "1")
	changed, gone := account, Object{
		Kind: ServiceAccount, Key: types.NamespacedName{Namespace: "agents", Name: "dhop-isolate.other"}, Content: account.Content,
	}
	changed.Content = AccountContent(false, new(true))
	for name, test := range map[string]struct {
		observed []Object
		unknown  bool // a crash kept the UID out of the status
		end      time.Duration
		want     int64
	}{
		"as it was created":  {observed: []Object{account}, want: 3},
		"changed":            {observed: []Object{unlabelled(changed)}, want: 3},
		"recreated":          {observed: []Object{exists(account, "2")}, want: 4},
		"of unknown UID":     {observed: []Object{account}, unknown: true, want: 3},
		"unknown, changed":   {observed: []Object{changed}, unknown: true, want: 4},
		"unknown, unlabeled": {observed: []Object{unlabelled(account)}, unknown: true, want: 4},
		"being deleted":      {observed: []Object{deleting(account)}, want: 4},
		"gone":               {observed: []Object{gone}, want: 4},
		"with another end":   {observed: []Object{account}, end: time.Second, want: 4},
		"a Role of its name": {observed: []Object{{Kind: Role, Key: account.Key, Content: account.Content}}, want: 4},
	} {
		t.Run(name, func(t *testing.T) {
			isolate.Status.ServiceAccountUID = "1"
			if test.unknown {
				isolate.Status.ServiceAccountUID = ""
			}
			v := v
			v.NotAfter = v.NotAfter.Add(test.end)
			if got := GrantFor(p, isolate, v, test.observed, "77aa", false); got.Incarnation != test.want {
				t.Errorf("incarnation %d, want %d", got.Incarnation, test.want)
			}
		})
	}
}

// TestPlanForDependsOnUse: rights exist while a use lives, or while the hop keeps a token.
func TestPlanForDependsOnUse(t *testing.T) {
	p := path()
	for name, test := range map[string]struct {
		hop      *v1alpha1.DelegationHop
		useLives bool
		want     []Kind
	}{
		"idle":            {hop: hop("isolate"), want: []Kind{ServiceAccount}},
		"in use":          {hop: hop("isolate"), useLives: true, want: []Kind{ServiceAccount, Role, RoleBinding}},
		"idle with token": {hop: hop("isolate", withToken("")), want: []Kind{ServiceAccount, Role, RoleBinding, Secret}},
	} {
		t.Run(name, func(t *testing.T) {
			g := GrantFor(p, test.hop, Evaluate(ask(p, test.hop)), nil, "5f0d", false)
			var made []Kind
			for _, step := range PlanFor(g, test.useLives, nil).Make {
				for _, o := range step {
					made = append(made, o.Kind)
				}
			}
			if diff := cmp.Diff(test.want, slices.Compact(made)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			left := PlanFor(g, test.useLives, g.Objects(true)).Remove
			if stays := test.useLives || g.Token != nil; (len(left) == 0) != stays {
				t.Errorf("of a full grant is removed: %v", left)
			}
		})
	}
}

func TestGrantOnTheCluster(t *testing.T) {
	nodes := pods("get")
	nodes.Namespaced = nil
	nodes.Cluster = append(nodes.Cluster, clusterRule("get", "nodes"))
	p := path(withPathScope(nodes))
	g := GrantFor(p, hop("isolate"), Evaluate(ask(p, hop("isolate"))), nil, "5f0d", false)
	var kinds []Kind
	for _, o := range g.Objects(true) {
		kinds = append(kinds, o.Kind)
	}
	if diff := cmp.Diff([]Kind{ServiceAccount, ClusterRole, ClusterRoleBinding}, kinds); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(
		rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: g.Account.Name}, g.RoleRef(""),
	); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestBindingContentTellsApart what would let another user in.
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

// TestTokenTooBroad: a token for another audience, or with a longer life than the spec allows now, ends with its Secret.
func TestTokenTooBroad(t *testing.T) {
	for name, c := range map[string]struct {
		audience string // of the Secret
		token    v1alpha1.Token
		life     time.Duration
		want     bool
	}{
		"as it should be":           {life: 10 * time.Minute},
		"another audience":          {token: v1alpha1.Token{Audience: "vault"}, life: 10 * time.Minute, want: true},
		"the API server's again":    {audience: "vault", life: 10 * time.Minute, want: true},
		"a longer life than before": {token: v1alpha1.Token{Expiration: &metav1.Duration{Duration: time.Hour}}, life: 10 * time.Minute},
		"a shorter one": {
			token: v1alpha1.Token{Expiration: &metav1.Duration{Duration: 20 * time.Minute}}, life: time.Hour, want: true,
		},
		"not issued yet": {},
	} {
		c.token.SecretName = "isolate-token"
		isolate := hop("isolate", func(h *v1alpha1.DelegationHop) { h.Spec.Token = &c.token })
		g := grantOf(path(), isolate, 1, "dhop-isolate.5f0d.1", Verdict{Outcome: Allow, NotAfter: noon})
		seen := Object{Kind: Secret, Key: types.NamespacedName{Namespace: "agents", Name: "isolate-token"}, Content: c.audience, Life: c.life}
		if got := slices.Contains(PlanFor(g, true, []Object{seen}).Discard, seen); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
