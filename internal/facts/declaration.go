package facts

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

// Declaration says as part of what a pod runs, and on whose right. It comes from the objects that the API server has, by UID,
// and not from what the pod says.
type Declaration struct {
	// Use is the use that the pod is part of.
	Use v1alpha1.Use
	// Kind is the kind as which the hop has to allow it.
	Kind v1alpha1.WorkloadKind
	// Stamped is the object with the stamp: the Pod, its Job, or the CronJob of that.
	Stamped client.Object
	Stamp   workload.Stamp
	// Job and CronJob are nil where there is none.
	Job     *batchv1.Job
	CronJob *batchv1.CronJob
	// outdated is why a Job of a CronJob may not begin a use; nil if it may.
	outdated *delegation.Finding
}

// Outdated says why a pod may not begin a use that does not live yet; nil if it may.
func (d Declaration) Outdated(status *v1alpha1.DelegationHopStatus) *delegation.Finding {
	if d.outdated == nil || delegation.LiveUse(status, d.Use.UID) != nil {
		return nil
	}
	return d.outdated
}

// Question is the pod as a verdict looks at it, whose author may use the hop or not.
func (d Declaration) Question(w *workload.Workload, use delegation.Answer) *delegation.Workload {
	question := w.Question(false, use)
	question.Kinds, question.Author, question.By = []v1alpha1.WorkloadKind{d.Kind}, d.Stamp.Author.User, d.Stamp.Author.User
	return question
}

// Elsewhere says that another hop was declared, which had the name of this one; nil if this one was. A Job may be created before
// its hop is.
func (d Declaration) Elsewhere(hop *v1alpha1.DelegationHop) *delegation.Finding {
	if d.Stamp.HopUID == string(hop.UID) || d.Stamp.HopUID == "" && d.Job != nil {
		return nil
	}
	return undeclared("it was declared for an earlier hop of this name: create it again")
}

// Declarations finds out what pods declare. Pods of one Job ask once.
type Declarations struct {
	Live client.Reader
	jobs map[types.UID]*batchv1.Job
}

// UseUID is the UID of the use that a pod says that it is part of: that of the Pod itself where admission stamped it, else that
// of its controller; empty if it has none.
func UseUID(pod *corev1.Pod) string {
	if workload.IsStamped(pod.Annotations) {
		return string(pod.UID)
	}
	if owner := metav1.GetControllerOf(pod); owner != nil {
		return string(owner.UID)
	}
	return ""
}

// Of finds out as part of what a pod runs, and on whose right. The finding says why it may not run at all.
func (f *Declarations) Of(ctx context.Context, pod *corev1.Pod) (Declaration, *delegation.Finding, error) {
	d := Declaration{Stamped: pod, Kind: v1alpha1.WorkloadPod}
	stamp, stamped := workload.StampIn(pod.Annotations)
	if !stamped {
		return f.OfOwner(ctx, pod)
	}
	d.Use = v1alpha1.Use{Kind: v1alpha1.WorkloadPod, Name: pod.Name, UID: string(pod.UID)}
	d.Stamp, d.Use.By = stamp, stamp.Author.User
	return d, nil, nil
}

// OfOwner is what Of says of a pod that a built-in controller makes, whatever the pod says itself.
func (f *Declarations) OfOwner(ctx context.Context, pod *corev1.Pod) (Declaration, *delegation.Finding, error) {
	var d Declaration
	stamp, problem, err := f.declaredByOwner(ctx, pod, &d)
	d.Stamp, d.Use.By = stamp, stamp.Author.User
	return d, problem, err
}

// OfUse is who declared a live use of a hop; nil where what it is of is gone, or does not say.
func (f *Declarations) OfUse(ctx context.Context, hop *v1alpha1.DelegationHop, use v1alpha1.Use) (*v1alpha1.Subject, error) {
	pod := &corev1.Pod{}
	if use.Kind == v1alpha1.WorkloadPod {
		key := types.NamespacedName{Namespace: hop.Namespace, Name: use.Name}
		if found, err := Exists(ctx, f.Live, key, types.UID(use.UID), pod); err != nil || !found {
			return nil, err
		}
	} else {
		pod.Namespace, pod.Labels = hop.Namespace, map[string]string{v1alpha1.LabelHop: hop.Name}
		pod.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: batchv1.SchemeGroupVersion.String(), Kind: string(use.Kind), Name: use.Name, UID: types.UID(use.UID), Controller: new(true),
		}}
	}
	d, problem, err := f.Of(ctx, pod)
	if err != nil || problem != nil {
		return nil, err
	}
	return &d.Stamp.Author, nil
}

// QuestionOfMade is a pod that a built-in controller makes as the gate of a hop looks at it: on the right of whoever declared the
// hop on its Job, or on the CronJob of that. The hop need not exist.
func (g *Gatherer) QuestionOfMade(ctx context.Context, w *workload.Workload, hop *v1alpha1.DelegationHop) (*delegation.Workload, error) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: hop.Namespace, Labels: w.Meta.Labels, OwnerReferences: []metav1.OwnerReference{*w.Owner},
	}}
	d, problem, err := (&Declarations{Live: g.Live}).OfOwner(ctx, pod)
	if err != nil {
		return nil, err
	}
	if problem == nil {
		problem = d.Elsewhere(hop)
	}
	if problem == nil {
		problem = d.Outdated(&hop.Status)
	}
	if problem != nil {
		if d.Stamp.Author.User == "" {
			d.Stamp.Author.User = delegation.Unknown
		}
		return d.Question(w, delegation.Answer{Outcome: delegation.Deny}), nil
	}
	question := d.Question(w, g.StillMayUse(ctx, d.Stamp.Author, delegation.HopKey(hop)))
	question.Begins = delegation.LiveUse(&hop.Status, d.Use.UID) == nil
	return question, nil
}

// declaredByOwner reads the stamp of the Job that made a pod, or of the CronJob that made the Job.
func (f *Declarations) declaredByOwner(ctx context.Context, pod *corev1.Pod, d *Declaration) (workload.Stamp, *delegation.Finding, error) {
	none := workload.Stamp{}
	owner := metav1.GetControllerOf(pod)
	if owner == nil || owner.Kind != string(v1alpha1.WorkloadJob) || owner.APIVersion != batchv1.SchemeGroupVersion.String() {
		return none, undeclared("no Job made the pod, and it does not say who created it: create it again"), nil
	}
	job, err := f.job(ctx, types.NamespacedName{Namespace: pod.Namespace, Name: owner.Name}, owner.UID)
	if err != nil {
		return none, nil, err
	}
	if job == nil {
		return none, undeclared("the Job %q that the pod names as its owner does not exist", owner.Name), nil
	}
	if declared := job.Spec.Template.Labels[v1alpha1.LabelHop]; declared != pod.Labels[v1alpha1.LabelHop] {
		return none, undeclared("the Job %q that the pod names as its owner declares hop %q", owner.Name, declared), nil
	}
	d.Job, d.Stamped, d.Kind = job, job, v1alpha1.WorkloadJob
	d.Use = v1alpha1.Use{Kind: v1alpha1.WorkloadJob, Name: job.Name, UID: string(job.UID)}
	if stamp, stamped := workload.StampIn(job.Annotations); stamped {
		return stamp, nil, nil
	}
	return f.declaredByCronJob(ctx, job, d)
}

func (f *Declarations) declaredByCronJob(
	ctx context.Context, job *batchv1.Job, d *Declaration,
) (workload.Stamp, *delegation.Finding, error) {
	none := workload.Stamp{}
	owner := metav1.GetControllerOf(job)
	if owner == nil || owner.Kind != string(v1alpha1.WorkloadCronJob) || owner.APIVersion != batchv1.SchemeGroupVersion.String() {
		return none, undeclared("the Job does not say who created it: create it again"), nil
	}
	cronJob := &batchv1.CronJob{}
	found, err := Exists(ctx, f.Live, types.NamespacedName{Namespace: job.Namespace, Name: owner.Name}, owner.UID, cronJob)
	if err != nil {
		return none, nil, err
	}
	if !found {
		return none, undeclared("the CronJob %q that the Job names as its owner does not exist", owner.Name), nil
	}
	d.CronJob, d.Stamped, d.Kind = cronJob, cronJob, v1alpha1.WorkloadCronJob
	stamp, stamped := workload.StampIn(cronJob.Annotations)
	if !stamped {
		return none, undeclared("the CronJob %q does not say who created it: create it again", owner.Name), nil
	}
	if declared := cronJob.Spec.JobTemplate.Spec.Template.Labels[v1alpha1.LabelHop]; declared != job.Spec.Template.Labels[v1alpha1.LabelHop] {
		return none, undeclared("the CronJob %q that the Job names as its owner declares hop %q", owner.Name, declared), nil
	}
	made, err := workload.From(job)
	if err != nil {
		return none, nil, err
	}
	judged, err := workload.From(cronJob)
	if err != nil {
		return none, nil, err
	}
	if !made.Unchanged(judged) { // whoever changed the CronJob since answers for what it says now
		d.outdated = undeclared("what the Job runs is not what CronJob %q says, which was changed since: the next Job is as it is", owner.Name)
	}
	return stamp, nil, nil
}

// job reads a Job; nil if there is none with that UID.
func (f *Declarations) job(ctx context.Context, key types.NamespacedName, uid types.UID) (*batchv1.Job, error) {
	if job, known := f.jobs[uid]; known {
		return job, nil
	}
	job := &batchv1.Job{}
	found, err := Exists(ctx, f.Live, key, uid, job)
	if err != nil {
		return nil, err
	}
	if !found || !job.DeletionTimestamp.IsZero() {
		job = nil
	}
	if f.jobs == nil {
		f.jobs = map[types.UID]*batchv1.Job{}
	}
	f.jobs[uid] = job
	return job, nil
}

// Exists reads an object from the API server, and says whether there is one with that UID.
func Exists(ctx context.Context, live client.Reader, key types.NamespacedName, uid types.UID, into client.Object) (bool, error) {
	err := live.Get(ctx, key, into)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("reading %T %s: %w", into, key, err)
	}
	return err == nil && into.GetUID() == uid, nil
}

func undeclared(format string, args ...any) *delegation.Finding {
	return &delegation.Finding{Reason: v1alpha1.ReasonNotPermittedToUse, Message: fmt.Sprintf(format, args...)}
}
