package controllers

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/audit"
	"github.com/wayleave/wayleave/internal/delegation"
)

// PathReconciler says of each path what it is, and takes the bindings of all its hops away at once when it ends.
type PathReconciler struct {
	base
}

// countDelay gathers the changes of many hops into one count.
const countDelay = 500 * time.Millisecond

func (r *PathReconciler) setup(mgr ctrl.Manager) error {
	countHops := func(o client.Object, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		if hop, ok := o.(*v1alpha1.DelegationHop); ok {
			q.AddAfter(reconcile.Request{NamespacedName: delegation.PathKey(hop)}, countDelay)
		}
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("path").
		For(&v1alpha1.DelegationPath{}).
		Watches(&v1alpha1.DelegationHop{}, handler.Funcs{
			CreateFunc: func(_ context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
				countHops(e.Object, q)
			},
			UpdateFunc: func(_ context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
				countHops(e.ObjectNew, q)
			},
			DeleteFunc: func(_ context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
				countHops(e.Object, q)
			},
		}).
		WithOptions(queueOptions(4)).
		Complete(r)
}

// Reconcile judges one path.
func (r *PathReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	path := &v1alpha1.DelegationPath{}
	if err := r.Get(ctx, req.NamespacedName, path); apierrors.IsNotFound(err) {
		return ctrl.Result{}, r.unbindAll(ctx, req.NamespacedName)
	} else if err != nil {
		return ctrl.Result{}, fmt.Errorf("reading the path: %w", err)
	}
	in := r.Gather.Path(ctx, path, r.Clock.Now())
	verdict := delegation.Evaluate(in)
	if verdict.Outcome == delegation.Deny {
		if err := r.unbindAll(ctx, req.NamespacedName); err != nil {
			return ctrl.Result{}, err
		}
	}
	next, err := r.nextStatus(ctx, in, verdict)
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := r.record(ctx, in, verdict, next); err != nil {
		return again(ctx, err)
	}
	after := wake(verdict, time.Time{}, in.Now, r.Clock.Now())
	if verdict.Outcome == delegation.Undetermined && (after == 0 || after > undeterminedWait) {
		after = undeterminedWait
	}
	return ctrl.Result{RequeueAfter: after}, nil
}

// unbindAll removes the bindings of all hops of a path at the same time, before anything else of any hop goes: without
// a binding the API server refuses within milliseconds. The hops' own reconciles do the rest.
func (r *PathReconciler) unbindAll(ctx context.Context, path types.NamespacedName) error {
	hops, err := r.hopsBy(ctx, pathIndex, path)
	if err != nil {
		return err
	}
	return r.unbind(ctx, keysOf(hops))
}

func (r *PathReconciler) nextStatus(ctx context.Context, in delegation.Input, v delegation.Verdict) (*v1alpha1.DelegationPathStatus, error) {
	path, now := in.Path, metav1.NewTime(in.Now)
	next := path.Status.DeepCopy()
	next.ObservedGeneration = path.Generation
	if v.Outcome == delegation.Allow && next.ActiveSince == nil {
		since := metav1.NewTime(in.Now.Truncate(time.Second))
		next.ActiveSince = &since
	}
	keepEnd(&next.ExpiresAt, v, next.ActiveSince, in.Now)
	counts, err := r.count(ctx, path)
	if err != nil {
		return nil, err
	}
	next.Hops = counts

	reason := v.Reason(v1alpha1.ReasonActive)
	authorized, _ := originCondition(v)
	setCondition(&next.Conditions, path.Generation, now, v1alpha1.ConditionOriginAuthorized, authorized.Status, v1alpha1.Reason(authorized.Reason), authorized.Message)
	if reason != readyReason(path.Status.Conditions) {
		who := r.pathActor(path, v)
		next.History = append(next.History, v1alpha1.Transition{Time: now.Rfc3339Copy(), Actor: who, Reason: reason, Message: v.Message()})
		next.History = next.History[max(0, len(next.History)-maxHistory):]
	}
	setSummary(&next.Conditions, path.Generation, now, reason, v.Message())
	return next, nil
}

// maxHistory is how many transitions a path's status remembers, as its schema bounds them.
const maxHistory = 32

// originCondition is what a verdict says about the origin.
func originCondition(v delegation.Verdict) (metav1.Condition, bool) {
	for _, reason := range []v1alpha1.Reason{v1alpha1.ReasonOriginUnauthorized, v1alpha1.ReasonScopeExceedsOrigin} {
		if f, found := v.Find(reason); found {
			return metav1.Condition{Status: metav1.ConditionFalse, Reason: string(reason), Message: f.String()}, true
		}
	}
	if f, found := v.Find(v1alpha1.ReasonUndetermined); found {
		return metav1.Condition{Status: metav1.ConditionUnknown, Reason: string(f.Reason), Message: f.String()}, true
	}
	return metav1.Condition{Status: metav1.ConditionTrue, Reason: string(v1alpha1.ReasonActive)}, false
}

// keepEnd records when something ends. An end that has passed is never moved: what expired stays expired. What never
// began has no end yet, unless its time has passed without it: a verdict then reckons as if it began just now, and to
// record that would move the end with each look at it, and let it pass for good.
func keepEnd(at **metav1.Time, v delegation.Verdict, since *metav1.Time, now time.Time) {
	if *at != nil && !now.Before((*at).Time) {
		return
	}
	if v.NotAfter.IsZero() || since == nil && v.NotAfter.After(now) {
		return
	}
	end := metav1.NewTime(v.NotAfter)
	*at = &end
}

func (r *PathReconciler) count(ctx context.Context, path *v1alpha1.DelegationPath) (*v1alpha1.HopCounts, error) {
	hops, err := r.hopsBy(ctx, pathIndex, client.ObjectKeyFromObject(path))
	if err != nil {
		return nil, err
	}
	var total, ready, stalled int32
	for _, hop := range hops {
		total++
		switch reason := readyReason(hop.Status.Conditions); {
		case reason == "":
		case reason.Class() == v1alpha1.ClassGood:
			ready++
		case reason.Class() != v1alpha1.ClassWaiting:
			stalled++
		}
	}
	return &v1alpha1.HopCounts{Total: &total, Ready: &ready, Stalled: &stalled}, nil
}

// pathActor is who caused the path's present state, as far as admission knew.
func (r *PathReconciler) pathActor(path *v1alpha1.DelegationPath, v delegation.Verdict) string {
	if len(v.Findings) > 0 && v.Findings[0].Actor != "" {
		return v.Findings[0].Actor
	}
	changed := path.Generation != path.Status.ObservedGeneration
	if by := path.Annotations[v1alpha1.AnnotationChangedBy]; changed && by != "" {
		return by
	}
	return actor
}

// record writes the status, and once it stands, the Event and the audit line of a transition.
func (r *PathReconciler) record(ctx context.Context, in delegation.Input, v delegation.Verdict, next *v1alpha1.DelegationPathStatus) error {
	path := in.Path
	before, reason := readyReason(path.Status.Conditions), v.Reason(v1alpha1.ReasonActive)
	if err := r.writePathStatus(ctx, path, next); err != nil {
		return err
	}
	if before == reason {
		return nil
	}
	r.announce(path, reason, v.Message())
	return r.transition(in, "DelegationPath "+path.Namespace+"/"+path.Name, r.pathActor(path, v), v, audit.Record{Reason: reason, Message: v.Message()})
}
