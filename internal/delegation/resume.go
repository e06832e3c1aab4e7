package delegation

import (
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// MayPass says whether a hop that is withdrawn for a reason may be granted again, so that what was suspended with it is
// resumed then. What has to be fixed may be fixed; what is final stays.
func MayPass(reason v1alpha1.Reason) bool { return reason.Class() != v1alpha1.ClassFinal }

// ComesBack says whether a grant that is complete now is that of a hop that was withdrawn since it last had one; before is
// the status that this pass began with. A hop whose first grant this is has nothing to resume.
func ComesBack(before, after *v1alpha1.DelegationHopStatus) bool {
	if before.Incarnation == 0 {
		return false
	}
	// A crash may have come between the withdrawal and the status that says so. Then the identity is another one.
	return !meta.IsStatusConditionTrue(before.Conditions, v1alpha1.ConditionReady) || before.Incarnation != after.Incarnation
}
