package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/facts"
	"github.com/wayleave/wayleave/internal/grants"
)

// HopReconciler gives each valid hop its grant, and withdraws it from each hop that is not valid.
type HopReconciler struct {
	hops       facts.Hops
	live       client.Reader
	gather     *facts.Gatherer
	grants     *grants.Manager
	stopper    workloadStopper
	record     *recorder
	clock      clock.PassiveClock
	maxFactAge time.Duration
	waits      waits
	deleted    deletedHops
}

// hopDeleted is why everything is withdrawn from a hop that does not exist any more.
var hopDeleted = delegation.Finding{Reason: v1alpha1.ReasonHopNotFound, Message: "the hop does not exist any more"}

// Reconcile evaluates one hop and makes the cluster match.
func (r *HopReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	hop, of := &v1alpha1.DelegationHop{}, objectKey{kindHop, req.NamespacedName}
	if err := r.hops.Get(ctx, req.NamespacedName, hop); apierrors.IsNotFound(err) {
		r.record.forget(of)
		withdrawn := r.withdraw(ctx, req.NamespacedName, nil, hopDeleted, true)
		return ctrl.Result{}, errors.Join(withdrawn, r.record.deletion(ctx, of, r.gather, r.clock.Now()))
	} else if err != nil {
		return ctrl.Result{}, fmt.Errorf("reading the hop: %w", err)
	}
	// Those of an earlier hop of the name. A failure must not keep this hop from being reconciled.
	_, predecessor := r.deleted.withdraw(ctx, req.NamespacedName, r.grants.WithdrawDeleted)
	predecessor = errors.Join(predecessor, r.record.deletion(ctx, of, r.gather, r.clock.Now()))
	in, err := r.gather.Hop(ctx, hop, r.clock.Now())
	if err != nil {
		return ctrl.Result{}, err
	}
	v := delegation.Evaluate(in)
	next := delegation.PinReferences(in, v)
	applied := r.apply(ctx, in, v, next)
	if apierrors.IsConflict(applied.Err) {
		return requeueOnConflict(ctx, applied.Err)
	}
	delegation.SetHopConditions(next, in, v, applied)
	if delegation.OnlyUnbound(v, applied.Err) { // the binding leads here again; what is left is in the status
		applied = delegation.Applied{Denied: &v.Findings[0]}
	}
	if err := errors.Join(applied.Err, r.record.hop(ctx, in, v, next), predecessor); err != nil {
		return requeueOnConflict(ctx, err)
	}
	due := delegation.TokenDue(hop, in.Now)
	return ctrl.Result{RequeueAfter: delegation.RequeueHopAfter(v, applied, due, in.Now, r.clock.Now(), r.maxFactAge)}, nil
}

// conflictWait gives the cache time to receive what changed.
const conflictWait = 50 * time.Millisecond

// requeueOnConflict requeues without an error if the object has changed: nothing that was found out about it holds.
func requeueOnConflict(ctx context.Context, err error) (ctrl.Result, error) {
	if apierrors.IsConflict(err) {
		ctrl.LoggerFrom(ctx).V(1).Info("the object has changed meanwhile", "conflict", err.Error())
		return ctrl.Result{RequeueAfter: conflictWait}, nil
	}
	return ctrl.Result{}, err
}

// apply grants on Allow and withdraws on Deny. While a question is open nothing new begins, and what exists stays until
// the last answer is too old.
func (r *HopReconciler) apply(
	ctx context.Context, in delegation.Input, v delegation.Verdict, next *v1alpha1.DelegationHopStatus,
) delegation.Applied {
	switch {
	case v.Outcome == delegation.Allow:
		return r.grant(ctx, in, v, next)
	case v.Outcome == delegation.Undetermined && !delegation.FactsTooOld(next, in.Now, r.maxFactAge):
		return delegation.Applied{InEffect: r.inEffect(ctx, in, v)}
	}
	return delegation.Applied{Err: r.withdrawHop(ctx, in.Chain.Last(), next, v.Findings[0], v.Cascades())}
}

// inEffect says whether the grant of a hop exists, all of it.
func (r *HopReconciler) inEffect(ctx context.Context, in delegation.Input, v delegation.Verdict) metav1.ConditionStatus {
	hop := in.Chain.Last()
	observed, err := r.grants.Observe(ctx, in.Path, hop)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot determine whether the grant exists")
		return metav1.ConditionUnknown
	}
	if delegation.PlanFor(delegation.GrantFor(in.Path, hop, v, observed, ""), useLives, observed).Empty() {
		return metav1.ConditionTrue
	}
	return metav1.ConditionFalse
}

// withdrawHop withdraws everything from a hop and clears its identity: if it becomes valid again, it gets another one.
func (r *HopReconciler) withdrawHop(
	ctx context.Context, hop *v1alpha1.DelegationHop, next *v1alpha1.DelegationHopStatus, why delegation.Finding, cascade bool,
) error {
	if err := r.withdraw(ctx, delegation.HopKey(hop), hop, why, cascade); err != nil {
		return err
	}
	next.ServiceAccountName, next.ServiceAccountUID, next.Credential = "", "", nil
	return nil
}

// withdraw withdraws everything from a hop, which is nil if it was deleted. The order matters: bindings first, its own
// and those of all hops below it where the reason concerns them, since their deletion takes effect immediately; then
// what authenticates; then the roles, which give nothing by themselves; last what runs, since only the end of a process
// ends its open streams. A step that fails does not keep the later ones from being done.
func (r *HopReconciler) withdraw(
	ctx context.Context, key types.NamespacedName, hop *v1alpha1.DelegationHop, why delegation.Finding, cascade bool,
) error {
	keys := []types.NamespacedName{key}
	var found error
	if cascade {
		if all, err := r.hops.WithDescendants(ctx, key); err != nil {
			found = err
		} else {
			keys = all
		}
	}
	unbound := r.grants.Unbind(ctx, keys)
	accounts, cached := r.grants.Accounts(ctx, key)
	gone, deleted := r.deleted.withdraw(ctx, key, r.grants.WithdrawDeleted)
	if accounts = append(accounts, gone...); hop != nil {
		accounts = append(accounts, hop.Status.ServiceAccountName)
	}
	return errors.Join(found, unbound, cached, deleted, r.grants.Withdraw(ctx, key, hop), r.stopper.stop(ctx, key, hop, accounts, why))
}
