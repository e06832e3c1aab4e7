//go:build unix

package e2e

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestSixtyFiveAtOnce: 64 uses may live at a time, and one more waits until another has ended.
func TestSixtyFiveAtOnce(t *testing.T) {
	f := hopSetup(t)
	_, hop := f.chain()
	f.usable(hop.Name)
	var pods [65]*corev1.Pod
	var group errgroup.Group
	group.SetLimit(16)
	c := f.as(f.by)
	for i := range pods {
		pods[i] = f.pod(fmt.Sprintf("dhop-%d", i), hop.Name)
		group.Go(func() error { return c.Create(f.Context(), pods[i]) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	waits := pods[0]
	f.eventually("one pod to wait", func() error {
		held := 0
		for _, pod := range pods {
			if pod = f.podNow(pod); isGated(*pod) {
				held, waits = held+1, pod
			}
		}
		if held != 1 {
			return fmt.Errorf("%d wait", held)
		}
		return f.says(waits, corev1.ConditionFalse, v1alpha1.ReasonTooManyLiveUses)
	})
	f.uses(hop, "64", 64)
	f.eventually("an Event", func() error { return f.wantEvent(waits, "TooManyLiveUses", "begins when another has ended") })
	ends := pods[0]
	if ends.Name == waits.Name {
		ends = pods[1]
	}
	f.finish(ends, corev1.PodSucceeded)
	f.uses(hop, "65", 64)
	f.eventually("the last pod to pass", func() error {
		if isGated(*f.podNow(waits)) {
			return errAllowed
		}
		return f.says(waits, corev1.ConditionTrue, v1alpha1.ReasonGranted)
	})
}

// says fails unless a pod says whether it was let through the gate, and why.
func (f *fixture) says(pod *corev1.Pod, granted corev1.ConditionStatus, reason v1alpha1.Reason) error {
	for _, c := range f.podNow(pod).Status.Conditions {
		if c.Type == v1alpha1.ConditionPodGranted && c.Status == granted && c.Reason == string(reason) {
			return nil
		}
	}
	return fmt.Errorf("the conditions of pod %s are %+v", pod.Name, pod.Status.Conditions)
}

// TestUseLastsAsLongAsItMay: a use that has lasted as long as the hop allows is ended, and its Job starts no other one.
func TestUseLastsAsLongAsItMay(t *testing.T) {
	f := hopSetup(t)
	_, hop := f.chain(func(h *v1alpha1.DelegationHop) {
		h.Spec.Workload.MaxDuration = &metav1.Duration{Duration: 5 * time.Second}
	})
	job := f.work("long", hop.Name)
	f.apply(f.by, job)
	pod := f.opened(job, 1)[0]
	if d := pod.Spec.ActiveDeadlineSeconds; d == nil || *d > 5 {
		t.Errorf("its deadline is %v", d)
	}
	f.refused(job, v1alpha1.ReasonDurationExceeded)
	f.eventually("Events that say so", func() error { return f.wantEvent(job, "DurationExceeded", "ended under hop") })
	f.eventually("the same of its pod", func() error { return f.wantEvent(&pod, "DurationExceeded", "may last 5s") })
	if err := f.wantEvent(&pod, "WorkloadNotAllowed", ""); err == nil {
		t.Error("an Event says that the pod was not let through its gate")
	}
	f.uses(hop, "1", 0)
	if why := job.Annotations[v1alpha1.AnnotationUseEnded]; why != "DurationExceeded" {
		t.Errorf("the annotation says %q", why)
	}
	f.change(f.by, job, resumeJob)
	f.refused(job, v1alpha1.ReasonDurationExceeded)
	f.eventually("an Event", func() error { return f.wantEvent(job, "DurationExceeded", "not started under hop") })
	f.uses(hop, "1", 0)

	another := f.work("another", hop.Name)
	f.apply(f.by, another)
	f.finish(&f.opened(another, 1)[0], corev1.PodSucceeded)
	f.uses(hop, "2", 0)
}

// TestCronJobRuns: each run of a CronJob is a use, and the CronJob says why there is none.
func TestCronJobRuns(t *testing.T) {
	f := hopSetup(t)
	_, hop := f.chain(maxUses(2))
	f.usable(hop.Name)
	cron := f.scheduled("nightly", hop.Name, batchv1.AllowConcurrent)
	f.apply(f.by, cron)
	uses := map[string]bool{}
	for n := 1; n <= 2; n++ {
		f.due(cron, n)
		run := f.runsOf(cron, n)[n-1]
		pod := f.opened(&run, 1)[0]
		f.uses(hop, fmt.Sprintf("%d/2", n), 1)
		uses[hop.Status.Uses.Live[0].UID] = true
		if use := hop.Status.Uses.Live[0]; use.UID != string(run.UID) || use.By != f.by {
			t.Errorf("run %d of %s is %+v", n, run.Name, use)
		}
		f.finish(&pod, corev1.PodSucceeded)
		f.uses(hop, fmt.Sprintf("%d/2", n), 0)
	}
	f.due(cron, 3)
	f.eventually("an Event of the CronJob", func() error { return f.wantEvent(cron, "FailedCreate", "2 of 2 uses of the hop have begun") })
	if len(uses) != 2 {
		t.Errorf("the uses were %v", uses)
	}
}

// TestCronJobTellsOfItsRuns: of a run that is refused at the gate its CronJob tells, too.
func TestCronJobTellsOfItsRuns(t *testing.T) {
	f := hopSetup(t)
	_, hop := f.chain(maxUses(1))
	f.usable(hop.Name)
	cron := f.scheduled("nightly", hop.Name, batchv1.AllowConcurrent)
	cron.Spec.JobTemplate.Spec.Suspend = new(true)
	f.apply(f.by, cron)
	f.due(cron, 1)
	f.runsOf(cron, 1)
	f.due(cron, 2)
	runs := f.runsOf(cron, 2)
	f.change(f.by, &runs[0], resumeJob)
	f.opened(&runs[0], 1)
	f.change(f.by, &runs[1], resumeJob)
	f.refused(&runs[1], v1alpha1.ReasonUsesExhausted)
	f.eventually("an Event of the CronJob", func() error { return f.wantEvent(cron, "UsesExhausted", "1 of 1 uses of the hop have begun") })
}

// TestManyPodsOneUse: the pods of a Job are one use, however many there are, and none of them fails on account of the gate.
func TestManyPodsOneUse(t *testing.T) {
	f := hopSetup(t)
	_, hop := f.chain(maxUses(2))
	f.usable(hop.Name)
	three := int32(3)
	parallel := f.work("parallel", hop.Name, func(j *batchv1.Job) { j.Spec.Parallelism, j.Spec.Completions = &three, new(int32(9)) })
	indexed := f.work("indexed", hop.Name, func(j *batchv1.Job) {
		j.Spec.Parallelism, j.Spec.Completions, j.Spec.CompletionMode = &three, &three, new(batchv1.IndexedCompletion)
	})
	f.apply(f.by, parallel, indexed)
	f.opened(parallel, 3)
	indexes := map[string]bool{}
	for _, pod := range f.opened(indexed, 3) {
		indexes[pod.Annotations[batchv1.JobCompletionIndexAnnotation]] = true
	}
	if len(indexes) != 3 {
		t.Errorf("the indexes are %v", indexes)
	}
	f.uses(hop, "2/2", 2)
	f.completed(parallel, 9)
	f.completed(indexed, 3)
	f.uses(hop, "2/2", 0)
}

// completed ends the pods of a Job as they come, until it is complete, and demands that so many have succeeded and none failed.
func (f *fixture) completed(job *batchv1.Job, n int32) {
	f.Helper()
	f.eventually(fmt.Sprintf("Job %s to be complete", job.Name), func() error {
		for _, pod := range f.podsOf(job.Name) {
			if !isGated(pod) && pod.Status.Phase == corev1.PodPending {
				f.finish(&pod, corev1.PodSucceeded)
			}
		}
		if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(job), job); err != nil {
			return err
		}
		if job.Status.CompletionTime == nil {
			return fmt.Errorf("it is %+v", job.Status)
		}
		return nil
	})
	if job.Status.Succeeded != n || job.Status.Failed != 0 {
		f.Errorf("of Job %s %d pods have succeeded and %d failed", job.Name, job.Status.Succeeded, job.Status.Failed)
	}
}

// TestEvictedPodIsTheSameUse: a Job that makes a pod again goes on as the use that it is.
func TestEvictedPodIsTheSameUse(t *testing.T) {
	f := hopSetup(t)
	_, hop := f.chain(maxUses(1))
	job := f.work("retries", hop.Name, func(j *batchv1.Job) { j.Spec.BackoffLimit = new(int32(1)) })
	f.apply(f.by, job)
	pod := f.opened(job, 1)[0]
	if err := suite.admin.SubResource("eviction").Create(t.Context(), &pod, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{
		Namespace: pod.Namespace, Name: pod.Name,
	}}); err != nil {
		t.Fatal(err)
	}
	var again corev1.Pod
	f.eventually("another pod", func() error {
		if again = f.opened(job, 1)[0]; again.UID == pod.UID {
			return errAllowed
		}
		return nil
	})
	if again.Spec.ServiceAccountName != pod.Spec.ServiceAccountName {
		t.Errorf("it runs as %s, and ran as %s", again.Spec.ServiceAccountName, pod.Spec.ServiceAccountName)
	}
	f.uses(hop, "1/1", 1)
	f.finish(&again, corev1.PodSucceeded)
	f.uses(hop, "1/1", 0)
}

// TestTokenOfAnEarlierUse: what was carried off from a use is worth nothing in the next one.
func TestTokenOfAnEarlierUse(t *testing.T) {
	f := hopSetupOn(t, false)
	_, hop := f.chain()
	f.usable(hop.Name)
	var accounts []string
	var tokens []client.Client
	for _, name := range []string{"first", "second"} {
		pod := f.pod("dhop-"+name, hop.Name)
		f.apply(f.by, pod)
		f.eventually("the gate to be open", func() error {
			if isGated(*f.podNow(pod)) {
				return errAllowed
			}
			return nil
		})
		request := &authenticationv1.TokenRequest{}
		account := &corev1.ServiceAccount{ObjectMeta: meta1(f.ns, pod.Spec.ServiceAccountName)}
		if err := suite.admin.SubResource("token").Create(t.Context(), account, request); err != nil {
			t.Fatal(err)
		}
		token := f.withToken(request.Status.Token)
		if err := f.read(token); err != nil { // its rights were in effect when the gate was opened
			t.Errorf("the token of the %s use is refused: %v", name, err)
		}
		accounts, tokens = append(accounts, account.Name), append(tokens, token)
		if name == "first" {
			f.finish(pod, corev1.PodSucceeded)
			f.eventually("another account", func() error { return f.isAccount(hop, account.Name) })
			f.usable(hop.Name)
		}
	}
	if accounts[0] == accounts[1] {
		t.Errorf("both uses ran as %s", accounts[0])
	}
	f.eventually("the token of the first use to be worth nothing", func() error {
		if err := f.read(tokens[0]); !apierrors.IsUnauthorized(err) {
			return orAllowed(err)
		}
		return nil
	})
	f.wantAllowed(f.read(tokens[1]))
}
