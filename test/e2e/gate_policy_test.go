//go:build unix

package e2e

import (
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

const (
	queueGate   = "example.com/queue"
	onlyOurGate = `{"spec":{"schedulingGates":[{"name":"` + v1alpha1.GateGrant + `"}]}}`
	onlyQueue   = `{"spec":{"schedulingGates":[{"name":"` + queueGate + `"}]}}`
)

// queued has the pods of a Job wait at the gate of a queue, too.
func queued(job *batchv1.Job) {
	job.Spec.Template.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: queueGate}}
}

// queuedPod is a pod at two gates.
func (f *fixture) queuedPod(name, hop string) *corev1.Pod {
	f.Helper()
	pod := f.pod(name, hop, func(p *corev1.Pod) { p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: queueGate}} })
	f.apply(f.by, pod)
	return pod
}

// merge patches an object as a client, its status where it says so: by a JSON patch where that is a list, else by a merge patch.
func (f *fixture) merge(c client.Client, o client.Object, status bool, patch string, options ...client.PatchOption) error {
	raw, o := client.RawPatch(types.MergePatchType, []byte(patch)), o.DeepCopyObject().(client.Object)
	if strings.HasPrefix(patch, "[") {
		raw = client.RawPatch(types.JSONPatchType, []byte(patch))
	}
	if !status {
		return c.Patch(f.Context(), o, raw, options...)
	}
	var forStatus []client.SubResourcePatchOption
	for range options {
		forStatus = append(forStatus, &client.SubResourcePatchOptions{PatchOptions: client.PatchOptions{DryRun: []string{"All"}}})
	}
	return c.Status().Patch(f.Context(), o, raw, forStatus...)
}

// TestGateIsOpenedByUsAlone: nobody takes the gate off by hand, and it is opened when no other one holds the pod.
func TestGateIsOpenedByUsAlone(t *testing.T) {
	f := hopSetup(t)
	_, hop := f.chain()
	f.usable(hop.Name)
	pod := f.queuedPod("dhop-queued", hop.Name)
	const policy = "gate.delegation.wayleave.dev"
	for _, c := range []client.Client{suite.admin, f.as(f.by)} {
		f.wantDenied(f.merge(c, pod, false, onlyQueue), policy, "kubectl describe pod")
		f.wantDenied(f.merge(c, pod, false, `{"spec":{"schedulingGates":null}}`), policy)
	}
	// By pods/status a spec does not change, but labels could.
	f.wantAllowed(f.merge(suite.admin, pod, true, onlyQueue))
	f.wantDenied(f.merge(suite.admin, pod, true, `{"metadata":{"annotations":{"delegation.wayleave.dev/declared-by":"x"}}}`), policy)
	hidden := f.queuedPod("dhop-hidden", hop.Name)
	f.wantDenied(f.merge(suite.admin, hidden, true, `{"metadata":{"labels":null}}`), policy)
	f.wantDenied(f.merge(suite.admin, hidden, false, `{"spec":{"schedulingGates":null}}`), policy)

	// Another pod passes meanwhile, and this one still waits.
	other := f.pod("dhop-other", hop.Name)
	f.apply(f.by, other)
	f.uses(hop, "1", 1)
	if now := f.podNow(pod); !isGated(*now) || hop.Status.Uses.Live[0].Name != other.Name {
		t.Errorf("the gates are %v, the uses %+v", now.Spec.SchedulingGates, hop.Status.Uses)
	}
	f.wantAllowed(f.merge(f.as(f.by), pod, false, onlyOurGate))
	f.uses(hop, "2", 2)
	f.eventually("the gate to be open", func() error {
		if isGated(*f.podNow(pod)) {
			return errAllowed
		}
		return nil
	})
}

func (f *fixture) podNow(pod *corev1.Pod) *corev1.Pod {
	f.Helper()
	now := &corev1.Pod{}
	if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(pod), now); err != nil {
		f.Fatal(err)
	}
	return now
}

// TestControllerTokenChangesNothingElse: with the controller's token gates are opened and Jobs suspended, and what runs cannot be
// changed.
func TestControllerTokenChangesNothingElse(t *testing.T) {
	f := hopSetup(t)
	_, hop := f.chain()
	f.usable(hop.Name)
	pod := f.queuedPod("dhop-queued", hop.Name)
	foreign := &corev1.Pod{ObjectMeta: meta1(f.ns, "foreign"), Spec: podSpec()}
	job := f.work("held", hop.Name, asSuspended)
	cron := f.scheduled("nightly", hop.Name, batchv1.AllowConcurrent)
	undeclared := f.work("undeclared", hop.Name, asSuspended, func(j *batchv1.Job) { j.Spec.Template.Labels = nil })
	f.apply(f.by, foreign, job, cron, undeclared)
	type patches map[string]string
	for _, c := range []struct {
		of     client.Object
		status bool
		denied patches
		twin   string
	}{
		{of: pod, twin: onlyQueue[:len(onlyQueue)-2] + `,"activeDeadlineSeconds":60}}`, denied: patches{
			"a label":       `{"metadata":{"labels":{"a":"b"}}}`,
			"an annotation": `{"metadata":{"annotations":{"a":"b"}}}`,
			"a toleration":  `[{"op":"add","path":"/spec/tolerations/-","value":{"operator":"Exists"}}]`,
			"a node":        `{"spec":{"nodeSelector":{"a":"b"}}}`,
			"another gate":  onlyOurGate,
			"all gates":     `{"spec":{"schedulingGates":null}}`,
			"an owner":      `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"a","uid":"b"}]}}`,
			"a finalizer":   `{"metadata":{"finalizers":["example.com/a"]}}`,
		}},
		{of: pod, status: true, twin: addCondition(v1alpha1.ConditionPodGranted), denied: patches{
			"a phase":     `{"status":{"phase":"Succeeded"}}`,
			"a label":     `{"metadata":{"labels":{"a":"b"}}}`,
			"an address":  `{"status":{"podIP":"192.0.2.1","podIPs":[{"ip":"192.0.2.1"}]}}`,
			"a condition": addCondition("Ready"),
			"a start":     `{"status":{"startTime":"2030-01-01T00:00:00Z"}}`,
		}},
		{of: foreign, denied: patches{
			"another pod": `{"spec":{"activeDeadlineSeconds":60}}`,
		}},
		{of: job, twin: `{"spec":{"suspend":false},"metadata":{"annotations":{"delegation.wayleave.dev/suspended-for":"a"}}}`, denied: patches{
			"the template":       `{"spec":{"template":{"spec":{"nodeSelector":{"a":"b"}}}}}`,
			"parallelism":        `{"spec":{"parallelism":2}}`,
			"a label":            `{"metadata":{"labels":{"a":"b"}}}`,
			"an annotation":      `{"metadata":{"annotations":{"a":"b"}}}`,
			"the author":         `{"metadata":{"annotations":{"delegation.wayleave.dev/declared-by":"x"}}}`,
			"the hop":            `{"metadata":{"annotations":{"delegation.wayleave.dev/declared-hop-uid":"x"}}}`,
			"retries":            `{"spec":{"backoffLimit":6}}`,
			"a deadline":         `{"spec":{"activeDeadlineSeconds":60}}`,
			"when it is deleted": `{"spec":{"ttlSecondsAfterFinished":0}}`,
		}},
		{of: undeclared, denied: patches{
			"another Job": `{"spec":{"suspend":false}}`,
		}},
		{of: cron, denied: patches{
			"the template":  `{"spec":{"jobTemplate":{"spec":{"backoffLimit":6}}}}`,
			"the schedule":  `{"spec":{"schedule":"* * * * *"}}`,
			"the time zone": `{"spec":{"timeZone":"Etc/UTC"}}`,
			"concurrency":   `{"spec":{"concurrencyPolicy":"Forbid"}}`,
			"the hop":       `{"metadata":{"annotations":{"delegation.wayleave.dev/declared-hop-uid":"x"}}}`,
			"suspend":       `{"spec":{"suspend":true}}`,
		}},
	} {
		f.onlyTwin(c.of, c.status, c.denied, c.twin)
	}
}

func addCondition(name string) string {
	return `[{"op":"add","path":"/status/conditions/-","value":{"type":"` + name + `","status":"False"}}]`
}

// onlyTwin demands that the controller's token cannot make changes for which the administrator has the right, and can make one.
func (f *fixture) onlyTwin(o client.Object, status bool, denied map[string]string, twin string) {
	f.Helper()
	controller := f.ours("wayleave-controller")
	for what, patch := range denied {
		err := f.merge(controller, o, status, patch, client.DryRunAll)
		if !apierrors.IsForbidden(err) {
			f.Errorf("%s of %T (status %t): answered: %v", what, o, status, orAllowed(err))
			continue
		}
		f.wantDenied(err, "ValidatingAdmissionPolicy", "the controller of Wayleave")
	}
	if twin != "" {
		f.wantAllowed(f.merge(controller, o, status, twin, client.DryRunAll))
	}
}

// TestQueueStartsJobs: what a queue changes in a suspended Job is no change of what runs. It needs no use, and the stamp stays.
func TestQueueStartsJobs(t *testing.T) {
	f := hopSetup(t)
	_, hop := f.chain()
	queue := f.named("queue")
	f.bind(f.ns, queue, rule("batch", "jobs", "patch"), rule("", "pods", "patch"))
	job := f.work("batch", hop.Name, asSuspended)
	f.apply(f.by, job)
	for what, patch := range map[string]string{
		"nodes":       `{"spec":{"template":{"spec":{"nodeSelector":{"pool":"spot"}}}}}`,
		"tolerations": `{"spec":{"template":{"spec":{"tolerations":[{"key":"spot","operator":"Exists"}]}}}}`,
		"labels":      `{"spec":{"template":{"metadata":{"labels":{"example.com/queue":"a"},"annotations":{"example.com/queue":"a"}}}}}`,
		"gates":       `{"spec":{"template":` + onlyQueue + `}}`,
		"own labels":  `{"metadata":{"labels":{"example.com/queue":"a"},"annotations":{"example.com/queue":"a"}}}`,
	} {
		if err := f.patch(queue, job, patch); err != nil {
			t.Errorf("changing %s: %v", what, err)
		}
		f.wantStamp(job, f.by, hop)
	}
	for _, patch := range []string{
		`{"spec":{"template":{"metadata":{"labels":{"delegation.wayleave.dev/hop":"other"}}}}}`,
		`{"spec":{"template":{"metadata":{"annotations":{"delegation.wayleave.dev/requires":"[]"}}}}}`,
	} {
		f.wantDenied(f.patch(queue, job, patch), "NotPermittedToUse")
	}
	// Its gate is the queue's to take off, ours is not.
	f.change(queue, job, resumeJob)
	pod := f.madeBy(job.Name)
	if pod.Spec.NodeSelector["pool"] != "spot" || len(pod.Spec.SchedulingGates) != 2 {
		t.Errorf("the pod has %v and %v", pod.Spec.NodeSelector, pod.Spec.SchedulingGates)
	}
	f.uses(hop, "0", 0)
	f.wantDenied(f.patch(queue, &pod, onlyQueue), "gate.delegation.wayleave.dev")
	f.wantAllowed(f.patch(queue, &pod, onlyOurGate))
	f.opened(job, 1)
	f.uses(hop, "1", 1)
}
