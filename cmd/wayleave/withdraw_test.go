package main

import (
	"bytes"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestFreezeBeforeRemoval: what is frozen already has to be everything.
func TestFreezeBeforeRemoval(t *testing.T) {
	for name, test := range map[string]struct {
		frozen map[string]string // nil where nothing is
		want   string
	}{
		"nothing is":    {},
		"everything is": {frozen: map[string]string{"reason": "an incident"}},
		"a part is":     {frozen: map[string]string{"namespaces": "agents"}, want: "wayleave-freeze freezes a part of the cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			o := withdrawOptions{namespace: "wayleave-system"}
			key := metav1.ObjectMeta{Namespace: o.namespace, Name: "wayleave-freeze"}
			objects := []client.Object{&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: "wayleave-controller"}}}
			if test.frozen != nil {
				objects = append(objects, &corev1.ConfigMap{ObjectMeta: key, Data: test.frozen})
			}
			c := fake.NewClientBuilder().WithScheme(newScheme()).WithObjects(objects...).Build()
			expect(t, o.freeze(t.Context(), c), test.want)
			freeze := &corev1.ConfigMap{ObjectMeta: key}
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(freeze), freeze); err != nil {
				t.Fatal(err)
			}
			if owned := len(freeze.OwnerReferences) == 1; owned != (test.frozen == nil) {
				t.Errorf("it is owned by %v", freeze.OwnerReferences)
			}
		})
	}
}

// TestLeftBeforeRemoval: it waits for each hop and binding that holds something, and names it.
func TestLeftBeforeRemoval(t *testing.T) {
	holds := &v1alpha1.DelegationHop{ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "look"}}
	holds.Status.ServiceAccountName = "dhop-look.1.2"
	binding := func(name, label string) client.Object {
		return &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "payments", Name: name, Labels: map[string]string{label: "any"}}}
	}
	for name, test := range map[string]struct {
		left client.Object
		want string
	}{
		"nothing":                 {left: &v1alpha1.DelegationHop{ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "idle"}}},
		"a hop":                   {left: holds, want: "hop agents/look"},
		"a binding without a hop": {left: binding("dhop-look.1.2", v1alpha1.LabelHopUID), want: "RoleBinding payments/dhop-look.1.2"},
		"a binding of others":     {left: binding("dhop-look.1.2", "team")},
		"one of others, labelled": {left: binding("team", v1alpha1.LabelHopUID)},
	} {
		t.Run(name, func(t *testing.T) {
			c := fake.NewClientBuilder().WithScheme(newScheme()).WithObjects(test.left).Build()
			o := withdrawOptions{namespace: "wayleave-system", timeout: 3500 * time.Millisecond}
			expect(t, o.untilWithdrawn(t.Context(), c, &bytes.Buffer{}), test.want)
		})
	}
}
