//go:build unix

package e2e

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

var mayUse = rule(v1alpha1.GroupName, "delegationhops", "use")

// TestResumeAsksTheAuthor: who resumes a Job starts only what its author may still start.
func TestResumeAsksTheAuthor(t *testing.T) {
	f := hopSetup(t)
	_, hop := f.chain()
	loses, keeps, resumes := f.named("carol"), f.named("dave"), f.named("bob")
	f.bind(f.ns, resumes, rule("batch", "jobs", "patch"))
	lost := f.bind(f.ns, loses, mayUse)
	f.bind(f.ns, keeps, mayUse)
	byLoser, byKeeper := f.work("by-loser", hop.Name, asSuspended), f.work("by-keeper", hop.Name, asSuspended)
	for user, job := range map[string]*batchv1.Job{loses: byLoser, keeps: byKeeper} {
		f.bind(f.ns, user, rule("batch", "jobs", "create"))
		f.eventually(user+" to be let create Jobs", func() error { return f.creates(user, job.DeepCopy()) })
		f.apply(user, job)
	}
	if err := suite.admin.Delete(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	f.eventually("the loss to be known", func() error {
		if f.creates(loses, f.work("another", hop.Name)) == nil {
			return errAllowed
		}
		return nil
	})

	f.change(resumes, byLoser, resumeJob)
	f.refused(byLoser, v1alpha1.ReasonNotPermittedToUse)
	f.eventually("an Event", func() error {
		return f.wantEvent(byLoser, "NotPermittedToUse", `its author "`+loses+`" does not hold the verb use`)
	})
	f.uses(hop, "0", 0)
	f.change(resumes, byKeeper, resumeJob)
	f.opened(byKeeper, 1)
	f.uses(hop, "1", 1)
	if by := hop.Status.Uses.Live[0].By; by != keeps {
		t.Errorf("the use is by %s", by)
	}
}

// forged claims that an administrator declared an object for some hop.
var forged = map[string]string{
	v1alpha1.AnnotationDeclaredBy: "kubernetes-admin", v1alpha1.AnnotationDeclaredByGroups: `["system:masters"]`,
	v1alpha1.AnnotationDeclaredHop: "00000000-0000-0000-0000-000000000000",
}

// wantStamp demands that an object has the stamp of a user for a hop; of none where the user is empty.
func (f *fixture) wantStamp(o client.Object, user string, hop *v1alpha1.DelegationHop, groups ...string) {
	f.Helper()
	want, got := map[string]string{}, map[string]string{}
	if user != "" {
		want = map[string]string{
			v1alpha1.AnnotationDeclaredBy: user, v1alpha1.AnnotationDeclaredHop: string(hop.UID),
		}
	}
	if len(groups) > 0 {
		want[v1alpha1.AnnotationDeclaredByGroups] = fmt.Sprintf("%q", groups)
	}
	for key := range forged {
		if value, has := f.stored(o).GetAnnotations()[key]; has {
			got[key] = value
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("the stamp of %T %s: %s", o, o.GetName(), diff)
	}
}

// TestForgedStamps: whatever somebody writes in the annotations of a stamp, it names who created the object.
func TestForgedStamps(t *testing.T) {
	f := hopSetup(t)
	_, hop := f.chain()
	f.usable(hop.Name)
	bob := f.named("bob")
	f.bind(f.ns, bob, rule("batch", "jobs,cronjobs", "patch"), rule("", "pods", "patch"))
	pod := f.pod("dhop-forged", hop.Name, func(p *corev1.Pod) { p.Annotations = forged })
	job := f.work("forged", hop.Name, asSuspended, func(j *batchv1.Job) {
		j.Annotations, j.Spec.Template.Annotations = forged, forged
	})
	cron := f.scheduled("forged-cron", hop.Name, batchv1.AllowConcurrent)
	cron.Annotations, cron.Spec.JobTemplate.Annotations, cron.Spec.JobTemplate.Spec.Template.Annotations = forged, forged, forged
	f.apply(f.by, pod, job, cron)
	f.due(cron, 1)

	const copied = `{"metadata":{"annotations":{"delegation.wayleave.dev/declared-by":"kubernetes-admin"}}}`
	const removed = `{"metadata":{"annotations":{"delegation.wayleave.dev/declared-by":null}}}`
	for _, o := range []client.Object{pod, job, cron} {
		f.wantStamp(o, f.by, hop)
		for _, user := range []string{bob, f.by} {
			for _, patch := range []string{copied, removed} {
				err := f.patch(user, o, patch)
				if o == client.Object(pod) {
					f.wantDenied(err, "stamped at its creation and stay as they are")
				} else {
					f.wantAllowed(err)
				}
				f.wantStamp(o, f.by, hop)
			}
		}
	}

	// What controllers make has no stamp: that of what it is made from counts.
	f.change(f.by, job, resumeJob)
	f.wantStamp(&f.opened(job, 1)[0], "", nil)
	run := f.runsOf(cron, 1)[0]
	f.wantStamp(&run, "", nil)
	f.wantStamp(&f.opened(&run, 1)[0], "", nil)
	f.uses(hop, "3", 3)
	for _, use := range hop.Status.Uses.Live {
		if use.By != f.by {
			t.Errorf("%s %s is by %s", use.Kind, use.Name, use.By)
		}
	}
}

// TestRightOfAGroup: the stamp keeps the groups of an author, so that what was started on the right of a group goes on on it.
func TestRightOfAGroup(t *testing.T) {
	f := hopSetup(t)
	_, hop := f.chain()
	team, erin := fmt.Sprintf("team-%d", counter.Add(1)), f.named("erin")
	f.bind(f.ns, erin, rule("batch", "jobs", "create"))
	role := f.bind(f.ns, f.named("nobody"), mayUse)
	byGroup := role.DeepCopy()
	byGroup.ObjectMeta = meta1(f.ns, "of-"+team)
	byGroup.Subjects = []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: team}}
	f.make(byGroup)
	job := f.work("by-group", hop.Name, func(j *batchv1.Job) { j.Annotations = forged })
	f.wantDenied(f.creates(erin, job.DeepCopy()), "NotPermittedToUse")
	f.eventually("the group to be let use the hop", func() error { return f.as(erin, team).Create(t.Context(), job) })
	f.wantStamp(job, erin, hop, team)
	f.opened(job, 1)
}

// TestChangedTemplateIsItsChangers: who changes what a CronJob runs needs the verb use, and becomes its author.
func TestChangedTemplateIsItsChangers(t *testing.T) {
	f := hopSetup(t)
	_, hop := f.chain()
	f.usable(hop.Name)
	bob := f.named("bob")
	f.bind(f.ns, bob, rule("batch", "cronjobs", "patch"))
	cron := f.scheduled("nightly", hop.Name, batchv1.AllowConcurrent)
	f.apply(f.by, cron)
	const other = `{"spec":{"jobTemplate":{"spec":{"template":{"metadata":{"annotations":` +
		`{"delegation.wayleave.dev/requires":"- {apiGroups: [\"\"], resources: [configmaps], verbs: [get]}"}}}}}}}`
	f.wantDenied(f.patch(bob, cron, other), "NotPermittedToUse")
	f.wantStamp(cron, f.by, hop)
	f.bind(f.ns, bob, mayUse)
	f.eventually("bob to be let change it", func() error { return f.patch(bob, cron, other) })
	f.wantStamp(cron, bob, hop)
}

// TestOldJobOfAChangedCronJob: who changes a CronJob answers for what it says from then on, not for a Job that it made before.
func TestOldJobOfAChangedCronJob(t *testing.T) {
	f := hopSetup(t)
	_, hop := f.chain()
	f.usable(hop.Name)
	suspendedRun := func(name string) (*batchv1.CronJob, *batchv1.Job) {
		cron := f.scheduled(name, hop.Name, batchv1.AllowConcurrent)
		cron.Spec.JobTemplate.Spec.Suspend = new(true)
		f.apply(f.by, cron)
		f.due(cron, 1)
		return cron, &f.runsOf(cron, 1)[0]
	}
	changed, old := suspendedRun("changed")
	_, same := suspendedRun("same")
	f.change(f.by, changed, `{"spec":{"jobTemplate":{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":7}}}}}}`)
	for _, job := range []*batchv1.Job{old, same} {
		f.change(f.by, job, resumeJob)
	}
	f.opened(same, 1)
	f.refused(old, v1alpha1.ReasonNotPermittedToUse)
	f.eventually("an Event", func() error { return f.wantEvent(old, "NotPermittedToUse", "which was changed since") })
}

// TestOwnerReferenceGivesNoRight: a pod that names somebody else's Job as its owner runs on the right of its own author.
func TestOwnerReferenceGivesNoRight(t *testing.T) {
	f := hopSetup(t)
	_, hop := f.chain()
	f.usable(hop.Name)
	bob := f.named("bob")
	f.bind(f.ns, bob, rule("", "pods", "create"))
	job := f.work("owner", hop.Name)
	f.apply(f.by, job)
	f.opened(job, 1)
	pod := f.pod("dhop-owned", hop.Name, func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(job, batchv1.SchemeGroupVersion.WithKind("Job"))}
	})
	f.wantDenied(f.creates(bob, pod.DeepCopy()), "NotPermittedToUse")
	f.bind(f.ns, bob, mayUse)
	f.eventually("bob to be let create the pod", func() error { return f.creates(bob, pod.DeepCopy()) })
	f.apply(bob, pod)
	f.uses(hop, "2", 2)
	if use := hop.Status.Uses.Live[1]; use.By != bob || use.Kind != v1alpha1.WorkloadPod || use.UID != string(pod.UID) {
		t.Errorf("the pod runs as %+v", use)
	}
}

// TestJobBeforeItsHop: a Job that is applied before its hop starts with it, and is that hop's: one of the same name that is
// created later has not been declared.
func TestJobBeforeItsHop(t *testing.T) {
	f := hopSetup(t)
	job := f.work("early", "isolate", func(j *batchv1.Job) { j.Spec.BackoffLimit = new(int32(6)) }) // its hop is deleted while it runs
	f.apply(f.by, job)
	f.eventually("its pods to be denied", func() error { return f.wantEvent(job, "FailedCreate", "HopNotFound") })
	_, hop := f.chain()
	f.opened(job, 1)
	f.wantStamp(job, f.by, hop)

	f.remove(f.by, hop)
	f.refused(job, v1alpha1.ReasonHopNotFound)
	again := f.hop("isolate", "contain", "", runs)
	f.apply(f.by, again)
	f.state(again, v1alpha1.ReasonIdle)
	f.change(f.by, job, resumeJob)
	f.refused(job, v1alpha1.ReasonNotPermittedToUse)
	f.eventually("an Event", func() error { return f.wantEvent(job, "NotPermittedToUse", "an earlier hop of this name") })
	f.uses(again, "0", 0)
	late := f.work("late", "isolate")
	f.apply(f.by, late)
	f.opened(late, 1)
}
