package delegation

import (
	"fmt"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// FloorGap says what is wrong with a policy, with how many others, and what helps.
func FloorGap(policy, gap string, more int) string {
	others := ""
	if more > 0 {
		others = fmt.Sprintf(", and %d more are not in effect", more)
	}
	return fmt.Sprintf("policy %s %s%s: apply config/policy of this release, or start the controller with --require-floor=false",
		policy, gap, others)
}

// checkFloor has nothing new begin while the policies are not in effect that hold where no process of Wayleave does. What stands is as
// it was when they were, so it stands as with any fact that is not known.
func (e *evaluation) checkFloor() {
	if gap := e.in.Facts.FloorGap; gap != "" {
		e.report(Finding{Reason: v1alpha1.ReasonUndetermined, Message: "could not determine whether the policies hold: " + gap})
	}
}
