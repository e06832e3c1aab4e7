package controllers

import (
	"slices"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/facts"
)

// TestMapForeign: a binding leads to the hops to whose accounts it gives something where they live and work, and to no others: a tenant
// elsewhere must not have hops be looked at.
func TestMapForeign(t *testing.T) {
	scheme := clientgoscheme.Scheme
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	works := v1alpha1.Scope{Namespaced: []v1alpha1.NamespacedScope{{Namespaces: []string{"payments"}}}}
	path := &v1alpha1.DelegationPath{
		ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "p"}, Spec: v1alpha1.DelegationPathSpec{Scope: works},
	}
	narrow := &v1alpha1.DelegationHop{
		ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "narrow"},
		Spec:       v1alpha1.DelegationHopSpec{PathRef: v1alpha1.ObjectRef{Name: "p"}, Scope: &v1alpha1.Scope{}},
	}
	inherits := &v1alpha1.DelegationHop{
		ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "inherits"},
		Spec:       v1alpha1.DelegationHopSpec{PathRef: v1alpha1.ObjectRef{Name: "p"}, InheritScope: new(true)},
	}
	r := &HopReconciler{hops: facts.Hops{Reader: fake.NewClientBuilder().WithScheme(scheme).WithObjects(path, narrow, inherits).Build()}}
	subject := func(kind, namespace, name string) []rbacv1.Subject {
		return []rbacv1.Subject{{Kind: kind, Namespace: namespace, Name: name}}
	}
	role := func(ns string, s []rbacv1.Subject) client.Object {
		return &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "x"}, Subjects: s}
	}
	asUser := subject("User", "", "system:serviceaccount:agents:dhop-narrow.5f0d.1790000000")
	account, all := subject("ServiceAccount", "agents", "dhop-narrow.5f0d.1790000000"), subject("Group", "", "system:serviceaccounts")
	for name, test := range map[string]struct {
		binding client.Object
		want    []string
	}{
		"by name":              {role("elsewhere", account), []string{"narrow"}},
		"by name as a user":    {role("elsewhere", asUser), []string{"narrow"}},
		"another account":      {role("agents", subject("ServiceAccount", "agents", "ci")), nil},
		"another group":        {role("agents", subject("Group", "", "on-call")), nil},
		"all, where they live": {role("agents", all), []string{"inherits", "narrow"}},
		"all, where one works": {role("payments", all), []string{"inherits"}},
		"all, elsewhere":       {role("elsewhere", all), nil},
		"those of a namespace": {role("agents", subject("Group", "", "system:serviceaccounts:agents")), []string{"inherits", "narrow"}},
		"those of another":     {role("agents", subject("Group", "", "system:serviceaccounts:ci")), nil},
		"all, in the cluster": {
			&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "x"}, Subjects: subject("Group", "", "system:authenticated")},
			[]string{"inherits", "narrow"},
		},
		"a part of a grant": {&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "payments", Name: "dhop-narrow.5f0d.1790000000", Labels: map[string]string{v1alpha1.LabelHopUID: "u"},
			}, Subjects: account,
		}, nil},
	} {
		var got []string
		for _, request := range r.mapForeign(t.Context(), test.binding) {
			got = append(got, request.Name)
		}
		slices.Sort(got)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: leads to %v, want %v", name, got, test.want)
		}
	}
}
