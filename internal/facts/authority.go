package facts

import (
	"context"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/rbac"
)

// Field indexes by whose authority something rests on, as the keys under which RBAC can name them.
const (
	authorityIndex = "authority" // paths by their origin, hops by their author and by who declared a live use
	inUseIndex     = "in-use"    // hops of which a use is live
)

func indexAuthority(ctx context.Context, indexer client.FieldIndexer) error {
	if err := indexer.IndexField(ctx, &v1alpha1.DelegationPath{}, authorityIndex, func(o client.Object) []string {
		path, ok := o.(*v1alpha1.DelegationPath)
		if !ok || path.Spec.Origin == nil {
			return nil
		}
		return rbac.Keys(*path.Spec.Origin)
	}); err != nil {
		return fmt.Errorf("indexing paths by origin: %w", err)
	}
	if err := indexer.IndexField(ctx, &v1alpha1.DelegationHop{}, authorityIndex, func(o client.Object) []string {
		hop, ok := o.(*v1alpha1.DelegationHop)
		if !ok {
			return nil
		}
		return authorityKeys(hop)
	}); err != nil {
		return fmt.Errorf("indexing hops by author: %w", err)
	}
	if err := indexer.IndexField(ctx, &v1alpha1.DelegationHop{}, inUseIndex, func(o client.Object) []string {
		hop, ok := o.(*v1alpha1.DelegationHop)
		if !ok || !delegation.HasLiveUse(&hop.Status) {
			return nil
		}
		return []string{"yes"}
	}); err != nil {
		return fmt.Errorf("indexing hops in use: %w", err)
	}
	return nil
}

// authorityKeys are the keys of who made a hop and of who declared its live uses. Of these the groups are in their stamps alone.
func authorityKeys(hop *v1alpha1.DelegationHop) []string {
	var keys []string
	if hop.Spec.Author != nil {
		keys = rbac.Keys(*hop.Spec.Author)
	}
	if hop.Status.Uses != nil {
		for _, use := range hop.Status.Uses.Live {
			keys = append(keys, rbac.UserKey(use.By))
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// PathsOn returns the paths that rest on what a subject may do in a namespace; the empty one means in the whole cluster.
func (l Hops) PathsOn(ctx context.Context, t rbac.Touch) ([]*v1alpha1.DelegationPath, error) {
	return l.paths(ctx, t.Namespace, client.MatchingFields{authorityIndex: t.Subject})
}

// PathsIn returns the paths that are in a namespace or name it; the empty one means all.
func (l Hops) PathsIn(ctx context.Context, namespace string) ([]*v1alpha1.DelegationPath, error) {
	return l.paths(ctx, namespace)
}

func (l Hops) paths(ctx context.Context, namespace string, opts ...client.ListOption) ([]*v1alpha1.DelegationPath, error) {
	var list v1alpha1.DelegationPathList
	if err := l.List(ctx, &list, append(opts, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil, fmt.Errorf("listing paths: %w", err)
	}
	var paths []*v1alpha1.DelegationPath
	for i := range list.Items {
		if path := &list.Items[i]; namespace == "" || namespace == path.Namespace || namesNamespace(path, namespace) {
			paths = append(paths, path)
		}
	}
	return paths, nil
}

func namesNamespace(path *v1alpha1.DelegationPath, namespace string) bool {
	return slices.ContainsFunc(path.Spec.Scope.Namespaced, func(s v1alpha1.NamespacedScope) bool {
		return slices.Contains(s.Namespaces, namespace)
	})
}

// HopsOn returns the hops that rest on what a subject may do in a namespace: their author, or who declared what runs under them, where it
// is a user.
func (l Hops) HopsOn(ctx context.Context, t rbac.Touch) ([]*v1alpha1.DelegationHop, error) {
	hops, err := l.All(ctx, client.MatchingFields{authorityIndex: t.Subject})
	return slices.DeleteFunc(hops, func(h *v1alpha1.DelegationHop) bool { return !isIn(h, t.Namespace) }), err
}

// InUse returns the hops in use in some namespaces. What runs under each of them may rest on any group.
func (l Hops) InUse(ctx context.Context, namespaces []string) ([]*v1alpha1.DelegationHop, error) {
	if len(namespaces) == 0 {
		return nil, nil
	}
	hops, err := l.All(ctx, client.MatchingFields{inUseIndex: "yes"})
	return slices.DeleteFunc(hops, func(h *v1alpha1.DelegationHop) bool {
		return !slices.ContainsFunc(namespaces, func(namespace string) bool { return isIn(h, namespace) })
	}), err
}

// isIn says whether a hop or its path is in a namespace; the empty one means the whole cluster.
func isIn(h *v1alpha1.DelegationHop, namespace string) bool {
	return namespace == "" || namespace == h.Namespace || namespace == delegation.PathKey(h).Namespace
}
