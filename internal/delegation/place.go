package delegation

import (
	"fmt"
	"slices"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// checkPlace checks where in the chain, and where in the cluster, a hop is.
func (e *evaluation) checkPlace(h *v1alpha1.DelegationHop, n node) {
	p := e.in.Path
	e.checkDepth(n)
	if p == nil {
		return
	}
	if pinned := h.Status.PathUID; pinned != "" && pinned != string(p.UID) {
		e.report(Finding{
			Reason: v1alpha1.ReasonChainBroken, Node: n.name, Field: "spec.pathRef",
			Message: "the path was recreated since this hop was bound to it: recreate the hop, too",
		})
	}
	if allowed := HopNamespaces(p); !slices.Contains(allowed, h.Namespace) {
		e.report(Finding{
			Reason: v1alpha1.ReasonNamespaceNotAllowed, Node: n.name, Field: "metadata.namespace",
			Message: fmt.Sprintf("the path does not allow hops in namespace %q: add it to hops.namespaces of the path", h.Namespace),
		})
	}
}

// checkDepth checks the depth of a hop, and of what is known to be below it.
func (e *evaluation) checkDepth(n node) {
	depth, limit, message := n.depth, MaxChain, "the hop has depth %d, and no chain may be deeper than %d"
	if n.asked {
		depth += e.in.Below
	}
	if e.in.Path != nil {
		limit, message = MaxDepth(e.in.Path), "the hop has depth %d, the path allows %d: raise hops.maxDepth of the path"
	}
	if depth > limit {
		message = fmt.Sprintf(message, n.depth, limit) + ", or name an earlier parent"
		if depth > n.depth {
			message += fmt.Sprintf(" (there are %d levels of hops below it)", depth-n.depth)
		}
		e.report(Finding{
			Reason: v1alpha1.ReasonDepthExceeded, Node: n.name, Itself: depth > MaxChain, Field: "spec.parentRef", Message: message,
		})
	}
}

// MaxDepth is how deep a chain of the path may be.
func MaxDepth(p *v1alpha1.DelegationPath) int {
	if p.Spec.Hops == nil {
		return 1
	}
	return max(1, int(p.Spec.Hops.MaxDepth))
}

// HopNamespaces are the namespaces in which the hops of a path may exist.
func HopNamespaces(p *v1alpha1.DelegationPath) []string {
	if p.Spec.Hops == nil || len(p.Spec.Hops.Namespaces) == 0 {
		return []string{p.Namespace}
	}
	return p.Spec.Hops.Namespaces
}
