package webhooks

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gomodules.xyz/jsonpatch/v2"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/audit"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/facts"
	"github.com/wayleave/wayleave/internal/metrics"
	"github.com/wayleave/wayleave/internal/testutil"
	"github.com/wayleave/wayleave/internal/workload"
)

var now = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// world is what the webhooks see of a cluster: objects, and an authorizer that allows what is listed.
type world struct {
	*testing.T
	Options
	// allowed holds "user verb resource/name".
	allowed map[string]bool
	// broken makes the authorizer fail.
	broken error
	// asked are the questions that the authorizer was asked.
	mu    sync.Mutex
	asked []string
	audit bytes.Buffer
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...)
	if err := facts.Index(t.Context(), testutil.Indexer{ClientBuilder: builder}); err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, allowed: map[string]bool{}}
	reader := builder.Build()
	controller := "system:serviceaccount:wayleave-system:wayleave-controller"
	w.Options = Options{
		Gather: &facts.Gatherer{Cache: reader, Live: reader, Access: w, Controller: controller},
		Audit:  audit.New(&w.audit),
		Clock:  clocktesting.NewFakePassiveClock(now),

		metrics: metrics.NewAdmission(),
	}
	return w
}

// Create answers SubjectAccessReviews.
func (w *world) Create(_ context.Context, o client.Object, _ ...client.CreateOption) error {
	review, ok := o.(*authorizationv1.SubjectAccessReview)
	if !ok {
		w.Fatalf("the webhook creates a %T", o)
	}
	if w.broken != nil {
		return w.broken
	}
	a := review.Spec.ResourceAttributes
	question := review.Spec.User + " " + a.Verb + " " + a.Resource + "/" + a.Name
	w.mu.Lock() // questions come several at a time
	defer w.mu.Unlock()
	w.asked = append(w.asked, question)
	review.Status.Allowed = w.allowed[question]
	return nil
}

// lines are the audit lines so far.
func (w *world) lines() []audit.Record {
	w.Helper()
	var records []audit.Record
	for line := range strings.Lines(w.audit.String()) {
		var r audit.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			w.Fatalf("audit line %q: %v", line, err)
		}
		records = append(records, r)
	}
	return records
}

// request asks about an object, and on an update about the one that it replaces.
func request(t *testing.T, user, kind string, object, old any) admission.Request {
	t.Helper()
	req := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Operation: admissionv1.Create, Namespace: "agents",
		Kind:     metav1.GroupVersionKind{Kind: kind},
		UserInfo: authenticationv1.UserInfo{Username: user, Groups: []string{"system:authenticated"}},
		Object:   runtime.RawExtension{Raw: encode(t, object)},
	}}
	if old != nil {
		req.Operation, req.OldObject.Raw = admissionv1.Update, encode(t, old)
	}
	return req
}

// mutated is a request after the mutating webhooks have stamped its workload.
func mutated(t *testing.T, user, kind string, object, old any) admission.Request {
	t.Helper()
	req := request(t, user, kind, object, old)
	if !slices.Contains([]string{"Pod", "Job", "CronJob"}, kind) {
		return req
	}
	w, before, err := decodeWorkloads(req)
	if err != nil {
		return req
	}
	operations, err := stampWorkload(req, w, before, nil)
	if err != nil {
		t.Fatal(err)
	}
	var o map[string]any
	if err := json.Unmarshal(req.Object.Raw, &o); err != nil {
		t.Fatal(err)
	}
	req.Object.Raw = encode(t, applyAll(t, o, operations))
	return req
}

func encode(t *testing.T, object any) []byte {
	t.Helper()
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func message(r admission.Response) string {
	if r.Result == nil {
		return ""
	}
	return r.Result.Message
}

const (
	account = "dhop-isolate.k3x9.1782910800"
	image   = "registry.example.com/isolate:1"
)

// pod is a pod that declares hop isolate.
func pod(change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "dhop-run", Labels: map[string]string{v1alpha1.LabelHop: "isolate"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: image}}},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

// assigned makes a pod what the pod mutator makes of it.
func assigned(p *corev1.Pod) {
	p.Spec.ServiceAccountName, p.Spec.DeprecatedServiceAccount = account, account
	p.Spec.AutomountServiceAccountToken = new(false)
	p.Spec.TerminationGracePeriodSeconds = new(int64(30))
	p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: v1alpha1.GateGrant}}
	p.Spec.Volumes = []corev1.Volume{workload.TokenVolume()}
	p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{workload.TokenMount()}
}

// job is a Job whose pods declare hop isolate.
func job(change ...func(*corev1.PodTemplateSpec)) *batchv1.Job {
	j := &batchv1.Job{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{ObjectMeta: pod().ObjectMeta, Spec: pod().Spec}}}
	j.Name = "run"
	for _, c := range change {
		c(&j.Spec.Template)
	}
	return j
}

// granted are a path of alice, a hop isolate that holds its grant, and the RBAC under which that is so.
func granted(change ...func(*v1alpha1.DelegationPath, *v1alpha1.DelegationHop)) []client.Object {
	since := metav1.NewTime(now.Add(-time.Minute))
	scope := v1alpha1.Scope{Namespaced: []v1alpha1.NamespacedScope{{
		Namespaces: []string{"payments"},
		Rules:      []v1alpha1.ResourceRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}},
	}}}
	alice := &v1alpha1.Subject{User: "alice"}
	path := &v1alpha1.DelegationPath{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "DelegationPath"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "contain", UID: "p1"},
		Spec: v1alpha1.DelegationPathSpec{
			Reason: "Alert 4711", Origin: alice, Scope: scope,
			Lifetime: v1alpha1.Lifetime{Duration: &metav1.Duration{Duration: time.Hour}},
		},
		Status: v1alpha1.DelegationPathStatus{ActiveSince: &since},
	}
	hop := &v1alpha1.DelegationHop{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "DelegationHop"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "isolate", UID: "h1"},
		Spec: v1alpha1.DelegationHopSpec{
			PathRef: v1alpha1.ObjectRef{Name: "contain"}, Author: alice, InheritScope: new(true),
			Workload: &v1alpha1.Workload{
				Kinds:  []v1alpha1.WorkloadKind{v1alpha1.WorkloadPod, v1alpha1.WorkloadJob},
				Images: []string{"registry.example.com/isolate:*"},
			},
		},
		Status: v1alpha1.DelegationHopStatus{ActiveSince: &since, PathUID: "p1", ServiceAccountName: account},
	}
	for _, c := range change {
		c(path, hop)
	}
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "ceiling", Labels: map[string]string{v1alpha1.LabelCeiling: "true"}},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}},
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "payments", Name: "ceiling"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects: []rbacv1.Subject{
			{Kind: rbacv1.ServiceAccountKind, Namespace: "wayleave-system", Name: "wayleave-controller"},
			{Kind: rbacv1.UserKind, Name: "alice"},
		},
	}
	return append([]client.Object{path, hop, role, binding}, hopNamespace("agents")...)
}

// hopNamespace is what lets the controller work in a namespace.
func hopNamespace(namespace string) []client.Object {
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: delegation.HopNamespaceRole}}
	for _, r := range delegation.HopNamespaceRights(namespace).Namespaced[0].Rules {
		role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: r.APIGroups, Resources: r.Resources, Verbs: r.Verbs})
	}
	return []client.Object{role, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "wayleave-system", Name: "wayleave-controller"}},
	}}
}

func ownerJob() metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "batch/v1", Kind: "Job", Name: "run", UID: "j1", Controller: new(true)}
}

// applyAll applies a patch that touches nothing but maps, as the delegation mutator's do.
func applyAll(t *testing.T, o map[string]any, patch []jsonpatch.Operation) map[string]any {
	t.Helper()
	var patched map[string]any
	if err := json.Unmarshal(encode(t, o), &patched); err != nil {
		t.Fatal(err)
	}
	for _, p := range patch {
		fields := strings.Split(strings.TrimPrefix(p.Path, "/"), "/")
		at := patched
		for _, field := range fields[:len(fields)-1] {
			at, _ = at[field].(map[string]any)
		}
		last := strings.NewReplacer("~1", "/", "~0", "~").Replace(fields[len(fields)-1])
		if at == nil {
			t.Fatalf("nothing is there for %s", p.Json())
		}
		if at[last] = p.Value; p.Operation == "remove" {
			delete(at, last)
		}
	}
	return patched
}

// object is an object as JSON has it.
type object = map[string]any

// with is an object with some of its fields changed, and those that are nil removed.
func with(base, change object) object {
	all := object{}
	for _, m := range []object{base, change} {
		for k, v := range m {
			if all[k] = v; v == nil {
				delete(all, k)
			}
		}
	}
	return all
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
