//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/cluster"
	"github.com/wayleave/wayleave/test/operator"
)

const (
	// agents is the namespace of paths, hops, accounts and pods.
	agents = "bench-agents"
	// payments is the namespace in which hops may work.
	payments = "bench-payments"
	// alice creates the paths and hops, and revokes them. Her only rights are those below.
	alice = "alice@example.com"
	// tenant is a ServiceAccount with Alice's rights: strangers can bind the groups that it is in.
	tenant = "tenant"
	// controller is the ServiceAccount of the controller.
	controller = "wayleave-controller"
	// bareWriter has the controller's rights. The policies that keep the controller to hop-shaped names do not concern it.
	bareWriter = "bench-writer"
	// image is what pods run.
	image = "registry.example.com/isolate:1.4"
)

// leaseDuration lets the controller be stopped for a while without losing its Lease.
const leaseDuration = 10 * time.Minute

// site is a control plane with Wayleave, on which everything is measured.
type site struct {
	cluster  *cluster.Cluster
	operator *operator.Operator

	admin client.Client
	alice client.Client
	// writer has the same rights as the controller, so that bare writes pass the same checks as the controller's.
	writer client.Client

	hops     *watched[*v1alpha1.DelegationHop]
	bareHops *watched[*unstructured.Unstructured]
	bindings *watched[*rbacv1.RoleBinding]
	pods     *watched[*corev1.Pod]
	unwatch  context.CancelFunc
	loaded   int // hops of the load
}

// newSite starts a control plane, with a node where wanted.
func newSite(ctx context.Context, node bool) (*site, error) {
	root, err := repository()
	if err != nil {
		return nil, err
	}
	s := &site{unwatch: func() {}}
	if s.cluster, err = cluster.Start(ctx, cluster.Options{Node: node, Log: os.Stderr}); err != nil {
		return nil, fmt.Errorf("starting the cluster: %w", err)
	}
	if err := s.prepare(ctx, root); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// repository is the root of this repository, from where the bench is run.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the repository: %w", err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "config", "crd")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("finding the repository: run the bench inside it")
		}
	}
}

func (s *site) prepare(ctx context.Context, root string) (err error) {
	options := operator.Options{Root: root, Log: os.Stderr, LeaseDuration: leaseDuration}
	if s.operator, err = operator.Start(ctx, s.cluster, options); err != nil {
		return fmt.Errorf("starting the operator: %w", err)
	}
	if s.admin, err = connect(s.cluster.Config()); err != nil {
		return err
	}
	if s.alice, err = connect(s.cluster.UserConfig(alice)); err != nil {
		return err
	}
	for _, o := range setup() {
		if err := s.admin.Create(ctx, o); err != nil {
			return fmt.Errorf("creating %T %s: %w", o, o.GetName(), err)
		}
	}
	token, err := s.token(ctx, operator.Namespace, bareWriter)
	if err != nil {
		return err
	}
	if s.writer, err = connect(s.bearer(token)); err != nil {
		return err
	}
	if err := s.installBareHops(ctx, root); err != nil {
		return err
	}
	return s.watch(ctx)
}

func (s *site) close() {
	s.unwatch()
	if s.operator != nil {
		s.operator.Stop()
	}
	_ = s.cluster.Stop() // the next start removes what this one left
}

// watch starts the watches. They run until unwatch or close.
func (s *site) watch(ctx context.Context) error {
	all, err := cache.New(s.cluster.Config(), cache.Options{Scheme: operator.Scheme()})
	if err != nil {
		return fmt.Errorf("setting up watches: %w", err)
	}
	if s.hops, err = watch(ctx, all, &v1alpha1.DelegationHop{}); err != nil {
		return err
	}
	if s.bindings, err = watch(ctx, all, &rbacv1.RoleBinding{}); err != nil {
		return err
	}
	if s.pods, err = watch(ctx, all, &corev1.Pod{}); err != nil {
		return err
	}
	if s.bareHops, err = watchBareHops(ctx, all); err != nil {
		return err
	}
	ctx, s.unwatch = context.WithCancel(ctx)
	go func() { _ = all.Start(ctx) }() // fails only if started twice
	if !all.WaitForCacheSync(ctx) {
		return errors.New("the watches did not sync")
	}
	return nil
}

// setup returns the namespaces, Alice's rights, and the ceiling that lets the controller grant.
func setup() []client.Object {
	objects := []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: agents}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: payments}},
		operator.HopNamespace(agents),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: payments, Name: "settings"}},
		&rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: "bench-ceiling", Labels: map[string]string{v1alpha1.LabelCeiling: "true"}},
			Rules:      []rbacv1.PolicyRule{rule("", "pods,configmaps", "get,list,delete")},
		},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: payments, Name: "bench-ceiling"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "bench-ceiling"},
			Subjects:   append(account(controller), account(bareWriter)...),
		},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: operator.Namespace, Name: bareWriter}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: bareWriter}, Subjects: account(bareWriter),
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: controller},
		},
	}
	works := operator.HopNamespace(agents)
	works.Name, works.Subjects = bareWriter, account(bareWriter)
	objects = append(objects, works)
	objects = append(objects, rightsOf("alice", rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: alice})...)
	objects = append(objects, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: agents, Name: tenant}})
	return append(objects, rightsOf(tenant, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: agents, Name: tenant})...)
}

// rightsOf returns what lets somebody create paths and hops, revoke them, and delete what the floors are measured with.
func rightsOf(name string, who rbacv1.Subject) []client.Object {
	return append(roleFor(name, agents, who,
		rule(v1alpha1.GroupName, "delegationpaths,delegationhops", "get,create,patch"),
		rule(v1alpha1.GroupName, "delegationhops", v1alpha1.VerbUse),
		rule(bareGroup, "delegationhops", "get,create"), rule("", "pods", "create"), rule("", "serviceaccounts", "delete"),
	), roleFor(name, payments, who,
		rule("", "pods,configmaps", "get,list,delete"), rule(rbacv1.GroupName, "rolebindings", "delete"))...)
}

// account is a ServiceAccount of the operator's namespace as a subject.
func account(name string) []rbacv1.Subject {
	return []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: operator.Namespace, Name: name}}
}

func roleFor(name, namespace string, who rbacv1.Subject, rules ...rbacv1.PolicyRule) []client.Object {
	key := metav1.ObjectMeta{Namespace: namespace, Name: name}
	return []client.Object{
		&rbacv1.Role{ObjectMeta: key, Rules: rules},
		&rbacv1.RoleBinding{
			ObjectMeta: key, Subjects: []rbacv1.Subject{who},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		},
	}
}

func rule(group, resources, verbs string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: strings.Split(resources, ","), Verbs: strings.Split(verbs, ",")}
}

// scope is the scope of paths and hops.
func scope(verbs ...string) v1alpha1.Scope {
	return v1alpha1.Scope{Namespaced: []v1alpha1.NamespacedScope{{
		Namespaces: []string{payments},
		Rules:      []v1alpha1.ResourceRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: verbs}},
	}}}
}

func newPath(name string) *v1alpha1.DelegationPath {
	return &v1alpha1.DelegationPath{
		ObjectMeta: metav1.ObjectMeta{Namespace: agents, Name: name},
		Spec: v1alpha1.DelegationPathSpec{
			Reason:   "a measurement",
			Lifetime: v1alpha1.Lifetime{Duration: &metav1.Duration{Duration: 24 * time.Hour}},
			Scope:    scope("get", "list", "delete"),
			Hops:     &v1alpha1.HopBounds{MaxDepth: chainLength},
		},
	}
}

// newHop returns a hop of a path, with a parent unless it is empty.
func newHop(name, path, parent string, token bool) *v1alpha1.DelegationHop {
	h := &v1alpha1.DelegationHop{
		ObjectMeta: metav1.ObjectMeta{Namespace: agents, Name: name},
		Spec: v1alpha1.DelegationHopSpec{
			PathRef:  v1alpha1.ObjectRef{Name: path},
			Scope:    new(scope("get", "list")),
			Workload: &v1alpha1.Workload{Kinds: []v1alpha1.WorkloadKind{v1alpha1.WorkloadPod}, Images: []string{image}},
		},
	}
	if parent != "" {
		h.Spec.ParentRef = &v1alpha1.ObjectRef{Name: parent}
	}
	if token {
		h.Spec.Token = &v1alpha1.Token{SecretName: name + "-token"}
	}
	return h
}

func conditionIs(conditions []metav1.Condition, reason v1alpha1.Reason) bool {
	c := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	return c != nil && c.Reason == string(reason)
}

// inState waits until a watch shows a hop with a reason, and returns the hop and the time.
func (s *site) inState(ctx context.Context, name string, reason v1alpha1.Reason) (*v1alpha1.DelegationHop, time.Time, error) {
	return s.hops.one(ctx, fmt.Sprintf("hop %s to be %s", name, reason), client.ObjectKey{Namespace: agents, Name: name},
		func(h *v1alpha1.DelegationHop) bool { return conditionIs(h.Status.Conditions, reason) })
}

// active creates a path and waits until it is active.
func (s *site) active(ctx context.Context, name string) error {
	return s.isActive(ctx, s.alice, newPath(name))
}

// isActive does so with a path, as somebody.
func (s *site) isActive(ctx context.Context, as client.Client, p *v1alpha1.DelegationPath) error {
	name := p.Name
	if err := as.Create(ctx, p); err != nil {
		return fmt.Errorf("creating path %s: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for !conditionIs(p.Status.Conditions, v1alpha1.ReasonActive) {
		if err := s.admin.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
			return fmt.Errorf("waiting for path %s to be active: %w", name, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}

// revoke revokes a path as its origin.
func (s *site) revoke(ctx context.Context, path string) error {
	p := &v1alpha1.DelegationPath{ObjectMeta: metav1.ObjectMeta{Namespace: agents, Name: path}}
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"revoked":{"reason":"measured"}}}`))
	if err := s.alice.Patch(ctx, p, patch); err != nil {
		return fmt.Errorf("revoking path %s: %w", path, err)
	}
	return nil
}

// token creates a token for a ServiceAccount.
func (s *site) token(ctx context.Context, namespace, account string) (string, error) {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](24 * 3600)}}
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: account}}
	if err := s.admin.SubResource("token").Create(ctx, sa, request); err != nil {
		return "", fmt.Errorf("creating a token for %s/%s: %w", namespace, account, err)
	}
	return request.Status.Token, nil
}

// bearer returns the configuration of a client that has only a token.
func (s *site) bearer(token string) *rest.Config {
	config := rest.AnonymousClientConfig(s.cluster.Config())
	config.BearerToken = token
	return config
}

// connect returns a client without throttling and warnings: here, hops are created before their parents are granted.
func connect(config *rest.Config) (client.Client, error) {
	config.QPS = -1
	config.WarningHandlerWithContext = rest.NoWarnings{}
	c, err := client.New(config, client.Options{Scheme: operator.Scheme()})
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	return c, nil
}

// parallel calls do for each number below n, at most limit at the same time.
func parallel(ctx context.Context, limit, n int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(limit)
	for i := range n {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

// bareKind is a copy of the kind of hops whose writes have no effect.
var bareKind = schema.GroupVersionKind{Group: bareGroup, Version: v1alpha1.SchemeGroupVersion.Version, Kind: "DelegationHop"}
