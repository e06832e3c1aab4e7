package facts

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/rbac"
)

// Field indexes of hops. Each value is a namespace/name.
const (
	pathIndex   = "path"   // hops by their path
	parentIndex = "parent" // hops by their parent hop
	tokenIndex  = "token"  // hops by the Secret that they keep their token in
	nameIndex   = "secret" // hops by the Secret that they name for their token
)

// maxDescendants bounds how many descendants of a hop are followed to say how deep they are.
const maxDescendants = 4096

// Index adds the indexes of the cache that a Gatherer and Hops need.
func Index(ctx context.Context, indexer client.FieldIndexer) error {
	if err := rbac.Index(ctx, indexer); err != nil {
		return err
	}
	for name, key := range map[string]func(*v1alpha1.DelegationHop) types.NamespacedName{
		pathIndex: delegation.PathKey, parentIndex: delegation.ParentKey,
		tokenIndex: delegation.TokenSecret, nameIndex: delegation.NamedTokenSecret,
	} {
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
	if err := indexAuthority(ctx, indexer); err != nil {
		return err
	}
	if err := indexApprovals(ctx, indexer); err != nil {
		return err
	}
	return indexSecrets(ctx, indexer)
}

// Hops reads hops from a cache that has the indexes of Index. What it returns belongs to the cache and must not be changed.
type Hops struct{ client.Reader }

// OfPath returns the hops of a path.
func (l Hops) OfPath(ctx context.Context, path types.NamespacedName) ([]*v1alpha1.DelegationHop, error) {
	return l.All(ctx, client.MatchingFields{pathIndex: path.String()})
}

// All returns all hops that are selected.
func (l Hops) All(ctx context.Context, opts ...client.ListOption) ([]*v1alpha1.DelegationHop, error) {
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

// WithDescendants returns the keys of a hop and of the hops below it, as deep as a chain may be: what is deeper never
// holds anything. A hop is below one of its own path only, so that hops of other paths, which anyone may create, cost
// nothing. It ends on a cycle, too.
func (l Hops) WithDescendants(ctx context.Context, hop types.NamespacedName) ([]types.NamespacedName, error) {
	var keys []types.NamespacedName
	err := l.eachLevel(ctx, hop, func(level []types.NamespacedName) bool {
		keys = append(keys, level...)
		return true
	})
	return keys, err
}

// LevelsBelow counts the levels of hops below a hop, at most as many as a chain may have.
func (l Hops) LevelsBelow(ctx context.Context, hop types.NamespacedName) (int, error) {
	levels, hops := -1, 0
	err := l.eachLevel(ctx, hop, func(level []types.NamespacedName) bool {
		levels, hops = levels+1, hops+len(level)
		return hops < maxDescendants
	})
	return levels, err
}

// Below returns the hops that name a hop as their parent.
func (l Hops) Below(ctx context.Context, hop types.NamespacedName) ([]*v1alpha1.DelegationHop, error) {
	return l.All(ctx, client.MatchingFields{parentIndex: hop.String()})
}

// eachLevel visits a hop and then level after level of what is below it, while the visitor says so.
func (l Hops) eachLevel(ctx context.Context, hop types.NamespacedName, visit func([]types.NamespacedName) bool) error {
	seen := map[types.NamespacedName]bool{hop: true}
	paths := map[types.NamespacedName]types.NamespacedName{} // by hop; unknown for the first, which may be deleted
	level := []types.NamespacedName{hop}
	for depth := 0; depth <= delegation.MaxChain && len(level) > 0 && visit(level); depth++ {
		var below []types.NamespacedName
		for _, parent := range level {
			children, err := l.Below(ctx, parent)
			if err != nil {
				return err
			}
			for _, child := range children {
				key, path := delegation.HopKey(child), delegation.PathKey(child)
				if above, known := paths[parent]; seen[key] || known && above != path {
					continue
				}
				seen[key], paths[key] = true, path
				below = append(below, key)
			}
		}
		level = below
	}
	return nil
}

// KeysOf are the keys of hops.
func KeysOf(hops []*v1alpha1.DelegationHop) []types.NamespacedName {
	keys := make([]types.NamespacedName, len(hops))
	for i, hop := range hops {
		keys[i] = delegation.HopKey(hop)
	}
	return keys
}
