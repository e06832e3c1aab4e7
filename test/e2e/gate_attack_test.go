//go:build unix

package e2e

import (
	"fmt"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

const disowned = `{"metadata":{"ownerReferences":null}}`

// ownedBy gives an object another controller.
func ownedBy(kind string, owner client.Object) string {
	return fmt.Sprintf(`{"metadata":{"ownerReferences":[{"apiVersion":"batch/v1","kind":%q,"name":%q,"uid":%q,"controller":true}]}}`,
		kind, owner.GetName(), owner.GetUID())
}

// TestOwnersOfPodsAndJobsStay: a pod or Job that was made under a hop cannot be given another owner, on whose author's right it
// would start, or as part of whose use.
func TestOwnersOfPodsAndJobsStay(t *testing.T) {
	f := hopSetup(t)
	_, hop := f.chain(maxUses(1))
	f.usable(hop.Name)
	bob := f.named("bob")
	f.bind(f.ns, bob, rule("", "pods", "patch"), rule("batch", "jobs", "patch"))
	from, to := f.work("from", hop.Name, queued), f.work("to", hop.Name, queued)
	f.apply(f.by, from, to)
	pod, other := f.madeBy(from.Name), f.madeBy(to.Name)
	f.eventually("bob to be let patch pods", func() error {
		return f.merge(f.as(bob), &other, false, `{"metadata":{"labels":{"x":"y"}}}`, client.DryRunAll)
	})
	f.wantDenied(f.merge(f.as(bob), &pod, false, ownedBy("Job", to)), "gate.delegation.wayleave.dev")
	f.wantAllowed(f.merge(f.as(bob), &pod, false, disowned, client.DryRunAll))

	cron, theirs := f.scheduled("ours", hop.Name, batchv1.AllowConcurrent), f.scheduled("theirs", hop.Name, batchv1.AllowConcurrent)
	for _, c := range []*batchv1.CronJob{cron, theirs} {
		c.Spec.JobTemplate.Spec.Suspend = new(true)
	}
	f.apply(f.by, cron, theirs)
	f.due(cron, 1)
	run := f.runsOf(cron, 1)[0]
	f.wantDenied(f.merge(f.as(bob), &run, false, ownedBy("CronJob", theirs)), "declared-jobs.delegation.wayleave.dev")
	f.wantAllowed(f.merge(f.as(bob), &run, false, disowned, client.DryRunAll))
}

// TestStatusWritesNoStamp: no webhook sees what is written by jobs/status, and no stamp is written by it.
func TestStatusWritesNoStamp(t *testing.T) {
	f := hopSetup(t)
	_, hop := f.chain()
	f.usable(hop.Name)
	job, cron := f.work("stamped", hop.Name, asSuspended), f.scheduled("stamped-cron", hop.Name, batchv1.AllowConcurrent)
	f.apply(f.by, job, cron)
	for _, o := range []client.Object{job, cron} {
		f.wantDenied(f.merge(suite.admin, o, true, `{"metadata":{"annotations":{"delegation.wayleave.dev/declared-by":"x"}}}`),
			"declared-jobs.delegation.wayleave.dev")
		f.wantAllowed(f.merge(suite.admin, o, true, `{"metadata":{"annotations":{"example.com/note":"x"}}}`))
		f.wantStamp(o, f.by, hop)
	}
}

// onNode has a pod be on a node, of which there is none.
func (f *fixture) onNode(pod *corev1.Pod) {
	f.Helper()
	binding := &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: "nowhere"}}
	if err := suite.admin.SubResource("binding").Create(f.Context(), pod, binding); err != nil {
		f.Fatal(err)
	}
}

// TestLongGraceHoldsUpNoWithdrawal: a pod that somebody deleted with a grace of hours does not run on after its hop is revoked, or
// after its use has lasted as long as it may.
func TestLongGraceHoldsUpNoWithdrawal(t *testing.T) {
	f := hopSetup(t)
	_, hop := f.chain()
	f.usable(hop.Name)
	pod := f.pod("dhop-lingers", hop.Name)
	f.apply(f.by, pod)
	f.eventually("the gate to be open", func() error {
		if isGated(*f.podNow(pod)) {
			return errAllowed
		}
		return nil
	})
	f.onNode(pod)
	if err := suite.admin.Delete(t.Context(), pod, client.GracePeriodSeconds(36000)); err != nil {
		t.Fatal(err)
	}
	f.change(f.by, hop, `{"spec":{"revoked":{"reason":"it is enough"}}}`)
	f.state(hop, v1alpha1.ReasonRevoked)
	f.eventually("the pod to have a moment to end", func() error {
		now := f.find(pod)
		if now == nil {
			return nil
		}
		if at := now.GetDeletionTimestamp(); at == nil || time.Until(at.Time) > time.Minute {
			return fmt.Errorf("it ends at %v", at)
		}
		return nil
	})
}

// TestForgedRecordGivesNoTime: who writes the record of a restore themselves gets no later end by it.
func TestForgedRecordGivesNoTime(t *testing.T) {
	f := hopSetup(t)
	path, hop := f.chain()
	f.eventually("the records", func() error {
		for _, o := range []client.Object{path, hop} {
			if err := suite.admin.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
				return err
			}
			if o.GetLabels()[v1alpha1.LabelRecord] == "" {
				return fmt.Errorf("%s has none", o.GetName())
			}
		}
		return nil
	})
	digestOf := func(o metav1.Object) string { return o.GetLabels()[v1alpha1.LabelRecord][:8] }
	far := time.Now().Add(1000 * time.Hour).Unix()
	owners := map[string]string{"path": digestOf(path), "hop": digestOf(hop)}
	f.remove(f.by, hop)
	f.remove(f.by, path)
	again, below := f.path("contain"), f.hop("isolate", "contain", "", runs)
	again.Labels = map[string]string{v1alpha1.LabelRecord: fmt.Sprintf("%s.%d.0", owners["path"], far)}
	below.Labels = map[string]string{v1alpha1.LabelRecord: fmt.Sprintf("%s.%d.0", owners["hop"], far)}
	f.apply(f.by, again, below)
	f.state(again, v1alpha1.ReasonActive)
	f.valid(below)
	f.eventually("ends", func() error {
		for _, o := range []client.Object{again, below} {
			if err := suite.admin.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
				return err
			}
		}
		if again.Status.ExpiresAt == nil || below.Status.ExpiresAt == nil {
			return fmt.Errorf("not known")
		}
		return nil
	})
	for name, at := range map[string]*metav1.Time{"path": again.Status.ExpiresAt, "hop": below.Status.ExpiresAt} {
		if time.Until(at.Time) > 100*time.Hour {
			t.Errorf("the %s expires at %v", name, at)
		}
	}
}
