package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	ac "github.com/wayleave/wayleave/api/applyconfiguration/api/v1alpha1"
	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/audit"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/grants"
	"github.com/wayleave/wayleave/internal/metrics"
)

// recorder records the state of an object: first the audit line of a transition, then the status, then the Event. If the
// line cannot be written, the status stays as it was, and the next try sees the same transition. The last transition of
// each object whose line was written is remembered, so that neither a try after a failed write of the status nor one on a
// cache that lags writes it again. So each transition has one line. It has two if the process ends between line and status,
// or if a cache lags behind two transitions. Events are best effort.
type recorder struct {
	status  client.SubResourceWriter
	objects client.Writer
	events  events.EventRecorder
	audit   *audit.Log
	metrics *metrics.Controller

	mu sync.Mutex
	// logged is the last transition of each object whose line was written.
	logged map[objectKey]transition
	// granted is what the last line of each hop's grant said.
	granted map[objectKey]string
	// deleted are the objects that were deleted and have no line yet, as they last were.
	deleted map[objectKey][]client.Object
}

type objectKey struct {
	kind string
	key  types.NamespacedName
}

// transition is a change of the reason of an object's Ready condition.
type transition struct {
	uid      types.UID
	from, to v1alpha1.Reason
}

const (
	kindPath = "DelegationPath"
	kindHop  = "DelegationHop"
)

// hop records the state of the hop of an input.
func (r *recorder) hop(ctx context.Context, in delegation.Input, v delegation.Verdict, next *v1alpha1.DelegationHopStatus) error {
	hop := in.Chain.Last()
	ready := meta.FindStatusCondition(next.Conditions, v1alpha1.ConditionReady)
	t := transition{uid: hop.UID, from: delegation.ReadyReason(hop.Status.Conditions), to: v1alpha1.Reason(ready.Reason)}
	record := audit.Record{Actor: delegation.HopActor(v), Decision: v.Outcome.String(), Message: ready.Message}
	return r.record(in, objectKey{kindHop, delegation.HopKey(hop)}, hop, t, record, func() error {
		return r.writeHop(ctx, hop, next)
	})
}

// path records the state of the path of an input.
func (r *recorder) path(ctx context.Context, in delegation.Input, v delegation.Verdict, next *v1alpha1.DelegationPathStatus) error {
	path := in.Path
	t := transition{uid: path.UID, from: delegation.ReadyReason(path.Status.Conditions), to: v.Reason(v1alpha1.ReasonActive)}
	record := audit.Record{Actor: delegation.PathActor(path, v), Decision: v.Outcome.String(), Message: v.Message()}
	return r.record(in, objectKey{kindPath, client.ObjectKeyFromObject(path)}, path, t, record, func() error {
		return r.writePath(ctx, path, next)
	})
}

func (r *recorder) record(
	in delegation.Input, of objectKey, object runtime.Object, t transition, record audit.Record, writeStatus func() error,
) error {
	changed := t.from != t.to
	if changed && !r.isLogged(of, t) {
		record.Time, record.Verb, record.Object, record.Reason = in.Now, audit.Change, of.kind+" "+of.key.String(), t.to
		if err := r.audit.Write(record.About(in)); err != nil {
			return err
		}
		r.setLogged(of, t)
	}
	if err := writeStatus(); err != nil {
		return err
	}
	if changed {
		r.announce(object, t.to, record.Message)
	}
	return nil
}

func (r *recorder) isLogged(of objectKey, t transition) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.logged[of] == t
}

func (r *recorder) setLogged(of objectKey, t transition) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.logged == nil {
		r.logged = map[objectKey]transition{}
	}
	r.logged[of] = t
}

// forget is called when the object does not exist any more.
func (r *recorder) forget(of objectKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.logged, of)
	delete(r.granted, of)
}

// writePath writes a path's status if it differs from what the path has.
func (r *recorder) writePath(ctx context.Context, path *v1alpha1.DelegationPath, next *v1alpha1.DelegationPathStatus) error {
	if equality.Semantic.DeepEqual(&path.Status, next) {
		return nil
	}
	err := r.applyPathStatus(ctx, path, next)
	if isTooLarge(err) {
		next = delegation.ShortPathStatus(next)
		err = r.applyPathStatus(ctx, path, next)
	}
	if err != nil {
		return err
	}
	r.metrics.PathWritten(&path.Status, next)
	return nil
}

func (r *recorder) applyPathStatus(ctx context.Context, path *v1alpha1.DelegationPath, next *v1alpha1.DelegationPathStatus) error {
	status, err := convert[ac.DelegationPathStatusApplyConfiguration](next)
	if err != nil {
		return err
	}
	apply := ac.DelegationPath(path.Name, path.Namespace).WithUID(path.UID).WithResourceVersion(path.ResourceVersion).WithStatus(status)
	return r.applyStatus(ctx, "path", client.ObjectKeyFromObject(path), apply)
}

// writeHop writes a hop's status if it differs from what the hop has, and updates the hop. It fails with a conflict if the
// hop has changed since it was read: nothing is granted on a stale reading.
func (r *recorder) writeHop(ctx context.Context, hop *v1alpha1.DelegationHop, next *v1alpha1.DelegationHopStatus) error {
	if equality.Semantic.DeepEqual(&hop.Status, next) {
		return nil
	}
	err := r.applyHopStatus(ctx, hop, next)
	if isTooLarge(err) {
		next = delegation.ShortHopStatus(next)
		err = r.applyHopStatus(ctx, hop, next)
	}
	if err != nil {
		return err
	}
	r.metrics.HopWritten(&hop.Status, next)
	hop.Status = *next.DeepCopy()
	return nil
}

func (r *recorder) applyHopStatus(ctx context.Context, hop *v1alpha1.DelegationHop, next *v1alpha1.DelegationHopStatus) error {
	status, err := convert[ac.DelegationHopStatusApplyConfiguration](next)
	if err != nil {
		return err
	}
	apply := ac.DelegationHop(hop.Name, hop.Namespace).WithUID(hop.UID).WithResourceVersion(hop.ResourceVersion).WithStatus(status)
	if err := r.applyStatus(ctx, "hop", client.ObjectKeyFromObject(hop), apply); err != nil {
		return err
	}
	if apply.ResourceVersion != nil {
		hop.ResourceVersion = *apply.ResourceVersion
	}
	return nil
}

// keep writes into a label of an object what must survive a restore from a backup. Where no room is left for a label, or a policy
// of somebody else denies it, the status has it all the same.
func (r *recorder) keep(ctx context.Context, o client.Object, record string) error {
	if record == "" || o.GetLabels()[v1alpha1.LabelRecord] == record {
		return nil
	}
	raw, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": o.GetUID(), "labels": map[string]string{v1alpha1.LabelRecord: record},
	}})
	if err != nil {
		return fmt.Errorf("encoding a label: %w", err)
	}
	err = r.objects.Patch(ctx, o, client.RawPatch(types.MergePatchType, raw), grants.FieldOwner)
	if isDenied(err) || apierrors.IsNotFound(err) {
		ctrl.LoggerFrom(ctx).V(1).Info("a restore from a backup would begin this anew", "denied", err.Error())
		return nil
	}
	return err
}

// isTooLarge says whether a status was refused for what it holds, or since no room is left for it in its object: an
// object may be older than the bounds on it. A shorter one is written then, or the old one would go on saying Ready.
func isTooLarge(err error) bool {
	return apierrors.IsRequestEntityTooLargeError(err) || apierrors.IsInvalid(err) ||
		err != nil && strings.Contains(err.Error(), "request is too large") // etcd's, which comes as an internal error
}

func (r *recorder) applyStatus(ctx context.Context, what string, key client.ObjectKey, apply runtime.ApplyConfiguration) error {
	if err := r.status.Apply(ctx, apply, grants.FieldOwner, client.ForceOwnership); err != nil {
		return fmt.Errorf("writing the status of %s %s: %w", what, key, err)
	}
	return nil
}

// announce reports a transition as an Event.
func (r *recorder) announce(about runtime.Object, reason v1alpha1.Reason, message string) {
	kind := corev1.EventTypeWarning
	if c := reason.Class(); c == v1alpha1.ClassGood || c == v1alpha1.ClassWaiting {
		kind = corev1.EventTypeNormal
	}
	if message == "" {
		message = string(reason)
	}
	r.events.Eventf(about, nil, kind, string(reason), "Evaluate", "%s", note(message))
}

// maxNote is how many bytes the note of an Event may have. The API server rejects a longer one.
const maxNote = 1024

func note(text string) string {
	if len(text) <= maxNote {
		return text
	}
	return strings.ToValidUTF8(text[:maxNote-len("…")], "") + "…"
}

// convert copies a value into another type with the same JSON, as status types and their apply configurations are.
func convert[T any](from any) (*T, error) {
	raw, err := json.Marshal(from)
	if err != nil {
		return nil, fmt.Errorf("encoding %T: %w", from, err)
	}
	into := new(T)
	if err := json.Unmarshal(raw, into); err != nil {
		return nil, fmt.Errorf("decoding %T: %w", into, err)
	}
	return into, nil
}
