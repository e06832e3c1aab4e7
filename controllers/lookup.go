package controllers

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// hopsBy finds hops by an index. What it returns belongs to the cache and must not be changed.
func (b *base) hopsBy(ctx context.Context, index string, key types.NamespacedName) ([]*v1alpha1.DelegationHop, error) {
	return b.listHops(ctx, client.MatchingFields{index: key.String()})
}

func (b *base) listHops(ctx context.Context, opts ...client.ListOption) ([]*v1alpha1.DelegationHop, error) {
	var list v1alpha1.DelegationHopList
	if err := b.List(ctx, &list, append(opts, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil, fmt.Errorf("listing hops: %w", err)
	}
	hops := make([]*v1alpha1.DelegationHop, len(list.Items))
	for i := range list.Items {
		hops[i] = &list.Items[i]
	}
	return hops, nil
}

// withDescendants are the keys of a hop and of all hops below it. It ends also on a cycle.
func (b *base) withDescendants(ctx context.Context, hop types.NamespacedName) ([]types.NamespacedName, error) {
	keys, seen := []types.NamespacedName{hop}, map[types.NamespacedName]bool{hop: true}
	for i := 0; i < len(keys); i++ {
		children, err := b.hopsBy(ctx, parentIndex, keys[i])
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
