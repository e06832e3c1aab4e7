package webhooks

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	jsonpatchapply "github.com/evanphx/json-patch/v5"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/workload"
)

const jobController = "system:serviceaccount:kube-system:job-controller"

// made is the pod that the Job controller makes of Job run.
func made(change ...func(*corev1.Pod)) *corev1.Pod {
	return pod(append(change, func(p *corev1.Pod) { p.OwnerReferences = []metav1.OwnerReference{ownerJob()} })...)
}

// declared is Job run with a stamp of alice.
func declared(change ...func(*batchv1.Job)) *batchv1.Job {
	j := job()
	j.Namespace, j.UID, j.Annotations = "agents", "j1", map[string]string{
		v1alpha1.AnnotationDeclaredBy: "alice", v1alpha1.AnnotationDeclaredHop: "h1",
	}
	for _, c := range change {
		c(j)
	}
	return j
}

// admitted is what mutating and validating webhooks make of a request, and what they answer.
func admitted(t *testing.T, o Options, req admission.Request) (*workload.Workload, admission.Response) {
	t.Helper()
	var mutator admission.Handler = newTemplateMutator(o)
	if req.Kind.Kind == "Pod" {
		mutator = newPodMutator(o)
	}
	if isUpdate(req) && req.Kind.Kind == "Pod" { // is not mutated
		mutator = nil
	}
	if mutator != nil && slices.Contains([]string{"Pod", "Job", "CronJob"}, req.Kind.Kind) {
		answer := mutator.Handle(t.Context(), req)
		if !answer.Allowed {
			return nil, answer
		}
		patch, err := jsonpatchapply.DecodePatch(encode(t, answer.Patches))
		if err != nil {
			t.Fatal(err)
		}
		if req.Object.Raw, err = patch.Apply(req.Object.Raw); err != nil {
			t.Fatal(err)
		}
	}
	w, err := workload.Decode(req.Kind.Kind, req.Object.Raw)
	if err != nil {
		t.Fatal(err)
	}
	return w, newWorkloadValidator(o).Handle(t.Context(), req)
}

// judgement is what became of a workload.
type judgement struct {
	// Decision is that of the audit line.
	Decision string
	// Assigned is true for what runs as a hop.
	Assigned bool
}

// judge sends a request through the webhooks of a world that only reports, and checks that what they say has a text.
func (w *world) judge(req admission.Request, says string) judgement {
	w.Helper()
	w.ReportOnly = true
	object, answer := admitted(w.T, w.Options, req)
	text := message(answer)
	if answer.Allowed {
		text = strings.Join(answer.Warnings, "\n")
	}
	if (text == "") != (says == "") || !strings.Contains(text, says) {
		w.Errorf("it says %q, want %q", text, says)
	}
	lines := w.lines()
	if len(lines) != 1 || !answer.Allowed != (lines[0].Decision == "Deny") {
		w.Fatalf("audit lines %+v of an answer %t", lines, answer.Allowed)
	}
	reported, has := answer.AuditAnnotations["would-deny"]
	waits := strings.Contains(says, "until then")
	if has != (lines[0].Decision == "Warn" && !waits) || has && !strings.Contains(reported, says) {
		w.Errorf("the audit annotation is %q", reported)
	}
	return judgement{lines[0].Decision, object != nil && workload.TakesAccount(&object.Spec)}
}

// TestReportOnly: what would be denied passes with a warning and runs as it does without Wayleave, what would be admitted runs
// under its hop, and the identity of a hop is as well kept as ever.
func TestReportOnly(t *testing.T) {
	own, evil := func(p *corev1.Pod) { p.Spec.ServiceAccountName = "ci" }, func(p *corev1.Pod) { p.Spec.Containers[0].Image = "evil" }
	unlabelled := func(p *corev1.Pod) { p.Labels = nil }
	stampedBefore := func(p *corev1.Pod) { p.Annotations = map[string]string{v1alpha1.AnnotationDeclaredBy: "root"} }
	as := func(account string) func(*corev1.PodTemplateSpec) {
		return func(p *corev1.PodTemplateSpec) { p.Spec.ServiceAccountName = account }
	}
	passes, runs, refused := judgement{Decision: "Warn"}, judgement{"Allow", true}, judgement{"Deny", true}
	for name, test := range map[string]struct {
		kind        string // a Pod by default
		object, old any
		mayNot      bool  // alice does not hold use
		broken      error // it is unknown whether she does
		want        judgement
		says        string
	}{
		"a Job":                           {kind: "Job", object: job(), want: judgement{Decision: "Allow"}},
		"a Job of a user without use":     {kind: "Job", object: job(), mayNot: true, want: passes, says: "NotPermittedToUse"},
		"a Job while use is unknown":      {kind: "Job", object: job(), broken: errors.New("away"), want: passes, says: "Undetermined"},
		"a Job with its own account":      {kind: "Job", object: job(as("ci")), want: passes, says: "leave serviceAccountName out"},
		"a Job with the account of a hop": {kind: "Job", object: job(as(account)), want: refused, says: "leave serviceAccountName out"},
		"a Deployment":                    {kind: "Deployment", object: job(), want: passes, says: "a Deployment cannot run under a hop"},

		"a pod":                      {object: pod(), want: runs},
		"a pod with its own account": {object: pod(own), want: passes, says: "leave serviceAccountName out"},
		"a pod with another image":   {object: pod(evil), want: passes, says: "ImageNotAllowed"},
		"a pod in the network of its node": {
			object: pod(func(p *corev1.Pod) { p.Spec.HostNetwork = true }), want: passes, says: "host namespaces (hostNetwork=true)",
		},
		"a pod with another name":         {object: pod(func(p *corev1.Pod) { p.Name = "run" }), want: passes, says: "was not given"},
		"a pod of a user without use":     {object: pod(), mayNot: true, want: passes, says: "NotPermittedToUse"},
		"a pod that gets the label later": {object: pod(own), old: pod(own, unlabelled), want: passes, says: "cannot be changed"},
		"a pod with the account of a hop": {object: pod(unlabelled, assigned), want: refused, says: "belongs to a hop"},
		"one that takes that of its hop":  {object: pod(assigned, evil), want: refused, says: "ImageNotAllowed"},
		"a pod with a stamp from before": {
			object: pod(own, stampedBefore), old: pod(own, stampedBefore, unlabelled), want: judgement{Decision: "Deny"}, says: "cannot be changed",
		},
		"one that would lose its label": {object: pod(unlabelled, assigned), old: pod(assigned), want: refused, says: "cannot be changed"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, granted()...)
			w.allowed["alice use delegationhops/isolate"], w.broken = !test.mayNot, test.broken
			kind := cmp.Or(test.kind, "Pod")
			if got := w.judge(request(t, "alice", kind, test.object, test.old), test.says); got != test.want {
				t.Errorf("it is %+v, want %+v", got, test.want)
			}
		})
	}
}

// TestReportOnlyOfPodsOfJobs: a Job may have been let through, so its pods run under the hop only where the gate would open.
func TestReportOnlyOfPodsOfJobs(t *testing.T) {
	job, none := func(*batchv1.Job) {}, func(*corev1.Pod) {}
	passes := judgement{Decision: "Warn"}
	for name, test := range map[string]struct {
		job    func(*batchv1.Job) // nil: it does not exist
		pod    func(*corev1.Pod)
		mayNot bool // its author does not hold use
		spent  bool // all uses have begun
		want   judgement
		says   string
	}{
		"all is well":            {job: job, pod: none, want: judgement{"Allow", true}},
		"the author may not use": {job: job, pod: none, mayNot: true, want: passes, says: "NotPermittedToUse"},
		"there is no Job":        {pod: none, want: passes, says: "NotPermittedToUse"},
		"the Job says nothing": {
			job: func(j *batchv1.Job) { j.Annotations = nil }, pod: none, want: passes, says: "NotPermittedToUse",
		},
		"the Job is for another hop": {
			job: func(j *batchv1.Job) { j.Annotations[v1alpha1.AnnotationDeclaredHop] = "h0" }, pod: none, want: passes, says: "NotPermittedToUse",
		},
		"another image": {
			job: job, pod: func(p *corev1.Pod) { p.Spec.Containers[0].Image = "evil" }, want: passes, says: "ImageNotAllowed",
		},
		"it cannot begin a use": {job: job, pod: none, spent: true, want: passes, says: "UsesExhausted"},
	} {
		t.Run(name, func(t *testing.T) {
			objects := granted(func(_ *v1alpha1.DelegationPath, h *v1alpha1.DelegationHop) {
				if test.spent {
					h.Spec.Workload.MaxUses, h.Status.Uses = 1, &v1alpha1.Uses{Begun: new(int32(1))}
				}
			})
			if test.job != nil {
				objects = append(objects, declared(test.job))
			}
			w := newWorld(t, objects...)
			w.allowed["alice use delegationhops/isolate"] = !test.mayNot
			if got := w.judge(request(t, jobController, "Pod", made(test.pod), nil), test.says); got != test.want {
				t.Errorf("it is %+v, want %+v", got, test.want)
			}
		})
	}
}

// TestReportOnlyOfTakenOverCronJobs: what a CronJob made before somebody else changed it is not on the right of the one who did.
func TestReportOnlyOfTakenOverCronJobs(t *testing.T) {
	evil := func(p *corev1.PodTemplateSpec) { p.Spec.Containers[0].Command = []string{"evil"} }
	for name, test := range map[string]struct {
		now    func(*corev1.PodTemplateSpec) // what the CronJob says now
		begun  bool                          // the use began before
		passes bool
	}{
		"as it was":                  {now: evil},
		"changed":                    {now: func(*corev1.PodTemplateSpec) {}, passes: true},
		"changed since it has begun": {now: func(*corev1.PodTemplateSpec) {}, begun: true},
	} {
		t.Run(name, func(t *testing.T) {
			cronJob := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{
				Namespace: "agents", Name: "nightly", UID: "c1", Annotations: map[string]string{v1alpha1.AnnotationDeclaredBy: "alice"},
			}}
			cronJob.Spec.JobTemplate.Spec.Template = job(test.now).Spec.Template
			run := declared(func(j *batchv1.Job) {
				j.Annotations, j.Spec.Template = nil, job(evil).Spec.Template
				j.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(cronJob, batchv1.SchemeGroupVersion.WithKind("CronJob"))}
			})
			objects := granted(func(_ *v1alpha1.DelegationPath, h *v1alpha1.DelegationHop) {
				h.Spec.Workload.Kinds = []v1alpha1.WorkloadKind{v1alpha1.WorkloadCronJob}
				if test.begun {
					h.Status.Uses = &v1alpha1.Uses{Live: []v1alpha1.Use{{Kind: v1alpha1.WorkloadJob, Name: run.Name, UID: string(run.UID)}}}
				}
			})
			w := newWorld(t, append(objects, cronJob, run)...)
			w.allowed["alice use delegationhops/isolate"] = true
			want, says := judgement{"Allow", true}, ""
			if test.passes {
				want, says = judgement{Decision: "Warn"}, "NotPermittedToUse"
			}
			if got := w.judge(request(t, jobController, "Pod", made(), nil), says); got != want {
				t.Errorf("it is %+v, want %+v", got, want)
			}
		})
	}
}

// TestReportOnlyDeniesWhatCannotBeStamped: without a stamp it would count as made by a built-in controller, on the right of another user.
func TestReportOnlyDeniesWhatCannotBeStamped(t *testing.T) {
	for _, object := range []any{job(), pod()} {
		w := newWorld(t, granted()...)
		w.ReportOnly = true
		kind := "Job"
		if _, ok := object.(*corev1.Pod); ok {
			kind = "Pod"
		}
		req := request(t, "mallory", kind, object, nil)
		for i := range 257 {
			req.UserInfo.Groups = append(req.UserInfo.Groups, strconv.Itoa(i))
		}
		if _, got := admitted(t, w.Options, req); got.Allowed {
			t.Errorf("a %s of a user in 257 groups passes: %v", kind, got.Warnings)
		}
		if got := newWorkloadValidator(w.Options).Handle(t.Context(), req); got.Allowed {
			t.Errorf("a %s without a stamp passes: %v", kind, got.Warnings)
		}
	}
}

// TestReportOnlySaysWhatAJobWaitsFor: and that its pods do not wait.
func TestReportOnlySaysWhatAJobWaitsFor(t *testing.T) {
	w := newWorld(t)
	w.allowed["alice use delegationhops/isolate"] = true
	got := w.judge(request(t, "alice", "Job", job(), nil), "its pods run as without Wayleave until then")
	if want := (judgement{Decision: "Warn"}); got != want {
		t.Errorf("it is %+v, want %+v", got, want)
	}
	if line := w.lines()[0]; !strings.Contains(line.Message, "HopNotFound") || line.Actor != "alice" {
		t.Errorf("audit line %+v", line)
	}
}

// TestReportOnlyNamesTheJob: the line about a pod says what a person made.
func TestReportOnlyNamesTheJob(t *testing.T) {
	w := newWorld(t, append(granted(), declared())...)
	w.judge(request(t, jobController, "Pod", made(), nil), "NotPermittedToUse")
	if line := w.lines()[0]; !strings.Contains(line.Message, `made by Job "run"`) {
		t.Errorf("audit line %+v", line)
	}
}

// TestReportOnlyDeniesForgedStamps: on a stamp somebody's right is taken for given, once Wayleave does more than report.
func TestReportOnlyDeniesForgedStamps(t *testing.T) {
	for _, mayUse := range []bool{true, false} {
		w := newWorld(t, granted()...)
		w.ReportOnly, w.allowed["mallory use delegationhops/isolate"] = true, mayUse
		got := newWorkloadValidator(w.Options).Handle(t.Context(), request(t, "mallory", "Job", declared(), nil))
		if got.Allowed {
			t.Errorf("a Job with the stamp of another user passes: %v", got.Warnings)
		}
	}
}

// TestReportOnlyLetsNoHopOut: what a hop makes is denied where it is not valid, and so is what its Job makes later: as itself it would
// run outside the path.
func TestReportOnlyLetsNoHopOut(t *testing.T) {
	const identity = "system:serviceaccount:agents:dhop-agent.5f0d.1790000000"
	w := newWorld(t, granted()...)
	w.ReportOnly = true
	if got := newWorkloadValidator(w.Options).Handle(t.Context(), request(t, identity, "Job", job(), nil)); got.Allowed {
		t.Errorf("a Job of a hop that may not use another passes: %v", got.Warnings)
	}
	stamped := declared(func(j *batchv1.Job) { j.Annotations[v1alpha1.AnnotationDeclaredBy] = identity })
	w = newWorld(t, append(granted(), stamped)...)
	w.allowed[identity+" use delegationhops/isolate"] = true
	evil := made(func(p *corev1.Pod) { p.Spec.Containers[0].Image = "evil" })
	if got := w.judge(request(t, jobController, "Pod", evil, nil), "ImageNotAllowed"); got.Decision != "Deny" {
		t.Errorf("a pod of a Job of a hop: %+v", got)
	}
	w = newWorld(t, stamped) // the hop that it declares is gone, and so is its path
	w.allowed[identity+" use delegationhops/isolate"] = true
	if got := w.judge(request(t, jobController, "Pod", made(), nil), "HopNotFound"); got.Decision != "Deny" {
		t.Errorf("a pod of a Job of a hop, whose hop is gone: %+v", got)
	}
	recreated := declared(func(j *batchv1.Job) {
		j.Annotations[v1alpha1.AnnotationDeclaredBy], j.Annotations[v1alpha1.AnnotationDeclaredHop] = identity, "another"
	})
	w = newWorld(t, append(granted(), recreated)...)
	w.allowed[identity+" use delegationhops/isolate"] = true
	if got := w.judge(request(t, jobController, "Pod", made(), nil), "NotPermittedToUse"); got.Decision != "Deny" {
		t.Errorf("a pod of a Job of a hop, whose hop was recreated: %+v", got)
	}
}
