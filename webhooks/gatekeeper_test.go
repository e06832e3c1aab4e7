package webhooks

import (
	"errors"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

func job(change ...func(*corev1.PodTemplateSpec)) *batchv1.Job {
	j := &batchv1.Job{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{ObjectMeta: pod().ObjectMeta, Spec: pod().Spec}}}
	j.Name = "run"
	for _, c := range change {
		c(&j.Spec.Template)
	}
	return j
}

func TestGatekeeper(t *testing.T) {
	gone := errors.New("the authorizer is away")
	suspended := granted(func(p *v1alpha1.DelegationPath, _ *v1alpha1.DelegationHop) { p.Spec.Suspend = new(true) })
	unlabelled := func(p *corev1.Pod) { p.Labels = nil }
	for name, test := range map[string]struct {
		objects      []client.Object // nil: a granted hop
		kind         string
		object, old  any
		operation    admissionv1.Operation
		mayNot       bool  // alice does not hold use
		broken       error // nobody can say whether she does
		wantAllowed  bool
		wantWarning  string
		wantMessage  string
		wantSilent   bool // it is nothing of ours, and no audit line is written
		wantBadInput bool
	}{
		"a Job":                              {kind: "Job", object: job(), wantAllowed: true},
		"a Job of somebody without use":      {kind: "Job", object: job(), mayNot: true, wantMessage: "NotPermittedToUse"},
		"a Job while nobody knows about use": {kind: "Job", object: job(), broken: gone, wantMessage: "Undetermined: it could not be found out whether you may use the hop"},
		"a Job while the path is suspended":  {objects: suspended, kind: "Job", object: job(), wantAllowed: true, wantWarning: "Suspended"},
		"the same without use":               {objects: suspended, kind: "Job", object: job(), mayNot: true, wantMessage: "NotPermittedToUse"},
		"the same, nobody knows about use":   {objects: suspended, kind: "Job", object: job(), broken: gone, wantMessage: "Undetermined"},
		"a Job before its hop":               {objects: []client.Object{}, kind: "Job", object: job(), wantAllowed: true, wantWarning: `hop "isolate" may not be used: HopNotFound`},
		"one before its hop, no use known":   {objects: []client.Object{}, kind: "Job", object: job(), broken: gone, wantMessage: "HopNotFound"},
		"a Job with a token of its own": {kind: "Job", object: job(func(p *corev1.PodTemplateSpec) {
			v := ownVolume()
			v.Name = "mine"
			p.Spec.Volumes = []corev1.Volume{v}
		}), wantMessage: `volume "mine" projects a token`},
		"a pod": {kind: "Pod", object: assigned(t, pod(injected), 1), wantAllowed: true},
		"a pod that the other webhook has not seen": {kind: "Pod", object: pod(), wantMessage: "is the mutating webhook of Wayleave installed?"},
		"a pod while the path is suspended":         {objects: suspended, kind: "Pod", object: assigned(t, pod(injected), 1), wantMessage: "Suspended"},
		"a Deployment":                              {kind: "Deployment", object: &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Template: job().Spec.Template}}, wantMessage: "a Deployment cannot run under a hop"},
		"an empty label":                            {kind: "Pod", object: pod(func(p *corev1.Pod) { p.Labels[v1alpha1.LabelHop] = "" }), wantMessage: "is empty"},
		"the account of a hop without the label":    {kind: "Pod", object: pod(unlabelled, func(p *corev1.Pod) { p.Spec.ServiceAccountName = account }), wantMessage: "belongs to a hop"},
		"an update that changes nothing":            {kind: "Pod", object: pod(), old: pod(), mayNot: true, wantAllowed: true, wantSilent: true},
		"an update that takes the label from a pod": {kind: "Pod", object: pod(unlabelled), old: pod(), wantMessage: "cannot be changed"},
		"an update that gives the label to a pod":   {kind: "Pod", object: pod(), old: pod(unlabelled), wantMessage: "cannot be changed"},
		"an update of an image":                     {kind: "Pod", object: pod(func(p *corev1.Pod) { p.Spec.Containers[0].Image = "evil" }), old: pod(), wantMessage: "stays as it was admitted"},
		"an update that takes the label from a template": {
			kind: "Job", object: job(func(p *corev1.PodTemplateSpec) { p.Labels = nil }), old: job(), mayNot: true, wantAllowed: true, wantSilent: true,
		},
		"an update that gives the label to a template, without use": {
			kind: "Job", object: job(), old: job(func(p *corev1.PodTemplateSpec) { p.Labels = nil }), mayNot: true, wantMessage: "NotPermittedToUse",
		},
		"an update that replaces nothing": {kind: "Pod", object: pod(), operation: admissionv1.Update, wantMessage: "without the object that it replaces", wantBadInput: true},
		"no JSON":                         {kind: "Pod", object: "{", wantMessage: "reading a Pod", wantBadInput: true},
	} {
		t.Run(name, func(t *testing.T) {
			objects := test.objects
			if objects == nil {
				objects = granted()
			}
			w := newWorld(t, objects...)
			w.allowed["alice use delegationhops/isolate"], w.broken = !test.mayNot, test.broken
			req := request(t, "alice", test.kind, test.object, test.old)
			if test.operation != "" {
				req.Operation = test.operation
			}
			g := &gatekeeper{w.base}
			got := g.Handle(t.Context(), req)
			checkAnswer(t, got.Allowed, test.wantAllowed, message(got), test.wantMessage, got.Warnings, test.wantWarning)
			lines := w.lines()
			if test.wantSilent || test.wantBadInput {
				if len(lines) > 0 {
					t.Errorf("audit lines %+v", lines)
				}
				return
			}
			if len(lines) != 1 || (lines[0].Decision == "Allow") != test.wantAllowed || lines[0].Message != message(got) || lines[0].Actor != "alice" {
				t.Errorf("audit lines %+v", lines)
			}
		})
	}
}

func checkAnswer(t *testing.T, allowed, wantAllowed bool, message, wantMessage string, warnings []string, wantWarning string) {
	t.Helper()
	if allowed != wantAllowed || !strings.Contains(message, wantMessage) {
		t.Errorf("allowed %t: %q; want %t: %q", allowed, message, wantAllowed, wantMessage)
	}
	if joined := strings.Join(warnings, "\n"); (joined == "") != (wantWarning == "") || !strings.Contains(joined, wantWarning) {
		t.Errorf("warnings %q, want %q", joined, wantWarning)
	}
}

// TestControllersNeedNoUse: the built-in controllers make pods out of templates whose authors were asked.
func TestControllersNeedNoUse(t *testing.T) {
	ofJob := assigned(t, pod(injected), 1)
	ofJob.OwnerReferences = append(ofJob.OwnerReferences, ownerJob())
	for user, wantAllowed := range map[string]bool{
		"system:serviceaccount:kube-system:job-controller": true,
		"system:serviceaccount:agents:job-controller":      false,
		"mallory": false,
	} {
		w := newWorld(t, granted()...)
		g := &gatekeeper{w.base}
		if got := g.Handle(t.Context(), request(t, user, "Pod", ofJob, nil)); got.Allowed != wantAllowed {
			t.Errorf("%s was answered %t: %s", user, got.Allowed, message(got))
		}
	}
}

// TestHostileInput: whatever comes in, the webhooks answer, and do not say yes to what they cannot read.
func TestHostileInput(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000)
	for name, raw := range map[string]string{
		"nothing":         "",
		"null":            "null",
		"a list":          "[]",
		"a number":        "7",
		"text":            `"pod"`,
		"half an object":  `{"spec":{`,
		"the wrong types": `{"metadata":{"labels":"delegation.wayleave.dev/hop"},"spec":[]}`,
		"very deep":       `{"metadata":` + deep + `}`,
		"empty":           "{}",
	} {
		for _, kind := range []string{"Pod", "Job", "CronJob", "PodTemplate", "DelegationPath", "DelegationHop", "Secret"} {
			w := newWorld(t)
			for handler, h := range map[string]handler{"stamper": &stamper{w.base}, "judge": &judge{w.base}, "assigner": &assigner{w.base}, "gatekeeper": &gatekeeper{w.base}} {
				for _, operation := range []admissionv1.Operation{admissionv1.Create, admissionv1.Update} {
					req := request(t, "mallory", kind, nil, nil)
					req.Operation, req.Object.Raw, req.OldObject.Raw = operation, []byte(raw), []byte(raw)
					got := h.Handle(t.Context(), req)
					if got.Allowed && name != "empty" && name != "null" {
						t.Errorf("%s lets %s as %s pass", handler, name, kind)
					}
				}
			}
		}
	}
}
