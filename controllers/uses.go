package controllers

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/facts"
	"github.com/wayleave/wayleave/internal/workload"
)

const (
	// useEndsSoon is how long after the end of its last pod a Job is expected to end, and useSoon how often it is looked at then.
	useEndsSoon = 30 * time.Second
	useSoon     = time.Second
	// useLater is how often a Job without pods is looked at: one that is suspended, or waits before it tries again. No Jobs are
	// watched: they can hold Secrets, and the controller reads those of hops alone.
	useLater = 15 * time.Second
)

// endUses removes from the next status the uses that have ended, ends those that have lasted as long as the hop allows, and what
// runs outside of any use.
func (r *HopReconciler) endUses(ctx context.Context, p *pass) error {
	if delegation.HasLiveUse(&p.hop().Status) {
		ended := map[string]bool{}
		for _, use := range p.next.Uses.Live {
			over, err := r.endUse(ctx, p, use)
			if err != nil {
				return err
			}
			ended[use.UID] = over
		}
		delegation.EndUses(p.next, func(use v1alpha1.Use) bool { return ended[use.UID] })
	}
	if p.v.Outcome == delegation.Deny { // everything is ended then
		return nil
	}
	return r.stopUnseen(ctx, p)
}

// endUse says whether a use has ended. It ends one that is over.
func (r *HopReconciler) endUse(ctx context.Context, p *pass, use v1alpha1.Use) (ended bool, err error) {
	hop := p.hop()
	if delegation.UseOver(hop, use, p.in.Now) {
		return true, r.stopUse(ctx, p, use)
	}
	running, lastEnd := runs(p.pods, use.UID)
	if running {
		return false, nil
	}
	if ended, err = r.hasEnded(ctx, types.NamespacedName{Namespace: hop.Namespace, Name: use.Name}, use); ended || err != nil {
		return ended, err
	}
	wait := useLater
	if p.in.Now.Sub(lastEnd) < useEndsSoon {
		wait = useSoon
	}
	p.again = delegation.Sooner(p.again, wait)
	return false, nil
}

// runs says whether a pod of a use has not ended, and when the last one did; zero if there is none that has.
func runs(pods []*corev1.Pod, uid string) (running bool, lastEnd time.Time) {
	for _, pod := range pods {
		if facts.UseUID(pod) != uid {
			continue
		}
		if !workload.HasEnded(pod) {
			return true, time.Time{}
		}
		for _, c := range pod.Status.ContainerStatuses {
			if t := c.State.Terminated; t != nil && t.FinishedAt.After(lastEnd) {
				lastEnd = t.FinishedAt.Time
			}
		}
	}
	return false, lastEnd
}

// hasEnded says whether the Job or Pod of a use has ended, or is gone.
func (r *HopReconciler) hasEnded(ctx context.Context, key types.NamespacedName, use v1alpha1.Use) (bool, error) {
	if use.Kind == v1alpha1.WorkloadPod {
		pod := &corev1.Pod{}
		found, err := facts.Exists(ctx, r.live, key, types.UID(use.UID), pod)
		return err == nil && (!found || workload.HasEnded(pod)), err
	}
	job := &batchv1.Job{}
	found, err := facts.Exists(ctx, r.live, key, types.UID(use.UID), job)
	return err == nil && (!found || finished(job)), err
}

// stopUse ends a use that has lasted as long as its hop allows.
func (r *HopReconciler) stopUse(ctx context.Context, p *pass, use v1alpha1.Use) error {
	hop, why := p.hop(), delegation.DurationExceeded(p.hop())
	text := note(fmt.Sprintf("ended under hop %s: %s", delegation.HopKey(hop), why))
	if use.Kind == v1alpha1.WorkloadJob {
		job := &batchv1.Job{}
		found, err := facts.Exists(ctx, r.live, types.NamespacedName{Namespace: hop.Namespace, Name: use.Name}, types.UID(use.UID), job)
		if err != nil {
			return err
		}
		if found && !finished(job) {
			if err := r.stopper.suspendJob(ctx, job, suspension{text: text, why: why, useEnded: true}); err != nil {
				return err
			}
		}
	}
	for _, pod := range p.pods {
		if facts.UseUID(pod) == use.UID && !workload.HasEnded(pod) {
			r.stopper.events.Eventf(pod, nil, corev1.EventTypeWarning, string(why.Reason), "End", "%s", text)
			if err := r.stopper.deletePod(ctx, pod); err != nil {
				return err
			}
		}
	}
	return nil
}

// stopUnseen ends what runs under a hop outside of any use: its gate was taken away while no policy was in effect, or its Job
// was deleted without it.
func (r *HopReconciler) stopUnseen(ctx context.Context, p *pass) error {
	checked := false
	for _, pod := range p.pods {
		if workload.IsGated(pod) || workload.HasEnded(pod) || workload.IsEnding(pod) ||
			runsAsHop(pod) && delegation.LiveUse(p.next, facts.UseUID(pod)) != nil {
			continue
		}
		if use := delegation.LiveUse(&p.hop().Status, facts.UseUID(pod)); use != nil && delegation.UseOver(p.hop(), *use, p.in.Now) {
			continue // it was ended with its use just now
		}
		if !checked { // its use may have begun since the hop was read
			if err := r.checkUpToDate(ctx, p.hop()); err != nil {
				return err
			}
			checked = true
		}
		r.stopper.events.Eventf(pod, nil, corev1.EventTypeWarning, string(v1alpha1.ReasonWorkloadNotAllowed), "End", "%s",
			note(fmt.Sprintf("ended: it runs in no live use of hop %s: its Job was deleted or has ended without it, or it was not let "+
				"through its gate", delegation.HopKey(p.hop()))))
		if err := r.stopper.deletePod(ctx, pod); err != nil {
			return err
		}
	}
	return nil
}
