package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/workload"
)

// holdAll says on all pods at the gate why they wait.
func (r *HopReconciler) holdAll(ctx context.Context, p *pass) error {
	why := delegation.Finding{Reason: v1alpha1.ReasonUndetermined, Message: errNotInEffect.Error()}
	if len(p.v.Findings) > 0 {
		why = p.v.Findings[0]
	}
	gated := slices.DeleteFunc(slices.Clone(p.pods), func(pod *corev1.Pod) bool {
		return !pod.DeletionTimestamp.IsZero() || !workload.IsGated(pod)
	})
	return inParallel(gated, func(pod *corev1.Pod) error { return r.stopper.hold(ctx, pod, why, metav1.NewTime(p.in.Now)) })
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
			errs = append(errs, r.supersede(ctx, p, g))
		default:
			errs = append(errs, r.refuse(ctx, p, g))
		}
	}
	return errors.Join(errs...)
}

// supersede replaces a pod whose account was replaced in the moment in which it was created: its Job is suspended, and resumed when
// the pod is gone, which costs it no retry. Nobody replaces a Pod that no controller made.
func (r *HopReconciler) supersede(ctx context.Context, p *pass, g gatedPod) error {
	text := note(fmt.Sprintf("not started under hop %s: %s", delegation.HopKey(p.hop()), superseded))
	if g.Job != nil {
		r.waits.resumeLater(p.hop().UID)
		return r.stopper.suspendJob(ctx, g.Job, suspension{text: text, why: superseded, returns: p.hop()})
	}
	r.stopper.events.Eventf(g.pod, nil, corev1.EventTypeWarning, string(superseded.Reason), "Start", "%s", text)
	return r.stopper.deletePod(ctx, g.pod)
}

// resumes says whether a Job of a hop was suspended since its pod was superseded, and no such pod is left.
func (r *HopReconciler) resumes(p *pass) bool {
	hop := p.hop()
	if !r.waits.isResumedLater(hop.UID) || slices.ContainsFunc(p.pods, func(pod *corev1.Pod) bool {
		return !workload.HasEnded(pod) && pod.Spec.ServiceAccountName != p.next.ServiceAccountName
	}) {
		return false
	}
	r.waits.resumed(hop.UID)
	return true
}

// refuse suspends the Job of a pod, or deletes a pod without one, and says why on both, and on the CronJob of the Job. A Job that
// somebody resumes at once is not suspended at the same speed: its pod waits.
func (r *HopReconciler) refuse(ctx context.Context, p *pass, g gatedPod) error {
	hop, why := delegation.HopKey(p.hop()), *g.refused
	if g.Job != nil && r.waits.refusal(g.Use.UID) != nil {
		p.again = delegation.Sooner(p.again, delegation.DeniedRetry)
		return r.stopper.hold(ctx, g.pod, why, metav1.NewTime(p.in.Now))
	}
	text := note(fmt.Sprintf("not started under hop %s: %s", hop, why))
	if g.Job != nil {
		of := suspension{text: text, why: why}
		if use := delegation.LiveUse(p.next, g.Use.UID); use != nil && use.SuspendedFor != "" { // it goes on once they may
			of.returns = p.hop()
		}
		err := r.stopper.suspendJob(ctx, g.Job, of)
		if err != nil && !isDenied(err) {
			return err
		}
		r.waits.refuse(g.Use.UID, why)
		if err != nil { // somebody's policy; the pod does not start all the same
			return r.stopper.hold(ctx, g.pod, why, metav1.NewTime(p.in.Now))
		}
	}
	r.stopper.events.Eventf(g.pod, nil, corev1.EventTypeWarning, string(why.Reason), "Start", "%s", text)
	if g.CronJob != nil {
		r.stopper.events.Eventf(g.CronJob, g.Job, corev1.EventTypeWarning, string(why.Reason), "Start", "%s", text)
	}
	if g.Job != nil { // the Job controller deletes the pod without counting a failure; one that we delete counts
		return nil
	}
	return r.stopper.deletePod(ctx, g.pod)
}

// hold says on a pod why it waits at the gate: in a condition, and in an Event where that changes.
func (s workloadStopper) hold(ctx context.Context, pod *corev1.Pod, why delegation.Finding, at metav1.Time) error {
	message := why.BoundedString()
	if c := podGranted(pod); c != nil && c.Reason == string(why.Reason) && c.Message == message {
		return nil
	}
	told, err := s.setGranted(ctx, pod, corev1.PodCondition{
		Status: corev1.ConditionFalse, Reason: string(why.Reason), Message: message, LastTransitionTime: at,
	})
	if told {
		s.events.Eventf(pod, nil, corev1.EventTypeWarning, string(why.Reason), "Start", "%s", note("waits at the gate: "+message))
	}
	return err
}

// noLongerHeld says on the pods that waited and have passed the gate that they have. The pass after the one that opens a gate says
// so: if that one did, a crash in between would leave a pod that runs and says that it waits.
func (r *HopReconciler) noLongerHeld(ctx context.Context, p *pass) error {
	var errs []error
	for _, pod := range p.pods {
		c := podGranted(pod)
		if c == nil || c.Status == corev1.ConditionTrue || workload.IsGated(pod) || !pod.DeletionTimestamp.IsZero() {
			continue
		}
		_, err := r.stopper.setGranted(ctx, pod, corev1.PodCondition{
			Status: corev1.ConditionTrue, Reason: string(v1alpha1.ReasonGranted), LastTransitionTime: metav1.NewTime(p.in.Now),
		})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func podGranted(pod *corev1.Pod) *corev1.PodCondition {
	i := slices.IndexFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == v1alpha1.ConditionPodGranted })
	if i < 0 {
		return nil
	}
	return &pod.Status.Conditions[i]
}

// setGranted sets our condition of a pod, and says whether the pod exists.
func (s workloadStopper) setGranted(ctx context.Context, pod *corev1.Pod, c corev1.PodCondition) (bool, error) {
	c.Type = v1alpha1.ConditionPodGranted
	raw, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": pod.UID}, "status": map[string]any{"conditions": []corev1.PodCondition{c}},
	})
	if err != nil {
		return false, fmt.Errorf("encoding a patch: %w", err)
	}
	target := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}}
	err = s.client.Status().Patch(ctx, target, client.RawPatch(types.StrategicMergePatchType, raw))
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("saying on pod %s/%s why it waits: %w", pod.Namespace, pod.Name, err)
	}
	return true, nil
}

// unanswered is why a pod waits of which something could not be read.
func unanswered(err error) *delegation.Finding {
	return &delegation.Finding{Reason: v1alpha1.ReasonUndetermined, Message: "could not determine what made the pod: " +
		delegation.APIMessage(err, "there was no answer")}
}

// isDenied says whether the API server denies a write, as a policy of somebody else may.
func isDenied(err error) bool { return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) }
