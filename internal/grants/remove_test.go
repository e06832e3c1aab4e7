package grants

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// A tenant's Role with our labels and a finalizer once kept a revoked hop from ever being reported as withdrawn.
func TestWhatCountsAsLeft(t *testing.T) {
	object := func(kind delegation.Kind, uid types.UID, deleting bool) delegation.Object {
		return delegation.Object{Kind: kind, UID: uid, Deleting: deleting}
	}
	removed := []delegation.Object{
		object(delegation.ServiceAccount, "account", false), object(delegation.Secret, "secret", false),
		object(delegation.Role, "role", false), object(delegation.RoleBinding, "binding", false),
	}
	for name, c := range map[string]struct {
		after []delegation.Object
		want  types.UID
	}{
		"nothing":                           {},
		"an account held by a finalizer":    {after: []delegation.Object{object(delegation.ServiceAccount, "account", true)}, want: "account"},
		"a Secret held by a finalizer":      {after: []delegation.Object{object(delegation.Secret, "secret", true)}, want: "secret"},
		"a Role held by a finalizer":        {after: []delegation.Object{object(delegation.Role, "role", true)}},
		"a binding held by a finalizer":     {after: []delegation.Object{object(delegation.RoleBinding, "binding", true)}},
		"a binding that was not deleted":    {after: []delegation.Object{object(delegation.RoleBinding, "binding", false)}, want: "binding"},
		"a Role that was created meanwhile": {after: []delegation.Object{object(delegation.Role, "other", false)}},
		"an account that is not the hop's":  {after: []delegation.Object{object(delegation.ServiceAccount, "other", true)}},
	} {
		t.Run(name, func(t *testing.T) {
			left, _ := errors.AsType[delegation.LeftoverError](stillExists(removed, c.after))
			if left.Object.UID != c.want {
				t.Errorf("left is %q, want %q", left.Object.UID, c.want)
			}
		})
	}
}

// TestUnbindPutsThePresentFirst: any tenant can create bindings with the labels of a hop, as many as they like, and hold them
// by a finalizer. They neither come before the present binding nor are deleted again and again.
func TestUnbindPutsThePresentFirst(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	key := types.NamespacedName{Namespace: "agents", Name: "isolate"}
	hop := &v1alpha1.DelegationHop{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	hop.Status.ServiceAccountName = "dhop-isolate.present.1"
	binding := func(namespace, name string, finalizers ...string) *rbacv1.RoleBinding {
		return &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, Finalizers: finalizers, Labels: map[string]string{
				v1alpha1.LabelHopName: key.Name, v1alpha1.LabelHopNamespace: key.Namespace, v1alpha1.LabelHopUID: "any",
			},
		}}
	}
	objects := []client.Object{hop, binding("payments", hop.Status.ServiceAccountName)}
	const lures = 4 * writesAtOnce
	for i := range lures {
		objects = append(objects, binding("evil", fmt.Sprintf("dhop-isolate.lure-%d.1", i), "example.com/never"))
	}
	var mu sync.Mutex
	var deleted []string
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			mu.Lock()
			deleted = append(deleted, o.GetName())
			mu.Unlock()
			return c.Delete(ctx, o, opts...)
		},
	})
	for _, o := range WatchedTypes() {
		builder = builder.WithIndex(o, HopIndex, func(o client.Object) []string {
			key, _ := HopOf(o)
			return []string{key.String()}
		})
	}
	m := &Manager{Client: builder.Build()}
	for range 3 {
		others, err := m.Unbind(t.Context(), []types.NamespacedName{key})
		if err != nil {
			t.Fatal(err)
		}
		if len(others) != lures || !slices.Equal(deleted[:1], []string{hop.Status.ServiceAccountName}) {
			t.Errorf("%v are deleted, and %d left for later", deleted, len(others))
		}
		if err := m.Remove(t.Context(), others); err != nil {
			t.Fatal(err)
		}
	}
	if len(deleted) != lures+1 {
		t.Errorf("%d deletions of %d bindings", len(deleted), lures+1)
	}
}
