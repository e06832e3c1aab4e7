//go:build unix

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/audit"
	"github.com/wayleave/wayleave/internal/delegation"
)

// TestHopReports: a transition appears in conditions that common tools understand, in the history, in an Event and in an
// audit line, with one reason.
func TestHopReports(t *testing.T) {
	f := hopSetup(t)
	p, h := f.path("contain"), f.hop("isolate", "contain", "")
	f.apply(f.by, p, h)
	for _, object := range []string{"delegationpath/contain", "delegationhop/isolate"} {
		wait := exec.CommandContext(f.Context(), suite.cluster.Kubectl(), "--kubeconfig", suite.cluster.Kubeconfig(),
			"wait", "-n", f.ns, object, "--for=condition=Ready", "--timeout=30s")
		if out, err := wait.CombinedOutput(); err != nil {
			t.Errorf("kubectl wait: %v\n%s", err, out)
		}
	}
	f.state(p, v1alpha1.ReasonActive)
	f.granted(h)
	f.kstatus(p.Status.Conditions, metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionFalse)
	f.kstatus(h.Status.Conditions, metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionFalse)

	f.change(f.by, p, `{"spec":{"suspend":true}}`)
	f.state(p, v1alpha1.ReasonSuspended)
	f.state(h, v1alpha1.ReasonSuspended)
	f.kstatus(p.Status.Conditions, metav1.ConditionFalse, metav1.ConditionTrue, metav1.ConditionFalse)
	f.kstatus(h.Status.Conditions, metav1.ConditionFalse, metav1.ConditionTrue, metav1.ConditionFalse)

	f.change(f.by, p, revoke)
	f.state(p, v1alpha1.ReasonRevoked)
	message := f.state(h, v1alpha1.ReasonRevoked)
	f.kstatus(p.Status.Conditions, metav1.ConditionFalse, metav1.ConditionFalse, metav1.ConditionTrue)
	f.kstatus(h.Status.Conditions, metav1.ConditionFalse, metav1.ConditionFalse, metav1.ConditionTrue)
	for _, said := range []string{f.by, `"false alarm"`} {
		if !strings.Contains(message, said) {
			t.Errorf("the hop does not report %s: %s", said, message)
		}
	}

	var history []string
	for _, transition := range p.Status.History {
		history = append(history, fmt.Sprintf("%s by %s", transition.Reason, transition.Actor))
	}
	if want := []string{"Active by " + f.by, "Suspended by " + f.by, "Revoked by " + f.by}; !equal(history, want) {
		t.Errorf("history is %v, want %v", history, want)
	}
	for _, kind := range []string{"DelegationPath", "DelegationHop"} {
		f.eventually("Events of the "+kind, func() error { return f.wantEvents(kind, "Suspended", "Revoked") })
	}
	f.eventually("audit lines", func() error {
		return f.wantAudited(
			"DelegationHop "+delegation.HopKey(h).String(), string(p.UID), v1alpha1.ReasonGranted, v1alpha1.ReasonSuspended,
			v1alpha1.ReasonRevoked,
		)
	})
}

func (f *fixture) kstatus(conditions []metav1.Condition, ready, reconciling, stalled metav1.ConditionStatus) {
	f.Helper()
	for kind, want := range map[string]metav1.ConditionStatus{
		v1alpha1.ConditionReady: ready, v1alpha1.ConditionReconciling: reconciling, v1alpha1.ConditionStalled: stalled,
	} {
		if got := meta.FindStatusCondition(conditions, kind); got == nil || got.Status != want {
			f.Errorf("%s is %+v, want %s", kind, got, want)
		}
	}
}

func (f *fixture) wantEvents(kind string, reasons ...string) error {
	var events eventsv1.EventList
	if err := suite.admin.List(f.Context(), &events, client.InNamespace(f.ns)); err != nil {
		return err
	}
	found := map[string]bool{}
	for _, e := range events.Items {
		if e.Regarding.Kind == kind {
			found[e.Reason] = true
		}
	}
	for _, reason := range reasons {
		if !found[reason] {
			return fmt.Errorf("there is none of %s among %v", reason, found)
		}
	}
	return nil
}

// wantAudited looks for the transitions of an object, each reported once and in order.
func (f *fixture) wantAudited(object, path string, want ...v1alpha1.Reason) error {
	file, err := os.Open(suite.operator.Log("controller"))
	if err != nil {
		return err
	}
	defer file.Close()
	var got []v1alpha1.Reason
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line audit.Record
		if json.Unmarshal(lines.Bytes(), &line) != nil || line.Verb != "transition" || line.Object != object {
			continue
		}
		if line.Reason.Class() == v1alpha1.ClassWaiting && line.Reason != v1alpha1.ReasonSuspended {
			continue // what came first when path and hop were applied is chance
		}
		if line.PathUID != path || line.Actor == "" || len(line.Chain) == 0 || line.Time.IsZero() {
			return fmt.Errorf("a line lacks something: %s", lines.Bytes())
		}
		got = append(got, line.Reason)
	}
	if !equal(got, want) {
		return fmt.Errorf("there are lines of %v, want %v", got, want)
	}
	return lines.Err()
}

// TestHopStopsItsJob: only the end of a process ends its open streams, so the Job that declares a revoked hop is
// suspended, and its pods go. It stays, as evidence.
func TestHopStopsItsJob(t *testing.T) {
	f := hopSetup(t)
	h := f.hop("isolate", "contain", "", func(h *v1alpha1.DelegationHop) {
		h.Spec.Token = nil
		h.Spec.Workload = &v1alpha1.Workload{
			Kinds: []v1alpha1.WorkloadKind{v1alpha1.WorkloadJob}, Images: []string{"registry.example.com/isolate:1"},
		}
	})
	f.apply(f.by, f.path("contain"), h)
	account := f.granted(h)
	job := func(name string, labels map[string]string) *batchv1.Job {
		return &batchv1.Job{
			ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: name},
			Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					RestartPolicy: corev1.RestartPolicyNever,
					Containers:    []corev1.Container{{Name: "main", Image: "registry.example.com/isolate:1"}},
				},
			}},
		}
	}
	declared, bystander := job("declared", map[string]string{v1alpha1.LabelHop: h.Name}), job("bystander", nil)
	f.apply(f.by, declared, bystander)
	pods := func(want int, of *batchv1.Job) func() error {
		return func() error {
			return f.count(&corev1.PodList{}, want, client.InNamespace(f.ns), client.MatchingLabels{batchv1.JobNameLabel: of.Name})
		}
	}
	f.eventually("a pod of the Job", pods(1, declared))
	f.eventually("a pod of the bystander", pods(1, bystander))
	var running corev1.PodList
	if err := suite.admin.List(f.Context(), &running, client.InNamespace(f.ns), client.MatchingLabels{v1alpha1.LabelHop: h.Name}); err != nil {
		t.Fatal(err)
	}
	if got := running.Items[0].Spec.ServiceAccountName; got != account {
		t.Errorf("the pod runs as %q", got)
	}
	f.change(f.by, h, revoke)
	f.state(h, v1alpha1.ReasonRevoked)
	f.eventually("the pod to be deleted", pods(0, declared))
	err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(declared), declared)
	if err != nil || declared.Spec.Suspend == nil || !*declared.Spec.Suspend {
		t.Errorf("the Job is not suspended: %v", err)
	}
	f.eventually("an Event of the Job", func() error { return f.wantEvents("Job", "Revoked") })
	err = suite.admin.Get(f.Context(), client.ObjectKeyFromObject(bystander), bystander)
	if err != nil || bystander.Spec.Suspend != nil && *bystander.Spec.Suspend {
		t.Errorf("the bystander is suspended: %v", err)
	}
	if err := pods(1, bystander)(); err != nil {
		t.Errorf("the bystander's pods: %v", err)
	}
}

// TestHopRests: when nothing happens nothing is written, whatever state a hop is in.
func TestHopRests(t *testing.T) {
	f := hopSetup(t)
	other := f.ns + "-other"
	f.namespace(other)
	f.bind(other, f.by, rule("", "configmaps", "get,list"))
	f.make(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "taken"}})
	p := f.path("contain", func(p *v1alpha1.DelegationPath) {
		p.Spec.Scope.Namespaced = append(p.Spec.Scope.Namespaced, in([]string{other}, resources("", "configmaps", "get,list")).Namespaced...)
	})
	hops := map[v1alpha1.Reason]*v1alpha1.DelegationHop{
		v1alpha1.ReasonGranted: f.hop("granted", "contain", "", lasting(time.Hour)),
		v1alpha1.ReasonScopeExceedsCeiling: f.hop("above", "contain", "", lasting(30*time.Minute), func(h *v1alpha1.DelegationHop) {
			h.Spec.Scope = new(in([]string{other}, resources("", "configmaps", "get")))
		}),
		v1alpha1.ReasonSecretTaken: f.hop(
			"taken", "contain", "", lasting(time.Hour), func(h *v1alpha1.DelegationHop) { h.Spec.Token.SecretName = "taken" },
		),
		v1alpha1.ReasonPathNotFound:   f.hop("lost", "nowhere", "", lasting(time.Minute)),
		v1alpha1.ReasonParentNotReady: f.hop("below", "contain", "nobody", lasting(time.Minute)),
	}
	f.apply(f.by, p)
	for want, h := range hops {
		f.apply(f.by, h)
		f.state(h, want)
	}
	time.Sleep(3 * time.Second) // the path counts its hops a moment later
	before, from := f.versions(other), time.Now()
	time.Sleep(6 * time.Second)
	if after := f.versions(other); before != after {
		t.Errorf("something was written: it was\n%s\nand is\n%s", before, after)
	}
	f.wroteNothing(from, other)
}

// versions are the resource versions of all that there is of the fixture.
func (f *fixture) versions(more ...string) string {
	f.Helper()
	var b strings.Builder
	for _, list := range []client.ObjectList{
		&v1alpha1.DelegationPathList{}, &v1alpha1.DelegationHopList{}, &corev1.ServiceAccountList{}, &corev1.SecretList{},
		&rbacv1.RoleList{}, &rbacv1.RoleBindingList{},
	} {
		for _, namespace := range append([]string{f.ns, f.on}, more...) {
			if err := suite.admin.List(f.Context(), list, client.InNamespace(namespace)); err != nil {
				f.Fatal(err)
			}
			if err := meta.EachListItem(list, func(item runtime.Object) error {
				o, err := meta.Accessor(item)
				if err == nil {
					fmt.Fprintf(&b, "%T %s/%s %s\n", item, o.GetNamespace(), o.GetName(), o.GetResourceVersion())
				}
				return err
			}); err != nil {
				f.Fatal(err)
			}
		}
	}
	return b.String()
}

// wroteNothing looks into the API server's audit log for writes of the controller in the fixture's namespaces.
func (f *fixture) wroteNothing(from time.Time, more ...string) {
	f.Helper()
	path := suite.cluster.AuditLogPath()
	if path == "" {
		return
	}
	file, err := os.Open(path)
	if err != nil {
		f.Fatal(err)
	}
	defer file.Close()
	own := map[string]bool{f.ns: true, f.on: true}
	for _, namespace := range more {
		own[namespace] = true
	}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<22)
	for lines.Scan() {
		var event struct {
			User                     struct{ Username string }
			Verb, RequestURI         string
			ObjectRef                struct{ Namespace, Resource string }
			RequestReceivedTimestamp time.Time
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil || event.RequestReceivedTimestamp.Before(from) ||
			!strings.HasSuffix(event.User.Username, ":wayleave-controller") || !own[event.ObjectRef.Namespace] {
			continue
		}
		switch event.Verb {
		case "get", "list", "watch":
		default:
			if event.ObjectRef.Resource != "events" { // they are written in the background
				f.Errorf("the controller did %s %s", event.Verb, event.RequestURI)
			}
		}
	}
	if err := lines.Err(); err != nil {
		f.Fatal(err)
	}
}
