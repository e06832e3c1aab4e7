//go:build unix

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/audit"
	"github.com/wayleave/wayleave/test/operator"
)

var propagations = []metav1.DeletionPropagation{
	metav1.DeletePropagationBackground, metav1.DeletePropagationForeground, metav1.DeletePropagationOrphan,
}

// absent is what exists before the webhook stops.
type absent struct {
	*fixture
	path, doomed  *v1alpha1.DelegationPath
	hop, report   *v1alpha1.DelegationHop
	last          *v1alpha1.DelegationHop // of doomed
	running       *corev1.Pod
	cron          *batchv1.CronJob
	deleted       map[metav1.DeletionPropagation][]client.Object
	deletedJobs   map[metav1.DeletionPropagation]*batchv1.Job
	toRun, toStop *batchv1.Job
	waiting       *batchv1.Job // suspended since it was created, so that its template can be changed
}

// TestWithoutWebhook: with no webhook running, whoever may patch a path suspends and revokes it, the controllers of
// Kubernetes and ours do their work, and what is deleted is gone; what the webhook would have had to validate is rejected,
// and all that has nothing to do with delegation continues. It stops the webhook that the tests share, and therefore runs
// alone.
func TestWithoutWebhook(t *testing.T) {
	f := absent{fixture: setupOn(t, false)}
	f.prepare()
	suite.operator.Kill("webhook")
	restarted := false
	restart := func() {
		if !restarted {
			restarted = true
			if err := suite.operator.StartWebhook(f.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	defer restart()
	f.failsClosed()
	f.othersContinue()
	f.jobsEnd()
	f.nobodyForges()
	f.endsByUnknown()
	f.deletes()
	restart()
	f.usable(f.hop.Name)
}

func (f *absent) prepare() {
	f.Helper()
	f.path, f.hop = f.chain()
	f.report = f.hop2("report", "contain")
	f.doomed, f.last = f.fixture.path("doomed"), f.hop2("last", "doomed")
	f.apply(f.by, f.report, f.doomed, f.last)
	f.deleted, f.deletedJobs = map[metav1.DeletionPropagation][]client.Object{}, map[metav1.DeletionPropagation]*batchv1.Job{}
	for _, propagation := range propagations {
		name := strings.ToLower(string(propagation))
		p, h := f.fixture.path(name), f.fixture.hop(name, name, "")
		alone := f.fixture.hop("alone-"+name, "contain", "")
		f.apply(f.by, p, h, alone)
		f.deleted[propagation] = []client.Object{alone, p, h}
	}
	for _, objects := range f.deleted {
		f.valid(objects[0])
		f.valid(objects[2])
	}
	f.valid(f.report)
	f.valid(f.last)
	f.usable(f.hop.Name)
	f.usable(f.last.Name)
	f.running, f.cron = f.pod("dhop-running", f.hop.Name), f.cronJob("nightly", f.hop.Name)
	f.cron.Spec.Suspend = new(true)
	f.toRun, f.toStop = f.job("run", f.hop.Name), f.job("stop", f.last.Name)
	f.waiting = f.job("waiting", f.hop.Name)
	f.waiting.Spec.Suspend = new(true)
	f.apply(f.by, f.running, f.cron, f.plain("running"), f.toRun, f.toStop, f.waiting)
	for _, propagation := range propagations {
		f.deletedJobs[propagation] = f.job(strings.ToLower(string(propagation)), f.hop.Name)
		f.apply(f.by, f.deletedJobs[propagation])
	}
	f.madeBy(f.toRun.Name)
	f.madeBy(f.toStop.Name)
	for _, j := range f.deletedJobs {
		f.madeBy(j.Name)
	}
}

// hop2 is a hop that runs workload.
func (f *absent) hop2(name, path string) *v1alpha1.DelegationHop {
	return f.fixture.hop(name, path, "", runs)
}

func (f *absent) plain(name string) *corev1.Pod {
	return f.pod(name, "", func(p *corev1.Pod) { p.Labels = nil })
}

// failsClosed: what has to be validated or stamped is rejected.
func (f *absent) failsClosed() {
	f.Helper()
	label := func(value string) string {
		return fmt.Sprintf(`{"metadata":{"labels":{%q:%s}}}`, v1alpha1.LabelHop, value)
	}
	note := func(key, value string) string { return fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, key, value) }
	const ofJob, ofCronJob = `{"spec":{"template":%s}}`, `{"spec":{"jobTemplate":{"spec":{"template":%s}}}}`
	image := client.RawPatch(types.StrategicMergePatchType,
		[]byte(`{"spec":{"containers":[{"name":"agent","image":"registry.example.com/agent:2"}]}}`))
	f.bind(f.ns, f.by, rule("", "pods/ephemeralcontainers", "update,patch"))
	debugged := f.running.DeepCopy()
	debugged.ResourceVersion = ""
	debugged.Spec.EphemeralContainers = []corev1.EphemeralContainer{
		{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: agent}},
	}
	for name, err := range map[string]error{
		"a pod":      f.creates(f.by, f.pod("dhop-run", f.hop.Name)),
		"a Job":      f.creates(f.by, f.job("new", f.hop.Name)),
		"a CronJob":  f.creates(f.by, f.cronJob("run", f.hop.Name)),
		"a new path": f.creates(f.by, f.fixture.path("new")),
		"a new hop":  f.creates(f.by, f.fixture.hop("other", "contain", "")),
		"a hop's account": f.creates(f.by, f.pod("dhop-run", "", func(p *corev1.Pod) {
			p.Labels, p.Spec.ServiceAccountName = nil, f.hop.Status.ServiceAccountName
		})),
		"the label of a pod is removed": f.patch(f.by, f.running.DeepCopy(), label("null")),
		"the label of a pod changes":    f.patch(f.by, f.running.DeepCopy(), label(`"other"`)),
		"a pod gets the label":          f.patch(f.by, f.plain("running"), label(`"isolate"`)),
		"what a pod requires":           f.patch(f.by, f.running.DeepCopy(), note(v1alpha1.AnnotationRequires, "[]")),
		"the image of a pod":            f.as(f.by).Patch(f.Context(), f.running.DeepCopy(), image),
		"a debug container": f.as(f.by).SubResource("ephemeralcontainers").Patch(
			f.Context(), debugged, client.StrategicMergeFrom(f.running.DeepCopy())),
		"the label of a CronJob":   f.patch(f.by, f.cron.DeepCopy(), fmt.Sprintf(ofCronJob, label(`"other"`))),
		"a CronJob loses its hop":  f.patch(f.by, f.cron.DeepCopy(), fmt.Sprintf(ofCronJob, label("null"))),
		"what a CronJob requires":  f.patch(f.by, f.cron.DeepCopy(), fmt.Sprintf(ofCronJob, note(v1alpha1.AnnotationRequires, "[]"))),
		"the label of a Job":       f.patch(f.by, f.waiting.DeepCopy(), fmt.Sprintf(ofJob, label(`"other"`))),
		"the lifetime of a path":   f.patch(f.by, f.path.DeepCopy(), `{"spec":{"lifetime":{"duration":"2h"}}}`),
		"the scope of a path":      f.patch(f.by, f.path.DeepCopy(), f.scopePatch(`"get"`)),
		"the scope of a hop":       f.patch(f.by, f.hop.DeepCopy(), f.scopePatch(`"get"`)),
		"a hop without its author": f.patch(f.by, f.hop.DeepCopy(), `{"spec":{"author":null}}`),
		"a path of another origin": f.patch(f.by, f.path.DeepCopy(), `{"spec":{"origin":{"user":"carol"}}}`),
		"a path loses its bounds":  f.patch(f.by, f.path.DeepCopy(), `{"spec":{"hops":null}}`),
		"a change with a suspension": f.patch(f.by, f.path.DeepCopy(),
			`{"spec":{"suspend":true,"lifetime":{"duration":"2h"}}}`),
		"a change with a revocation": f.patch(f.by, f.hop.DeepCopy(),
			`{"spec":{"revoked":{"reason":"x"},"lifetime":{"duration":"2h"}}}`),
		"who changed a path":    f.patch(f.by, f.path.DeepCopy(), note(v1alpha1.AnnotationChangedBy, "carol")),
		"which change that was": f.patch(f.by, f.path.DeepCopy(), note(v1alpha1.AnnotationChangedGeneration, "2")),
		"a suspension with a forger": f.patch(f.by, f.path.DeepCopy(),
			strings.Replace(note(v1alpha1.AnnotationChangedBy, "carol"), `}}}`, `}},"spec":{"suspend":true}}`, 1)),
	} {
		if err == nil || !strings.Contains(err.Error(), "failed calling webhook") {
			f.Errorf("without the webhook, %s: answered: %v", name, orAllowed(err))
		}
	}
}

// othersContinue: what has nothing to do with delegation, and updates that change nothing that is validated.
func (f *absent) othersContinue() {
	f.Helper()
	for name, err := range map[string]error{
		"a plain pod":          f.creates(f.by, f.plain("plain")),
		"a plain Job":          f.creates(f.by, f.job("plain", "", func(s *corev1.PodTemplateSpec) { s.Labels = nil })),
		"a Job's own label":    f.creates(f.by, f.labelled(f.job("plain", "", func(s *corev1.PodTemplateSpec) { s.Labels = nil }))),
		"a plain pod's label":  f.patch(f.by, f.plain("running"), `{"metadata":{"labels":{"team":"sre"}}}`),
		"a pod's label":        f.patch(f.by, f.running.DeepCopy(), `{"metadata":{"labels":{"team":"sre"}}}`),
		"a pod's annotation":   f.patch(f.by, f.running.DeepCopy(), `{"metadata":{"annotations":{"a":"b"}}}`),
		"a pod's deadline":     f.patch(f.by, f.running.DeepCopy(), `{"spec":{"activeDeadlineSeconds":60}}`),
		"a pod's finalizer":    f.patch(f.by, f.running.DeepCopy(), `{"metadata":{"finalizers":["example.com/hold"]}}`),
		"and without it":       f.patch(f.by, f.running.DeepCopy(), `{"metadata":{"finalizers":null}}`),
		"a CronJob's schedule": f.patch(f.by, f.cron.DeepCopy(), `{"spec":{"schedule":"0 4 * * *"}}`),
		"a Job's deadline":     f.patch(f.by, f.toRun.DeepCopy(), `{"spec":{"activeDeadlineSeconds":3600}}`),
		"a path's label":       f.patch(f.by, f.path.DeepCopy(), `{"metadata":{"labels":{"team":"sre"}}}`),
		"a path's finalizer":   f.patch(f.by, f.path.DeepCopy(), `{"metadata":{"finalizers":["example.com/hold"]}}`),
		"without it":           f.patch(f.by, f.path.DeepCopy(), `{"metadata":{"finalizers":null}}`),
		"a hop's annotation":   f.patch(f.by, f.hop.DeepCopy(), `{"metadata":{"annotations":{"a":"b"}}}`),
	} {
		if err != nil {
			f.Errorf("without the webhook, %s: %v", name, err)
		}
	}
}

// jobsEnd: the Job controller counts a finished pod, and lets go of it; Jobs are deleted in each way.
func (f *absent) jobsEnd() {
	f.Helper()
	pod := f.madeBy(f.toRun.Name)
	succeeded := client.RawPatch(types.MergePatchType, []byte(`{"status":{"phase":"Succeeded"}}`))
	if err := suite.admin.Status().Patch(f.Context(), &pod, succeeded); err != nil {
		f.Fatal(err)
	}
	for propagation, j := range f.deletedJobs {
		f.wantAllowed(f.as(f.by).Delete(f.Context(), j, client.PropagationPolicy(propagation)))
	}
	f.eventually("the Job to complete, and its pod to be let go", func() error {
		j := &batchv1.Job{}
		if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(f.toRun), j); err != nil {
			return err
		}
		complete := slices.ContainsFunc(j.Status.Conditions, func(c batchv1.JobCondition) bool {
			return c.Type == batchv1.JobComplete && c.Status == corev1.ConditionTrue
		})
		if pods := f.podsOf(j.Name); !complete || len(pods) != 1 || len(pods[0].Finalizers) > 0 {
			return fmt.Errorf("%+v, %d pods", j.Status, len(pods))
		}
		return nil
	})
	for _, j := range f.deletedJobs {
		f.isGone(j)
		// An orphan runs outside of any use, and is ended by the controller.
		f.eventually("the pods of Job "+j.Name+" to be gone", func() error {
			if pods := f.podsOf(j.Name); len(pods) > 0 {
				return fmt.Errorf("%s still exists with the finalizers %q", pods[0].Name, pods[0].Finalizers)
			}
			return nil
		})
	}
}

// nobodyForges: without a webhook that would overwrite it, a request cannot name another user as who revoked.
func (f *absent) nobodyForges() {
	f.Helper()
	bob := f.colleague("bob")
	forged := fmt.Sprintf(`{"spec":{"revoked":{"reason":"false alarm","by":%q}}}`, f.by)
	f.eventually("bob to be denied for the name alone", func() error {
		if err := f.patch(bob, f.report.DeepCopy(), forged); err == nil || !strings.Contains(err.Error(), "names another user") {
			return fmt.Errorf("answered: %w", orAllowed(err))
		}
		return nil
	})
	f.wantDenied(f.patch(bob, f.path.DeepCopy(), forged), "names another user")
	f.wantAllowed(f.patch(bob, f.report, fmt.Sprintf(`{"spec":{"revoked":{"reason":"false alarm","by":%q}}}`, bob)))
	f.wantDenied(f.patch(f.by, f.report, fmt.Sprintf(`{"spec":{"revoked":{"by":%q}}}`, f.by)), "revoked is final")
	f.wantAllowed(f.patch(f.by, f.report, `{"metadata":{"labels":{"reviewed":"yes"}}}`))
	f.state(f.report, v1alpha1.ReasonRevoked)
	f.recordedByController("DelegationHop "+f.ns+"/report", v1alpha1.ReasonRevoked, bob)
}

// endsByUnknown: suspension and revocation take effect, our controller suspends the Job, and the record names nobody.
func (f *absent) endsByUnknown() {
	f.Helper()
	f.wantAllowed(f.patch(f.by, f.path, `{"spec":{"suspend":true}}`))
	f.state(f.path, v1alpha1.ReasonSuspended)
	f.wantAllowed(f.patch(f.by, f.path, `{"spec":{"suspend":null}}`))
	f.state(f.path, v1alpha1.ReasonActive)
	f.wantAllowed(f.patch(f.by, f.doomed, revoke))
	f.state(f.doomed, v1alpha1.ReasonRevoked)
	f.state(f.last, v1alpha1.ReasonRevoked)
	f.wantHistory(f.path, "Active by "+f.by, "Suspended by unknown", "Active by unknown")
	f.wantHistory(f.doomed, "Active by "+f.by, "Revoked by unknown")
	f.recordedByController("DelegationPath "+f.ns+"/doomed", v1alpha1.ReasonRevoked, "unknown")
	f.recordedByController("DelegationHop "+f.ns+"/last", v1alpha1.ReasonRevoked, "unknown")
	f.eventually("the Job to be suspended, and its pods to be gone", func() error {
		if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(f.toStop), f.toStop); err != nil {
			return err
		}
		if s := f.toStop.Spec.Suspend; s == nil || !*s || len(f.podsOf(f.toStop.Name)) > 0 {
			return fmt.Errorf("suspend is %v, and there are %d pods", s, len(f.podsOf(f.toStop.Name)))
		}
		return nil
	})
}

// deletes: paths and hops go, however they are deleted.
func (f *absent) deletes() {
	f.Helper()
	for propagation, objects := range f.deleted {
		for _, o := range objects {
			f.wantAllowed(f.as(f.by).Delete(f.Context(), o, client.PropagationPolicy(propagation)))
		}
	}
	for _, objects := range f.deleted {
		for _, o := range objects {
			f.isGone(o)
		}
	}
}

func (f *fixture) isGone(o client.Object) {
	f.Helper()
	f.eventually(fmt.Sprintf("%T %s to be gone", o, o.GetName()), func() error {
		err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(o), o.DeepCopyObject().(client.Object))
		if !apierrors.IsNotFound(err) {
			return orAllowed(err)
		}
		return nil
	})
}

func (f *absent) wantHistory(p *v1alpha1.DelegationPath, want ...string) {
	f.Helper()
	var history []string
	for _, transition := range p.Status.History {
		history = append(history, fmt.Sprintf("%s by %s", transition.Reason, transition.Actor))
	}
	if !equal(history, want) {
		f.Errorf("the history of %s is %q, want %q", p.Name, history, want)
	}
}

// recordedByController waits for the audit line of a transition, with who caused it.
func (f *absent) recordedByController(object string, reason v1alpha1.Reason, actor string) {
	f.Helper()
	f.eventually(fmt.Sprintf("the line of %s: %s by %s", object, reason, actor), func() error {
		raw, err := os.ReadFile(suite.operator.Log(operator.Controller))
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(raw)) {
			var r audit.Record
			if json.Unmarshal([]byte(line), &r) == nil && r.Verb == "transition" && r.Object == object && r.Reason == reason && r.Actor == actor {
				return nil
			}
		}
		return fmt.Errorf("there is none")
	})
}
