package controllers

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/rbac"
)

// Field indexes of the cache. Each value is a namespace/name.
const (
	pathIndex   = "path"   // hops by their path
	parentIndex = "parent" // hops by their parent hop
	hopIndex    = "hop"    // what was made for a hop, and what runs under it, by the hop
)

func index(ctx context.Context, indexer client.FieldIndexer) error {
	if err := rbac.Index(ctx, indexer); err != nil {
		return err
	}
	hopKeys := map[string]func(*v1alpha1.DelegationHop) types.NamespacedName{
		pathIndex: delegation.PathKey, parentIndex: delegation.ParentKey,
	}
	for name, key := range hopKeys {
		if err := indexer.IndexField(ctx, &v1alpha1.DelegationHop{}, name, func(o client.Object) []string {
			hop, ok := o.(*v1alpha1.DelegationHop)
			if k := (types.NamespacedName{}); !ok || key(hop) == k {
				return nil
			}
			return []string{key(hop).String()}
		}); err != nil {
			return fmt.Errorf("indexing hops by %s: %w", name, err)
		}
	}
	for _, o := range grantTypes() {
		if err := indexByHop(ctx, indexer, o, hopOf); err != nil {
			return err
		}
	}
	return indexByHop(ctx, indexer, podMetadata(), declaredHop)
}

func indexByHop(ctx context.Context, indexer client.FieldIndexer, o client.Object, hop func(client.Object) (types.NamespacedName, bool)) error {
	if err := indexer.IndexField(ctx, o, hopIndex, func(o client.Object) []string {
		if key, ok := hop(o); ok {
			return []string{key.String()}
		}
		return nil
	}); err != nil {
		return fmt.Errorf("indexing %T by hop: %w", o, err)
	}
	return nil
}

// grantTypes are the types that the cache holds of grants. Secrets are not among them: to watch them is to be able to
// read them all.
func grantTypes() []client.Object {
	return []client.Object{
		&corev1.ServiceAccount{},
		&rbacv1.Role{}, &rbacv1.RoleBinding{}, &rbacv1.ClusterRole{}, &rbacv1.ClusterRoleBinding{},
	}
}

func podMetadata() *metav1.PartialObjectMetadata {
	pod := &metav1.PartialObjectMetadata{}
	pod.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Pod"))
	return pod
}

// hopOf is the hop that an object was made for. Labels alone are not enough: anybody can put them on an object of their
// own, to have it deleted as somebody else's hop, or to have that hop wait for it. What was made for a hop bears the
// hop's name in its own, and an account stands in the hop's namespace.
func hopOf(o client.Object) (types.NamespacedName, bool) {
	labels := o.GetLabels()
	key := types.NamespacedName{Namespace: labels[v1alpha1.LabelHopNamespace], Name: labels[v1alpha1.LabelHopName]}
	if key.Name == "" || key.Namespace == "" || labels[v1alpha1.LabelHopUID] == "" {
		return key, false
	}
	if _, account := o.(*corev1.ServiceAccount); account && o.GetNamespace() != key.Namespace {
		return key, false
	}
	return key, strings.HasPrefix(o.GetName(), v1alpha1.AccountPrefix+key.Name+".")
}

// declaredHop is the hop that a pod declares. It is always one of the pod's own namespace: a label that says otherwise
// would hide the pod from the withdrawal of its hop.
func declaredHop(o client.Object) (types.NamespacedName, bool) {
	key := types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetLabels()[v1alpha1.LabelHop]}
	return key, key.Name != ""
}

// CacheLabel selects what the cache holds of ServiceAccounts: those made for a hop.
const CacheLabel = v1alpha1.LabelHopUID
