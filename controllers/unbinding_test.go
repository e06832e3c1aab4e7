package controllers

import (
	"context"
	"errors"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestHopWaitsWhileItsPathIsUnbound: it comes back when the bindings are gone, also if not all of them could be removed. Hops of
// other paths do not wait.
func TestHopWaitsWhileItsPathIsUnbound(t *testing.T) {
	path, hop, _ := grantedHop()
	other := &v1alpha1.DelegationHop{}
	other.Namespace, other.Spec.PathRef.Name = hop.Namespace, "other"
	u, failed := newUnbinding(), errors.New("a policy")
	ended := make(chan error)
	go func() {
		ended <- u.during(t.Context(), client.ObjectKeyFromObject(path), func() error {
			for range 2 {
				if !u.holdsUp(hop) || u.holdsUp(other) {
					t.Error("a hop of the path does not wait, or one of another path does")
				}
			}
			return failed
		})
	}()
	if back := <-u.over; back.Object != hop {
		t.Errorf("%v is reconciled again", back.Object)
	}
	if err := <-ended; !errors.Is(err, failed) {
		t.Errorf("the error of the function is lost: %v", err)
	}
	if u.holdsUp(hop) {
		t.Error("the hop waits although nothing is removed")
	}
}

// TestUnbindingEndsWithTheController: nobody reconciles a hop then.
func TestUnbindingEndsWithTheController(t *testing.T) {
	path, hop, _ := grantedHop()
	u := newUnbinding()
	ctx, cancel := context.WithCancel(t.Context())
	err := u.during(ctx, client.ObjectKeyFromObject(path), func() error {
		u.holdsUp(hop)
		cancel()
		return nil
	})
	if err != nil || u.holdsUp(hop) {
		t.Errorf("it goes on: %v", err)
	}
}
