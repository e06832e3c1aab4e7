//go:build unix

package gate

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/operator"
)

// fixture is a test's own corner of the cluster, which ends with the cluster.
type fixture struct {
	*testing.T
	ns     string // where its path, hop and workloads live
	on     string // where its hop may list ConfigMaps
	author client.Client
	use    *rbacv1.RoleBinding // by which its author may use hops
	path   *v1alpha1.DelegationPath
	hop    *v1alpha1.DelegationHop
	ran    *sightings
}

var counter atomic.Int64

// setup makes a path with one hop that is idle, and an author who may use it.
func setup(t *testing.T, change ...func(*v1alpha1.Workload)) *fixture {
	t.Helper()
	n := counter.Add(1)
	user := fmt.Sprintf("alice-%d@example.com", n)
	f := &fixture{T: t, ns: fmt.Sprintf("agents-%d", n), on: fmt.Sprintf("payments-%d", n)}
	for _, name := range []string{f.ns, f.on} {
		f.make(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	f.make(operator.HopNamespace(f.ns))
	read := rule("", "configmaps", "get,list")
	f.make(&rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: f.on, Labels: map[string]string{v1alpha1.LabelCeiling: "true"}},
		Rules:      []rbacv1.PolicyRule{read},
	})
	controller := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: operator.Namespace, Name: "wayleave-controller"}
	f.make(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.on, Name: "ceiling"}, Subjects: []rbacv1.Subject{controller},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: f.on},
	})
	ours := v1alpha1.GroupName
	f.bind(f.on, "origin", user, read)
	f.bind(f.ns, "author", user, rule(ours, "delegationpaths,delegationhops", "get,create,patch"),
		rule("batch", "jobs,cronjobs", "get,create,patch"), rule("", "pods", "get,create"))
	f.use = f.bind(f.ns, "user", user, rule(ours, "delegationhops", "use"))
	var err error
	if f.author, err = client.New(suite.cluster.UserConfig(user), client.Options{Scheme: operator.Scheme()}); err != nil {
		f.Fatal(err)
	}
	f.ran = f.watchRuns()
	f.delegate(change...)
	return f
}

// delegate applies a path with a hop for all kinds of workload, and waits for the hop to be idle.
func (f *fixture) delegate(change ...func(*v1alpha1.Workload)) {
	f.Helper()
	scope := v1alpha1.Scope{Namespaced: []v1alpha1.NamespacedScope{{
		Namespaces: []string{f.on},
		Rules:      []v1alpha1.ResourceRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list"}}},
	}}}
	f.path = &v1alpha1.DelegationPath{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "contain"},
		Spec: v1alpha1.DelegationPathSpec{
			Reason: "Alert 4711", Scope: scope, Lifetime: v1alpha1.Lifetime{Duration: &metav1.Duration{Duration: time.Hour}},
		},
	}
	workload := &v1alpha1.Workload{
		Kinds:  []v1alpha1.WorkloadKind{v1alpha1.WorkloadPod, v1alpha1.WorkloadJob, v1alpha1.WorkloadCronJob},
		Images: []string{image},
	}
	for _, c := range change {
		c(workload)
	}
	f.hop = &v1alpha1.DelegationHop{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "look"},
		Spec:       v1alpha1.DelegationHopSpec{PathRef: v1alpha1.ObjectRef{Name: f.path.Name}, InheritScope: new(true), Workload: workload},
	}
	f.apply(f.path, f.hop)
	f.state(v1alpha1.ReasonIdle)
	f.eventually("the webhook to know that the hop is valid", func() error {
		return f.author.Create(f.Context(), f.pod("dhop-probe"), client.DryRunAll)
	})
}

func maxUses(n int32) func(*v1alpha1.Workload) {
	return func(w *v1alpha1.Workload) { w.MaxUses = n }
}

func maxDuration(d time.Duration) func(*v1alpha1.Workload) {
	return func(w *v1alpha1.Workload) { w.MaxDuration = &metav1.Duration{Duration: d} }
}

func rule(group, resources, verbs string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: strings.Split(resources, ","), Verbs: strings.Split(verbs, ",")}
}

// make creates an object as administrator.
func (f *fixture) make(o client.Object) {
	f.Helper()
	if err := suite.admin.Create(f.Context(), o); err != nil {
		f.Fatalf("creating %T %s: %v", o, o.GetName(), err)
	}
}

// bind gives a user rights in a namespace.
func (f *fixture) bind(namespace, name, user string, rules ...rbacv1.PolicyRule) *rbacv1.RoleBinding {
	f.Helper()
	f.make(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Rules: rules})
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}
	f.make(binding)
	return binding
}

// apply creates objects as the author.
func (f *fixture) apply(objects ...client.Object) {
	f.Helper()
	for _, o := range objects {
		if err := f.author.Create(f.Context(), o); err != nil {
			f.Fatalf("creating %T %s: %v", o, o.GetName(), err)
		}
	}
}

// change patches an object.
func (f *fixture) change(by client.Client, o client.Object, patch string) {
	f.Helper()
	if err := by.Patch(f.Context(), o, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		f.Fatalf("changing %T %s: %v", o, o.GetName(), err)
	}
}

const (
	resume  = `{"spec":{"suspend":false}}`
	suspend = `{"spec":{"suspend":true}}`
	revoke  = `{"spec":{"revoked":{"reason":"false alarm"}}}`
)

// once is an order to the agent to ask the API server one time, and forever one to ask until it is killed.
func (f *fixture) once() string    { return "list configmaps in " + f.on }
func (f *fixture) forever() string { return f.once() + " every 200ms for 10m" }

// template declares the hop for a pod that carries out an order.
func (f *fixture) template(order string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.LabelHop: "look"}},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: new(int64(1)),
			Containers: []corev1.Container{{Name: "agent", Image: image, Args: []string{order}}},
		},
	}
}

func (f *fixture) pod(name string) *corev1.Pod {
	template := f.template(f.once())
	pod := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
	pod.Namespace, pod.Name = f.ns, name
	return pod
}

// job is a Job that does not try again.
func (f *fixture) job(name, order string, change ...func(*batchv1.JobSpec)) *batchv1.Job {
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: name},
		Spec:       batchv1.JobSpec{BackoffLimit: new(int32(0)), Template: f.template(order)},
	}
	for _, c := range change {
		c(&job.Spec)
	}
	return job
}

func suspended(s *batchv1.JobSpec) { s.Suspend = new(true) }

// patience is how long anything may take on a machine that does much else.
const patience = 60 * time.Second

// eventually waits for a check to pass.
func (f *fixture) eventually(what string, check func() error) {
	f.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			f.Fatalf("waited %s for %s: %v", patience, what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// state waits until the Ready condition of the hop has a reason.
func (f *fixture) state(want v1alpha1.Reason) {
	f.Helper()
	f.eventually("hop to be "+string(want), func() error {
		if err := f.get(f.hop); err != nil {
			return err
		}
		ready := meta.FindStatusCondition(f.hop.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || ready.Reason != string(want) || ready.ObservedGeneration != f.hop.Generation {
			return fmt.Errorf("it is %+v", ready)
		}
		return nil
	})
}

func (f *fixture) get(o client.Object) error {
	return suite.admin.Get(f.Context(), client.ObjectKeyFromObject(o), o)
}

// uses waits until the hop counts uses like this.
func (f *fixture) uses(summary string, live int) {
	f.Helper()
	f.eventually(fmt.Sprintf("%s uses, of which %d live", summary, live), func() error {
		if err := f.get(f.hop); err != nil {
			return err
		}
		if u := f.hop.Status.Uses; u == nil || u.Summary != summary || len(u.Live) != live {
			return fmt.Errorf("it has %+v", u)
		}
		return nil
	})
}

// idle waits until no use is live, nothing is left of the hop's permissions, and its next use will run as another account.
func (f *fixture) idle(summary, account string) {
	f.Helper()
	f.uses(summary, 0)
	f.state(v1alpha1.ReasonIdle)
	f.nothingLeft(&rbacv1.RoleList{}, &rbacv1.RoleBindingList{})
	f.eventually("another account than "+account, func() error {
		if err := f.get(f.hop); err != nil {
			return err
		}
		if now := f.hop.Status.ServiceAccountName; now == "" || now == account {
			return fmt.Errorf("it is %q", now)
		}
		return nil
	})
}

// nothingLeft waits until there is nothing of these kinds that was made for the hop.
func (f *fixture) nothingLeft(lists ...client.ObjectList) {
	f.Helper()
	for _, list := range lists {
		f.eventually(fmt.Sprintf("no %T to be left", list), func() error {
			if err := suite.admin.List(f.Context(), list, client.MatchingLabels{v1alpha1.LabelHopUID: string(f.hop.UID)}); err != nil {
				return err
			}
			if n := meta.LenList(list); n > 0 {
				return fmt.Errorf("there are %d", n)
			}
			return nil
		})
	}
}

// podsOf are the pods that the Job controller has made for a Job.
func (f *fixture) podsOf(job string) []corev1.Pod {
	f.Helper()
	var pods corev1.PodList
	if err := suite.admin.List(f.Context(), &pods, client.InNamespace(f.ns), client.MatchingLabels{batchv1.JobNameLabel: job}); err != nil {
		f.Fatal(err)
	}
	return pods.Items
}

// ends waits until a Job is Complete or Failed, as wanted.
func (f *fixture) ends(job *batchv1.Job, as batchv1.JobConditionType) {
	f.Helper()
	f.eventually("Job "+job.Name+" to be "+string(as), func() error {
		if err := f.get(job); err != nil {
			return err
		}
		if !slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
			return c.Type == as && c.Status == corev1.ConditionTrue
		}) {
			return fmt.Errorf("it is %+v", job.Status)
		}
		return nil
	})
}

// refused waits until a Job is suspended, with an Event for a reason and without a pod. It has not failed, and may go on.
func (f *fixture) refused(job *batchv1.Job, reason v1alpha1.Reason) {
	f.Helper()
	f.eventually(fmt.Sprintf("Job %s to be suspended for %s", job.Name, reason), func() error {
		if err := f.get(job); err != nil {
			return err
		}
		if job.Spec.Suspend == nil || !*job.Spec.Suspend {
			return fmt.Errorf("it is not suspended")
		}
		if job.Status.Failed > 0 {
			f.Fatalf("Job %s has failed: %+v", job.Name, job.Status)
		}
		if n := len(f.podsOf(job.Name)); n > 0 {
			return fmt.Errorf("it has %d pods", n)
		}
		return f.hasEvent("Job", job.Name, reason)
	})
}

// hasEvent fails unless an object has an Event for a reason, or whose note has it.
func (f *fixture) hasEvent(kind, name string, reason v1alpha1.Reason) error {
	var events corev1.EventList
	if err := suite.admin.List(f.Context(), &events, client.InNamespace(f.ns)); err != nil {
		return err
	}
	var got []string
	for _, e := range events.Items {
		if e.InvolvedObject.Kind != kind || e.InvolvedObject.Name != name {
			continue
		}
		if e.Reason == string(reason) || strings.Contains(e.Message, string(reason)) {
			return nil
		}
		got = append(got, e.Reason+": "+e.Message)
	}
	return fmt.Errorf("%s %s has no Event for %s, but %q", kind, name, reason, got)
}

// denied demands that an object cannot be created, for a reason.
func (f *fixture) denied(o client.Object, reason v1alpha1.Reason) {
	f.Helper()
	if err := f.author.Create(f.Context(), o); err == nil || !strings.Contains(err.Error(), string(reason)) {
		f.Errorf("creating %T %s: %v, and not %s", o, o.GetName(), err, reason)
	}
}
