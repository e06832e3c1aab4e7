//go:build unix

// Package e2e shows on a real API server, as users without any right but those that a test gives them, that Wayleave
// does what it promises. The processes run as they are shipped, each under its own ServiceAccount.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/cluster"
	"github.com/wayleave/wayleave/test/operator"
)

// suite is what the tests share: one cluster, one operator. Each test has namespaces and users of its own.
var suite struct {
	cluster  *cluster.Cluster
	operator *operator.Operator
	admin    client.Client
}

const root = "../.."

// leaseDuration bounds how long a test waits after it has killed the controller, and how long the controller may be kept
// from renewing its Lease on a machine that does much else.
const leaseDuration = 5 * time.Second

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctrl.SetLogger(zap.New(zap.WriteTo(os.Stderr)))
	ctx := context.Background()
	var err error
	if suite.cluster, err = cluster.Start(ctx, cluster.Options{Log: os.Stderr}); err != nil {
		fmt.Fprintln(os.Stderr, "starting the cluster:", err)
		return 1
	}
	defer suite.cluster.Stop()
	o := operator.Options{Root: root, Log: os.Stderr, LeaseDuration: leaseDuration, WithoutFloor: true} // see exceptWithoutFloor
	if suite.operator, err = operator.Start(ctx, suite.cluster, o); err != nil {
		fmt.Fprintln(os.Stderr, "starting the operator:", err)
		return 1
	}
	defer suite.operator.Stop()
	if suite.admin, err = client.New(suite.cluster.Config(), client.Options{Scheme: operator.Scheme()}); err != nil {
		fmt.Fprintln(os.Stderr, "connecting:", err)
		return 1
	}
	if err := exceptWithoutFloor(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if code != 0 {
		for _, name := range []string{operator.Controller, operator.Standby, "webhook", "certs"} {
			tail(name)
		}
	}
	return code
}

// tail prints the last lines of a process's log.
func tail(name string) {
	raw, err := os.ReadFile(suite.operator.Log(name))
	if err != nil {
		return
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	fmt.Fprintf(os.Stderr, "--- last lines of wayleave %s\n%s\n", name, strings.Join(lines[max(0, len(lines)-25):], "\n"))
}

// timings is the variable that names a file for the times that tests measure. go test shows no output of a package that
// passes, so `make test` prints that file in the end.
const timings = "WAYLEAVE_TIMINGS"

// fixture is a test's own corner of the cluster.
type fixture struct {
	*testing.T
	ns string // where its path and hops live
	on string // where its hops may work
	by string // who is the origin of its path
	// floor is true where the policies hold that are against everybody.
	floor bool
}

// measured logs a time, and adds it to the file of timings if there is one.
func (f *fixture) measured(format string, args ...any) {
	f.Helper()
	line := fmt.Sprintf(format, args...)
	f.Log(line)
	path := os.Getenv(timings)
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		f.Fatal(err)
	}
	_, err = file.WriteString(line + "\n")
	if err := errors.Join(err, file.Close()); err != nil {
		f.Fatal(err)
	}
}

var counter atomic.Int64

// setup makes two namespaces, a user who may make paths and hops in the first and owns the second, what
// lets the controller work in the first, and the ceiling that lets it grant in the second.
func setup(t *testing.T) *fixture {
	t.Helper()
	return setupOn(t, true)
}

// setupOn sets up namespaces on the floor, or without it: what is behind a policy is tested where the policy does not hold, as on a
// cluster that has not installed it.
func setupOn(t *testing.T, floor bool) *fixture {
	t.Helper()
	n := counter.Add(1)
	f := &fixture{
		T: t, floor: floor, ns: fmt.Sprintf("agents-%d", n), on: fmt.Sprintf("payments-%d", n), by: fmt.Sprintf("alice-%d@example.com", n),
	}
	f.namespace(f.ns)
	f.namespace(f.on)
	f.make(operator.HopNamespace(f.ns))
	f.ceiling(f.on)
	f.bind(f.ns, f.by, rule("delegation.wayleave.dev", "delegationpaths,delegationhops", "get,list,watch,create,update,patch,delete"),
		rule("batch", "jobs,cronjobs", "get,list,create,update,patch,delete"), rule("", "pods", "get,list,create,update,patch,delete"),
		rule("delegation.wayleave.dev", "delegationhops", "use"))
	f.bind(f.on, f.by, rule("", "pods,configmaps", "get,list,watch,create,update,patch,delete"),
		rule("networking.k8s.io", "networkpolicies", "create,get"))
	return f
}

func (f *fixture) namespace(name string) {
	f.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if !f.floor {
		ns.Labels = map[string]string{noFloor: "true"}
	}
	f.make(ns)
}

// noFloor is the label of namespaces in which the policies do not hold that are against everybody.
const noFloor = "wayleave-e2e/no-floor"

// exceptWithoutFloor takes the namespaces with the label noFloor out of the policies that are against everybody.
func exceptWithoutFloor(ctx context.Context) error {
	for _, name := range []string{
		"hop-pods", "gate", "hop-pod-parts", "connect", "tokens", "token-secrets", "identities", "deletions", "bindings",
		"use-by-pods", "use-by-jobs", "use-by-cronjobs", "declared-by", "templates", "origin", "author", "hop-workloads",
		"hop-hops",
	} {
		binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{}
		if err := suite.admin.Get(ctx, client.ObjectKey{Name: name + ".delegation.wayleave.dev"}, binding); err != nil {
			return fmt.Errorf("reading a policy: %w", err)
		}
		binding.Spec.MatchResources = &admissionregistrationv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: noFloor, Operator: metav1.LabelSelectorOpDoesNotExist}},
		}}
		if err := suite.admin.Update(ctx, binding); err != nil {
			return fmt.Errorf("changing a policy: %w", err)
		}
	}
	return untilExcepted(ctx)
}

// untilExcepted waits until the API server has taken the exceptions up.
func untilExcepted(ctx context.Context) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "without-floor", Labels: map[string]string{noFloor: "true"}}}
	if err := suite.admin.Create(ctx, ns); err != nil {
		return fmt.Errorf("making a namespace without policies: %w", err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: "dhop-x"}}
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := suite.admin.Create(ctx, account.DeepCopy(), client.DryRunAll)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the policies hold where they should not: %w", err)
		}
	}
}

// make creates an object as administrator, and removes it at the end of the test.
func (f *fixture) make(o client.Object) {
	f.Helper()
	f.makeBy(suite.admin, o)
}

// controllerUser is the user name of the controller, who may write what the policies keep from everybody else.
const controllerUser = "system:serviceaccount:" + operator.Namespace + ":wayleave-controller"

// makeAs creates an object as a user who may do everything, and removes it at the end of the test.
func (f *fixture) makeAs(user string, o client.Object) {
	f.Helper()
	f.makeBy(f.as(user, "system:masters"), o)
}

func (f *fixture) makeBy(c client.Client, o client.Object) {
	f.Helper()
	if err := c.Create(f.Context(), o); err != nil {
		f.Fatalf("creating %T %s: %v", o, o.GetName(), err)
	}
	f.Cleanup(func() {
		if err := suite.admin.Delete(context.Background(), o); err != nil && !apierrors.IsNotFound(err) {
			f.Errorf("deleting %T %s: %v", o, o.GetName(), err)
		}
	})
}

func rule(group, resources, verbs string, names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{
		APIGroups: []string{group}, Resources: strings.Split(resources, ","), Verbs: strings.Split(verbs, ","), ResourceNames: names,
	}
}

// bind gives a user rights in a namespace.
func (f *fixture) bind(namespace, user string, rules ...rbacv1.PolicyRule) *rbacv1.RoleBinding {
	f.Helper()
	name := fmt.Sprintf("r%d", counter.Add(1))
	f.make(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Rules: rules})
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	}
	f.make(binding)
	return binding
}

// ceiling lets the controller grant in a namespace.
func (f *fixture) ceiling(namespace string) {
	f.Helper()
	f.ceilingOf(namespace, rule("", "pods,configmaps", "get,list,watch,delete"), rule("", "configmaps", "create,update,patch"),
		rule("networking.k8s.io", "networkpolicies", "create"))
}

// ceilingOf lets the controller grant some rights in a namespace.
func (f *fixture) ceilingOf(namespace string, rules ...rbacv1.PolicyRule) {
	f.Helper()
	f.annotatedCeiling(namespace, nil, rules...)
}

// annotatedCeiling lets the controller grant some rights in a namespace, on terms.
func (f *fixture) annotatedCeiling(namespace string, terms map[string]string, rules ...rbacv1.PolicyRule) *rbacv1.ClusterRole {
	f.Helper()
	name := fmt.Sprintf("ceiling-%d", counter.Add(1))
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.LabelCeiling: "true"}, Annotations: terms},
		Rules:      rules,
	}
	f.make(role)
	f.make(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: operator.Namespace, Name: "wayleave-controller"}},
	})
	return role
}

// as is a client with a user's rights.
func (f *fixture) as(user string, groups ...string) client.Client {
	f.Helper()
	return f.connect(suite.cluster.UserConfig(user, groups...))
}

// withToken is a client that has nothing but a token.
func (f *fixture) withToken(token string) client.Client {
	f.Helper()
	config := rest.AnonymousClientConfig(suite.cluster.Config())
	config.BearerToken = token
	return f.connect(config)
}

func (f *fixture) connect(config *rest.Config) client.Client {
	f.Helper()
	c, err := client.New(config, client.Options{Scheme: operator.Scheme()})
	if err != nil {
		f.Fatal(err)
	}
	return c
}

// path is a path of the fixture's user for an hour.
func (f *fixture) path(name string, change ...func(*v1alpha1.DelegationPath)) *v1alpha1.DelegationPath {
	p := &v1alpha1.DelegationPath{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: name},
		Spec: v1alpha1.DelegationPathSpec{
			Reason:   "Alert 4711",
			Lifetime: v1alpha1.Lifetime{Duration: &metav1.Duration{Duration: time.Hour}},
			Scope:    f.scope(resources("", "pods,configmaps", "get,list,delete"), resources("networking.k8s.io", "networkpolicies", "create")),
			Hops:     &v1alpha1.HopBounds{MaxDepth: 4},
		},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

// hop is a hop of a path with a token, below a parent if one is named.
func (f *fixture) hop(name, path, parent string, change ...func(*v1alpha1.DelegationHop)) *v1alpha1.DelegationHop {
	h := &v1alpha1.DelegationHop{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: name},
		Spec: v1alpha1.DelegationHopSpec{
			PathRef: v1alpha1.ObjectRef{Name: path},
			Scope:   new(f.scope(resources("", "configmaps", "get,list"))),
			Token:   &v1alpha1.Token{SecretName: name + "-token"},
		},
	}
	if parent != "" {
		h.Spec.ParentRef = &v1alpha1.ObjectRef{Name: parent}
	}
	for _, c := range change {
		c(h)
	}
	return h
}

func (f *fixture) scope(rules ...v1alpha1.ResourceRule) v1alpha1.Scope {
	return v1alpha1.Scope{Namespaced: []v1alpha1.NamespacedScope{{Namespaces: []string{f.on}, Rules: rules}}}
}

func resources(group, resources, verbs string, names ...string) v1alpha1.ResourceRule {
	return v1alpha1.ResourceRule{
		APIGroups: []string{group}, Resources: strings.Split(resources, ","), Verbs: strings.Split(verbs, ","), ResourceNames: names,
	}
}

// apply creates objects as a user, and removes them at the end of the test.
func (f *fixture) apply(user string, objects ...client.Object) {
	f.Helper()
	c := f.as(user)
	for _, o := range objects {
		if err := c.Create(f.Context(), o); err != nil {
			f.Fatalf("%s creating %T %s: %v", user, o, o.GetName(), err)
		}
		f.Cleanup(func() { _ = suite.admin.Delete(context.Background(), o) })
	}
}

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
		time.Sleep(10 * time.Millisecond)
	}
}

// state waits until the Ready condition of a path or hop has one of some reasons, and returns its message.
func (f *fixture) state(o client.Object, want ...v1alpha1.Reason) string {
	f.Helper()
	var message string
	f.eventually(fmt.Sprintf("%T %s to be one of %v", o, o.GetName(), want), func() error {
		if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		var conditions []metav1.Condition
		switch o := o.(type) {
		case *v1alpha1.DelegationPath:
			conditions = o.Status.Conditions
		case *v1alpha1.DelegationHop:
			conditions = o.Status.Conditions
		}
		ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
		if ready == nil || !slices.Contains(want, v1alpha1.Reason(ready.Reason)) || ready.ObservedGeneration != o.GetGeneration() {
			return fmt.Errorf("it is %+v", ready)
		}
		message = ready.Message
		return nil
	})
	return message
}

// token is the token in a hop's Secret.
func (f *fixture) token(hop *v1alpha1.DelegationHop) string {
	f.Helper()
	var secret corev1.Secret
	f.eventually("the token of hop "+hop.Name, func() error {
		if err := suite.admin.Get(f.Context(), client.ObjectKey{Namespace: hop.Namespace, Name: hop.Spec.Token.SecretName}, &secret); err != nil {
			return err
		}
		if len(secret.Data["token"]) == 0 {
			return fmt.Errorf("it is empty")
		}
		return nil
	})
	return string(secret.Data["token"])
}
