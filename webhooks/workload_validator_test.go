package webhooks

import (
	"errors"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/workload"
)

func TestWorkloadValidator(t *testing.T) {
	gone := errors.New("the authorizer is away")
	suspended := granted(func(p *v1alpha1.DelegationPath, _ *v1alpha1.DelegationHop) { p.Spec.Suspend = new(true) })
	unlabelled := func(p *corev1.Pod) { p.Labels = nil }
	for name, test := range map[string]struct {
		objects      []client.Object // nil: a granted hop
		kind         string
		object, old  any
		operation    admissionv1.Operation
		mayNot       bool  // alice does not hold use
		broken       error // it is unknown whether she does
		wantAllowed  bool
		wantWarning  string
		wantMessage  string
		wantSilent   bool // Wayleave decides nothing, and no audit line is written
		wantBadInput bool
	}{
		"a Job":                       {kind: "Job", object: job(), wantAllowed: true},
		"a Job of a user without use": {kind: "Job", object: job(), mayNot: true, wantMessage: "NotPermittedToUse"},
		"a Job while use is unknown": {
			kind: "Job", object: job(), broken: gone,
			wantMessage: "Undetermined: could not determine whether you may use the hop",
		},
		"a Job while the path is suspended": {
			objects: suspended, kind: "Job", object: job(), wantAllowed: true, wantWarning: "Suspended",
		},
		"the same without use": {
			objects: suspended, kind: "Job", object: job(), mayNot: true, wantMessage: "NotPermittedToUse",
		},
		"the same while use is unknown": {
			objects: suspended, kind: "Job", object: job(), broken: gone, wantMessage: "Undetermined",
		},
		"a Job before its hop": {
			objects: []client.Object{}, kind: "Job", object: job(), wantAllowed: true,
			wantWarning: `hop "isolate" may not be used: HopNotFound`,
		},
		"one before its hop while use is unknown": {
			objects: []client.Object{}, kind: "Job", object: job(), broken: gone, wantMessage: "HopNotFound",
		},
		"a Job with a token of its own": {kind: "Job", object: job(func(p *corev1.PodTemplateSpec) {
			v := workload.TokenVolume()
			v.Name = "mine"
			p.Spec.Volumes = []corev1.Volume{v}
		}), wantMessage: `volume "mine" projects a token`},
		"a pod": {kind: "Pod", object: pod(assigned), wantAllowed: true},
		"a pod that the other webhook has not seen": {
			kind: "Pod", object: pod(), wantMessage: "is the mutating webhook of Wayleave installed?",
		},
		"a pod while the path is suspended": {objects: suspended, kind: "Pod", object: pod(assigned), wantMessage: "Suspended"},
		"a Deployment": {
			kind: "Deployment", object: &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Template: job().Spec.Template}},
			wantMessage: "a Deployment cannot run under a hop",
		},
		"an empty label": {
			kind: "Pod", object: pod(func(p *corev1.Pod) { p.Labels[v1alpha1.LabelHop] = "" }), wantMessage: "is empty",
		},
		"the account of a hop without the label": {
			kind: "Pod", object: pod(unlabelled, func(p *corev1.Pod) { p.Spec.ServiceAccountName = account }),
			wantMessage: "belongs to a hop",
		},
		"an update that changes nothing": {
			kind: "Pod", object: pod(), old: pod(), mayNot: true, wantAllowed: true, wantSilent: true,
		},
		"an update that takes the label from a pod": {kind: "Pod", object: pod(unlabelled), old: pod(), wantMessage: "cannot be changed"},
		"an update that gives the label to a pod":   {kind: "Pod", object: pod(), old: pod(unlabelled), wantMessage: "cannot be changed"},
		"an update of an image": {
			kind: "Pod", object: pod(func(p *corev1.Pod) { p.Spec.Containers[0].Image = "evil" }), old: pod(),
			wantMessage: "stays as it was admitted",
		},
		"an update that takes the label from a template": {
			kind: "Job", object: job(func(p *corev1.PodTemplateSpec) { p.Labels = nil }), old: job(),
			mayNot: true, wantAllowed: true, wantMessage: "it declares no hop from now on",
		},
		"an update that gives the label to a template, without use": {
			kind: "Job", object: job(), old: job(func(p *corev1.PodTemplateSpec) { p.Labels = nil }), mayNot: true, wantMessage: "NotPermittedToUse",
		},
		"an update that replaces nothing": {
			kind: "Pod", object: pod(), operation: admissionv1.Update, wantMessage: "without the object that it replaces",
			wantBadInput: true,
		},
		"no JSON": {kind: "Pod", object: "{", wantMessage: "reading a Pod", wantBadInput: true},
	} {
		t.Run(name, func(t *testing.T) {
			objects := test.objects
			if objects == nil {
				objects = granted()
			}
			w := newWorld(t, objects...)
			w.allowed["alice use delegationhops/isolate"], w.broken = !test.mayNot, test.broken
			req := mutated(t, "alice", test.kind, test.object, test.old)
			if test.operation != "" {
				req.Operation = test.operation
			}
			got := newWorkloadValidator(w.Options).Handle(t.Context(), req)
			checkAnswer(t, got.Allowed, test.wantAllowed, message(got), test.wantMessage, got.Warnings, test.wantWarning)
			lines := w.lines()
			if test.wantSilent {
				if len(lines) > 0 {
					t.Errorf("audit lines %+v", lines)
				}
				return
			}
			if len(lines) != 1 || (lines[0].Decision == "Allow") != test.wantAllowed || lines[0].Message != message(got) ||
				lines[0].Actor != "alice" {
				t.Fatalf("audit lines %+v", lines)
			}
			// Where the hop exists, the line says which path it is about.
			known := test.objects == nil && !test.wantBadInput && test.wantMessage != "is empty"
			if known && lines[0].PathUID != "p1" {
				t.Errorf("audit line %+v does not say the path", lines[0])
			}
		})
	}
}

// TestAccountsAreNamed: what is denied to a controller is read in an Event, by people who would take "you" for themselves.
func TestAccountsAreNamed(t *testing.T) {
	for user, want := range map[string]string{
		"alice":                             "you do not hold the verb use",
		"system:serviceaccount:jobset:jobs": `its author "system:serviceaccount:jobset:jobs" does not hold the verb use`,
	} {
		w := newWorld(t, granted()...)
		got := newWorkloadValidator(w.Options).Handle(t.Context(), mutated(t, user, "Job", job(), nil))
		if got.Allowed || !strings.Contains(message(got), want) {
			t.Errorf("%s is told %q", user, message(got))
		}
	}
}

// TestTemplatesWaitForOthers: what another object of the same commit may mend holds back no CronJob, and no dry run of a
// Job; the Job itself and every pod are denied.
func TestTemplatesWaitForOthers(t *testing.T) {
	image := func(p *corev1.PodTemplateSpec) { p.Spec.Containers[0].Image = "evil" }
	needs := func(p *corev1.PodTemplateSpec) {
		p.Annotations = map[string]string{v1alpha1.AnnotationRequires: `[{apiGroups: [""], resources: [pods], verbs: [delete]}]`}
	}
	prose := func(p *corev1.PodTemplateSpec) {
		p.Annotations = map[string]string{v1alpha1.AnnotationRequires: "pods"}
	}
	robot := func(p *corev1.PodTemplateSpec) { p.Spec.ServiceAccountName = "robot" }
	revoked := granted(func(p *v1alpha1.DelegationPath, _ *v1alpha1.DelegationHop) {
		p.Spec.Revoked = &v1alpha1.Revocation{Reason: "x", At: &metav1.Time{}}
	})
	wide := granted(func(_ *v1alpha1.DelegationPath, h *v1alpha1.DelegationHop) { wider(h, "list", "get") })
	for name, test := range map[string]struct {
		objects []client.Object
		change  []func(*corev1.PodTemplateSpec)
		mayNot  bool
		want    string
		waits   bool
	}{
		"an image that the hop does not list":    {change: []func(*corev1.PodTemplateSpec){image}, want: "ImageNotAllowed", waits: true},
		"a need that the hop does not have":      {change: []func(*corev1.PodTemplateSpec){needs}, want: "the workload needs", waits: true},
		"a hop that is over-scoped":              {objects: wide, want: "ScopeExceedsPath", waits: true},
		"a need in prose":                        {change: []func(*corev1.PodTemplateSpec){image, prose}, want: "it is not a YAML list"},
		"an account of its own":                  {change: []func(*corev1.PodTemplateSpec){robot}, want: "WrongServiceAccount"},
		"a path that was revoked":                {objects: revoked, want: "Revoked"},
		"a user without use, who learns no more": {change: []func(*corev1.PodTemplateSpec){image}, mayNot: true, want: "NotPermittedToUse"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.objects == nil {
				test.objects = granted()
			}
			hop, _ := test.objects[1].(*v1alpha1.DelegationHop)
			hop.Spec.Workload.Kinds = append(hop.Spec.Workload.Kinds, v1alpha1.WorkloadCronJob)
			w := newWorld(t, test.objects...)
			w.allowed["alice use delegationhops/isolate"] = !test.mayNot
			j := job(test.change...)
			cron := &batchv1.CronJob{Spec: batchv1.CronJobSpec{JobTemplate: batchv1.JobTemplateSpec{Spec: j.Spec}}}
			cron.Name = "nightly"
			single := pod(assigned, func(p *corev1.Pod) {
				p.Spec.Containers[0].Image, p.Annotations = j.Spec.Template.Spec.Containers[0].Image, j.Spec.Template.Annotations
				if named := j.Spec.Template.Spec.ServiceAccountName; named != "" {
					p.Spec.ServiceAccountName = named
				}
			})
			for _, c := range []struct {
				kind                string
				object              any
				dry, strict, admits bool
			}{
				{kind: "CronJob", object: cron, admits: true}, {kind: "CronJob", object: cron, dry: true, admits: true},
				{kind: "Job", object: j}, {kind: "Job", object: j, dry: true, admits: true},
				{kind: "Pod", object: single}, {kind: "Pod", object: single, dry: true},
				{kind: "CronJob", object: cron, strict: true}, {kind: "Job", object: j, dry: true, strict: true},
			} {
				w.Strict = c.strict
				req := mutated(t, "alice", c.kind, c.object, nil)
				req.DryRun = new(c.dry)
				got := newWorkloadValidator(w.Options).Handle(t.Context(), req)
				if wantAllowed := test.waits && c.admits; wantAllowed {
					checkAnswer(t, got.Allowed, true, message(got), "", got.Warnings, test.want)
				} else {
					checkAnswer(t, got.Allowed, false, message(got), test.want, got.Warnings, "")
				}
				if t.Failed() {
					t.Fatalf("%s, dry run %t, strict %t", c.kind, c.dry, c.strict)
				}
			}
		})
	}
}

// TestMistypedHops: a hop that does not exist may come later, so the warning is all that a typing error gets.
func TestMistypedHops(t *testing.T) {
	w := newWorld(t)
	w.allowed["alice use delegationhops/isolate"] = true
	got := newWorkloadValidator(w.Options).Handle(t.Context(), mutated(t, "alice", "Job", job(), nil))
	checkAnswer(t, got.Allowed, true, message(got), "", got.Warnings, "check the spelling of label "+v1alpha1.LabelHop)
}

// TestStampIsTheAuthors: the validator denies what the mutating webhook has not stamped, and a stamp of somebody else.
func TestStampIsTheAuthors(t *testing.T) {
	forged := job()
	forged.Annotations = map[string]string{v1alpha1.AnnotationDeclaredBy: "bob"}
	for name, test := range map[string]struct {
		req         admission.Request
		wantAllowed bool
	}{
		"stamped":           {req: mutated(t, "alice", "Job", job(), nil), wantAllowed: true},
		"not stamped":       {req: request(t, "alice", "Job", job(), nil)},
		"of somebody else":  {req: request(t, "alice", "Job", forged, nil)},
		"stamped over that": {req: mutated(t, "alice", "Job", forged, nil), wantAllowed: true},
	} {
		w := newWorld(t, granted()...)
		w.allowed["alice use delegationhops/isolate"] = true
		if got := newWorkloadValidator(w.Options).Handle(t.Context(), test.req); got.Allowed != test.wantAllowed {
			t.Errorf("%s: allowed %t: %s", name, got.Allowed, message(got))
		}
	}
}

// TestControllersNeedNoUse: the built-in controllers make pods out of templates whose authors were asked.
func TestControllersNeedNoUse(t *testing.T) {
	ofJob := pod(assigned)
	ofJob.OwnerReferences = append(ofJob.OwnerReferences, ownerJob())
	for user, wantAllowed := range map[string]bool{
		"system:serviceaccount:kube-system:job-controller": true,
		"system:serviceaccount:agents:job-controller":      false,
		"mallory": false,
	} {
		w := newWorld(t, granted()...)
		if got := newWorkloadValidator(w.Options).Handle(t.Context(), mutated(t, user, "Pod", ofJob, nil)); got.Allowed != wantAllowed {
			t.Errorf("%s was answered %t: %s", user, got.Allowed, message(got))
		}
	}
}

// TestCronJobsWaitWithoutJobs: while a hop waits, a CronJob makes no Jobs that would pile up; a Job that anybody else makes
// waits with it.
func TestCronJobsWaitWithoutJobs(t *testing.T) {
	suspended := func(p *v1alpha1.DelegationPath, h *v1alpha1.DelegationHop) {
		p.Spec.Suspend = new(true)
		allowsCronJobs(p, h)
	}
	ofCronJob := &batchv1.Job{Spec: batchv1.JobSpec{Template: job().Spec.Template}}
	ofCronJob.Namespace, ofCronJob.Name = "agents", "nightly-1"
	ofCronJob.OwnerReferences = []metav1.OwnerReference{
		{APIVersion: "batch/v1", Kind: "CronJob", Name: "nightly", UID: "c1", Controller: new(true)},
	}
	const cronJobs = "system:serviceaccount:kube-system:cronjob-controller"
	for name, test := range map[string]struct {
		user   string
		object any
		world  []client.Object
		want   bool
	}{
		"a run of a CronJob":                        {user: cronJobs, object: ofCronJob, world: granted(suspended)},
		"a run of a CronJob before its hop":         {user: cronJobs, object: ofCronJob},
		"one that a user starts, as kubectl does":   {user: "alice", object: ofCronJob, world: granted(suspended), want: true},
		"a Job of a user":                           {user: "alice", object: job(), world: granted(suspended), want: true},
		"a run of a CronJob while the hop is valid": {user: cronJobs, object: ofCronJob, world: granted(allowsCronJobs), want: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, test.world...)
			w.allowed["alice use delegationhops/isolate"] = true
			got := newWorkloadValidator(w.Options).Handle(t.Context(), mutated(t, test.user, "Job", test.object, nil))
			if got.Allowed != test.want {
				t.Errorf("allowed %t: %s", got.Allowed, message(got))
			}
		})
	}
}

func allowsCronJobs(_ *v1alpha1.DelegationPath, h *v1alpha1.DelegationHop) {
	h.Spec.Workload.Kinds = append(h.Spec.Workload.Kinds, v1alpha1.WorkloadCronJob)
}

// TestOtherUsersLearnLittle: a user who may not use a hop learns neither its state nor what it allows.
func TestOtherUsersLearnLittle(t *testing.T) {
	revoked := granted(func(p *v1alpha1.DelegationPath, _ *v1alpha1.DelegationHop) {
		p.Spec.Revoked = &v1alpha1.Revocation{Reason: "a secret", By: "bob", At: &metav1.Time{}}
	})
	for may, want := range map[bool]string{true: "Revoked by bob", false: "NotPermittedToUse"} {
		w := newWorld(t, revoked...)
		w.allowed["alice use delegationhops/isolate"] = may
		answer := newWorkloadValidator(w.Options).Handle(t.Context(), mutated(t, "alice", "Job", job(), nil))
		if got := message(answer); !strings.Contains(got, want) || strings.Contains(got, "a secret") != may {
			t.Errorf("alice may use the hop: %t. The answer is %q", may, got)
		}
		if got := string(encode(t, answer.Result.Details)); strings.Contains(got, "a secret") != may {
			t.Errorf("alice may use the hop: %t. The details are %s", may, got)
		}
	}
}
