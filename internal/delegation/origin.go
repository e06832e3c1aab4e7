package delegation

import (
	"fmt"
	"strings"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/scope"
)

// checkOrigin checks that the path's origin may itself do now what the path allows.
func (e *evaluation) checkOrigin(p *v1alpha1.DelegationPath, n node) {
	if p.Spec.Origin == nil {
		e.reportOrigin(n, "the path has no origin, so no user's authority covers it; apply it again with the admission webhook in place")
		return
	}
	who := p.Spec.Origin.User
	if IsHopAccount(who) {
		e.reportOrigin(n, fmt.Sprintf(
			"the origin %q is the identity of a hop, whose authority ends with its own path: let the origin of that path start this one", who))
		return
	}
	if len(scope.Validate(p.Spec.Scope)) > 0 {
		return // reported already; what it would need is not known
	}
	e.checkOwner(p.Spec.Origin, p.Status.OriginUID, e.in.Facts.OriginAccount, Finding{
		Reason: v1alpha1.ReasonOriginGone, Node: n.name, Field: "spec.origin",
	})
	e.checkUnbounded(who, n)
	missing := scope.Describe(e.in.Facts.Origin.Missing)
	e.reportAnswer(e.in.Facts.Origin, Finding{
		Reason: v1alpha1.ReasonScopeExceedsOrigin, Node: n.name, Field: "spec.scope",
		Message: fmt.Sprintf("the origin %q may not itself %s: narrow the path, or give the origin that right "+
			"(resources are plural, and the core group is \"\")", who, missing),
	}, fmt.Sprintf("what the origin %q may do", who))
}

// checkUnbounded checks that the origin cannot do everything, where that is refused.
func (e *evaluation) checkUnbounded(who string, n node) {
	if !e.in.RefuseUnbounded {
		return
	}
	switch a := e.in.Facts.Unbounded; a.Outcome {
	case Deny:
	case Allow:
		e.reportOrigin(n, fmt.Sprintf("the origin %q may do everything, so it bounds nothing, which is refused here "+
			"(--refuse-unbounded-origin): name an origin with the rights that the path needs", who))
	default:
		e.report(Finding{Reason: v1alpha1.ReasonUndetermined, Node: n.name, Field: "spec.origin", Message: fmt.Sprintf(
			"could not determine whether the origin %q may do everything: %s", who, a.Detail)})
	}
}

func (e *evaluation) reportOrigin(n node, message string) {
	e.report(Finding{Reason: v1alpha1.ReasonOriginUnauthorized, Node: n.name, Field: "spec.origin", Message: message})
}

const serviceAccountPrefix = "system:serviceaccount:"

// IsServiceAccount says whether a user name is that of a ServiceAccount.
func IsServiceAccount(user string) bool { return strings.HasPrefix(user, serviceAccountPrefix) }

// IsHopAccount says whether a user is the identity of a hop. As the origin of another path it would keep that path alive
// after its own path was revoked until the next evaluation, and two that are each other's origin would never end.
func IsHopAccount(user string) bool {
	account, ok := strings.CutPrefix(user, serviceAccountPrefix)
	_, name, _ := strings.Cut(account, ":")
	return ok && strings.HasPrefix(name, v1alpha1.AccountPrefix)
}
