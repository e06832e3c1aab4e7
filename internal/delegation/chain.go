package delegation

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// MaxChain is the longest chain that is ever followed. The schema allows no deeper path; the bound here stops a loop
// of parents from holding up the process that follows it.
const MaxChain = 16

// Chain is a hop with all its ancestors.
type Chain struct {
	// Hops are the nodes, from the first to the one asked about. Where the chain could not be followed to its
	// beginning, they are the part that could.
	Hops []*v1alpha1.DelegationHop
	// Breaks say where and why the chain does not hold together.
	Breaks []Finding
}

// Last is the hop that the chain was linked for; nil on an empty chain.
func (c Chain) Last() *v1alpha1.DelegationHop {
	if len(c.Hops) == 0 {
		return nil
	}
	return c.Hops[len(c.Hops)-1]
}

// Lookup finds a hop; nil means that there is none. An error means that it could not be found out.
type Lookup func(types.NamespacedName) (*v1alpha1.DelegationHop, error)

// ResolveChain follows the parents of a hop to the first one. It always ends. It fails only if the lookup does.
func ResolveChain(hop *v1alpha1.DelegationHop, lookup Lookup) (Chain, error) {
	chain := Chain{Hops: []*v1alpha1.DelegationHop{hop}}
	seen := map[types.NamespacedName]bool{HopKey(hop): true}
	for child := hop; child.Spec.ParentRef != nil; {
		key := ParentKey(child)
		if seen[key] {
			// Without the hop asked about there would be no cycle, if it is the one that the chain comes back to.
			chain.fail(child, v1alpha1.ReasonChainBroken, "the chain comes back to hop %s: name a parent that does not descend from this hop", key)
			chain.Breaks[0].Itself = key == HopKey(hop)
			break
		}
		if len(chain.Hops) == MaxChain {
			chain.fail(child, v1alpha1.ReasonDepthExceeded, "the chain is longer than %d hops", MaxChain)
			chain.Breaks[0].Itself = true // no path allows it
			break
		}
		parent, err := lookup(key)
		if err != nil {
			return Chain{}, fmt.Errorf("looking up parent hop %s: %w", key, err)
		}
		if !chain.joins(child, parent, key) {
			break
		}
		seen[key] = true
		chain.Hops = append(chain.Hops, parent)
		child = parent
	}
	slices.Reverse(chain.Hops)
	return chain, nil
}

// joins says whether the parent found is the one that the child was linked to, and notes why where it is not.
func (c *Chain) joins(child, parent *v1alpha1.DelegationHop, key types.NamespacedName) bool {
	pinned := child.Status.ParentUID
	switch {
	case pinned == "" && (parent == nil || !parent.DeletionTimestamp.IsZero() || isElsewhere(parent, child)):
		c.fail(child, v1alpha1.ReasonParentNotReady, "path %s has no hop %s yet", PathKey(child), key)
	case parent == nil || !parent.DeletionTimestamp.IsZero():
		c.fail(child, v1alpha1.ReasonChainBroken, "parent hop %s was deleted: make a new hop below one that exists", key)
	case pinned != "" && pinned != string(parent.UID):
		c.fail(child, v1alpha1.ReasonChainBroken, "parent hop %s was recreated since this hop was bound to it: recreate this hop, too", key)
	case PathKey(parent) != PathKey(child):
		c.fail(child, v1alpha1.ReasonChainBroken, "parent hop %s does not belong to path %s: name a parent of the same path", key, PathKey(child))
	default:
		return true
	}
	return false
}

// isElsewhere says whether a hop that a child names is of another path, in another namespace. Who may create hops in one
// namespace is not told which hops exist in others.
func isElsewhere(parent, child *v1alpha1.DelegationHop) bool {
	return parent.Namespace != child.Namespace && PathKey(parent) != PathKey(child)
}

func (c *Chain) fail(at *v1alpha1.DelegationHop, reason v1alpha1.Reason, format string, args ...any) {
	node := ""
	if at != c.Hops[0] { // the hop asked about comes first until the chain is reversed
		node = nodeName(at)
	}
	c.Breaks = append(c.Breaks, Finding{Reason: reason, Node: node, Field: "spec.parentRef", Message: fmt.Sprintf(format, args...)})
}

// HopKey is the key of a hop.
func HopKey(hop *v1alpha1.DelegationHop) types.NamespacedName {
	return types.NamespacedName{Namespace: hop.Namespace, Name: hop.Name}
}

// PathKey is the key of the path that a hop names.
func PathKey(hop *v1alpha1.DelegationHop) types.NamespacedName {
	return resolve(hop.Spec.PathRef, hop.Namespace)
}

// ParentKey is the key of the parent that a hop names; empty on a first hop.
func ParentKey(hop *v1alpha1.DelegationHop) types.NamespacedName {
	if hop.Spec.ParentRef == nil {
		return types.NamespacedName{}
	}
	return resolve(*hop.Spec.ParentRef, hop.Namespace)
}

func resolve(ref v1alpha1.ObjectRef, namespace string) types.NamespacedName {
	if ref.Namespace != "" {
		namespace = ref.Namespace
	}
	return types.NamespacedName{Namespace: namespace, Name: ref.Name}
}

func nodeName(hop *v1alpha1.DelegationHop) string {
	return "hop " + HopKey(hop).String()
}
