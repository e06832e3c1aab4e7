//go:build unix

package gate

import (
	"fmt"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestJob: all pods of a Job run under one use and one account, and the first answer that each gets is one that it is allowed. A
// second Job is denied.
func TestJob(t *testing.T) {
	for name, change := range map[string]func(*batchv1.JobSpec){
		"parallel": func(s *batchv1.JobSpec) { s.Parallelism, s.Completions = new(int32(3)), new(int32(9)) },
		"indexed": func(s *batchv1.JobSpec) {
			s.Parallelism, s.Completions, s.CompletionMode = new(int32(2)), new(int32(3)), new(batchv1.IndexedCompletion)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, maxUses(1))
			account := f.hop.Status.ServiceAccountName
			job := f.job("work", f.once(), change)
			f.apply(job)
			f.ends(job, batchv1.JobComplete)
			pods := f.podsOf(job.Name)
			if len(pods) != int(*job.Spec.Completions) {
				t.Errorf("it has %d pods", len(pods))
			}
			for _, pod := range pods {
				f.answered(pod.Name)
				if pod.Spec.ServiceAccountName != account {
					t.Errorf("pod %s has run as %s, and not as %s", pod.Name, pod.Spec.ServiceAccountName, account)
				}
			}
			f.idle("1/1", account)
			f.denied(f.job("another", f.once()), v1alpha1.ReasonUsesExhausted)
		})
	}
}

// TestCronJob: each run of a CronJob is a use of its own, as another account. The one too many does not run until the hop allows
// more.
func TestCronJob(t *testing.T) {
	t.Parallel()
	f := setup(t, maxUses(2))
	c := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "nightly"}, Spec: batchv1.CronJobSpec{
		Schedule: day(0), JobTemplate: batchv1.JobTemplateSpec{Spec: f.job("", f.once()).Spec},
	}}
	f.apply(c)
	accounts := map[string]bool{}
	run := func(n int, summary string) {
		account := f.hop.Status.ServiceAccountName
		f.idle(summary, account)
		if accounts[account] || f.ran.count("dhop-nightly-") != n {
			t.Errorf("run %d of %d was as %s, after %v", n, f.ran.count("dhop-nightly-"), account, accounts)
		}
		accounts[account] = true
	}
	f.due(c, 1)
	f.began("1/2")
	run(1, "1/2")
	f.due(c, 2)
	f.began("2/2")
	run(2, "2/2")
	f.due(c, 3)
	f.eventually("an Event of the CronJob", func() error { return f.hasEvent("CronJob", c.Name, v1alpha1.ReasonUsesExhausted) })
	f.uses("2/2", 0)

	f.change(f.author, f.hop, `{"spec":{"workload":{"maxUses":3}}}`)
	f.began("3/3")
	run(3, "3/3")
	var jobs batchv1.JobList
	if err := suite.admin.List(t.Context(), &jobs, client.InNamespace(f.ns)); err != nil {
		t.Fatal(err)
	}
	for _, job := range jobs.Items {
		for _, pod := range f.podsOf(job.Name) {
			f.answered(pod.Name)
		}
	}
}

// began waits until so many uses have begun.
func (f *fixture) began(summary string) {
	f.Helper()
	f.eventually("the beginning of use "+summary, func() error {
		if err := f.get(f.hop); err != nil {
			return err
		}
		if u := f.hop.Status.Uses; u == nil || u.Summary != summary {
			return fmt.Errorf("it has %+v", u)
		}
		return nil
	})
}

// day is a schedule of a day in each month, none of them today.
func day(n int) string { return fmt.Sprintf("0 0 %d * *", (time.Now().UTC().Day()+4*n+4)%28+1) }

// due makes the n-th run of a CronJob overdue.
func (f *fixture) due(c *batchv1.CronJob, n int) {
	f.Helper()
	f.change(f.author, c, fmt.Sprintf(`{"spec":{"schedule":%q}}`, day(n)))
	last := time.Now().Add(-40 * 24 * time.Hour).UTC().Format(time.RFC3339)
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"status":{"lastScheduleTime":%q}}`, last))
	if err := suite.admin.Status().Patch(f.Context(), c, patch); err != nil {
		f.Fatal(err)
	}
}

// TestTwoAtOnce: of two Jobs that are resumed at the same time under a hop that allows one use, one runs.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	f := setup(t, maxUses(1))
	first, second := f.job("first", f.once(), suspended), f.job("second", f.once(), suspended)
	f.apply(first, second)
	f.change(f.author, first, resume)
	f.change(f.author, second, resume)
	f.began("1/1")
	runs, refused := first, second
	if live := f.hop.Status.Uses.Live; len(live) > 0 && live[0].Name == second.Name {
		runs, refused = second, first
	}
	f.ends(runs, batchv1.JobComplete)
	f.answered(f.podsOf(runs.Name)[0].Name)
	f.refused(refused, v1alpha1.ReasonUsesExhausted)
	if n := f.ran.count("dhop-" + refused.Name); n > 0 {
		t.Errorf("%d pods of Job %s have run", n, refused.Name)
	}
}

// TestPod: a Pod without a Job is a use. One for which somebody chose the node, past the scheduler and its gates, does not exist.
func TestPod(t *testing.T) {
	t.Parallel()
	f := setup(t, maxUses(2))
	account := f.hop.Status.ServiceAccountName
	bound := f.pod("dhop-bound")
	bound.Spec.NodeName = suite.node
	f.denied(bound, "schedulingGates")
	pod := f.pod("dhop-bare")
	f.apply(pod)
	f.began("1/2")
	f.idle("1/2", account)
	f.answered(pod.Name)
	if n := f.ran.count(bound.Name); n > 0 {
		t.Error("the Pod with a node has run")
	}
}

// TestMaxDuration: a use that lasts too long is ended with its container; one that is done in time is not.
func TestMaxDuration(t *testing.T) {
	t.Parallel()
	f := setup(t, maxDuration(time.Hour))
	short, long := f.job("short", f.once()), f.job("long", f.forever())
	f.apply(short, long)
	f.ends(short, batchv1.JobComplete)
	f.answered(f.podsOf(short.Name)[0].Name)
	f.runs(long)
	f.uses("2", 1)
	left := time.Since(f.hop.Status.Uses.Live[0].Since.Time).Truncate(time.Second) + 3*time.Second
	f.change(f.author, f.hop, fmt.Sprintf(`{"spec":{"workload":{"maxDuration":%q}}}`, left))
	f.refused(long, v1alpha1.ReasonDurationExceeded)
	now := time.Now()
	f.uses("2", 0)
	f.state(v1alpha1.ReasonIdle)
	if n := f.allowed(now); n > 0 {
		t.Errorf("%d requests were allowed after the end of the use", n)
	}
	if long.Annotations[v1alpha1.AnnotationUseEnded] != string(v1alpha1.ReasonDurationExceeded) {
		t.Errorf("the Job has the annotations %v", long.Annotations)
	}
}
