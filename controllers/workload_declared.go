package controllers

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/workload"
)

// declaration says as part of what a pod runs, and on whose right. It comes from the objects that the API server has, by UID,
// and not from what the pod says.
type declaration struct {
	// use is the use that the pod is part of.
	use v1alpha1.Use
	// kind is the kind as which the hop has to allow it.
	kind v1alpha1.WorkloadKind
	// stamped is the object with the stamp: the Pod, its Job, or the CronJob of that.
	stamped client.Object
	stamp   workload.Stamp
	// job and cronJob are nil where there is none.
	job     *batchv1.Job
	cronJob *batchv1.CronJob
}

// owners finds the owners of pods. Pods of one Job ask once.
type owners struct {
	live client.Reader
	jobs map[types.UID]*batchv1.Job
}

// useUID is the UID of the use that a pod says that it is part of: that of the Pod itself where admission stamped it, else that
// of its controller; empty if it has none.
func useUID(pod *corev1.Pod) string {
	if workload.IsStamped(pod.Annotations) {
		return string(pod.UID)
	}
	if owner := metav1.GetControllerOf(pod); owner != nil {
		return string(owner.UID)
	}
	return ""
}

// declarationOf finds out as part of what a pod runs, and on whose right. The finding says why it may not run at all.
func (o *owners) declarationOf(ctx context.Context, pod *corev1.Pod) (declaration, *delegation.Finding, error) {
	d := declaration{stamped: pod, kind: v1alpha1.WorkloadPod}
	stamp, stamped := workload.StampIn(pod.Annotations)
	if !stamped {
		var problem *delegation.Finding
		var err error
		if stamp, problem, err = o.declaredByOwner(ctx, pod, &d); problem != nil || err != nil {
			return d, problem, err
		}
	} else {
		d.use = v1alpha1.Use{Kind: v1alpha1.WorkloadPod, Name: pod.Name, UID: string(pod.UID)}
	}
	d.stamp, d.use.By = stamp, stamp.Author.User
	return d, nil, nil
}

// declaredByOwner reads the stamp of the Job that made a pod, or of the CronJob that made the Job.
func (o *owners) declaredByOwner(ctx context.Context, pod *corev1.Pod, d *declaration) (workload.Stamp, *delegation.Finding, error) {
	none := workload.Stamp{}
	owner := metav1.GetControllerOf(pod)
	if owner == nil || owner.Kind != string(v1alpha1.WorkloadJob) || owner.APIVersion != batchv1.SchemeGroupVersion.String() {
		return none, undeclared("no Job made the pod, and it does not say who created it: create it again"), nil
	}
	job, err := o.job(ctx, types.NamespacedName{Namespace: pod.Namespace, Name: owner.Name}, owner.UID)
	if err != nil {
		return none, nil, err
	}
	if job == nil {
		return none, undeclared("the Job %q that the pod names as its owner does not exist", owner.Name), nil
	}
	if declared := job.Spec.Template.Labels[v1alpha1.LabelHop]; declared != pod.Labels[v1alpha1.LabelHop] {
		return none, undeclared("the Job %q that the pod names as its owner declares hop %q", owner.Name, declared), nil
	}
	d.job, d.stamped, d.kind = job, job, v1alpha1.WorkloadJob
	d.use = v1alpha1.Use{Kind: v1alpha1.WorkloadJob, Name: job.Name, UID: string(job.UID)}
	if stamp, stamped := workload.StampIn(job.Annotations); stamped {
		return stamp, nil, nil
	}
	return o.declaredByCronJob(ctx, job, d)
}

func (o *owners) declaredByCronJob(ctx context.Context, job *batchv1.Job, d *declaration) (workload.Stamp, *delegation.Finding, error) {
	none := workload.Stamp{}
	owner := metav1.GetControllerOf(job)
	if owner == nil || owner.Kind != string(v1alpha1.WorkloadCronJob) || owner.APIVersion != batchv1.SchemeGroupVersion.String() {
		return none, undeclared("the Job does not say who created it: create it again"), nil
	}
	cronJob := &batchv1.CronJob{}
	found, err := exists(ctx, o.live, types.NamespacedName{Namespace: job.Namespace, Name: owner.Name}, owner.UID, cronJob)
	if err != nil {
		return none, nil, err
	}
	if !found {
		return none, undeclared("the CronJob %q that the Job names as its owner does not exist", owner.Name), nil
	}
	d.cronJob, d.stamped, d.kind = cronJob, cronJob, v1alpha1.WorkloadCronJob
	stamp, stamped := workload.StampIn(cronJob.Annotations)
	if !stamped {
		return none, undeclared("the CronJob %q does not say who created it: create it again", owner.Name), nil
	}
	if declared := cronJob.Spec.JobTemplate.Spec.Template.Labels[v1alpha1.LabelHop]; declared != job.Spec.Template.Labels[v1alpha1.LabelHop] {
		return none, undeclared("the CronJob %q that the Job names as its owner declares hop %q", owner.Name, declared), nil
	}
	return stamp, nil, nil
}

// job reads a Job; nil if there is none with that UID.
func (o *owners) job(ctx context.Context, key types.NamespacedName, uid types.UID) (*batchv1.Job, error) {
	if job, known := o.jobs[uid]; known {
		return job, nil
	}
	job := &batchv1.Job{}
	found, err := exists(ctx, o.live, key, uid, job)
	if err != nil {
		return nil, err
	}
	if !found || !job.DeletionTimestamp.IsZero() {
		job = nil
	}
	if o.jobs == nil {
		o.jobs = map[types.UID]*batchv1.Job{}
	}
	o.jobs[uid] = job
	return job, nil
}

// exists reads an object from the API server, and says whether there is one with that UID.
func exists(ctx context.Context, live client.Reader, key types.NamespacedName, uid types.UID, into client.Object) (bool, error) {
	err := live.Get(ctx, key, into)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("reading %T %s: %w", into, key, err)
	}
	return err == nil && into.GetUID() == uid, nil
}

func undeclared(format string, args ...any) *delegation.Finding {
	return &delegation.Finding{Reason: v1alpha1.ReasonNotPermittedToUse, Message: fmt.Sprintf(format, args...)}
}
