//go:build unix

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/operator"
)

// bareGroup is another API group with a copy of the kind DelegationHop, schema and rules included, that no webhook and no
// controller watches: a write there costs only what the API server takes.
const bareGroup = "bare.wayleave.dev"

func (s *site) installBareHops(ctx context.Context, root string) error {
	crds, err := operator.Load(filepath.Join(root, "config", "crd", "bases", "delegation.wayleave.dev_delegationhops.yaml"))
	if err != nil {
		return fmt.Errorf("reading the CRD of hops: %w", err)
	}
	crd := crds[0]
	crd.SetName("delegationhops." + bareGroup)
	if err := unstructured.SetNestedField(crd.Object, bareGroup, "spec", "group"); err != nil {
		return fmt.Errorf("renaming the group of hops: %w", err)
	}
	unstructured.RemoveNestedField(crd.Object, "spec", "names", "shortNames")
	unstructured.RemoveNestedField(crd.Object, "spec", "names", "categories")
	named := metav1.ObjectMeta{Name: "bench-bare"}
	role := &rbacv1.ClusterRole{
		ObjectMeta: named, Rules: []rbacv1.PolicyRule{rule(bareGroup, "delegationhops/status", "patch")},
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: named, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: named.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: operator.Namespace, Name: bareWriter}},
	}
	for _, o := range []client.Object{crd, role, binding} {
		if err := s.admin.Create(ctx, o); err != nil {
			return fmt.Errorf("creating %s: %w", o.GetName(), err)
		}
	}
	return s.waitBareKind(ctx)
}

func (s *site) waitBareKind(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		err := s.admin.List(ctx, bareList())
		if err == nil {
			return nil
		}
		if !meta.IsNoMatchError(err) {
			return fmt.Errorf("waiting for the bare kind of hops: %w", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func bareList() *unstructured.UnstructuredList {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(bareKind.GroupVersion().WithKind("DelegationHopList"))
	return list
}

func watchBareHops(ctx context.Context, from cache.Cache) (*watched[*unstructured.Unstructured], error) {
	kind := &unstructured.Unstructured{}
	kind.SetGroupVersionKind(bareKind)
	return watch(ctx, from, kind)
}

// bareLabels are as many and as long as those of a grant.
func bareLabels(name string) map[string]string {
	uid := "00000000-0000-0000-0000-000000000000"
	return map[string]string{
		"app.kubernetes.io/managed-by": "someone",
		bareGroup + "/hop":             name, bareGroup + "/hop-namespace": agents,
		bareGroup + "/hop-uid": uid, bareGroup + "/path-uid": uid, bareGroup + "/incarnation": "1",
	}
}

// bareGrant returns the objects of a grant: ServiceAccount, Role and RoleBinding.
func bareGrant(name string) []client.Object {
	labels := bareLabels(name)
	there := metav1.ObjectMeta{Namespace: payments, Name: name, Labels: labels}
	return []client.Object{
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: agents, Name: name, Labels: labels}},
		&rbacv1.Role{ObjectMeta: there, Rules: []rbacv1.PolicyRule{rule("", "configmaps", "get,list")}},
		bareBinding(name, labels),
	}
}

func bareBinding(name string, labels map[string]string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: payments, Name: name, Labels: labels},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: agents, Name: name}},
	}
}

// bareDelegate creates a bare grant and returns a token for it.
func (s *site) createBare(ctx context.Context, name string) (string, error) {
	for _, o := range bareGrant(name) {
		if err := s.admin.Create(ctx, o); err != nil {
			return "", fmt.Errorf("creating %T %s: %w", o, name, err)
		}
	}
	return s.token(ctx, agents, name)
}

// delegate creates a path with one hop and returns the hop's token.
func (s *site) createHop(ctx context.Context, name string) (string, error) {
	return s.createHopOf(ctx, name, &v1alpha1.Subject{User: alice})
}

// createHopOf does so with another origin.
func (s *site) createHopOf(ctx context.Context, name string, origin *v1alpha1.Subject) (string, error) {
	as := s.alice
	if origin.User != alice {
		as = s.admin
	}
	path, hop := newPath(name), newHop(name, name, "", true)
	path.Spec.Origin, hop.Spec.Author = origin, origin
	if err := s.isActive(ctx, as, path); err != nil {
		return "", err
	}
	if err := as.Create(ctx, hop); err != nil {
		return "", fmt.Errorf("creating hop %s: %w", name, err)
	}
	if _, _, err := s.inState(ctx, name, v1alpha1.ReasonGranted); err != nil {
		return "", err
	}
	secret := &corev1.Secret{}
	if err := s.admin.Get(ctx, client.ObjectKey{Namespace: agents, Name: name + "-token"}, secret); err != nil {
		return "", fmt.Errorf("reading the token of hop %s: %w", name, err)
	}
	return string(secret.Data["token"]), nil
}
