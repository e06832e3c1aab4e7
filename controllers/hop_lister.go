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

// withDescendants returns the keys of a hop and of all hops below it. It ends on a cycle, too.
func (l hopLister) withDescendants(ctx context.Context, hop types.NamespacedName) ([]types.NamespacedName, error) {
	keys, seen := []types.NamespacedName{hop}, map[types.NamespacedName]bool{hop: true}
	for i := 0; i < len(keys); i++ {
		children, err := l.all(ctx, client.MatchingFields{parentIndex: keys[i].String()})
		if err != nil {
			return nil, err
		}
		for _, child := range children {
			if key := delegation.HopKey(child); !seen[key] {
				seen[key] = true
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
