//go:build unix

// Package crash shows that it does not matter when the operator dies. It runs the controllers on a real API server,
// ends them at each of their writes in turn, starts them again, and compares the end state with what an
// undisturbed run leaves.
package crash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/workload"
	"github.com/wayleave/wayleave/test/cluster"
	"github.com/wayleave/wayleave/test/operator"
)

var suite struct {
	cluster    *cluster.Cluster
	admin      client.Client
	controller *rest.Config // with the rights of config/rbac and no others
}

const root = "../.."

func TestMain(m *testing.M) { os.Exit(runAll(m)) }

func runAll(m *testing.M) int {
	// A controller that is ended in the middle of a write says so, and says it often.
	ctrl.SetLogger(zap.New(zap.WriteTo(logTo())))
	ctx := context.Background()
	c, err := cluster.Start(ctx, cluster.Options{Log: os.Stderr})
	if err != nil {
		fmt.Fprintln(os.Stderr, "starting the cluster:", err)
		return 1
	}
	defer c.Stop()
	suite.cluster = c
	if err := install(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, "installing:", err)
		return 1
	}
	return m.Run()
}

// insteadOfAdmission are the policies against what the tests do in place of admission.
var insteadOfAdmission = []string{
	"templates.delegation.wayleave.dev", "declared-by.delegation.wayleave.dev", "origin.delegation.wayleave.dev",
	"author.delegation.wayleave.dev",
}

// install applies kinds, rights and policies. There are no webhooks: the tests say themselves who the origin and the authors
// are, and make of a Job what admission would make of it.
func install(ctx context.Context, c *cluster.Cluster) error {
	admin := c.Config()
	admin.QPS = -1
	var err error
	if suite.admin, err = client.New(admin, client.Options{Scheme: operator.Scheme()}); err != nil {
		return err
	}
	for _, part := range []string{"crd", "rbac", "policy"} {
		objects, err := operator.Load(root + "/config/" + part)
		if err != nil {
			return err
		}
		for _, o := range objects {
			if slices.Contains(insteadOfAdmission, o.GetName()) {
				continue
			}
			if err := suite.admin.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("installer")); err != nil {
				return err
			}
		}
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: operator.Namespace, Name: "wayleave-controller"}}
	token := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(24 * 3600))}}
	if err := suite.admin.SubResource("token").Create(ctx, account, token); err != nil {
		return err
	}
	suite.controller = rest.AnonymousClientConfig(admin)
	suite.controller.BearerToken, suite.controller.QPS = token.Status.Token, -1
	for err = suite.admin.List(ctx, &v1alpha1.DelegationHopList{}); err != nil; err = suite.admin.List(ctx, &v1alpha1.DelegationHopList{}) {
		time.Sleep(50 * time.Millisecond)
	}
	if err := awaitCollector(ctx); err != nil {
		return err
	}
	if err := suite.admin.Create(ctx, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: ceiling, Labels: map[string]string{v1alpha1.LabelCeiling: "true"}},
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"configmaps", "nodes"}, Verbs: []string{"get", "list"}},
		},
	}); err != nil {
		return err
	}
	return letUse(ctx)
}

// letUse lets the origin use hops, on whose right Jobs run.
func letUse(ctx context.Context) error {
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "use"},
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"delegationhops"}, Verbs: []string{"use"}},
		},
	}
	if err := suite.admin.Create(ctx, role); err != nil {
		return err
	}
	return suite.admin.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: origin}},
	})
}

// awaitCollector waits until the garbage collector knows our kinds, which it learns up to half a minute after they exist.
// What a controller forgets when it dies is left to it.
func awaitCollector(ctx context.Context) error {
	hop := &v1alpha1.DelegationHop{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "collected"},
		Spec:       v1alpha1.DelegationHopSpec{PathRef: v1alpha1.ObjectRef{Name: "none"}, InheritScope: new(true)},
	}
	if err := suite.admin.Create(ctx, hop); err != nil {
		return err
	}
	owned := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Namespace: hop.Namespace, Name: hop.Name, OwnerReferences: []metav1.OwnerReference{{
			APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "DelegationHop", Name: hop.Name, UID: hop.UID,
		}},
	}}
	if err := suite.admin.Create(ctx, owned); err != nil {
		return err
	}
	if err := suite.admin.Delete(ctx, hop); err != nil {
		return err
	}
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		switch err := suite.admin.Get(ctx, client.ObjectKeyFromObject(owned), owned); {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return err
		case time.Now().After(deadline):
			return errors.New("the garbage collector does not collect what a deleted hop owned")
		}
	}
}

const (
	ceiling  = "ceiling"
	origin   = "alice@example.com"
	image    = "registry.example.com/isolate:1"
	patience = 30 * time.Second
)

// scenario is something that a controller has to bring to its end.
type scenario struct {
	// given are the objects that exist, and are stable, before.
	given func(*run) []client.Object
	// before is what happened to them before; nil if nothing did.
	before func(context.Context, *run) error
	// change is what happens then.
	change func(context.Context, *run) error
	// writes are those that the controller has to do itself and that show in the end state. What a deleted hop owned is not
	// among them: the garbage collector may be faster.
	writes []string
}

var scenarios = map[string]scenario{
	"a grant": {
		given:  func(r *run) []client.Object { return []client.Object{r.path()} },
		change: func(ctx context.Context, r *run) error { return suite.admin.Create(ctx, r.hop("triage", "")) },
		writes: []string{
			"patch *v1.RoleBinding", "patch *v1.ClusterRoleBinding", "patch *v1.Role", "patch *v1.ClusterRole",
			"create *v1.ServiceAccount", "create *v1.Secret", "create token of *v1.ServiceAccount", "update *v1.Secret",
			"apply status of *v1alpha1.DelegationHopApplyConfiguration", "apply status of *v1alpha1.DelegationPathApplyConfiguration",
		},
	},
	"a revocation, with a child and a Job": {
		given: func(r *run) []client.Object {
			return []client.Object{r.path(), r.hop("triage", ""), r.hop("isolate", "triage"), r.job("isolate")}
		},
		change: func(ctx context.Context, r *run) error {
			return patch(ctx, r.path(), `{"spec":{"revoked":{"reason":"false alarm"}}}`)
		},
		writes: []string{
			"patch *v1.Job", "delete *v1.RoleBinding", "delete *v1.ClusterRoleBinding", "delete *v1.ServiceAccount", "delete *v1.Secret",
			"delete *v1.Role", "delete *v1.ClusterRole",
			"apply status of *v1alpha1.DelegationHopApplyConfiguration", "apply status of *v1alpha1.DelegationPathApplyConfiguration",
		},
	},
	"another incarnation": {
		given: func(r *run) []client.Object { return []client.Object{r.path(), r.hop("triage", "")} },
		change: func(ctx context.Context, r *run) error {
			return patch(ctx, r.hop("triage", ""), `{"spec":{"lifetime":{"duration":"20m"}}}`)
		},
		writes: []string{
			"delete *v1.ServiceAccount", "create *v1.ServiceAccount", "delete *v1.RoleBinding", "patch *v1.RoleBinding",
			"apply status of *v1alpha1.DelegationHopApplyConfiguration",
		},
	},
	"another scope and another Secret": {
		given: func(r *run) []client.Object { return []client.Object{r.path(), r.hop("triage", "")} },
		change: func(ctx context.Context, r *run) error {
			return patch(ctx, r.hop("triage", ""), fmt.Sprintf(`{"spec":{"token":{"secretName":"other"},"scope":{"cluster":null,
				"namespaced":[{"namespaces":[%q],"rules":[{"apiGroups":[""],"resources":["configmaps"],"verbs":["list"]}]}]}}}`, r.namespaces()[2]))
		},
		writes: []string{
			"patch *v1.Role", "delete *v1.RoleBinding", "delete *v1.ClusterRoleBinding", "delete *v1.Role", "delete *v1.ClusterRole",
			"delete *v1.Secret", "create *v1.Secret", "create token of *v1.ServiceAccount", "update *v1.Secret",
			"apply status of *v1alpha1.DelegationHopApplyConfiguration",
		},
	},
	"the deletion of a hop, with a child": {
		given: func(r *run) []client.Object {
			return []client.Object{r.path(), r.hop("triage", ""), r.hop("isolate", "triage")}
		},
		change: func(ctx context.Context, r *run) error { return suite.admin.Delete(ctx, r.hop("triage", "")) },
		writes: []string{"delete *v1.Role", "delete *v1.RoleBinding", "delete *v1.ClusterRoleBinding", "delete *v1.ClusterRole"},
	},
	"the deletion of a hop, with a running Job": {
		given: func(r *run) []client.Object {
			return []client.Object{r.path(), r.hop("isolate", ""), r.job("isolate")}
		},
		change: func(ctx context.Context, r *run) error { return suite.admin.Delete(ctx, r.hop("isolate", "")) },
		writes: []string{"delete *v1.RoleBinding", "patch *v1.Job"},
	},
	"the deletion of a path, with a child": {
		given: func(r *run) []client.Object {
			return []client.Object{r.path(), r.hop("triage", ""), r.hop("isolate", "triage")}
		},
		change: func(ctx context.Context, r *run) error { return suite.admin.Delete(ctx, r.path()) },
		writes: []string{"delete *v1.Secret", "delete *v1.RoleBinding", "delete *v1.ServiceAccount", "delete *v1.Role"},
	},
	"an expiry": {
		given: func(r *run) []client.Object { return []client.Object{r.path(), r.hop("triage", "")} },
		change: func(ctx context.Context, r *run) error {
			soon := time.Now().Add(2 * time.Second).UTC().Format(time.RFC3339)
			return patch(ctx, r.path(), fmt.Sprintf(`{"spec":{"lifetime":{"notAfter":%q}}}`, soon))
		},
		writes: []string{"delete *v1.Secret", "delete *v1.RoleBinding", "delete *v1.ServiceAccount", "delete *v1.Role"},
	},
	"a use that begins": {
		given: func(r *run) []client.Object { return []client.Object{r.path(), r.idle("isolate")} },
		change: func(ctx context.Context, r *run) error {
			job := r.job("isolate")
			job.Spec.Template.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/queue"}}
			if err := r.create(ctx, job); err != nil {
				return err
			}
			return r.release(ctx)
		},
		writes: []string{
			"patch *v1.Pod", "patch status of *v1.Pod",
			"patch *v1.Role", "patch *v1.RoleBinding", "patch *v1.ClusterRole", "patch *v1.ClusterRoleBinding",
			"apply status of *v1alpha1.DelegationHopApplyConfiguration",
		},
	},
	"a use that ends": {
		given:  func(r *run) []client.Object { return []client.Object{r.path(), r.idle("isolate"), r.job("isolate")} },
		change: func(ctx context.Context, r *run) error { return r.finish(ctx) },
		writes: replaced,
	},
	"a use that is refused": {
		given: func(r *run) []client.Object { return []client.Object{r.path(), r.idle("isolate")} },
		change: func(ctx context.Context, r *run) error {
			job := r.job("isolate")
			job.Spec.Template.Spec.Containers[0].Image = "registry.example.com/other:1"
			return r.create(ctx, job)
		},
		writes: []string{"patch *v1.Job"},
	},
	"a use that lasts too long": {
		given: func(r *run) []client.Object { return []client.Object{r.path(), r.idle("isolate"), r.job("isolate")} },
		change: func(ctx context.Context, r *run) error {
			return patch(ctx, r.idle("isolate"), `{"spec":{"workload":{"maxDuration":"1s"}}}`)
		},
		writes: append([]string{"patch *v1.Job"}, replaced...),
	},
	"a freeze": {
		given:  func(r *run) []client.Object { return []client.Object{r.path(), r.idle("isolate"), r.job("isolate")} },
		change: freeze,
		writes: []string{
			"patch *v1.Job", "delete *v1.RoleBinding", "delete *v1.ClusterRoleBinding", "delete *v1.ServiceAccount",
			"delete *v1.Role", "delete *v1.ClusterRole", "apply status of *v1alpha1.DelegationHopApplyConfiguration",
		},
	},
	"a thaw": {
		given: func(r *run) []client.Object { return []client.Object{r.path(), r.idle("isolate"), r.job("isolate")} },
		before: func(ctx context.Context, r *run) error {
			return errors.Join(freeze(ctx, r), r.isWithdrawn(ctx, r.idle("isolate")))
		},
		change: func(ctx context.Context, r *run) error { return suite.admin.Delete(ctx, r.freeze()) },
		writes: []string{"patch *v1.Job", "create *v1.ServiceAccount", "apply status of *v1alpha1.DelegationHopApplyConfiguration"},
	},
}

// freeze freezes the hops of a run.
func freeze(ctx context.Context, r *run) error {
	freeze := r.freeze()
	freeze.Data = map[string]string{"namespaces": r.namespaces()[0]}
	return suite.admin.Create(ctx, freeze)
}

// replaced are the writes after the last use of a hop: its permissions go, and the identity that was used is replaced.
var replaced = []string{
	"delete *v1.RoleBinding", "delete *v1.ClusterRoleBinding", "delete *v1.Role", "delete *v1.ClusterRole",
	"delete *v1.ServiceAccount", "create *v1.ServiceAccount", "apply status of *v1alpha1.DelegationHopApplyConfiguration",
}

func patch(ctx context.Context, o client.Object, with string) error {
	return suite.admin.Patch(ctx, o, client.RawPatch(types.MergePatchType, []byte(with)))
}

// TestCrash has something happen to the controller at each of its writes, one run for each, until a run needs no more of
// them. By default it plays a sample: a death at every eighth write, a lost answer at every sixteenth, and no death before the
// answer, which leaves what a death before the next write leaves; and the loss of one kind of write for each scenario.
// WAYLEAVE_CRASH_ALL, set by make nightly, plays all.
func TestCrash(t *testing.T) {
	steps, losses := map[fault]int{diesBefore: 8, answerLost: 16}, 1
	if os.Getenv("WAYLEAVE_CRASH_ALL") != "" {
		steps, losses = map[fault]int{diesBefore: 1, diesAfter: 1, answerLost: 1}, 200
	}
	for name, s := range scenarios {
		t.Run(name, func(t *testing.T) {
			r := begin(t, s)
			want := r.undisturbed(t, s)
			wrote := r.process.written()
			t.Logf("%d writes undisturbed: %s", len(wrote), strings.Join(wrote, ", "))
			for _, w := range s.writes {
				if !slices.Contains(wrote, w) {
					t.Errorf("the controller did not %s", w)
				}
			}
			r.end(t)
			t.Run("a lost write", func(t *testing.T) {
				for _, w := range s.writes[:min(losses, len(s.writes))] {
					losesWrite(t, s, w, want)
				}
			})
			for m, step := range steps {
				t.Run(m.String(), func(t *testing.T) {
					for n := 0; !t.Failed() && crashAt(t, s, n, m, want); n += step {
						if n > 200 {
							t.Fatal("there is no end to the writes")
						}
					}
				})
			}
		})
	}
}

// crashAt injects a fault into the controller at its n-th write, starts another one if it is dead, and compares. It says
// whether the controller did that write at all.
func crashAt(t *testing.T, s scenario, n int, m fault, want string) bool {
	t.Helper()
	r := begin(t, s)
	defer r.end(t)
	r.process.arm(n, m)
	r.must(t, s.change(t.Context(), r))
	deadline := time.Now().Add(patience)
	for !r.process.wasInjected() {
		if got, err := r.state(t.Context()); err == nil && got == want {
			t.Logf("these %d writes were enough: %s", n, strings.Join(r.process.written(), ", "))
			return false
		} else if time.Now().After(deadline) {
			t.Fatalf("write %d: the controller reached neither that write nor the end: %v\n%s", n, err, cmp.Diff(want, got))
		}
		time.Sleep(20 * time.Millisecond)
	}
	if m != answerLost {
		r.process.stop(t)
		r.process = startProcess(t, suite.controller)
	}
	if diff := r.reaches(t, want); diff != "" {
		t.Errorf("after %s, number %d, the end state differs (-undisturbed +now):\n%s", m, n, diff)
	}
	return true
}

// losesWrite has one kind of write never reach the API server, and demands that the comparison with the end state sees it. A
// comparison that does not would not see either what a crash makes the controller forget.
func losesWrite(t *testing.T, s scenario, write, want string) {
	t.Helper()
	r := begin(t, s)
	defer r.end(t)
	r.process.lose(write)
	r.must(t, s.change(t.Context(), r))
	// It may never rest: it tries again what the API server does not see.
	got, _ := r.atRest(t, time.Second, patience/4, r.process.wasInjected)
	switch {
	case !r.process.wasInjected():
		t.Errorf("the controller did not %s", write)
	case got == want:
		t.Errorf("the end state is the same although each %s was lost", write)
	}
}

var runs int

// run is one run of a scenario, in namespaces of its own.
type run struct {
	number  int
	process *process
	bound   []client.Object
	uids    map[string]string // of the objects that the run created, and what they mean
}

// namespaces of a run: the first for the objects, the others for what hops do.
func (r *run) namespaces() []string {
	return []string{fmt.Sprintf("agents-%d-x", r.number), fmt.Sprintf("payments-%d-x", r.number), fmt.Sprintf("orders-%d-x", r.number)}
}

// prepare makes the namespaces of a run, and the rights that its hops are part of.
func prepare(t *testing.T) *run {
	t.Helper()
	ctx := t.Context()
	runs++
	r := &run{number: runs}
	controller := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: operator.Namespace, Name: "wayleave-controller"}}
	user := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: origin}}
	role := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: ceiling}
	for _, namespace := range r.namespaces() {
		r.must(t, suite.admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}))
	}
	r.bound = []client.Object{
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("ceiling-%d", r.number)}, RoleRef: role,
			Subjects: append(controller, user...),
		},
		operator.HopNamespace(r.namespaces()[0]),
	}
	for _, o := range r.bound {
		r.must(t, suite.admin.Create(ctx, o))
	}
	return r
}

// begin starts a controller and brings the scenario to where its change begins.
func begin(t *testing.T, s scenario) *run {
	t.Helper()
	ctx, r := t.Context(), prepare(t)
	r.process = startProcess(t, suite.controller)
	r.uids = map[string]string{}
	given := s.given(r)
	for i, o := range given {
		if _, last := o.(*batchv1.Job); last { // its pods have the account that its hop has then
			r.awaitStable(t, given[i-1])
		}
		r.must(t, r.create(ctx, o))
	}
	for _, o := range given {
		r.awaitStable(t, o)
	}
	if s.before != nil {
		r.must(t, s.before(ctx, r))
	}
	return r
}

// isWithdrawn waits until nothing is left of the grant of a hop.
func (r *run) isWithdrawn(ctx context.Context, hop *v1alpha1.DelegationHop) error {
	return wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		err := suite.admin.Get(ctx, client.ObjectKeyFromObject(hop), hop)
		return err == nil && hop.Status.Withdrawal != nil && hop.Status.Withdrawal.CompletedAt != nil, err
	})
}

func (r *run) must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// awaitStable waits until the controller has done its part.
func (r *run) awaitStable(t *testing.T, o client.Object) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		r.must(t, suite.admin.Get(t.Context(), client.ObjectKeyFromObject(o), o))
		done := false
		switch o := o.(type) {
		case *v1alpha1.DelegationPath:
			done = meta.IsStatusConditionTrue(o.Status.Conditions, v1alpha1.ConditionReady)
		case *v1alpha1.DelegationHop:
			done = meta.IsStatusConditionTrue(o.Status.Conditions, v1alpha1.ConditionReady)
		case *batchv1.Job:
			done = r.runs(t, o)
		}
		if done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%T %s does not become stable: %+v", o, o.GetName(), o)
		}
	}
}

// runs says whether the pod of a Job has passed the gate.
func (r *run) runs(t *testing.T, job *batchv1.Job) bool {
	t.Helper()
	var pods corev1.PodList
	r.must(t, suite.admin.List(t.Context(), &pods, client.InNamespace(job.Namespace), client.MatchingLabels{batchv1.JobNameLabel: job.Name}))
	return len(pods.Items) == 1 && !workload.IsGated(&pods.Items[0])
}

// reaches waits until the state is the wanted one, ends the controller, and looks once more. It returns the difference.
func (r *run) reaches(t *testing.T, want string) string {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if got, err := r.state(t.Context()); err == nil && got == want || time.Now().After(deadline) {
			break
		}
	}
	r.process.stop(t)
	got, err := r.state(t.Context())
	r.must(t, err)
	return cmp.Diff(want, got)
}

// end removes all that a run made, so that the controllers of later runs do not see it.
func (r *run) end(t *testing.T) {
	t.Helper()
	if r.process != nil {
		r.process.stop(t)
	}
	ctx := context.Background()
	for i, namespace := range r.namespaces() {
		kinds := []client.Object{&rbacv1.RoleBinding{}, &rbacv1.Role{}}
		if i == 0 {
			kinds = []client.Object{
				&v1alpha1.DelegationHop{}, &v1alpha1.DelegationPath{}, &batchv1.Job{}, &corev1.Pod{}, &corev1.ServiceAccount{},
				&corev1.Secret{},
			}
		}
		for _, kind := range kinds {
			r.must(
				t,
				suite.admin.DeleteAllOf(ctx, kind, client.InNamespace(namespace), client.PropagationPolicy(metav1.DeletePropagationBackground)),
			)
		}
	}
	for _, kind := range []client.Object{&rbacv1.ClusterRoleBinding{}, &rbacv1.ClusterRole{}} {
		r.must(t, suite.admin.DeleteAllOf(ctx, kind, client.MatchingLabels{v1alpha1.LabelHopNamespace: r.namespaces()[0]}))
	}
	for _, o := range r.bound {
		r.must(t, suite.admin.Delete(ctx, o))
	}
	r.must(t, client.IgnoreNotFound(suite.admin.Delete(ctx, r.freeze())))
}

// path is a path for an hour.
func (r *run) path() *v1alpha1.DelegationPath {
	return &v1alpha1.DelegationPath{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.namespaces()[0], Name: "contain"},
		Spec: v1alpha1.DelegationPathSpec{
			Reason: "Alert 4711", Origin: &v1alpha1.Subject{User: origin},
			Lifetime: v1alpha1.Lifetime{Duration: &metav1.Duration{Duration: time.Hour}},
			Scope:    r.scope(), Hops: &v1alpha1.HopBounds{MaxDepth: 3},
		},
	}
}

// scope has two namespaces and the cluster.
func (r *run) scope() v1alpha1.Scope {
	return v1alpha1.Scope{
		Namespaced: []v1alpha1.NamespacedScope{{
			Namespaces: r.namespaces()[1:],
			Rules:      []v1alpha1.ResourceRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list"}}},
		}},
		Cluster: []v1alpha1.ClusterRule{{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"get"}}},
	}
}

// hop is a hop with a token; its lifetime begins with its grant, so that the time of a crash shows in its end.
func (r *run) hop(name, parent string) *v1alpha1.DelegationHop {
	h := &v1alpha1.DelegationHop{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.namespaces()[0], Name: name},
		Spec: v1alpha1.DelegationHopSpec{
			PathRef: v1alpha1.ObjectRef{Name: "contain"}, Author: &v1alpha1.Subject{User: origin},
			Lifetime: &v1alpha1.Lifetime{Duration: &metav1.Duration{Duration: 15 * time.Minute}},
			Scope:    new(r.scope()),
			Token:    &v1alpha1.Token{SecretName: name + "-token"},
			Workload: &v1alpha1.Workload{Kinds: []v1alpha1.WorkloadKind{v1alpha1.WorkloadJob}, Images: []string{image}, MaxUses: 3},
		},
	}
	if parent != "" { // with less to do, since each write costs runs
		h.Spec.ParentRef = &v1alpha1.ObjectRef{Name: parent}
		h.Spec.Scope.Namespaced[0].Namespaces, h.Spec.Scope.Cluster = r.namespaces()[1:2], nil
	}
	return h
}

// idle is a hop without a token, which has permissions only while it is in use.
func (r *run) idle(name string) *v1alpha1.DelegationHop {
	h := r.hop(name, "")
	h.Spec.Token = nil
	return h
}

// freeze is what freezes the hops of a run, and those of no other.
func (r *run) freeze() *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: operator.Namespace, Name: delegation.FreezeName}}
}

func logTo() io.Writer {
	if os.Getenv("CRASH_LOG") != "" {
		return os.Stderr
	}
	return io.Discard
}

// undisturbed makes the change with nothing in its way, and returns the end state.
func (r *run) undisturbed(t *testing.T, s scenario) string {
	t.Helper()
	r.process.arm(0, never)
	r.must(t, s.change(t.Context(), r))
	state, rests := r.atRest(t, 3*time.Second, patience, func() bool { return true })
	if !rests {
		t.Fatalf("it does not come to rest: %s", state)
	}
	return state
}

// atRest waits until the state has not changed for so long since something has happened, or the time is over.
func (r *run) atRest(t *testing.T, quiet, within time.Duration, happened func() bool) (state string, rests bool) {
	t.Helper()
	begun := time.Now()
	for since := begun; time.Since(since) < quiet; time.Sleep(50 * time.Millisecond) {
		if time.Since(begun) > within {
			return state, false
		}
		got, err := r.state(t.Context())
		r.must(t, err)
		if got != state || !happened() {
			state, since = got, time.Now()
		}
	}
	return state, true
}
