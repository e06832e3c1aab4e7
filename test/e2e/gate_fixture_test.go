//go:build unix

package e2e

import (
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// usedBy makes a hop one without a token that workloads run under.
func usedBy(kinds ...v1alpha1.WorkloadKind) func(*v1alpha1.DelegationHop) {
	return func(h *v1alpha1.DelegationHop) {
		h.Spec.Token = nil
		h.Spec.Workload = &v1alpha1.Workload{Kinds: kinds, Images: []string{"registry.example.com/agent:*"}}
	}
}

func maxUses(n int32) func(*v1alpha1.DelegationHop) {
	return func(h *v1alpha1.DelegationHop) { h.Spec.Workload.MaxUses = n }
}

// template is a pod template that declares a hop.
func template(hop string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.LabelHop: hop}},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			Containers:    []corev1.Container{{Name: "agent", Image: "registry.example.com/agent:1.0"}},
		},
	}
}

// work is a Job whose pods declare a hop.
func (f *fixture) work(name, hop string, change ...func(*batchv1.Job)) *batchv1.Job {
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: name},
		Spec:       batchv1.JobSpec{BackoffLimit: new(int32(0)), Template: template(hop)},
	}
	for _, c := range change {
		c(job)
	}
	return job
}

const resumeJob = `{"spec":{"suspend":false}}`

// runsOf waits until a CronJob has made so many Jobs, and returns them, the oldest first.
func (f *fixture) runsOf(cron *batchv1.CronJob, n int) []batchv1.Job {
	f.Helper()
	var runs []batchv1.Job
	f.eventually(fmt.Sprintf("%d Jobs of CronJob %s", n, cron.Name), func() error {
		runs = slices.DeleteFunc(f.jobs(), func(job batchv1.Job) bool { return !metav1.IsControlledBy(&job, cron) })
		if len(runs) != n {
			return fmt.Errorf("there are %d", len(runs))
		}
		return nil
	})
	slices.SortFunc(runs, func(a, b batchv1.Job) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return runs
}

func asSuspended(job *batchv1.Job) { job.Spec.Suspend = new(true) }

func isGated(pod corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.SchedulingGates, func(g corev1.PodSchedulingGate) bool { return g.Name == v1alpha1.GateGrant })
}

// opened waits until so many pods of a Job have passed the gate, and returns them.
func (f *fixture) opened(job *batchv1.Job, n int) []corev1.Pod {
	f.Helper()
	var open []corev1.Pod
	f.eventually(fmt.Sprintf("%d pods of Job %s to pass the gate", n, job.Name), func() error {
		open = slices.DeleteFunc(f.podsOf(job.Name), func(p corev1.Pod) bool {
			return isGated(p) || !p.DeletionTimestamp.IsZero() || p.Status.Phase == corev1.PodSucceeded
		})
		if len(open) != n {
			return fmt.Errorf("%d have", len(open))
		}
		return nil
	})
	return open
}

// finish has a pod end as if its containers had. There is no node that would run them.
func (f *fixture) finish(pod *corev1.Pod, phase corev1.PodPhase) {
	f.Helper()
	patch := fmt.Sprintf(`{"status":{"phase":%q}}`, phase)
	if err := suite.admin.Status().Patch(f.Context(), pod, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		f.Fatalf("ending pod %s: %v", pod.Name, err)
	}
}

// refused waits until a Job is suspended with an Event for a reason, and has no pod.
func (f *fixture) refused(job *batchv1.Job, reason v1alpha1.Reason) {
	f.Helper()
	f.eventually(fmt.Sprintf("Job %s to be suspended for %s", job.Name, reason), func() error {
		if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(job), job); err != nil {
			return err
		}
		if job.Spec.Suspend == nil || !*job.Spec.Suspend {
			return fmt.Errorf("it is not suspended")
		}
		if n := len(f.podsOf(job.Name)); n > 0 {
			return fmt.Errorf("it has %d pods", n)
		}
		return f.hasEvent("Job", job.Name, reason)
	})
}

// hasEvent fails unless an object has an Event for a reason.
func (f *fixture) hasEvent(kind, name string, reason v1alpha1.Reason) error {
	var events corev1.EventList
	if err := suite.admin.List(f.Context(), &events, client.InNamespace(f.ns)); err != nil {
		return err
	}
	for _, e := range events.Items {
		if e.InvolvedObject.Kind == kind && e.InvolvedObject.Name == name && e.Reason == string(reason) {
			return nil
		}
	}
	return fmt.Errorf("%s %s has no Event for %s", kind, name, reason)
}

// uses fails unless the status of a hop counts uses like this.
func (f *fixture) uses(h *v1alpha1.DelegationHop, summary string, live int) {
	f.Helper()
	f.eventually(fmt.Sprintf("hop %s to have %s uses, of which %d live", h.Name, summary, live), func() error {
		if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(h), h); err != nil {
			return err
		}
		if u := h.Status.Uses; u == nil || u.Summary != summary || len(u.Live) != live {
			return fmt.Errorf("it has %+v", u)
		}
		return nil
	})
}
