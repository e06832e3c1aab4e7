package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/audit"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/rbac"
)

// HopReconciler gives each valid hop its grant, and takes it from each hop that is not valid.
type HopReconciler struct {
	base
	refusals refusals
}

func (r *HopReconciler) setup(mgr ctrl.Manager) error {
	ours := builder.WithPredicates(eitherSide(func(o client.Object) bool {
		_, ok := hopOf(o)
		return ok
	}))
	ceiling := builder.WithPredicates(eitherSide(r.bearsOnCeiling))
	upstream := builder.WithPredicates(upstreamChanges)
	toHop, toAll := handler.EnqueueRequestsFromMapFunc(mapTo(hopOf)), handler.EnqueueRequestsFromMapFunc(r.mapToAllHops)
	b := ctrl.NewControllerManagedBy(mgr).
		Named("hop").
		For(&v1alpha1.DelegationHop{}).
		Watches(&v1alpha1.DelegationHop{}, handler.EnqueueRequestsFromMapFunc(r.mapToDescendants), upstream).
		Watches(&v1alpha1.DelegationPath{}, handler.EnqueueRequestsFromMapFunc(r.mapToHopsOfPath), upstream).
		Watches(&rbacv1.ClusterRole{}, toAll, ceiling).
		Watches(&rbacv1.RoleBinding{}, toAll, ceiling).
		Watches(&rbacv1.ClusterRoleBinding{}, toAll, ceiling).
		WatchesMetadata(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(mapTo(declaredHop)), builder.WithPredicates(podChanges))
	for _, o := range grantTypes() {
		b = b.Watches(o, toHop, ours)
	}
	return b.WithOptions(queueOptions(r.Concurrency)).Complete(r)
}

// state is what one reconcile of a hop knows and is about to write.
type state struct {
	in      delegation.Input
	hop     *v1alpha1.DelegationHop
	verdict delegation.Verdict
	next    *v1alpha1.DelegationHopStatus
	// account is the UID of the account that stands for the hop.
	account types.UID
	// refused is why the grant could not be made although the verdict allows it; nil where it could.
	refused *delegation.Finding
}

// Reconcile judges one hop and makes the cluster be so.
func (r *HopReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	hop := &v1alpha1.DelegationHop{}
	if err := r.Get(ctx, req.NamespacedName, hop); apierrors.IsNotFound(err) {
		return ctrl.Result{}, r.withdraw(ctx, req.NamespacedName, nil, hopGone, true)
	} else if err != nil {
		return ctrl.Result{}, fmt.Errorf("reading the hop: %w", err)
	}
	in, err := r.Gather.Hop(ctx, hop, r.Clock.Now())
	if err != nil {
		return ctrl.Result{}, err
	}
	s := &state{in: in, hop: hop, verdict: delegation.Evaluate(in), next: hop.Status.DeepCopy()}
	s.pin()
	acted := r.act(ctx, s)
	if apierrors.IsConflict(acted) {
		return again(ctx, acted)
	}
	s.settle(acted)
	if err := errors.Join(acted, r.record(ctx, s)); err != nil {
		return again(ctx, err)
	}
	return ctrl.Result{RequeueAfter: r.wakeAfter(s)}, nil
}

// conflictWait gives the cache time to get what changed.
const conflictWait = 50 * time.Millisecond

// again has an object looked at once more. A conflict is no fault: the object has changed, and nothing that was found
// out about it holds.
func again(ctx context.Context, err error) (ctrl.Result, error) {
	if apierrors.IsConflict(err) {
		ctrl.LoggerFrom(ctx).V(1).Info("the object has changed meanwhile", "conflict", err.Error())
		return ctrl.Result{RequeueAfter: conflictWait}, nil
	}
	return ctrl.Result{}, err
}

// act grants on Allow and withdraws on Deny. While something is undetermined nothing new begins, and what stands,
// stands until the last good answer is too old.
func (r *HopReconciler) act(ctx context.Context, s *state) error {
	switch {
	case s.verdict.Outcome == delegation.Allow:
		return r.grant(ctx, s)
	case s.verdict.Outcome == delegation.Undetermined && !r.tooOld(s):
		return nil
	}
	return r.withdrawHop(ctx, s, s.verdict.Findings[0])
}

// tooOld says whether a hop has been undetermined for too long.
func (r *HopReconciler) tooOld(s *state) bool {
	valid := meta.FindStatusCondition(s.hop.Status.Conditions, v1alpha1.ConditionValid)
	return valid != nil && valid.Status == metav1.ConditionUnknown && s.in.Now.Sub(valid.LastTransitionTime.Time) >= r.MaxFactAge
}

// refusedWait is how long a grant that the API server refused waits for its next try. What the refusal depends on is
// watched, so this is only for what cannot be seen.
const refusedWait = time.Minute

func (r *HopReconciler) wakeAfter(s *state) time.Duration {
	after := wake(s.verdict, delegation.TokenDue(s.hop, s.in.Now), s.in.Now, r.Clock.Now())
	wait := time.Duration(0)
	switch {
	case s.refused != nil && s.refused.Reason.Class() == v1alpha1.ClassWaiting:
		wait = undeterminedWait
	case s.refused != nil:
		wait = refusedWait
	case s.verdict.Outcome == delegation.Undetermined:
		wait = min(r.MaxFactAge, undeterminedWait)
	}
	if after == 0 || wait != 0 && wait < after {
		return wait
	}
	return after
}

// undeterminedWait is how long an unanswered question waits until it is asked again.
const undeterminedWait = 10 * time.Second

// pin links the hop to the path and the parent that it finds first. From then on only these will do.
func (s *state) pin() {
	s.next.ObservedGeneration = s.hop.Generation
	if s.next.PathUID == "" && s.in.Path != nil && s.in.Path.DeletionTimestamp.IsZero() {
		s.next.PathUID = string(s.in.Path.UID)
	}
	if hops := s.in.Chain.Hops; s.next.ParentUID == "" && len(hops) > 1 {
		s.next.ParentUID = string(hops[len(hops)-2].UID)
	}
	if s.verdict.Outcome == delegation.Allow && s.next.ActiveSince == nil {
		since := metav1.NewTime(s.in.Now.Truncate(time.Second))
		s.next.ActiveSince = &since
	}
	keepEnd(&s.next.ExpiresAt, s.verdict, s.next.ActiveSince, s.in.Now)
}

// settle states in the conditions what came of it all.
func (s *state) settle(acted error) {
	now, generation := metav1.NewTime(s.in.Now), s.hop.Generation
	set := func(kind string, status metav1.ConditionStatus, reason v1alpha1.Reason, message string) {
		setCondition(&s.next.Conditions, generation, now, kind, status, reason, message)
	}
	reason, message := s.verdict.Reason(v1alpha1.ReasonGranted), s.verdict.Message()
	set(v1alpha1.ConditionValid, outcomeStatus(s.verdict.Outcome), reason, message)
	switch {
	case s.refused != nil:
		reason, message = s.refused.Reason, tell(*s.refused)
	case acted != nil && s.verdict.Outcome == delegation.Allow:
		reason, message = v1alpha1.ReasonNotYetValid, incomplete("the grant", acted)
	}
	granted, grantedMessage := s.held(reason), message
	if acted != nil && reason.Class() != v1alpha1.ClassGood && s.next.ServiceAccountName != "" {
		granted, grantedMessage = metav1.ConditionUnknown, message
		if s.verdict.Outcome != delegation.Allow || s.refused != nil {
			grantedMessage = incomplete("the withdrawal", acted)
		}
	}
	set(v1alpha1.ConditionGranted, granted, reason, grantedMessage)
	setSummary(&s.next.Conditions, generation, now, reason, message)
}

// held says whether the grant stands. While something is undetermined nothing was touched: it is as it was.
func (s *state) held(reason v1alpha1.Reason) metav1.ConditionStatus {
	if s.next.ServiceAccountName == "" {
		return metav1.ConditionFalse
	}
	if s.verdict.Outcome == delegation.Undetermined {
		if was := meta.FindStatusCondition(s.hop.Status.Conditions, v1alpha1.ConditionGranted); was != nil {
			return was.Status
		}
	}
	return status(reason.Class() == v1alpha1.ClassGood)
}

// record writes the status, and once it stands, the Event and the audit line of a transition.
func (r *HopReconciler) record(ctx context.Context, s *state) error {
	before, after := readyReason(s.hop.Status.Conditions), readyReason(s.next.Conditions)
	if err := r.writeHopStatus(ctx, s.hop, s.next); err != nil {
		return err
	}
	if before == after {
		return nil
	}
	message := meta.FindStatusCondition(s.next.Conditions, v1alpha1.ConditionReady).Message
	r.announce(s.hop, after, message)
	return r.transition(s.in, "DelegationHop "+delegation.HopKey(s.hop).String(), hopActor(s), s.verdict, audit.Record{Reason: after, Message: message})
}

func hopActor(s *state) string {
	if len(s.verdict.Findings) > 0 && s.verdict.Findings[0].Actor != "" {
		return s.verdict.Findings[0].Actor
	}
	return actor
}

func mapTo(hop func(client.Object) (types.NamespacedName, bool)) handler.MapFunc {
	return func(_ context.Context, o client.Object) []reconcile.Request {
		if key, ok := hop(o); ok {
			return []reconcile.Request{{NamespacedName: key}}
		}
		return nil
	}
}

// mapToDescendants wakes all that is below a hop: each of them stands on it.
func (r *HopReconciler) mapToDescendants(ctx context.Context, o client.Object) []reconcile.Request {
	keys, err := r.withDescendants(ctx, client.ObjectKeyFromObject(o))
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot find the descendants of a hop", "hop", client.ObjectKeyFromObject(o))
		return nil
	}
	return requestsFor(keys[1:])
}

func (r *HopReconciler) mapToHopsOfPath(ctx context.Context, o client.Object) []reconcile.Request {
	hops, err := r.hopsBy(ctx, pathIndex, client.ObjectKeyFromObject(o))
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot find the hops of a path", "path", client.ObjectKeyFromObject(o))
		return nil
	}
	return requestsFor(keysOf(hops))
}

func requestsFor(keys []types.NamespacedName) []reconcile.Request {
	requests := make([]reconcile.Request, len(keys))
	for i, key := range keys {
		requests[i].NamespacedName = key
	}
	return requests
}

// mapToAllHops is for what bounds all hops: what the controller may grant.
func (r *HopReconciler) mapToAllHops(ctx context.Context, _ client.Object) []reconcile.Request {
	hops, err := r.listHops(ctx)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot list the hops that a change of the ceiling concerns")
		return nil
	}
	return requestsFor(keysOf(hops))
}

// bearsOnCeiling says whether an object has a part in what the controller may grant.
func (r *HopReconciler) bearsOnCeiling(o client.Object) bool {
	switch b := o.(type) {
	case *rbacv1.RoleBinding:
		return r.namesController(b.Subjects, b.Namespace) && r.refersToCeiling(b.RoleRef)
	case *rbacv1.ClusterRoleBinding:
		return r.namesController(b.Subjects, "") && r.refersToCeiling(b.RoleRef)
	default:
		return rbac.IsCeiling(o)
	}
}

// refersToCeiling says whether a binding gives a ceiling. One whose role becomes a ceiling later, or was one, is woken
// for by the role. Without this anybody who binds a group in a namespace of their own would wake every hop.
func (r *HopReconciler) refersToCeiling(ref rbacv1.RoleRef) bool {
	var role rbacv1.ClusterRole
	if ref.Kind != "ClusterRole" {
		return false
	}
	err := r.Get(context.Background(), client.ObjectKey{Name: ref.Name}, &role)
	return err == nil && rbac.IsCeiling(&role)
}

// namesController says whether a binding in a namespace gives something to the controller, by its name or by a group
// that it is in.
func (r *HopReconciler) namesController(subjects []rbacv1.Subject, namespace string) bool {
	groups := rbac.Groups(v1alpha1.Subject{User: r.Gather.Controller})
	return rbac.Names(subjects, namespace, r.Gather.Controller) ||
		slices.ContainsFunc(subjects, func(s rbacv1.Subject) bool { return s.Kind == rbacv1.GroupKind && slices.Contains(groups, s.Name) })
}
