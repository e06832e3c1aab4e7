package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/lru"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/facts"
	"github.com/wayleave/wayleave/internal/workload"
)

// declarers remembers on whose right the live uses of hops run: the status names the user, and the stamp of the Job or Pod alone has
// the groups. It is memory: after a restart each stamp is read once.
type declarers struct{ known *lru.Cache }

// maxDeclarers bounds how many are remembered.
const maxDeclarers = 8192

func newDeclarers() declarers { return declarers{lru.New(maxDeclarers)} }

// declarer is who declared a use, nil where its stamp is gone, and since when it is not known whether they may.
type declarer struct {
	who     *v1alpha1.Subject
	unknown time.Time
}

// of is who declared a use.
func (d declarers) of(ctx context.Context, found *facts.Declarations, hop *v1alpha1.DelegationHop, use v1alpha1.Use) (*declarer, error) {
	known, _ := d.known.Get(use.UID)
	if one, ok := known.(*declarer); ok {
		return one, nil
	}
	who, err := found.OfUse(ctx, hop, use)
	if err != nil {
		return nil, err
	}
	one := &declarer{who: who}
	d.known.Add(use.UID, one)
	return one, nil
}

// judgeUses asks whether those who declared the live uses of a hop may still use it. A use of one who may not is suspended in the next
// status: the hop stays valid, for the others. What was suspended with the use of one who may again is resumed before the status says
// so: what fails is tried again.
func (r *HopReconciler) judgeUses(ctx context.Context, p *pass) error {
	if !delegation.HasLiveUse(p.next) {
		return nil
	}
	found, answers, errs := &facts.Declarations{Live: r.live}, map[string]delegation.Answer{}, []error{}
	for i := range p.next.Uses.Live {
		use := &p.next.Uses.Live[i]
		d, err := r.declarers.of(ctx, found, p.hop(), *use)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		answer := delegation.Answer{} // without a stamp nobody is known who may
		if d.who != nil {
			key := subjectKey(*d.who)
			if _, asked := answers[key]; !asked {
				answers[key] = p.gather.MayUse(ctx, *d.who, delegation.HopKey(p.hop()))
			}
			answer = answers[key]
		}
		r.judgeUse(p, use, d, answer)
		if use.SuspendedFor == "" {
			errs = append(errs, r.resumeUse(ctx, p, *use))
		}
	}
	return errors.Join(errs...)
}

func (r *HopReconciler) judgeUse(p *pass, use *v1alpha1.Use, d *declarer, answer delegation.Answer) {
	if answer.Outcome != delegation.Undetermined {
		d.unknown = time.Time{}
	}
	switch answer.Outcome {
	case delegation.Allow:
		use.SuspendedFor = ""
	case delegation.Deny:
		use.SuspendedFor = v1alpha1.ReasonNotPermittedToUse
	default:
		if d.unknown.IsZero() {
			d.unknown = p.in.Now
		}
		if p.in.Now.Sub(d.unknown) >= r.maxFactAge {
			use.SuspendedFor = v1alpha1.ReasonUndetermined
		}
		p.again = delegation.Sooner(p.again, min(r.maxFactAge, delegation.UndeterminedRetry))
	}
}

// stopUses stops what runs in the uses that are suspended.
func (r *HopReconciler) stopUses(ctx context.Context, p *pass) error {
	if !delegation.HasLiveUse(p.next) {
		return nil
	}
	var errs []error
	for _, use := range p.next.Uses.Live {
		if use.SuspendedFor != "" {
			errs = append(errs, r.suspendUse(ctx, p, use))
		}
	}
	return errors.Join(errs...)
}

// suspendUse suspends the Job of a use, and ends its pods.
func (r *HopReconciler) suspendUse(ctx context.Context, p *pass, use v1alpha1.Use) error {
	hop := p.hop()
	why := delegation.MayNotUseAnyMore(use)
	text := note(fmt.Sprintf("suspended under hop %s: %s", delegation.HopKey(hop), why))
	if use.Kind == v1alpha1.WorkloadJob {
		job, err := r.jobOf(ctx, hop, use)
		if err != nil {
			return err
		}
		if job != nil && !finished(job) {
			if err := r.stopper.suspendJob(ctx, job, suspension{text: text, why: why, returns: hop}); err != nil {
				return err
			}
			if r.stopper.isUnnoted(job) { // then the end of its pods would count as failures
				p.again = delegation.Sooner(p.again, noteWithin/10)
				return nil
			}
		}
	}
	for _, pod := range p.pods {
		if facts.UseUID(pod) != use.UID || workload.HasEnded(pod) || workload.IsEnding(pod) {
			continue
		}
		r.stopper.events.Eventf(pod, nil, corev1.EventTypeWarning, string(why.Reason), "End", "%s", text)
		if err := r.stopper.deletePod(ctx, pod); err != nil {
			return err
		}
	}
	return nil
}

// resumeUse resumes the Job of a use that was suspended.
func (r *HopReconciler) resumeUse(ctx context.Context, p *pass, use v1alpha1.Use) error {
	before := delegation.LiveUse(&p.hop().Status, use.UID)
	if before == nil || before.SuspendedFor == "" || use.Kind != v1alpha1.WorkloadJob {
		return nil
	}
	job, err := r.jobOf(ctx, p.hop(), use)
	if err != nil || job == nil {
		return err
	}
	if reason, ok := markOf(job, p.hop()); ok {
		return r.stopper.resumeJob(ctx, job, p.hop(), reason)
	}
	return nil
}

// jobOf reads the Job of a use; nil if it is gone.
func (r *HopReconciler) jobOf(ctx context.Context, hop *v1alpha1.DelegationHop, use v1alpha1.Use) (*batchv1.Job, error) {
	job := &batchv1.Job{}
	key := types.NamespacedName{Namespace: hop.Namespace, Name: use.Name}
	if found, err := facts.Exists(ctx, r.live, key, types.UID(use.UID), job); err != nil || !found {
		return nil, err
	}
	return job, nil
}
