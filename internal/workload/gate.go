package workload

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// IsGated says whether a pod waits at the gate of its hop.
func IsGated(pod *corev1.Pod) bool { return hasGate(pod.Spec.SchedulingGates) }

// IsHeldByOthers says whether a pod waits at another gate, too, such as that of a queue.
func IsHeldByOthers(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.SchedulingGates, func(g corev1.PodSchedulingGate) bool { return g.Name != v1alpha1.GateGrant })
}

// HasEnded says whether all containers of a pod have ended for good. Those of a pod that is deleted before it has a node never
// start.
func HasEnded(pod *corev1.Pod) bool {
	return !pod.DeletionTimestamp.IsZero() && pod.Spec.NodeName == "" ||
		pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// IsEnding says whether a pod is being deleted and has no longer to end than admission lets a pod have. Whoever deletes one may give
// it hours, in which it would go on running.
func IsEnding(pod *corev1.Pod) bool {
	grace := pod.DeletionGracePeriodSeconds
	return !pod.DeletionTimestamp.IsZero() && (grace == nil || *grace <= maxGrace)
}

func hasGate(gates []corev1.PodSchedulingGate) bool {
	return slices.ContainsFunc(gates, func(g corev1.PodSchedulingGate) bool { return g.Name == v1alpha1.GateGrant })
}
