package webhooks

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/audit"
	"github.com/wayleave/wayleave/internal/delegation"
)

// cause is a cause of a denial in short.
type cause struct {
	Type           metav1.CauseType
	Field, Message string // the message begins so
}

// TestDenialsHaveTheFormOfTheAPIServer: a denial says in its status, for programs, what its message says for people.
func TestDenialsHaveTheFormOfTheAPIServer(t *testing.T) {
	wrong := func(change func(*v1alpha1.ResourceRule)) []client.Object {
		return granted(func(p *v1alpha1.DelegationPath, _ *v1alpha1.DelegationHop) {
			change(&p.Spec.Scope.Namespaced[0].Rules[0])
		})
	}
	escalates := wrong(func(r *v1alpha1.ResourceRule) { r.Verbs = []string{"list", "*"} })
	empty := wrong(func(r *v1alpha1.ResourceRule) { r.Verbs = nil })
	exceeds := wrong(func(r *v1alpha1.ResourceRule) { r.Verbs = []string{"list", "delete"} })
	requires := func(p *corev1.PodTemplateSpec) {
		p.Annotations = map[string]string{v1alpha1.AnnotationRequires: `[{apiGroups: [""], resources: [pods], verbs: [delete]}]`}
	}
	cronJob := &batchv1.CronJob{}
	cronJob.Name, cronJob.Spec.JobTemplate.Spec.Template = "nightly", job(requires).Spec.Template
	nightly := granted(func(_ *v1alpha1.DelegationPath, h *v1alpha1.DelegationHop) {
		h.Spec.Workload.Kinds = []v1alpha1.WorkloadKind{"CronJob"}
	})
	generated := pod(assigned, func(p *corev1.Pod) { p.Name, p.GenerateName, p.Spec.TerminationGracePeriodSeconds = "", "dhop-x-", nil })

	kind := func(kind string) schema.GroupVersionKind { return v1alpha1.SchemeGroupVersion.WithKind(kind) }
	const invalid, forbidden = metav1.CauseTypeFieldValueInvalid, metav1.CauseTypeForbidden
	for name, test := range map[string]struct {
		objects     []client.Object
		kind        schema.GroupVersionKind
		resource    string
		user        string
		object      any
		wantInvalid bool
		strict      bool
		wantName    string
		wantCauses  []cause
	}{
		"a path that holds an escalation risk": {
			kind: kind("DelegationPath"), resource: "delegationpaths", object: escalates[0], objects: granted()[2:],
			wantName: "contain", wantCauses: []cause{
				{invalid, "spec.scope.namespaced[0].rules[0].verbs[1]", "ScopeAmplifies: "},
				{forbidden, "spec.scope", "ScopeExceedsOrigin: "},
			},
		},
		"a path that is wrong in itself": {
			kind: kind("DelegationPath"), resource: "delegationpaths", object: empty[0], wantInvalid: true,
			wantName: "contain", wantCauses: []cause{
				{invalid, "spec.scope.namespaced[0].rules[0].verbs", "ScopeInvalid: "},
			},
		},
		"a path that exceeds its origin": {
			kind: kind("DelegationPath"), resource: "delegationpaths", object: exceeds[0], objects: granted()[2:],
			wantName: "contain", wantCauses: []cause{{forbidden, "spec.scope", "ScopeExceedsOrigin: the origin "}},
		},
		"a path with a forged origin": {
			kind: kind("DelegationPath"), resource: "delegationpaths", object: granted()[0], user: "mallory",
			wantName: "contain", wantCauses: []cause{{forbidden, "spec.origin", "OriginUnauthorized: spec.origin declares "}},
		},
		"a hop below itself": {
			objects: granted(), kind: kind("DelegationHop"), resource: "delegationhops", object: below("report", "report"),
			wantName: "report", wantCauses: []cause{
				{forbidden, "spec.parentRef", "ChainBroken: the chain comes back"},
			},
		},
		"a Deployment that declares a hop": {
			kind: schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, resource: "deployments", object: job(),
			wantName: "run", wantCauses: []cause{
				{forbidden, "spec.template.metadata.labels[delegation.wayleave.dev/hop]", "WorkloadNotAllowed: a Deployment cannot run"},
			},
		},
		"a CronJob that needs too much": {
			kind: schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "CronJob"}, resource: "cronjobs",
			objects: nightly, object: cronJob, strict: true,
			wantName: "nightly", wantCauses: []cause{{
				forbidden, "spec.jobTemplate.spec.template.metadata.annotations[delegation.wayleave.dev/requires]",
				"WorkloadNotAllowed: the workload needs what the hop may not do: ",
			}},
		},
		"a Job of a hop that is wrong, whose fields are not the Job's": {
			kind: schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}, resource: "jobs",
			objects: granted(func(_ *v1alpha1.DelegationPath, h *v1alpha1.DelegationHop) {
				h.Spec.InheritScope, h.Spec.Scope = nil, &v1alpha1.Scope{Namespaced: []v1alpha1.NamespacedScope{{Namespaces: []string{"payments"}}}}
			}),
			object: job(), wantName: "run", wantCauses: []cause{{invalid, "", "ScopeInvalid: spec.scope.namespaced[0].rules: "}},
		},
		"a pod whose name is not generated yet": {
			kind: schema.GroupVersionKind{Version: "v1", Kind: "Pod"}, resource: "pods", objects: granted(), object: generated,
			wantCauses: []cause{{forbidden, "spec.terminationGracePeriodSeconds", "WorkloadNotAllowed: terminationGracePeriodSeconds must be"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, test.objects...)
			user := "alice"
			if test.user != "" {
				user = test.user
			}
			w.allowed["alice use delegationhops/isolate"] = true
			w.Strict = test.strict
			req := request(t, user, test.kind.Kind, test.object, nil)
			req.Kind.Group, req.Kind.Version = test.kind.Group, test.kind.Version
			req.Resource.Group, req.Resource.Resource = test.kind.Group, test.resource
			var handler admission.Handler = newWorkloadValidator(w.Options)
			if test.kind.Group == v1alpha1.GroupName {
				handler = newDelegationValidator(w.Options)
			}
			answer := handler.Handle(t.Context(), req)
			if answer.Allowed {
				t.Fatal("it is allowed")
			}
			want := apierrors.NewForbidden(schema.GroupResource{Group: test.kind.Group, Resource: test.resource}, test.wantName, nil).Status()
			if test.wantInvalid {
				want = apierrors.NewInvalid(test.kind.GroupKind(), test.wantName, nil).Status()
			}
			got := *answer.Result.DeepCopy()
			checkCauses(t, got.Details.Causes, test.wantCauses)
			got.Message, got.Details.Causes, want.Message, want.Details.Causes = "", nil, "", nil
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func checkCauses(t *testing.T, got []metav1.StatusCause, want []cause) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("causes %+v, want %+v", got, want)
	}
	for i, w := range want {
		if g := got[i]; g.Type != w.Type || g.Field != w.Field || !strings.HasPrefix(g.Message, w.Message) {
			t.Errorf("cause %d is %+v, want %+v", i, g, w)
		}
	}
}

// TestCausesHaveWholeSentences: kubectl prints the causes of what is invalid and not its message.
func TestCausesHaveWholeSentences(t *testing.T) {
	in := delegation.Finding{Reason: v1alpha1.ReasonScopeAmplifies, Field: "spec.scope.x", Message: "it escalates: leave it out"}
	above := in
	above.Node = "hop agents/triage"
	var many []delegation.Finding
	for i := range 2 * maxCauses {
		many = append(many, delegation.Finding{Reason: v1alpha1.ReasonScopeInvalid, Message: fmt.Sprint(i)})
	}
	want := []metav1.StatusCause{
		{Type: metav1.CauseTypeFieldValueInvalid, Field: "spec.scope.x", Message: "ScopeAmplifies: it escalates: leave it out"},
		{Type: metav1.CauseTypeFieldValueInvalid, Message: "ScopeAmplifies: spec.scope.x: it escalates: leave it out [hop agents/triage]"},
	}
	if diff := cmp.Diff(want, causes(now, fieldOf, in, above)); diff != "" {
		t.Error(diff)
	}
	if got := causes(now, fieldOf, many...); len(got) != maxCauses {
		t.Errorf("%d causes", len(got))
	}
	for name, test := range map[string]struct {
		findings []delegation.Finding
		want     bool
	}{
		"nothing":                        {},
		"wrong in itself":                {findings: []delegation.Finding{in}, want: true},
		"wrong in itself, and by others": {findings: []delegation.Finding{in, {Reason: v1alpha1.ReasonScopeExceedsOrigin}}},
		"wrong in itself, rest unknown":  {findings: []delegation.Finding{in, {Reason: v1alpha1.ReasonUndetermined}}, want: true},
		"unknown":                        {findings: []delegation.Finding{{Reason: v1alpha1.ReasonUndetermined}}},
		"another object is wrong":        {findings: []delegation.Finding{above}},
	} {
		if got := isInvalid(test.findings); got != test.want {
			t.Errorf("%s: invalid is %t", name, got)
		}
	}
}

// broken is an audit log's file that cannot be written.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("the disk is full") }

func TestWhatCannotBeRecordedIsNotAllowed(t *testing.T) {
	w := newWorld(t, granted()...)
	w.allowed["alice use delegationhops/isolate"] = true
	w.Audit = audit.New(broken{})
	got := newWorkloadValidator(w.Options).Handle(t.Context(), mutated(t, "alice", "Job", job(), nil))
	if got.Allowed || got.Result.Code != http.StatusInternalServerError || !strings.Contains(message(got), "the disk is full") {
		t.Errorf("allowed %t: %+v", got.Allowed, got.Result)
	}
}

func TestRevocationIsAllowedUnrecorded(t *testing.T) {
	w := newWorld(t)
	w.Audit = audit.New(broken{})
	stored, revoked := below("isolate", ""), below("isolate", "")
	revoked.Spec.Revoked = &v1alpha1.Revocation{Reason: "false alarm"}
	got := newDelegationValidator(w.Options).Handle(t.Context(), request(t, "alice", "DelegationHop", revoked, stored))
	if !got.Allowed || !strings.Contains(strings.Join(got.Warnings, ""), "the disk is full") {
		t.Errorf("allowed %t: %q", got.Allowed, got.Warnings)
	}
}

func TestRecord(t *testing.T) {
	generated := pod(assigned, func(p *corev1.Pod) { p.Name, p.GenerateName = "", "dhop-x-" })
	w := newWorld(t, granted()...)
	w.allowed["alice use delegationhops/isolate"] = true
	req := mutated(t, "alice", "Pod", generated, nil)
	req.DryRun = new(true)
	if got := newWorkloadValidator(w.Options).Handle(t.Context(), req); !got.Allowed {
		t.Fatal(message(got))
	}
	want := []audit.Record{{
		Time: now.Truncate(time.Second), Verb: "admit", Actor: "alice", Object: "Pod agents/dhop-x-*", Operation: "CREATE",
		Decision: "Allow", Reason: v1alpha1.ReasonGranted, Path: "agents/contain", PathUID: "p1", Hop: "agents/isolate", HopUID: "h1",
		Chain: []string{"agents/isolate"}, DryRun: true,
	}}
	if diff := cmp.Diff(want, w.lines()); diff != "" {
		t.Error(diff)
	}
}
