package controllers

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// hopLister reads hops from the cache. What it returns belongs to the cache and must not be changed.
type hopLister struct{ client.Reader }

// ofPath returns the hops of a path.
func (l hopLister) ofPath(ctx context.Context, path types.NamespacedName) ([]*v1alpha1.DelegationHop, error) {
	return l.all(ctx, client.MatchingFields{pathIndex: path.String()})
}

func (l hopLister) all(ctx context.Context, opts ...client.ListOption) ([]*v1alpha1.DelegationHop, error) {
	var list v1alpha1.DelegationHopList
	if err := l.List(ctx, &list, append(opts, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil, fmt.Errorf("listing hops: %w", err)
	}
	hops := make([]*v1alpha1.DelegationHop, len(list.Items))
	for i := range list.Items {
		hops[i] = &list.Items[i]
	}
	return hops, nil
}

// withDescendants returns the keys of a hop and of the hops below it, as deep as a chain may be: what is deeper never holds
// anything. A hop is below one of its own path only, so that hops of other paths, which anyone may create, cost nothing.
// It ends on a cycle, too.
func (l hopLister) withDescendants(ctx context.Context, hop types.NamespacedName) ([]types.NamespacedName, error) {
	keys, seen := []types.NamespacedName{hop}, map[types.NamespacedName]bool{hop: true}
	paths := map[types.NamespacedName]types.NamespacedName{} // by hop; unknown for the first, which may be deleted
	for level, from := 1, 0; level < delegation.MaxChain && from < len(keys); level++ {
		parents := keys[from:]
		from = len(keys)
		for _, parent := range parents {
			children, err := l.all(ctx, client.MatchingFields{parentIndex: parent.String()})
			if err != nil {
				return nil, err
			}
			for _, child := range children {
				key, path := delegation.HopKey(child), delegation.PathKey(child)
				if above, known := paths[parent]; seen[key] || known && above != path {
					continue
				}
				seen[key], paths[key] = true, path
				keys = append(keys, key)
			}
		}
	}
	return keys, nil
}

func keysOf(hops []*v1alpha1.DelegationHop) []types.NamespacedName {
	keys := make([]types.NamespacedName, len(hops))
	for i, hop := range hops {
		keys[i] = delegation.HopKey(hop)
	}
	return keys
}
