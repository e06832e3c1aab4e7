package delegation

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// ShortPathStatus is a path's status without what it can do without: for an object in which no room is left.
func ShortPathStatus(status *v1alpha1.DelegationPathStatus) *v1alpha1.DelegationPathStatus {
	short := status.DeepCopy()
	withoutMessages(short.Conditions)
	short.History = nil
	return short
}

// ShortHopStatus is a hop's status without what it can do without.
func ShortHopStatus(status *v1alpha1.DelegationHopStatus) *v1alpha1.DelegationHopStatus {
	short := status.DeepCopy()
	withoutMessages(short.Conditions)
	return short
}

func withoutMessages(conditions []metav1.Condition) {
	for i := range conditions {
		conditions[i].Message = ""
	}
}
