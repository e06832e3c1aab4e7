package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

// maxNote is how many bytes the note of an Event may have. The API server refuses a longer one.
const maxNote = 1024

func note(text string) string {
	if len(text) <= maxNote {
		return text
	}
	return strings.ToValidUTF8(text[:maxNote-len("…")], "") + "…"
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
	b.recorder.Eventf(about, nil, kind, string(reason), "Evaluate", "%s", note(message))
}

// wake is how long from now to look again because of time alone, after a verdict that was asked for a moment ago: what
// was done meanwhile took time, which must not be added to a lifetime. The last instant before an end is never enough:
// one is added so that the end has surely come. Zero means never.
func wake(v delegation.Verdict, tokenDue, asked, now time.Time) time.Duration {
	if next := delegation.NextWake(v, tokenDue, asked); next > 0 {
		return max(0, next-now.Sub(asked)) + time.Millisecond
	}
	return 0
}

// tell says one finding within the bounds of a condition and of an Event.
func tell(f delegation.Finding) string {
	return delegation.Verdict{Findings: []delegation.Finding{f}}.Message()
}

// incomplete says in a condition that something could not be done to its end. Of the error it tells only what the API
// server said: an error of the network may name a port that is another one on each try, and as each change of the
// status is a reason to try again at once, such a text would undo the limit on retries.
func incomplete(what string, err error) string {
	said := "it is tried again"
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		said = status.Status().Message
	}
	return tell(delegation.Finding{Reason: v1alpha1.ReasonNotYetValid, Message: what + " is not complete yet: " + said})
}
