package delegation

import (
	"slices"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// toApprove are the risks of a path that have to be approved. What Streams opens ends with the pod.
func toApprove(p *v1alpha1.DelegationPath) []v1alpha1.Risk {
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
