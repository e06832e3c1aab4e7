package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/workload"
)

// gatedPod is a pod that waits at the gate, and what was decided about it.
type gatedPod struct {
	pod *corev1.Pod
	declaration
	// refused is why it may not start; nil if it may.
	refused *delegation.Finding
}

const (
	// podsAtOnce bounds how many pods one pass writes at the same time.
	podsAtOnce = 16
	// effectWithin is how long a pass waits for the API server to let the account do what it was granted, and effectPoll how
	// often it asks.
	effectWithin = 2 * time.Second
	effectPoll   = 5 * time.Millisecond
)

// podsOf are the pods that declare a hop.
func (r *HopReconciler) podsOf(ctx context.Context, hop types.NamespacedName) ([]*corev1.Pod, error) {
	var list corev1.PodList
	if err := r.hops.List(ctx, &list, client.MatchingFields{declaredIndex: hop.String()}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing the pods of hop %s: %w", hop, err)
	}
	pods := make([]*corev1.Pod, len(list.Items))
	for i := range list.Items {
		pods[i] = &list.Items[i]
	}
	return pods, nil
}

// judgeAll decides about each pod at the gate, and counts in the next status the uses that begin. A pod that waits at another
// gate, too, is decided about when it waits at this one alone: what it would be given then is bounded by the time that is left.
func (r *HopReconciler) judgeAll(ctx context.Context, p *pass) error {
	found := owners{live: r.live}
	for _, pod := range p.pods {
		if !pod.DeletionTimestamp.IsZero() || !workload.IsGated(pod) || workload.IsHeldByOthers(pod) {
			continue
		}
		g := gatedPod{pod: pod}
		d, refused, err := found.declarationOf(ctx, pod)
		switch g.declaration = d; {
		case err != nil:
			refused = unanswered(err)
		case refused == nil:
			if refused, err = r.judge(ctx, p, g); err != nil {
				return err
			}
		}
		g.refused = refused
		p.atGate = append(p.atGate, g)
	}
	return nil
}

// judge decides about one pod, and counts its use in the next status if it begins with the pod.
func (r *HopReconciler) judge(ctx context.Context, p *pass, g gatedPod) (*delegation.Finding, error) {
	hop := p.hop()
	if f := r.heldBack(p, g); f != nil {
		return f, nil
	}
	w, err := workload.From(g.pod)
	if err != nil {
		return nil, err
	}
	question := w.Question(false, p.gather.StillMayUse(ctx, g.stamp.Author, delegation.HopKey(hop)))
	question.Kinds, question.Author = []v1alpha1.WorkloadKind{g.kind}, g.stamp.Author.User
	in := p.in
	in.Workload = question
	if v := delegation.Evaluate(in); v.Outcome != delegation.Allow {
		return &v.Findings[0], nil
	}
	if f := w.Misassigned(hop.Status.ServiceAccountName, w.Audiences(in)); f != nil {
		return f, nil
	}
	if f := delegation.BeginUse(p.next, hop, g.use, p.in.Now); f != nil {
		return f, nil
	}
	return nil, r.pin(ctx, hop, g)
}

// heldBack says why a pod does not start that nothing else has to be asked about; nil if something has.
func (r *HopReconciler) heldBack(p *pass, g gatedPod) *delegation.Finding {
	hop := p.hop()
	if last := r.waits.refusal(g.use.UID); last != nil {
		return last
	}
	switch {
	case g.pod.Spec.ServiceAccountName != hop.Status.ServiceAccountName:
		return &superseded
	case g.stamp.HopUID != "" && g.stamp.HopUID != string(hop.UID):
		return undeclared("it was declared for an earlier hop of this name: create it again")
	case g.job == nil:
		return nil
	case g.job.Annotations[v1alpha1.AnnotationUseEnded] != "":
		f := delegation.DurationExceeded(hop)
		return &f
	case suspended(g.job):
		return &delegation.Finding{Reason: v1alpha1.ReasonSuspended, Message: "its Job is suspended"}
	}
	return nil
}

// superseded is why a pod cannot run whose account was replaced. Its Job makes another one.
var superseded = delegation.Finding{
	Reason: v1alpha1.ReasonWrongServiceAccount, Message: "the pod has an account that the hop had earlier; another pod is made in its place",
}

// pin names the hop in the stamp of a Job or CronJob that was created before the hop was: one that is recreated is another hop.
func (r *HopReconciler) pin(ctx context.Context, hop *v1alpha1.DelegationHop, g gatedPod) error {
	if g.stamp.HopUID != "" {
		return nil
	}
	patch := jobPatch{Metadata: jobPatchMeta{
		UID: g.stamped.GetUID(), ResourceVersion: g.stamped.GetResourceVersion(),
		Annotations: map[string]any{v1alpha1.AnnotationDeclaredHop: hop.UID},
	}}
	if err := r.stopper.patch(ctx, g.stamped, patch); err != nil {
		return fmt.Errorf("naming the hop on what declares it: %w", err)
	}
	return nil
}

// countUses writes the uses that begin into the status, before anything is given to them. It fails with a conflict if the hop
// has changed since it was read.
func (r *HopReconciler) countUses(ctx context.Context, p *pass) error {
	hop := p.hop()
	if !delegation.InUse(p.next) || equality.Semantic.DeepEqual(hop.Status.Uses, p.next.Uses) {
		return nil
	}
	if err := r.record.uses(p.in, p.v, hop.Status.Uses, p.next.Uses); err != nil {
		return err
	}
	return r.record.writeHop(ctx, hop, p.next)
}

// openGates lets the pods start that may, once the API server lets their account do what it was granted, and says of the others
// why they do not.
func (r *HopReconciler) openGates(ctx context.Context, p *pass) error {
	var open, refused []gatedPod
	for _, g := range p.atGate {
		if g.refused == nil {
			open = append(open, g)
		} else {
			refused = append(refused, g)
		}
	}
	errs := []error{r.refuseAll(ctx, p, refused)}
	if len(open) == 0 {
		return errors.Join(errs...)
	}
	if err := r.awaitEffect(ctx, p); err != nil {
		return errors.Join(append(errs, err, r.holdAll(ctx, p))...)
	}
	opened := make([]error, len(open))
	var group errgroup.Group
	group.SetLimit(podsAtOnce)
	for i, g := range open {
		group.Go(func() error {
			opened[i] = r.open(ctx, p, g)
			return nil
		})
	}
	_ = group.Wait() // each pod has its own error
	return errors.Join(append(errs, opened...)...)
}

// awaitEffect waits until the API server lets the account of a hop do what it was granted: its authorizer learns of a binding
// some milliseconds after it was written.
func (r *HopReconciler) awaitEffect(ctx context.Context, p *pass) error {
	account := types.NamespacedName{Namespace: p.hop().Namespace, Name: p.next.ServiceAccountName}
	err := wait.PollUntilContextTimeout(ctx, effectPoll, effectWithin, true, func(ctx context.Context) (bool, error) {
		return r.gather.InEffect(ctx, account, p.v.Scope).Outcome == delegation.Allow, nil
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		return errNotInEffect
	}
	return err
}

var errNotInEffect = errors.New("the API server does not let the account do yet what it was granted")

// open removes the gate of a pod and bounds how long it runs, in one update. It fails with a conflict if the pod is not the one
// any more that was decided about.
func (r *HopReconciler) open(ctx context.Context, p *pass, g gatedPod) error {
	now := &corev1.Pod{}
	if err := r.hops.Get(ctx, client.ObjectKeyFromObject(g.pod), now); err != nil {
		return client.IgnoreNotFound(err)
	}
	if now.UID != g.pod.UID || !equality.Semantic.DeepEqual(now.Spec, g.pod.Spec) || !equality.Semantic.DeepEqual(now.Labels, g.pod.Labels) {
		return apierrors.NewConflict(corev1.Resource("pods"), g.pod.Name, errStale)
	}
	deadline := delegation.Deadline(p.hop(), *delegation.LiveUse(p.next, g.use.UID), p.v, r.clock.Now())
	if d := g.pod.Spec.ActiveDeadlineSeconds; d != nil {
		deadline = min(deadline, *d)
	}
	raw, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": now.UID, "resourceVersion": now.ResourceVersion},
		"spec":     map[string]any{"schedulingGates": nil, "activeDeadlineSeconds": deadline},
	})
	if err != nil {
		return fmt.Errorf("encoding a patch: %w", err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: now.Namespace, Name: now.Name}}
	err = r.stopper.client.Patch(ctx, pod, client.RawPatch(types.MergePatchType, raw))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("opening the gate of pod %s: %w", client.ObjectKeyFromObject(pod), err)
	}
	return nil
}

// holdAll says on all pods at the gate why they wait.
func (r *HopReconciler) holdAll(ctx context.Context, p *pass) error {
	why := delegation.Finding{Reason: v1alpha1.ReasonUndetermined, Message: errNotInEffect.Error()}
	if len(p.v.Findings) > 0 {
		why = p.v.Findings[0]
	}
	var errs []error
	for _, pod := range p.pods {
		if pod.DeletionTimestamp.IsZero() && workload.IsGated(pod) {
			errs = append(errs, r.stopper.hold(ctx, pod, why, metav1.NewTime(p.in.Now)))
		}
	}
	return errors.Join(errs...)
}

// refuseAll says of pods why they may not start. One that has only to wait stays at the gate; otherwise its Job is suspended, and
// the pod is deleted.
func (r *HopReconciler) refuseAll(ctx context.Context, p *pass, pods []gatedPod) error {
	var errs []error
	for _, g := range pods {
		switch {
		case g.refused.Reason.Class() == v1alpha1.ClassWaiting:
			errs = append(errs, r.stopper.hold(ctx, g.pod, *g.refused, metav1.NewTime(p.in.Now)))
		case *g.refused == superseded:
			errs = append(errs, r.stopper.deletePod(ctx, g.pod))
		default:
			errs = append(errs, r.refuse(ctx, p, g))
		}
	}
	return errors.Join(errs...)
}

// refuse suspends the Job of a pod and deletes the pod, and says why on both, and on the CronJob of the Job. A Job that somebody
// resumes at once is not suspended at the same speed: its pod waits.
func (r *HopReconciler) refuse(ctx context.Context, p *pass, g gatedPod) error {
	hop, why := delegation.HopKey(p.hop()), *g.refused
	if g.job != nil && r.waits.refusal(g.use.UID) != nil {
		p.again = sooner(p.again, delegation.DeniedRetry)
		return r.stopper.hold(ctx, g.pod, why, metav1.NewTime(p.in.Now))
	}
	text := note(fmt.Sprintf("not started under hop %s: %s", hop, why))
	if g.job != nil {
		r.waits.refuse(g.use.UID, why)
		if err := r.stopper.suspendJob(ctx, g.job, suspension{text: text, why: why}); err != nil {
			return err
		}
	}
	r.stopper.events.Eventf(g.pod, nil, corev1.EventTypeWarning, string(why.Reason), "Start", "%s", text)
	if g.cronJob != nil {
		r.stopper.events.Eventf(g.cronJob, g.job, corev1.EventTypeWarning, string(why.Reason), "Start", "%s", text)
	}
	return r.stopper.deletePod(ctx, g.pod)
}

// hold says on a pod why it waits at the gate: in a condition, and in an Event where that changes.
func (s workloadStopper) hold(ctx context.Context, pod *corev1.Pod, why delegation.Finding, at metav1.Time) error {
	message := why.BoundedString()
	for _, c := range pod.Status.Conditions {
		if c.Type == v1alpha1.ConditionPodGranted && c.Reason == string(why.Reason) && c.Message == message {
			return nil
		}
	}
	raw, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": pod.UID},
		"status": map[string]any{"conditions": []map[string]any{{
			"type": v1alpha1.ConditionPodGranted, "status": corev1.ConditionFalse, "reason": why.Reason, "message": message,
			"lastTransitionTime": at,
		}}},
	})
	if err != nil {
		return fmt.Errorf("encoding a patch: %w", err)
	}
	target := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}}
	err = s.client.Status().Patch(ctx, target, client.RawPatch(types.StrategicMergePatchType, raw))
	switch {
	case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
		return nil
	case err != nil:
		return fmt.Errorf("saying on pod %s/%s why it waits: %w", pod.Namespace, pod.Name, err)
	}
	s.events.Eventf(pod, nil, corev1.EventTypeWarning, string(why.Reason), "Start", "%s", note("waits at the gate: "+message))
	return nil
}

// unanswered is why a pod waits of which something could not be read.
func unanswered(err error) *delegation.Finding {
	return &delegation.Finding{Reason: v1alpha1.ReasonUndetermined, Message: "could not determine what made the pod: " +
		delegation.APIMessage(err, "there was no answer")}
}
