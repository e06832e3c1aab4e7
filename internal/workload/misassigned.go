package workload

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// Misassigned says what keeps a pod from running as the hop's account alone although the verdict allows it, and what
// would keep the pods of a template from it; nil if nothing does. It expects the pod as it is after all mutation. Audience
// says whether the hop may have tokens for an audience.
func (w *Workload) Misassigned(account string, audience func(string) bool) *delegation.Finding {
	for i, v := range w.Spec.Volumes {
		if problem := w.unfit(v, audience); problem != "" {
			return w.finding(v1alpha1.ReasonWorkloadNotAllowed, fmt.Sprintf("spec.volumes[%d]", i), "%s", problem)
		}
	}
	if w.Template { // its pods are assigned when they are created
		return nil
	}
	misassigned := func(field, format string, args ...any) *delegation.Finding {
		return w.finding(v1alpha1.ReasonWorkloadNotAllowed, field, format, args...)
	}
	switch spec := &w.Spec; {
	case spec.ServiceAccountName != account:
		return misassigned("spec.serviceAccountName",
			"the pod was not given the hop's account %q: is the mutating webhook of Wayleave installed?", account)
	case !w.hasPrefix():
		return misassigned("metadata.name",
			"a pod that runs under a hop has a name that begins with %q: rename it", v1alpha1.AccountPrefix)
	case spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken:
		return misassigned("spec.automountServiceAccountToken", "automountServiceAccountToken must be false: leave it out")
	case spec.TerminationGracePeriodSeconds == nil || *spec.TerminationGracePeriodSeconds > maxGrace:
		return misassigned("spec.terminationGracePeriodSeconds", "terminationGracePeriodSeconds must be at most %d", maxGrace)
	case !hasGate(spec.SchedulingGates):
		return misassigned("spec.schedulingGates",
			"the pod was not given the scheduling gate %q: is the mutating webhook of Wayleave installed?", v1alpha1.GateGrant)
	}
	return nil
}

// Audiences says for which audiences the pods of the workload may have tokens. What is not known yet of the hop of a template
// is asked when its pods are created.
func (w *Workload) Audiences(in delegation.Input) func(string) bool {
	scope, known := delegation.WrittenScope(in)
	return func(audience string) bool {
		return !known && w.Template || slices.Contains(scope.Audiences, audience)
	}
}

// hasPrefix says whether a pod's name begins, or will begin, as the name of each pod under a hop does.
func (w *Workload) hasPrefix() bool {
	return strings.HasPrefix(w.Meta.Name, v1alpha1.AccountPrefix) || strings.HasPrefix(w.Meta.GenerateName, v1alpha1.AccountPrefix)
}
