package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/facts"
	"github.com/wayleave/wayleave/internal/grants"
	"github.com/wayleave/wayleave/internal/workload"
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
	declarers  declarers
	unbinding  *unbinding
	deleted    deletedHops
	// floor gets something when a policy came or went; nil where none is required.
	floor <-chan event.GenericEvent
	// authority gets the hops that rest on rights which have changed.
	authority <-chan event.GenericEvent
	// recheck is how often a hop is looked at again.
	recheck time.Duration
}

// hopDeleted is why everything is withdrawn from a hop that does not exist any more.
var hopDeleted = delegation.Finding{Reason: v1alpha1.ReasonHopNotFound, Message: "the hop does not exist any more"}

// Reconcile evaluates one hop and makes the cluster match.
func (r *HopReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	hop, of := &v1alpha1.DelegationHop{}, objectKey{kindHop, req.NamespacedName}
	if err := r.hops.Get(ctx, req.NamespacedName, hop); apierrors.IsNotFound(err) {
		r.record.forget(of)
		_, withdrawn := r.withdraw(ctx, req.NamespacedName, nil, hopDeleted, true, &v1alpha1.Withdrawal{})
		return ctrl.Result{}, errors.Join(withdrawn, r.record.deletion(ctx, of, r.gather, r.clock.Now()))
	} else if err != nil {
		return ctrl.Result{}, fmt.Errorf("reading the hop: %w", err)
	}
	if r.unbinding.holdsUp(hop) {
		return ctrl.Result{}, nil
	}
	p := &pass{gather: r.gather}
	var err error
	if p.pods, err = r.podsOf(ctx, req.NamespacedName); err != nil {
		return ctrl.Result{}, err
	}
	delegation.RestoreHop(hop)
	// Those of an earlier hop of the name. A failure must not keep this hop from being reconciled.
	_, predecessor := r.deleted.withdraw(ctx, req.NamespacedName, r.grants.WithdrawDeleted)
	predecessor = errors.Join(predecessor, r.record.deletion(ctx, of, r.gather, r.clock.Now()))
	if err := r.gatherFor(ctx, p, hop); err != nil {
		return requeueOnConflict(ctx, err)
	}
	p.v = delegation.Evaluate(p.in)
	p.next = delegation.PinReferences(p.in, p.v)
	applied := r.apply(ctx, p)
	if apierrors.IsConflict(applied.Err) {
		return requeueOnConflict(ctx, applied.Err)
	}
	delegation.SetHopConditions(p.next, p.in, p.v, applied)
	if delegation.OnlyUnbound(p.v, applied.Err) { // the binding leads here again; what is left is in the status
		applied = delegation.Applied{Denied: &p.v.Findings[0]}
	}
	if err := errors.Join(applied.Err, r.record.hop(ctx, p.in, p.v, p.next), predecessor); err != nil {
		return requeueOnConflict(ctx, err)
	}
	if err := r.record.keep(ctx, hop, delegation.HopRecord(hop, p.next)); err != nil {
		return requeueOnConflict(ctx, err)
	}
	due := delegation.NextDue(hop, p.in.Now)
	again := delegation.RequeueHopAfter(p.v, applied, due, p.in.Now, r.clock.Now(), r.maxFactAge)
	return ctrl.Result{RequeueAfter: delegation.Sooner(again, recheckAfter(p.v, r.recheck))}, nil
}

// gatherFor gathers what the verdict depends on; live where a pod waits at the gate, since what begins now must not begin on what was
// true a moment ago.
func (r *HopReconciler) gatherFor(ctx context.Context, p *pass, hop *v1alpha1.DelegationHop) (err error) {
	if !slices.ContainsFunc(p.pods, workload.IsGated) {
		p.in, err = p.gather.Hop(ctx, hop, r.clock.Now())
		return err
	}
	p.gather = r.gather.Fresh()
	return atOnce(
		func() error { return r.checkUpToDate(ctx, hop) },
		func() (err error) { p.in, err = p.gather.Hop(ctx, hop, r.clock.Now()); return err },
	)
}

// pass is one reconcile of a hop: what was gathered, and what becomes of it.
type pass struct {
	in     delegation.Input
	v      delegation.Verdict
	next   *v1alpha1.DelegationHopStatus
	gather *facts.Gatherer
	// pods are those that declare the hop.
	pods []*corev1.Pod
	// again is after what time to look at the uses again; zero if nothing is expected.
	again time.Duration
	// atGate are those of them that wait at the gate, and what was decided about each.
	atGate []gatedPod
	// authors has what was answered about who may use the hop.
	authors map[string]delegation.Answer
	// deniedOpen is true where the API server did not let the controller open a gate.
	deniedOpen atomic.Bool
}

func (p *pass) hop() *v1alpha1.DelegationHop { return p.in.Chain.Last() }

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

// apply ends the uses that are over, and then grants on Allow and withdraws on Deny. While a question is open nothing new
// begins, and what exists stays until the last answer is too old.
func (r *HopReconciler) apply(ctx context.Context, p *pass) delegation.Applied {
	ended := r.endUses(ctx, p)
	switch {
	case p.v.Outcome == delegation.Deny, delegation.FactsTooOld(p.next, p.in.Now, r.maxFactAge):
		if why := p.v.Findings[0]; bindable[why.Reason] { // the next account is bound as fast as somebody likes
			r.waits.deny(p.hop(), why)
		}
		applied := r.withdrawHop(ctx, p.hop(), p.next, p.v.Findings[0], p.v.Cascades())
		applied.Err = errors.Join(applied.Err, ended) // whatever cannot be read holds up no withdrawal
		return applied
	case ended != nil:
		return delegation.Applied{Err: ended}
	case p.v.Outcome == delegation.Undetermined:
		return delegation.Applied{InEffect: r.inEffect(ctx, p), Err: r.holdAll(ctx, p), Again: p.again}
	}
	applied := r.grant(ctx, p)
	applied.Again = p.again
	return applied
}

// bindable are the reasons that somebody can cause for one account by its name, and for the next one again.
var bindable = map[v1alpha1.Reason]bool{v1alpha1.ReasonNotExclusive: true, v1alpha1.ReasonNotIsolated: true}

// inEffect says whether the grant of a hop exists, all of it.
func (r *HopReconciler) inEffect(ctx context.Context, p *pass) metav1.ConditionStatus {
	inUse := delegation.InUse(p.next)
	observed, err := r.grants.Observe(ctx, p.in.Path, p.hop())
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot determine whether the grant exists")
		return metav1.ConditionUnknown
	}
	g := delegation.GrantFor(p.in.Path, p.hop(), p.v, observed, "", false)
	if g.HasRights(inUse) && delegation.PlanFor(g, inUse, observed).Empty() {
		return metav1.ConditionTrue
	}
	return metav1.ConditionFalse
}

// withdrawHop withdraws everything from a hop and clears its identity: if it becomes valid again, it gets another one.
func (r *HopReconciler) withdrawHop(
	ctx context.Context, hop *v1alpha1.DelegationHop, next *v1alpha1.DelegationHopStatus, why delegation.Finding, cascade bool,
) delegation.Applied {
	record := &v1alpha1.Withdrawal{} // of a hop that never held anything there is nothing to tell
	if hop.Status.ServiceAccountName != "" || next.Withdrawal != nil {
		next.Withdrawal = delegation.WithdrawalFor(next.Withdrawal, why, r.clock.Now())
		record = next.Withdrawal
	}
	applied := delegation.Applied{}
	left, err := r.withdraw(ctx, delegation.HopKey(hop), hop, why, cascade, record)
	if left.unnoted {
		applied.Again = noteWithin / 10
	}
	if applied.Err = err; err != nil {
		return applied
	}
	next.ServiceAccountName, next.ServiceAccountUID, next.Credential = "", "", nil
	if !delegation.MayPass(why.Reason) { // what is suspended may go on as the use that it is; this will not
		delegation.EndUses(next, func(v1alpha1.Use) bool { return true })
	}
	return applied
}

// withdraw withdraws everything from a hop, which is nil if it was deleted. The order matters: bindings first, its own
// and those of all hops below it where the reason concerns them, since their deletion takes effect immediately; then
// what authenticates; then the roles, which give nothing by themselves; last what runs, since only the end of a process
// ends its open streams. A step that fails does not keep the later ones from being done. The record gets the time of each
// step that was done.
func (r *HopReconciler) withdraw(
	ctx context.Context, key types.NamespacedName, hop *v1alpha1.DelegationHop, why delegation.Finding, cascade bool,
	record *v1alpha1.Withdrawal,
) (left leftover, err error) {
	done := func(step **metav1.MicroTime, errs ...error) error {
		err := errors.Join(errs...)
		if err == nil {
			delegation.Done(step, r.clock.Now())
		}
		return err
	}
	keys := []types.NamespacedName{key}
	var found error
	if cascade {
		if all, err := r.hops.WithDescendants(ctx, key); err != nil {
			found = err
		} else {
			keys = all
		}
	}
	others, err := r.grants.Unbind(ctx, keys)
	unbound := done(&record.UnboundAt, found, err, r.grants.Remove(ctx, others))
	if hop != nil && r.unbinding.holdsUp(hop) { // since this pass began
		return left, apierrors.NewConflict(hopResource, hop.Name, errUnbinding)
	}
	accounts, cached := r.grants.Accounts(ctx, key)
	gone, deleted := r.deleted.withdraw(ctx, key, r.grants.WithdrawDeleted)
	if accounts = append(accounts, gone...); hop != nil {
		accounts = append(accounts, hop.Status.ServiceAccountName)
	}
	identity := done(&record.IdentityDeletedAt, cached, deleted, r.grants.Withdraw(ctx, key, hop))
	left, err = r.stopper.stop(ctx, key, hop, accounts, why)
	if !left.unnoted {
		err = done(&record.WorkloadsStoppedAt, err)
	}
	if err = errors.Join(unbound, identity, err); err != nil || left.running {
		return left, err
	}
	return left, done(&record.CompletedAt)
}
