//go:build unix

// Package floor shows what a real API server refuses by the policies alone: no process of Wayleave runs, and no webhook configuration
// exists. Each rule is tried by the user who would try it and by system:masters, and has a twin that passes.
package floor

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/cluster"
	"github.com/wayleave/wayleave/test/operator"
)

const (
	root = "../.."
	// controller is the user name of the controller, which does not run.
	controller = "system:serviceaccount:" + operator.Namespace + ":wayleave-controller"
	// hop is the hop of whose identity the tests are about; it does not have to exist.
	hop = "look"
	// jobController is the user name of the Job controller of Kubernetes.
	jobController = "system:serviceaccount:kube-system:job-controller"
)

var suite struct {
	cluster *cluster.Cluster
	// admin is in system:masters.
	admin client.Client
}

func TestMain(m *testing.M) {
	flag.Parse()
	ctrl.SetLogger(zap.New(zap.WriteTo(os.Stderr)))
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx := context.Background()
	var err error
	if suite.cluster, err = cluster.Start(ctx, cluster.Options{Log: os.Stderr}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = suite.cluster.Stop() }() // the watchdog removes what is left
	if suite.admin, err = client.New(suite.cluster.UserConfig("root", admin), client.Options{Scheme: operator.Scheme()}); err == nil {
		err = install(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// install applies kinds, rights and policies, and waits until the policies hold.
func install(ctx context.Context) error {
	for _, part := range []string{"crd", "rbac", "policy"} {
		objects, err := operator.Load(filepath.Join(root, "config", part))
		if err != nil {
			return err
		}
		for _, o := range objects {
			apply := client.ApplyConfigurationFromUnstructured(o)
			if err := suite.admin.Apply(ctx, apply, client.FieldOwner("installer"), client.ForceOwnership); err != nil {
				return fmt.Errorf("applying %s %s: %w", o.GetKind(), o.GetName(), err)
			}
		}
	}
	return untilInEffect(ctx)
}

// untilInEffect waits until the API server refuses what each of some policies refuses.
func untilInEffect(ctx context.Context) error {
	reserved := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "dhop-x"}}
	extra := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "extra"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "default", Name: "dhop-x"}},
	}
	unstamped := &v1alpha1.DelegationHop{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "x"},
		Spec:       v1alpha1.DelegationHopSpec{PathRef: v1alpha1.ObjectRef{Name: "p"}, InheritScope: new(true)},
	}
	// The last of them lets system:masters pass. The Job controller may create pods; what it makes for no Job is asked about.
	declared := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "dhop-x", Labels: map[string]string{v1alpha1.LabelHop: hop}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "example.com/main"}}},
	}
	jobs, err := client.New(suite.cluster.UserConfig(jobController), client.Options{Scheme: operator.Scheme()})
	if err != nil {
		return err
	}
	for _, o := range []client.Object{reserved, extra, unstamped, declared} {
		as, words := suite.admin, ".delegation.wayleave.dev'"
		if o == declared {
			as, words = jobs, "'use-by-pods.delegation.wayleave.dev'"
		}
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
			err := as.Create(ctx, o.DeepCopyObject().(client.Object), client.DryRunAll)
			if apierrors.IsForbidden(err) && strings.Contains(err.Error(), words) {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("the policies are not in effect: creating %T: %w", o, err)
			}
		}
	}
	return nil
}

// fixture is a namespace where hops live.
type fixture struct {
	*testing.T
	ns      string
	account string // of the hop
	// users are clients by the name of the user.
	users map[string]client.Client
}

var namespaces atomic.Int64

// The users who try: eve may do everything in her namespace.
const (
	admin  = "system:masters"
	editor = "eve"
	node   = "system:node:n1"
	ours   = "the controller"
)

func setup(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{T: t, ns: fmt.Sprintf("floor-%d", namespaces.Add(1)), users: map[string]client.Client{admin: suite.admin}}
	f.must(suite.admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: f.ns}}))
	for user, groups := range map[string][]string{
		editor: nil, node: {"system:masters"}, controller: {"system:serviceaccounts", "system:serviceaccounts:" + operator.Namespace},
	} {
		c, err := client.New(suite.cluster.UserConfig(user, groups...), client.Options{Scheme: operator.Scheme()})
		f.must(err)
		f.users[user] = c
	}
	f.users[ours] = f.users[controller]
	f.bind("cluster-admin", rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: editor})
	us := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: operator.Namespace, Name: "wayleave-controller"}
	f.bind("wayleave-hop-namespace", us)
	f.bind("view", us) // the ceiling of the tests
	f.account = accountUntil(time.Now().Add(time.Hour))
	f.makeAccount(f.account)
	return f
}

// accountUntil is the name of an account of the hop that ends at a time.
func accountUntil(end time.Time) string {
	return "dhop-" + hop + ".5f0d." + strconv.FormatInt(end.Unix(), 10)
}

func (f *fixture) bind(role string, subject rbacv1.Subject) {
	f.Helper()
	f.must(suite.admin.Create(f.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: role + "-" + strings.ReplaceAll(subject.Name, ":", "-")},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}, Subjects: []rbacv1.Subject{subject},
	}))
}

// makeAccount makes an account as the controller.
func (f *fixture) makeAccount(name string) {
	f.Helper()
	f.must(f.users[ours].Create(f.Context(), &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: name, Labels: map[string]string{v1alpha1.LabelHopName: hop}},
	}))
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// denied demands that the API server refuses, by a policy, with some words. Where two refuse, either of policy|policy may.
func (f *fixture) denied(err error, policy, words string) {
	f.Helper()
	if !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), words) ||
		!slices.ContainsFunc(strings.Split(policy, "|"), func(name string) bool {
			return strings.Contains(err.Error(), "'"+name+".delegation.wayleave.dev'") ||
				strings.Contains(err.Error(), "'"+name+".delegation.wayleave.dev.static.k8s.io'")
		}) {
		f.Errorf("answered %v, want a denial by %s that says %q", err, policy, words)
	}
}

func (f *fixture) allowed(err error) {
	f.Helper()
	if err != nil {
		f.Errorf("denied: %v", err)
	}
}

// clientset is a client of a user for what controller-runtime's has no method for.
func (f *fixture) clientset(user string, groups ...string) kubernetes.Interface {
	f.Helper()
	if user == admin {
		user, groups = "root", []string{admin}
	}
	c, err := kubernetes.NewForConfig(suite.cluster.UserConfig(user, groups...))
	f.must(err)
	return c
}
