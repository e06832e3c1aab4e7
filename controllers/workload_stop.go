package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/facts"
	"github.com/wayleave/wayleave/internal/workload"
)

// stopGrace is how many seconds a pod has to end when its hop is withdrawn. Where the Job controller deletes the pod of a
// suspended Job first, the pod has its own grace, which admission bounds.
const stopGrace = 5

// lostAfter is how long after its end is due a pod is waited for: its node may be gone, and its account is worth nothing then.
const lostAfter = 30 * time.Second

// workloadStopper ends what runs under hops, and resumes the Jobs that it suspended.
type workloadStopper struct {
	client client.Client
	live   client.Reader
	events events.EventRecorder
	// asked has the Jobs that were suspended a moment ago.
	asked *cache.Expiring
	// reportOnly leaves alone what does not run as a hop.
	reportOnly bool
}

func newWorkloadStopper(c client.Client, live client.Reader, recorder events.EventRecorder, reportOnly bool) workloadStopper {
	return workloadStopper{client: c, live: live, events: recorder, asked: cache.NewExpiring(), reportOnly: reportOnly}
}

// leaves says whether a pod that declares a hop is nobody's to stop.
func (s workloadStopper) leaves(pod *corev1.Pod) bool { return s.reportOnly && !runsAsHop(pod) }

// leftover is what a stop has left.
type leftover struct {
	// running is true where a pod was seen that has not ended.
	running bool
	// unnoted is true where such a pod was left to a Job controller that has not noted yet that its Job is suspended.
	unnoted bool
}

// stop suspends the Jobs that declare a hop and deletes its pods: in this order, since a pod that is deleted while its Job
// is not suspended counts as a failure of the Job. The Jobs stay, as do pods that have ended: they are evidence, and a
// GitOps tool would only recreate the Jobs. Accounts are the names of the identities that the hop is known to have had.
func (s workloadStopper) stop(
	ctx context.Context, key types.NamespacedName, hop *v1alpha1.DelegationHop, accounts []string, why delegation.Finding,
) (left leftover, err error) {
	slices.Sort(accounts)
	accounts = slices.DeleteFunc(slices.Compact(accounts), func(name string) bool { return name == "" })
	known := &corev1.PodList{}
	if err := s.client.List(ctx, known, client.MatchingFields{declaredIndex: key.String()}, client.UnsafeDisableDeepCopy); err != nil {
		return left, fmt.Errorf("listing the pods of hop %s: %w", key, err)
	}
	// Of a hop that was deleted only accounts and pods show whether it held anything: pods are only created under a hop that
	// does. Without either, its Jobs may as well wait for a hop that is still to be created.
	held := hop != nil && hop.Status.ServiceAccountName != ""
	hadAccount := hop == nil && len(accounts) > 0
	if !held && !hadAccount && len(known.Items) == 0 {
		return left, nil
	}
	// Once a hop holds nothing any more, a Job without a pod was created since, and waits for the hop: no pod of it is admitted.
	holds := sync.OnceValue(func() bool { return held && s.holds(ctx, hop) })
	unnoted, err := s.suspendJobs(ctx, key, returning(hop, why), why, func(job *batchv1.Job) bool {
		return hasPod(job, known.Items) || s.mayRun(job, hop, holds)
	})
	errs := []error{err}
	if hop == nil || !delegation.MayPass(why.Reason) { // the Jobs do not go on, and no retry of theirs matters
		unnoted = nil
	}
	selected := []client.ListOption{client.MatchingLabels{v1alpha1.LabelHop: key.Name}}
	for _, account := range accounts { // pods/status and pods/binding can remove a label from a pod
		selected = append(selected, client.MatchingFields{"spec.serviceAccountName": account})
	}
	for _, some := range selected {
		errs = append(errs, s.deletePods(ctx, key, some, why, unnoted, &left))
	}
	return left, errors.Join(errs...)
}

func hasPod(job *batchv1.Job, pods []corev1.Pod) bool {
	return slices.ContainsFunc(pods, func(pod corev1.Pod) bool { return facts.UseUID(&pod) == string(job.UID) })
}

// mayRun says whether a Job without a pod may run under a hop that is withdrawn, which is nil if it was deleted.
func (s workloadStopper) mayRun(job *batchv1.Job, hop *v1alpha1.DelegationHop, holds func() bool) bool {
	if s.reportOnly { // it runs as itself, unless it waits for a retry
		return hop != nil && delegation.LiveUse(&hop.Status, string(job.UID)) != nil
	}
	return hop == nil || holds()
}

// holds says whether a hop still has the identity that it has in the cache, which may not have the status of a moment ago. What
// cannot be read may have it.
func (s workloadStopper) holds(ctx context.Context, hop *v1alpha1.DelegationHop) bool {
	now := &v1alpha1.DelegationHop{}
	err := s.live.Get(ctx, delegation.HopKey(hop), now)
	return err != nil || now.Status.ServiceAccountName == hop.Status.ServiceAccountName
}

// returning is the hop with which the Jobs that are suspended now are to be resumed; nil if it does not come back, or never held
// anything itself.
func returning(hop *v1alpha1.DelegationHop, why delegation.Finding) *v1alpha1.DelegationHop {
	if hop == nil || hop.Status.Incarnation == 0 || !delegation.MayPass(why.Reason) {
		return nil
	}
	return hop
}

// deletePods deletes those of a hop's pods that are selected and have not ended, as the API server has them: a pod may be
// too new for the cache. Those of Jobs that are not noted as suspended are left alone. Of a pod that a Job made, the Event of
// the Job tells.
func (s workloadStopper) deletePods(
	ctx context.Context, hop types.NamespacedName, selected client.ListOption, why delegation.Finding, unnoted map[types.UID]bool,
	left *leftover,
) error {
	var toEnd []*corev1.Pod
	err := s.eachPod(ctx, hop, selected, func(pod *corev1.Pod) {
		if workload.HasEnded(pod) || s.leaves(pod) {
			return
		}
		left.running = true
		owner := metav1.GetControllerOf(pod)
		switch {
		case workload.IsEnding(pod):
			return
		case owner != nil && unnoted[owner.UID]:
			left.unnoted = true
			return
		case owner == nil:
			s.events.Eventf(pod, nil, corev1.EventTypeWarning, string(why.Reason), "End", "%s",
				note(fmt.Sprintf("ended: hop %s was withdrawn: %s", hop, why)))
		}
		// What is deleted is told by its name and UID.
		toEnd = append(toEnd, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}})
	})
	if err != nil {
		return err
	}
	return inParallel(toEnd, func(pod *corev1.Pod) error { return s.deletePod(ctx, pod) })
}

// allEnded says whether no pod that declares a hop, or has the account that it has now, has anything left to end, as the API
// server has them.
func (s workloadStopper) allEnded(ctx context.Context, hop *v1alpha1.DelegationHop, now time.Time) (bool, error) {
	selected := []client.ListOption{client.MatchingLabels{v1alpha1.LabelHop: hop.Name}}
	if account := hop.Status.ServiceAccountName; account != "" {
		selected = append(selected, client.MatchingFields{"spec.serviceAccountName": account})
	}
	ended := true
	for _, some := range selected {
		if err := s.eachPod(ctx, delegation.HopKey(hop), some, func(pod *corev1.Pod) {
			lost := !pod.DeletionTimestamp.IsZero() && now.Sub(pod.DeletionTimestamp.Time) > lostAfter
			ended = ended && (lost || workload.HasEnded(pod) || s.leaves(pod))
		}); err != nil {
			return false, err
		}
	}
	return ended, nil
}

// podsAtATime is how many pods are read at once: others may fill a namespace with large ones.
const podsAtATime = 100

// eachPod does something with each of the pods that are selected in the namespace of a hop, as the API server has them.
func (s workloadStopper) eachPod(
	ctx context.Context, hop types.NamespacedName, selected client.ListOption, do func(*corev1.Pod),
) error {
	for page := (corev1.PodList{}); ; {
		some := []client.ListOption{client.InNamespace(hop.Namespace), selected, client.Limit(podsAtATime), client.Continue(page.Continue)}
		page = corev1.PodList{}
		if err := s.live.List(ctx, &page, some...); err != nil {
			return fmt.Errorf("listing the pods of hop %s: %w", hop, err)
		}
		for i := range page.Items {
			do(&page.Items[i])
		}
		if page.Continue == "" {
			return nil
		}
	}
}

// deletePod deletes a pod, which has a moment to end.
func (s workloadStopper) deletePod(ctx context.Context, pod *corev1.Pod) error {
	err := s.client.Delete(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}},
		client.Preconditions{UID: &pod.UID}, client.GracePeriodSeconds(stopGrace))
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("deleting pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

// suspendJobs suspends those Jobs of a namespace that declare a hop and run. They are listed live: withdrawal is rare, and a watch
// of all Jobs of the cluster would cost more. Where the hop may come back, returns is the hop, and its Jobs are marked. Unnoted
// are those of which the Job controller has not noted it yet.
func (s workloadStopper) suspendJobs(
	ctx context.Context, key types.NamespacedName, returns *v1alpha1.DelegationHop, why delegation.Finding, runs func(*batchv1.Job) bool,
) (unnoted map[types.UID]bool, err error) {
	jobs, err := s.jobsOf(ctx, key)
	if err != nil {
		return nil, err
	}
	unnoted = map[types.UID]bool{}
	of := suspension{text: note(fmt.Sprintf("suspended: hop %s was withdrawn: %s", key, why)), why: why, returns: returns}
	var errs []error
	for _, job := range jobs {
		if !finished(job) && runs(job) {
			errs = append(errs, s.suspendJob(ctx, job, of))
			unnoted[job.UID] = s.isUnnoted(job)
		}
	}
	return unnoted, errors.Join(errs...)
}

// noteWithin is how long the Job controller may take to note that a Job is suspended: then it deletes the pods itself, and counts
// none of them as a failure.
const noteWithin = 2 * time.Second

// isUnnoted says whether a Job was suspended a moment ago and its status does not say so yet.
func (s workloadStopper) isUnnoted(job *batchv1.Job) bool {
	if _, asked := s.asked.Get(job.UID); !asked {
		return false
	}
	return !slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == batchv1.JobSuspended && c.Status == corev1.ConditionTrue
	})
}

// jobsAtOnce is how many Jobs of a namespace are read at once: others may fill it with large ones.
const jobsAtOnce = 100

// jobsOf lists the Jobs that declare a hop, as the API server has them.
func (s workloadStopper) jobsOf(ctx context.Context, hop types.NamespacedName) ([]*batchv1.Job, error) {
	var jobs []*batchv1.Job
	for page := (batchv1.JobList{}); ; {
		some := []client.ListOption{client.InNamespace(hop.Namespace), client.Limit(jobsAtOnce), client.Continue(page.Continue)}
		page = batchv1.JobList{}
		if err := s.live.List(ctx, &page, some...); err != nil {
			return nil, fmt.Errorf("listing the Jobs of hop %s: %w", hop, err)
		}
		for i := range page.Items {
			if job := &page.Items[i]; job.Spec.Template.Labels[v1alpha1.LabelHop] == hop.Name {
				jobs = append(jobs, job.DeepCopy()) // a pointer into the page would keep all of it
			}
		}
		if page.Continue == "" {
			return jobs, nil
		}
	}
}

// suspension says why a Job is suspended, and what follows.
type suspension struct {
	why delegation.Finding
	// text is what its Event says.
	text string
	// returns is the hop with which the Job is to be resumed; nil where it is not.
	returns *v1alpha1.DelegationHop
	// useEnded is true for a Job whose use has ended: it begins no other one.
	useEnded bool
}

// suspendJob suspends a Job, unless it is.
func (s workloadStopper) suspendJob(ctx context.Context, job *batchv1.Job, of suspension) error {
	if suspended(job) && !of.useEnded {
		return nil
	}
	patch := jobPatch{Metadata: jobPatchMeta{UID: job.UID, Annotations: noMark()}, Spec: &jobPatchSpec{Suspend: true}}
	if of.returns != nil {
		patch.Metadata.Annotations = mark(of.returns, of.why.Reason)
	}
	if of.useEnded {
		patch.Metadata.Annotations[v1alpha1.AnnotationUseEnded] = of.why.Reason
	}
	err := s.patch(ctx, job, patch)
	switch {
	case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
		return nil
	case err != nil:
		return fmt.Errorf("suspending Job %s/%s: %w", job.Namespace, job.Name, err)
	}
	s.asked.Set(job.UID, true, noteWithin)
	s.events.Eventf(job, nil, corev1.EventTypeWarning, string(of.why.Reason), "Suspend", "%s", of.text)
	return nil
}

func suspended(job *batchv1.Job) bool { return job.Spec.Suspend != nil && *job.Spec.Suspend }

func finished(job *batchv1.Job) bool {
	for _, c := range job.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}
