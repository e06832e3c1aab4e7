package controllers

import (
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/facts"
	"github.com/wayleave/wayleave/internal/rbac"
)

func TestPartOfCeiling(t *testing.T) {
	ceiling := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "ceiling", Labels: map[string]string{v1alpha1.LabelCeiling: "true"}}}
	r := reconciler(t, interceptor.Funcs{}, ceiling, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "view"}})
	r.gather = &facts.Gatherer{Controller: rbac.ServiceAccountUser("wayleave-system", "wayleave-controller")}
	to := rbacv1.RoleRef{Kind: "ClusterRole", Name: "ceiling"}
	binding := func(subjects ...rbacv1.Subject) *rbacv1.RoleBinding {
		return &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "x"}, RoleRef: to, Subjects: subjects}
	}
	toView := func(b *rbacv1.RoleBinding) *rbacv1.RoleBinding {
		b.RoleRef.Name = "view"
		return b
	}
	controller := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: "wayleave-system", Name: "wayleave-controller"}
	group := rbacv1.Subject{Kind: rbacv1.GroupKind, Name: "system:serviceaccounts:wayleave-system"}
	for name, c := range map[string]struct {
		before, after client.Object
		want          bool
	}{
		"a role of no concern":           {before: &rbacv1.ClusterRole{}, after: &rbacv1.ClusterRole{}},
		"a role becomes a ceiling":       {before: &rbacv1.ClusterRole{}, after: ceiling, want: true},
		"a role stops being a ceiling":   {before: ceiling, after: &rbacv1.ClusterRole{}, want: true},
		"a binding loses the controller": {before: binding(controller), after: binding(), want: true},
		"a binding gains a group of it":  {before: binding(), after: binding(group), want: true},
		"a binding of another user":      {before: binding(), after: binding(rbacv1.Subject{Kind: rbacv1.UserKind, Name: "alice"})},
		"a cluster binding of the controller": {
			before: &rbacv1.ClusterRoleBinding{}, after: &rbacv1.ClusterRoleBinding{RoleRef: to, Subjects: []rbacv1.Subject{controller}},
			want: true,
		},
		"a binding of everybody to view": {before: toView(binding()), after: toView(binding(group))},
	} {
		got := false // as on an update the mapping function is asked about both
		for _, o := range []client.Object{c.before, c.after} {
			got = got || r.isPartOfCeiling(t.Context(), o)
		}
		if got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// Each object that is part of a ceiling leads to every hop, any other to none.
func TestMapCeiling(t *testing.T) {
	path, hop, _ := grantedHop()
	r := reconciler(t, interceptor.Funcs{}, path, hop)
	ceiling := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "ceiling", Labels: map[string]string{v1alpha1.LabelCeiling: "true"}}}
	if got := r.mapCeiling(t.Context(), ceiling); len(got) != 1 || got[0].NamespacedName != client.ObjectKeyFromObject(hop) {
		t.Errorf("a ceiling leads to %v", got)
	}
	if got := r.mapCeiling(t.Context(), &rbacv1.ClusterRole{}); len(got) != 0 {
		t.Errorf("another role leads to %v", got)
	}
}

// What lets the controller work in a namespace leads to the hops of that namespace alone.
func TestMapHopNamespace(t *testing.T) {
	path, hop, _ := grantedHop()
	r := reconciler(t, interceptor.Funcs{}, path, hop)
	r.gather = &facts.Gatherer{Controller: rbac.ServiceAccountUser("wayleave-system", "wayleave-controller")}
	controller := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "wayleave-system", Name: "wayleave-controller"}}
	to := rbacv1.RoleRef{Kind: "ClusterRole", Name: delegation.HopNamespaceRole}
	in := func(namespace string, ref rbacv1.RoleRef, subjects []rbacv1.Subject) *rbacv1.RoleBinding {
		return &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "x"}, RoleRef: ref, Subjects: subjects}
	}
	for name, c := range map[string]struct {
		object client.Object
		want   int
	}{
		"a binding in its namespace":   {in(hop.Namespace, to, controller), 1},
		"a binding in another":         {in("elsewhere", to, controller), 0},
		"a binding of another subject": {in(hop.Namespace, to, []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: "bob"}}), 0},
		"a Role of the same name":      {in(hop.Namespace, rbacv1.RoleRef{Kind: "Role", Name: to.Name}, controller), 0},
		"a binding for the cluster":    {&rbacv1.ClusterRoleBinding{RoleRef: to, Subjects: controller}, 1},
		"the role":                     {&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: to.Name}}, 1},
	} {
		if got := r.mapGiven(t.Context(), c.object); len(got) != c.want {
			t.Errorf("%s leads to %v", name, got)
		}
	}
}
