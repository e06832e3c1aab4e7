package controllers

import (
	"context"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestSweep: what was created for a hop that was deleted while no controller ran is removed when one starts, however long
// the interval is. What belongs to a hop that exists stays, and so does what the cache alone calls an orphan.
func TestSweep(t *testing.T) {
	for name, c := range map[string]struct {
		cached, live []client.Object
		stays        bool
	}{
		"of a hop that is gone":                     {},
		"of a hop that exists":                      {cached: hops("hop"), live: hops("hop"), stays: true},
		"of an earlier hop":                         {cached: hops("later"), live: hops("later")},
		"of a hop that the cache does not hold yet": {live: hops("hop"), stays: true},
		"of a hop that is gone but still cached":    {cached: hops("hop"), stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			meta := metav1.ObjectMeta{Namespace: "payments", Name: v1alpha1.AccountPrefix + "isolate.1.2", UID: "object", Labels: map[string]string{
				v1alpha1.LabelHopNamespace: "agents", v1alpha1.LabelHopName: "isolate", v1alpha1.LabelHopUID: "hop",
			}}
			r := reconciler(t, interceptor.Funcs{}, append(c.live, &rbacv1.Role{ObjectMeta: meta}, &rbacv1.RoleBinding{ObjectMeta: meta})...)
			cache := reconciler(t, interceptor.Funcs{}, c.cached...).live
			s := &Sweeper{cache: cache, live: r.live, grants: r.grants, every: 24 * time.Hour}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- s.Start(ctx) }()
			for _, o := range []client.Object{&rbacv1.RoleBinding{ObjectMeta: meta}, &rbacv1.Role{ObjectMeta: meta}} {
				if gone := goneWithin(t, r.live, o, c.stays); gone == c.stays {
					t.Errorf("%T is gone: %t", o, gone)
				}
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// goneWithin waits until an object is gone, in vain for a moment if it should stay.
func goneWithin(t *testing.T, from client.Reader, o client.Object, stays bool) bool {
	t.Helper()
	patience := 5 * time.Second
	if stays {
		patience = 100 * time.Millisecond
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if apierrors.IsNotFound(from.Get(t.Context(), client.ObjectKeyFromObject(o), o)) {
			return true
		}
	}
	return false
}

func hops(uid string) []client.Object {
	_, hop, _ := grantedHop()
	hop.UID = types.UID(uid)
	return []client.Object{hop}
}
