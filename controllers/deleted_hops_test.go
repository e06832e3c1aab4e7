package controllers

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// TestDeletedHops: what a deleted hop's Secrets are called is known until they are removed, and no longer.
func TestDeletedHops(t *testing.T) {
	withToken := func(secret string) *v1alpha1.DelegationHop {
		return &v1alpha1.DelegationHop{
			ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "isolate", UID: "uid"},
			Spec:       v1alpha1.DelegationHopSpec{Token: &v1alpha1.Token{SecretName: secret}},
		}
	}
	var d deletedHops
	q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer q.ShutDown()
	key := delegation.HopKey(withToken(""))
	for _, hop := range []*v1alpha1.DelegationHop{
		withToken("first"), withToken("second"), {ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "bare"}},
	} {
		d.handler().Delete(t.Context(), event.DeleteEvent{Object: hop}, q)
	}
	if q.Len() != 1 { // both of the same name; a hop without a token needs no reconcile from here
		t.Errorf("%d requests, want 1", q.Len())
	}
	var removed []string
	fails := true
	remove := func(_ context.Context, hop *v1alpha1.DelegationHop) error {
		if hop.Spec.Token.SecretName == "second" && fails {
			return errors.New("refused")
		}
		removed = append(removed, hop.Spec.Token.SecretName)
		return nil
	}
	if _, err := d.withdraw(t.Context(), key, remove); err == nil {
		t.Error("the failure is lost")
	}
	fails = false
	for range 2 {
		if _, err := d.withdraw(t.Context(), key, remove); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff([]string{"first", "second"}, removed); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
	if len(d.hops) != 0 {
		t.Errorf("%v is still remembered", d.hops)
	}
}

// TestSecretOfDeletedHop: the controller removes the Secret of a hop that was deleted, and no other.
func TestSecretOfDeletedHop(t *testing.T) {
	path, hop, _ := grantedHop()
	hop.Spec.Token = &v1alpha1.Token{SecretName: "own"}
	hop.Status.Credential = &v1alpha1.Credential{SecretName: "foreign"}
	own := &corev1.Secret{ObjectMeta: account(path, hop).ObjectMeta}
	own.Name, own.UID = "own", "own"
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "foreign", UID: "foreign"}}
	r := reconciler(t, interceptor.Funcs{}, own, foreign)
	r.deleted.add(hop)
	if _, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: delegation.HopKey(hop)}); err != nil {
		t.Fatal(err)
	}
	if err := r.live.Get(t.Context(), client.ObjectKeyFromObject(own), own); !apierrors.IsNotFound(err) {
		t.Errorf("its own Secret: %v, want not found", err)
	}
	if err := r.live.Get(t.Context(), client.ObjectKeyFromObject(foreign), foreign); err != nil {
		t.Errorf("the foreign Secret: %v", err)
	}
}
