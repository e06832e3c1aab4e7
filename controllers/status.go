package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	ac "github.com/wayleave/wayleave/api/applyconfiguration/api/v1alpha1"
	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// writePathStatus writes a path's status if it differs from what stands.
func (b *base) writePathStatus(ctx context.Context, path *v1alpha1.DelegationPath, next *v1alpha1.DelegationPathStatus) error {
	if equality.Semantic.DeepEqual(&path.Status, next) {
		return nil
	}
	status, err := convert[ac.DelegationPathStatusApplyConfiguration](next)
	if err != nil {
		return err
	}
	apply := ac.DelegationPath(path.Name, path.Namespace).WithUID(path.UID).WithResourceVersion(path.ResourceVersion).WithStatus(status)
	return b.applyStatus(ctx, "path", client.ObjectKeyFromObject(path), apply)
}

// writeHopStatus writes a hop's status if it differs from what stands, and takes over the new resource version. It
// fails with a conflict if the hop has changed since it was read: nothing is granted on a stale reading.
func (b *base) writeHopStatus(ctx context.Context, hop *v1alpha1.DelegationHop, next *v1alpha1.DelegationHopStatus) error {
	if equality.Semantic.DeepEqual(&hop.Status, next) {
		return nil
	}
	status, err := convert[ac.DelegationHopStatusApplyConfiguration](next)
	if err != nil {
		return err
	}
	apply := ac.DelegationHop(hop.Name, hop.Namespace).WithUID(hop.UID).WithResourceVersion(hop.ResourceVersion).WithStatus(status)
	if err := b.applyStatus(ctx, "hop", client.ObjectKeyFromObject(hop), apply); err != nil {
		return err
	}
	if apply.ResourceVersion != nil {
		hop.ResourceVersion = *apply.ResourceVersion
	}
	hop.Status = *next.DeepCopy()
	return nil
}

func (b *base) applyStatus(ctx context.Context, what string, key client.ObjectKey, apply runtime.ApplyConfiguration) error {
	if err := b.Status().Apply(ctx, apply, FieldOwner, client.ForceOwnership); err != nil {
		return fmt.Errorf("writing the status of %s %s: %w", what, key, err)
	}
	return nil
}

// announce tells a transition as an Event.
func (b *base) announce(about client.Object, reason v1alpha1.Reason, message string) {
	kind := corev1.EventTypeWarning
	if c := reason.Class(); c == v1alpha1.ClassGood || c == v1alpha1.ClassWaiting {
		kind = corev1.EventTypeNormal
	}
	if message == "" {
		message = string(reason)
	}
	b.recorder.Eventf(about, nil, kind, string(reason), "Evaluate", "%s", message)
}

// wake is when to look again because of time alone. The last instant before an end is never enough: one is added so
// that the end has surely come.
func wake(v delegation.Verdict, tokenDue, now time.Time) time.Duration {
	if next := delegation.NextWake(v, tokenDue, now); next > 0 {
		return next + time.Millisecond
	}
	return 0
}
