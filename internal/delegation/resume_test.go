package delegation

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

func TestMayPass(t *testing.T) {
	for reason, want := range map[v1alpha1.Reason]bool{
		v1alpha1.ReasonSuspended: true, v1alpha1.ReasonParentNotReady: true, v1alpha1.ReasonScopeExceedsPath: true,
		v1alpha1.ReasonRevoked: false, v1alpha1.ReasonExpired: false,
	} {
		if got := MayPass(reason); got != want {
			t.Errorf("%s: %t", reason, got)
		}
	}
}

func TestComesBack(t *testing.T) {
	status := func(incarnation int64, ready metav1.ConditionStatus) *v1alpha1.DelegationHopStatus {
		return &v1alpha1.DelegationHopStatus{Incarnation: incarnation, Conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionReady, Status: ready},
		}}
	}
	for name, test := range map[string]struct {
		before, after *v1alpha1.DelegationHopStatus
		want          bool
	}{
		"the first grant":     {before: status(0, metav1.ConditionFalse), after: status(1, metav1.ConditionFalse)},
		"nothing has changed": {before: status(1, metav1.ConditionTrue), after: status(1, metav1.ConditionTrue)},
		"after a withdrawal":  {before: status(1, metav1.ConditionFalse), after: status(2, metav1.ConditionFalse), want: true},
		"after a crash between identity and resumption": {
			before: status(2, metav1.ConditionFalse), after: status(2, metav1.ConditionFalse), want: true,
		},
		"after a crash between withdrawal and status": {
			before: status(1, metav1.ConditionTrue), after: status(2, metav1.ConditionTrue), want: true,
		},
		"after a withdrawal that is not complete": {
			before: status(1, metav1.ConditionUnknown), after: status(1, metav1.ConditionUnknown), want: true,
		},
	} {
		if got := ComesBack(test.before, test.after); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
