package delegation

import (
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// isIdentityOf says whether a user is, or was, the identity of a hop. Its accounts have other names after each use, so it is told by the
// part of the name that stays. Which hop of that name it is, the UID says that the chain has pinned.
func isIdentityOf(hop *v1alpha1.DelegationHop, user string) bool {
	return strings.HasPrefix(user, "system:serviceaccount:"+hop.Namespace+":"+v1alpha1.AccountPrefix+hop.Name+".")
}

// MadeBy says whether the identity of one hop made another below it.
func MadeBy(parent, child *v1alpha1.DelegationHop) bool {
	return child.Spec.Author != nil && ParentKey(child) == HopKey(parent) && child.Namespace == parent.Namespace &&
		isIdentityOf(parent, child.Spec.Author.User) && (child.Status.ParentUID == "" || child.Status.ParentUID == string(parent.UID))
}

// checkDelegation checks a hop that was made by the identity of a hop: it is that of its parent, which may delegate so far.
func (e *evaluation) checkDelegation(h *v1alpha1.DelegationHop, n node) {
	refuse := func(reason v1alpha1.Reason, field, format string, args ...any) {
		e.report(Finding{Reason: reason, Node: n.name, Field: field, Message: fmt.Sprintf(format, args...)})
	}
	who := h.Spec.Author.User
	parent := e.parentOf(n)
	if parent == nil || !MadeBy(parent, h) {
		refuse(v1alpha1.ReasonNotPermittedToDelegate, "spec.author",
			"the author %q is the identity of a hop: it makes hops below itself alone, in its own namespace", who)
		return
	}
	if parent.Spec.Delegation == nil {
		refuse(v1alpha1.ReasonNotPermittedToDelegate, "spec.author",
			"the author %q is the identity of the parent, which has no delegation: set delegation.maxDepth of the parent", who)
		return
	}
	if own, most := h.Spec.Delegation, parent.Spec.Delegation.MaxDepth; own != nil && own.MaxDepth >= most {
		refuse(v1alpha1.ReasonDepthExceeded, "spec.delegation.maxDepth",
			"the parent may delegate %d levels deep, so a hop that it makes may delegate %d at most: lower it, or leave it out", most, most-1)
	}
}

// parentOf is the hop above a node of the chain; nil for a first hop.
func (e *evaluation) parentOf(n node) *v1alpha1.DelegationHop {
	if n.depth < 2 {
		return nil
	}
	return e.in.Chain.Hops[n.depth-2]
}

// addDelegation gives an identity what it may do beside its scope: to make hops, to use those that it made, and, where the path
// accepts Workloads, to make what declares no hop. Policies bind it to that.
func (g *Grant) addDelegation(path *v1alpha1.DelegationPath, hop *v1alpha1.DelegationHop, v Verdict) {
	ours := func(resource, verb string, names ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{
			APIGroups: []string{v1alpha1.GroupName}, Resources: []string{resource}, Verbs: []string{verb}, ResourceNames: names,
		}
	}
	add := func(namespace string, rule rbacv1.PolicyRule) {
		g.Rules[namespace] = append(slices.Clip(g.Rules[namespace]), rule)
	}
	if acceptsRisk(path, v1alpha1.RiskWorkloads) {
		for _, namespace := range g.Namespaces() {
			if namespace != "" {
				add(namespace, ours("delegationpaths", v1alpha1.VerbDeploy))
			}
		}
	}
	if hop.Spec.Delegation == nil {
		return
	}
	if g.Rules == nil {
		g.Rules = map[string][]rbacv1.PolicyRule{}
	}
	add(hop.Namespace, ours("delegationhops", "create"))
	if len(v.Made) > 0 {
		add(hop.Namespace, ours("delegationhops", v1alpha1.VerbUse, v.Made...))
	}
}
