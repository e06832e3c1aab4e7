package delegation

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// toAccept are the risks of a path that its origin needs a right to accept. What Streams opens ends with the pod.
func toAccept(p *v1alpha1.DelegationPath) []v1alpha1.Risk {
	return slices.DeleteFunc(slices.Clone(p.Spec.Scope.AcceptedRisks), func(r v1alpha1.Risk) bool { return r == v1alpha1.RiskStreams })
}

func acceptsRisk(p *v1alpha1.DelegationPath, risk v1alpha1.Risk) bool {
	return slices.Contains(p.Spec.Scope.AcceptedRisks, risk)
}

// accepted says which risks a path accepts, for its status; empty where it accepts none.
func accepted(risks []v1alpha1.Risk) string {
	if len(risks) == 0 {
		return ""
	}
	return "; it accepts the risks " + join(risks)
}

// AsksToAccept says whether the verdict depends on whether the path's origin may accept risks.
func AsksToAccept(p *v1alpha1.DelegationPath) bool {
	return p.Spec.Origin != nil && len(toAccept(p)) > 0
}

// checkRisks checks that the path's origin may accept the risks that the path accepts.
func (e *evaluation) checkRisks(p *v1alpha1.DelegationPath, n node) {
	if !AsksToAccept(p) {
		return
	}
	var risks []string
	for _, r := range toAccept(p) {
		risks = append(risks, string(r))
	}
	named, who := strings.Join(risks, ", "), p.Spec.Origin.User
	e.reportAnswer(e.in.Facts.Risks, Finding{
		Reason: v1alpha1.ReasonRiskNotAccepted, Node: n.name, Field: "spec.scope.acceptedRisks",
		Message: fmt.Sprintf("the origin %q may not accept %s: give it the verb %s on this delegationpath, or leave out what takes that risk",
			who, named, v1alpha1.VerbAccept),
	}, fmt.Sprintf("whether the origin %q may accept %s", who, named))
}
