package controllers

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// observe returns what stands in the cluster for a hop, and is to be kept in view, as the cache knows it.
func (b *base) observe(ctx context.Context, hop types.NamespacedName, keep func(client.Object) (bool, error)) ([]delegation.Object, error) {
	return b.observeWith(ctx, b.Client, lists(), keep, client.MatchingFields{hopIndex: hop.String()}, client.UnsafeDisableDeepCopy)
}

// observeBindings returns the bindings that stand for a hop, as the cache knows it.
func (b *base) observeBindings(ctx context.Context, hop types.NamespacedName) ([]delegation.Object, error) {
	bindings := []client.ObjectList{&rbacv1.RoleBindingList{}, &rbacv1.ClusterRoleBindingList{}}
	return b.observeWith(ctx, b.Client, bindings, everything, client.MatchingFields{hopIndex: hop.String()}, client.UnsafeDisableDeepCopy)
}

// observeLive returns what stands for a hop, as the API server knows it: what bears its labels, and what bears the name
// of its identity, since labels can be taken off. The name is nobody else's.
func (b *base) observeLive(ctx context.Context, hop *v1alpha1.DelegationHop) ([]delegation.Object, error) {
	itsOwn := func(o client.Object) (bool, error) {
		key, ok := hopOf(o)
		return ok && key == delegation.HopKey(hop), nil
	}
	labelled, err := b.observeWith(ctx, b.live, lists(), itsOwn, client.MatchingLabels{v1alpha1.LabelHopUID: string(hop.UID)})
	if err != nil {
		return nil, err
	}
	inItsPlace := func(o client.Object) (bool, error) {
		_, account := o.(*corev1.ServiceAccount)
		return !account || o.GetNamespace() == hop.Namespace, nil
	}
	named, err := b.observeWith(ctx, b.live, lists(), inItsPlace, client.MatchingFields{"metadata.name": hop.Status.ServiceAccountName})
	return append(labelled, slices.DeleteFunc(named, func(o delegation.Object) bool {
		return slices.ContainsFunc(labelled, func(l delegation.Object) bool { return l.UID == o.UID })
	})...), err
}

func everything(client.Object) (bool, error) { return true, nil }

// observeWith lists objects and returns those to keep, as a plan sees them.
func (b *base) observeWith(ctx context.Context, from client.Reader, lists []client.ObjectList, keep func(client.Object) (bool, error), opts ...client.ListOption) ([]delegation.Object, error) {
	// At the same time, since a live list waits until the API server's own cache has caught up with its store.
	group, listing := errgroup.WithContext(ctx)
	for _, list := range lists {
		group.Go(func() error { return from.List(listing, list, opts...) })
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("listing what was granted: %w", err)
	}
	var objects []delegation.Object
	for _, list := range lists {
		if err := meta.EachListItem(list, func(item runtime.Object) error {
			object, ok := item.(client.Object)
			if !ok {
				return fmt.Errorf("a list of grants holds a %T", item)
			}
			kept, err := keep(object)
			if err != nil || !kept {
				return err
			}
			seen, err := observed(object)
			objects = append(objects, seen)
			return err
		}); err != nil {
			return nil, err
		}
	}
	return objects, nil
}

// lists are empty lists of the kinds of a grant that can be listed.
func lists() []client.ObjectList {
	return []client.ObjectList{
		&corev1.ServiceAccountList{},
		&rbacv1.RoleList{}, &rbacv1.RoleBindingList{}, &rbacv1.ClusterRoleList{}, &rbacv1.ClusterRoleBindingList{},
	}
}

// observed is an object as a plan sees it.
func observed(item client.Object) (delegation.Object, error) {
	var kind delegation.Kind
	var content string
	switch o := item.(type) {
	case *corev1.ServiceAccount:
		kind = delegation.ServiceAccount
	case *rbacv1.Role:
		kind, content = delegation.Role, delegation.RoleContent(o.Rules)
	case *rbacv1.ClusterRole:
		kind, content = delegation.ClusterRole, delegation.RoleContent(o.Rules)
	case *rbacv1.RoleBinding:
		kind, content = delegation.RoleBinding, delegation.BindingContent(o.RoleRef, o.Subjects)
	case *rbacv1.ClusterRoleBinding:
		kind, content = delegation.ClusterRoleBinding, delegation.BindingContent(o.RoleRef, o.Subjects)
	default:
		return delegation.Object{}, fmt.Errorf("a grant holds no %T", item)
	}
	return delegation.Object{Kind: kind, UID: item.GetUID(), Content: content, Key: client.ObjectKeyFromObject(item)}, nil
}
