//go:build unix

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestResumedPathGoesOn: the Jobs that were suspended with a path go on with it, unless a person wants otherwise, and
// CronJobs of each concurrency policy run again; while the path is suspended they make no Jobs.
func TestResumedPathGoesOn(t *testing.T) {
	f := hopSetup(t)
	p, h := f.chain()
	f.usable(h.Name)
	forbid, allow := f.scheduled("forbid", h.Name, batchv1.ForbidConcurrent), f.scheduled("allow", h.Name, batchv1.AllowConcurrent)
	byPerson, kept := f.job("by-person", h.Name), f.job("kept", h.Name)
	byPerson.Spec.Suspend = new(true)
	f.apply(f.by, forbid, allow, byPerson, kept)
	f.due(forbid, 1)
	f.due(allow, 1)
	f.suspendedJobs("one by a person", map[string]int{"by-person": 1, "kept": 0, "forbid-": 0, "allow-": 0})
	for _, job := range f.jobs() {
		if job.Name != byPerson.Name {
			f.madeBy(job.Name)
		}
	}

	f.change(f.by, p, `{"spec":{"suspend":true}}`)
	f.state(h, v1alpha1.ReasonSuspended)
	f.suspendedJobs("all", map[string]int{"by-person": 1, "kept": 1, "forbid-": 1, "allow-": 1})
	f.change(f.by, kept, `{"metadata":{"annotations":{"delegation.wayleave.dev/suspended-for":null}}}`)
	f.due(forbid, 2)
	f.due(allow, 2)
	f.eventually("an Event of the CronJob", func() error { return f.wantEvent(allow, "FailedCreate", "Suspended") })
	if n := len(f.jobs()); n != 4 {
		t.Errorf("there are %d Jobs, and the CronJobs should have made none while the path is suspended", n)
	}

	f.change(f.by, p, `{"spec":{"suspend":false}}`)
	f.granted(h)
	f.suspendedJobs("ours go on", map[string]int{"by-person": 1, "kept": 1, "forbid-": 0, "allow-": 0})
	for _, job := range f.jobs() {
		if _, marked := job.Annotations[v1alpha1.AnnotationSuspendedFor]; marked {
			t.Errorf("Job %s is still marked", job.Name)
		}
		if !strings.HasPrefix(job.Name, "forbid-") {
			continue
		}
		f.eventually("an Event of Job "+job.Name, func() error { return f.wantEvent(&job, "Granted", "resumed") })
		pod := f.madeBy(job.Name)
		succeeded := client.RawPatch(types.MergePatchType, []byte(`{"status":{"phase":"Succeeded"}}`))
		if err := suite.admin.Status().Patch(f.Context(), &pod, succeeded); err != nil {
			t.Fatal(err)
		}
	}
	f.due(forbid, 3)
	f.due(allow, 3)
	for _, cron := range []string{forbid.Name, allow.Name} {
		f.eventually("another run of CronJob "+cron, func() error {
			n := 0
			for _, job := range f.jobs() {
				if strings.HasPrefix(job.Name, cron+"-") {
					n++
				}
			}
			if n < 2 {
				return fmt.Errorf("there are %d Jobs", n)
			}
			return nil
		})
	}
}

// scheduled is a CronJob that runs when the test says that it is due, and not otherwise.
func (f *fixture) scheduled(name, hop string, policy batchv1.ConcurrencyPolicy) *batchv1.CronJob {
	c := f.cronJob(name, hop)
	c.Spec.Schedule, c.Spec.ConcurrencyPolicy = day(1), policy
	return c
}

// day is a schedule of a day in each month, none of them today.
func day(n int) string {
	return fmt.Sprintf("0 0 %d * *", (time.Now().UTC().Day()+4*n)%28+1)
}

// due makes the n-th run of a CronJob overdue.
func (f *fixture) due(c *batchv1.CronJob, n int) {
	f.Helper()
	f.change(f.by, c, fmt.Sprintf(`{"spec":{"schedule":%q}}`, day(n)))
	last := time.Now().Add(-40 * 24 * time.Hour).UTC().Format(time.RFC3339)
	patch := fmt.Sprintf(`{"status":{"lastScheduleTime":%q}}`, last)
	if err := suite.admin.Status().Patch(f.Context(), c, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) jobs() []batchv1.Job {
	f.Helper()
	var jobs batchv1.JobList
	if err := suite.admin.List(f.Context(), &jobs, client.InNamespace(f.ns)); err != nil {
		f.Fatal(err)
	}
	return jobs.Items
}

// suspendedJobs waits until there are Jobs of each prefix, suspended where it says 1.
func (f *fixture) suspendedJobs(what string, want map[string]int) {
	f.Helper()
	f.eventually("suspended Jobs: "+what, func() error {
		jobs := f.jobs()
		if len(jobs) < len(want) {
			return fmt.Errorf("there are %d Jobs", len(jobs))
		}
		for _, job := range jobs {
			for prefix, suspended := range want {
				if strings.HasPrefix(job.Name, prefix) && (job.Spec.Suspend != nil && *job.Spec.Suspend) != (suspended == 1) {
					return fmt.Errorf("suspend of Job %s is %v", job.Name, job.Spec.Suspend)
				}
			}
		}
		return nil
	})
}

// wantEvent looks for an Event of an object with a text.
func (f *fixture) wantEvent(o client.Object, reason, text string) error {
	var events eventsv1.EventList
	if err := suite.admin.List(f.Context(), &events, client.InNamespace(f.ns)); err != nil {
		return err
	}
	var found []string
	for _, e := range events.Items {
		if e.Regarding.UID == o.GetUID() {
			found = append(found, e.Reason+": "+e.Note)
			if e.Reason == reason && strings.Contains(e.Note, text) {
				return nil
			}
		}
	}
	return fmt.Errorf("there are %q", found)
}
