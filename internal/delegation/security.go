package delegation

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// levels of Pod Security, from the weakest to the strongest.
var levels = []v1alpha1.PodSecurityLevel{
	v1alpha1.PodSecurityPrivileged, v1alpha1.PodSecurityBaseline, v1alpha1.PodSecurityRestricted,
}

// levelOf is the Pod Security level that a hop names. One that is not known is the strongest.
func levelOf(w *v1alpha1.Workload) v1alpha1.PodSecurityLevel {
	level := cmp.Or(w.PodSecurity, v1alpha1.PodSecurityBaseline)
	if !slices.Contains(levels, level) {
		return v1alpha1.PodSecurityRestricted
	}
	return level
}

// checkLevel checks that a hop names no weaker level of Pod Security than the nearest hop above it that runs workloads.
func (e *evaluation) checkLevel(h *v1alpha1.DelegationHop, n node) {
	above := e.runsAbove(n)
	if h.Spec.Workload == nil || above == nil && !IsHopAccount(authorOf(h)) {
		return
	}
	own, least, of := levelOf(h.Spec.Workload), v1alpha1.PodSecurityBaseline, "a hop that made it without a workload"
	if above != nil {
		least, of = levelOf(above.Spec.Workload), nodeName(above)
	}
	if slices.Index(levels, own) < slices.Index(levels, least) {
		e.report(Finding{
			Reason: v1alpha1.ReasonPodSecurityViolated, Node: n.name, Field: "spec.workload.podSecurity", Message: fmt.Sprintf(
				"%q is weaker than %q of %s: name that level or a stronger one, or change it there", own, least, of),
		})
	}
}

// maxAgainst bounds what a message repeats of the words of Kubernetes, which name each container.
const maxAgainst = 512

// checkPodSecurity checks that the workload keeps the Pod Security level of its hop.
func (e *evaluation) checkPodSecurity(hop *v1alpha1.DelegationHop, w *Workload) {
	if hop.Spec.Workload == nil {
		return
	}
	level := levelOf(hop.Spec.Workload)
	if against := w.Violates[level]; against != "" {
		e.report(Finding{Reason: v1alpha1.ReasonPodSecurityViolated, Message: fmt.Sprintf(
			"the hop allows pods of Pod Security %q: %s: change the pod, or workload.podSecurity of the hop", level, clip(against, maxAgainst))})
	}
}
