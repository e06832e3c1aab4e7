package delegation

import (
	"fmt"
	"slices"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// checkPlace checks where in the chain, and where in the cluster, a hop is.
func (e *evaluation) checkPlace(h *v1alpha1.DelegationHop, n node) {
	p := e.in.Path
	if p == nil {
		return
	}
	if pinned := h.Status.PathUID; pinned != "" && pinned != string(p.UID) {
		e.report(Finding{
			Reason: v1alpha1.ReasonChainBroken, Node: n.name, Field: "spec.pathRef",
			Message: "the path was recreated since this hop was bound to it: recreate the hop, too",
		})
	}
	if limit := MaxDepth(p); n.depth > limit {
		e.report(Finding{
			Reason: v1alpha1.ReasonDepthExceeded, Node: n.name, Field: "spec.parentRef",
			Message: fmt.Sprintf(
				"the hop has depth %d, the path allows %d: raise hops.maxDepth of the path, or name an earlier parent", n.depth, limit,
			),
		})
	}
	if allowed := HopNamespaces(p); !slices.Contains(allowed, h.Namespace) {
		e.report(Finding{
			Reason: v1alpha1.ReasonNamespaceNotAllowed, Node: n.name, Field: "metadata.namespace",
			Message: fmt.Sprintf("the path does not allow hops in namespace %q: add it to hops.namespaces of the path", h.Namespace),
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
