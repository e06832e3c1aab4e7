package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// resume resumes the Jobs that were suspended when a hop was withdrawn, now that it is granted again. Jobs without our mark
// were suspended by somebody else.
func (s workloadStopper) resume(ctx context.Context, hop *v1alpha1.DelegationHop) error {
	jobs, err := s.jobsOf(ctx, delegation.HopKey(hop))
	if err != nil {
		return err
	}
	var errs []error
	for _, job := range jobs {
		if reason, ok := markOf(job, hop); ok {
			errs = append(errs, s.resumeJob(ctx, job, hop, reason))
		}
	}
	return errors.Join(errs...)
}

// resumeJob removes the mark of a Job and resumes it. It fails with a conflict if the Job has changed since it was read:
// somebody may have removed the mark to keep it suspended. One that somebody resumed meanwhile only loses its mark.
func (s workloadStopper) resumeJob(ctx context.Context, job *batchv1.Job, hop *v1alpha1.DelegationHop, reason string) error {
	patch := jobPatch{Metadata: jobPatchMeta{UID: job.UID, ResourceVersion: job.ResourceVersion, Annotations: noMark()}}
	resumes := suspended(job) && !finished(job)
	if resumes {
		patch.Spec = &jobPatchSpec{Suspend: false}
	}
	err := s.patch(ctx, job, patch)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case apierrors.IsForbidden(err) || apierrors.IsInvalid(err): // somebody's policy; the hop must not wait for it
		s.events.Eventf(job, nil, corev1.EventTypeWarning, string(v1alpha1.ReasonGranted), "Resume", "%s",
			note(fmt.Sprintf("not resumed, although hop %s is granted again: %v", delegation.HopKey(hop), err)))
		return nil
	case err != nil:
		return fmt.Errorf("resuming Job %s/%s: %w", job.Namespace, job.Name, err)
	}
	if resumes {
		s.events.Eventf(job, nil, corev1.EventTypeNormal, string(v1alpha1.ReasonGranted), "Resume", "%s",
			note(fmt.Sprintf("resumed: hop %s is granted again; the Job was suspended for: %s", delegation.HopKey(hop), reason)))
	}
	return nil
}

// jobPatch is a merge patch of a Job. Annotations that are nil are removed.
type jobPatch struct {
	Metadata jobPatchMeta  `json:"metadata"`
	Spec     *jobPatchSpec `json:"spec,omitempty"`
}

type jobPatchMeta struct {
	UID             types.UID      `json:"uid"`
	ResourceVersion string         `json:"resourceVersion,omitempty"`
	Annotations     map[string]any `json:"annotations"`
}

type jobPatchSpec struct {
	Suspend bool `json:"suspend"`
}

// patch patches a Job or CronJob. The object that is given stays as it is.
func (s workloadStopper) patch(ctx context.Context, o client.Object, patch jobPatch) error {
	raw, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encoding a patch: %w", err)
	}
	var target client.Object = &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: o.GetNamespace(), Name: o.GetName()}}
	if _, ok := o.(*batchv1.CronJob); ok {
		target = &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: o.GetNamespace(), Name: o.GetName()}}
	}
	return s.client.Patch(ctx, target, client.RawPatch(types.MergePatchType, raw))
}

// mark is what a Job is marked with that is to be resumed with a hop.
func mark(hop *v1alpha1.DelegationHop, reason v1alpha1.Reason) map[string]any {
	return map[string]any{v1alpha1.AnnotationSuspendedFor: reason, v1alpha1.AnnotationSuspendedHop: hop.UID}
}

// noMark removes a mark.
func noMark() map[string]any {
	return map[string]any{v1alpha1.AnnotationSuspendedFor: nil, v1alpha1.AnnotationSuspendedHop: nil}
}

// markOf is the reason for which a Job was suspended with a hop, and whether it was.
func markOf(job *batchv1.Job, hop *v1alpha1.DelegationHop) (string, bool) {
	reason, marked := job.Annotations[v1alpha1.AnnotationSuspendedFor]
	return reason, marked && job.Annotations[v1alpha1.AnnotationSuspendedHop] == string(hop.UID)
}
