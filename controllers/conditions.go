package controllers

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// setCondition restates a condition; its time of transition stays while its status does.
func setCondition(conditions *[]metav1.Condition, generation int64, now metav1.Time, kind string, status metav1.ConditionStatus, reason v1alpha1.Reason, message string) {
	meta.SetStatusCondition(conditions, metav1.Condition{
		Type: kind, Status: status, ObservedGeneration: generation, LastTransitionTime: now,
		Reason: string(reason), Message: message,
	})
}

// setSummary sets Ready, Reconciling and Stalled as kstatus means them: what waits is reconciling, what somebody has to
// mend, or nobody can, is stalled.
func setSummary(conditions *[]metav1.Condition, generation int64, now metav1.Time, reason v1alpha1.Reason, message string) {
	class := reason.Class()
	set := func(kind string, yes bool) {
		setCondition(conditions, generation, now, kind, status(yes), reason, message)
	}
	set(v1alpha1.ConditionReady, class == v1alpha1.ClassGood)
	set(v1alpha1.ConditionReconciling, class == v1alpha1.ClassWaiting)
	set(v1alpha1.ConditionStalled, class == v1alpha1.ClassFinal || class == v1alpha1.ClassFixable)
}

func status(yes bool) metav1.ConditionStatus {
	if yes {
		return metav1.ConditionTrue
	}
	return metav1.ConditionFalse
}

// outcomeStatus is a verdict's outcome as the status of a condition.
func outcomeStatus(o delegation.Outcome) metav1.ConditionStatus {
	switch o {
	case delegation.Allow:
		return metav1.ConditionTrue
	case delegation.Deny:
		return metav1.ConditionFalse
	default:
		return metav1.ConditionUnknown
	}
}

// readyReason is the reason of the Ready condition; empty before the first verdict.
func readyReason(conditions []metav1.Condition) v1alpha1.Reason {
	if c := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady); c != nil {
		return v1alpha1.Reason(c.Reason)
	}
	return ""
}

// convert copies a value into another type with the same JSON, as status types and their apply configurations are.
func convert[T any](from any) (*T, error) {
	raw, err := json.Marshal(from)
	if err != nil {
		return nil, fmt.Errorf("encoding %T: %w", from, err)
	}
	into := new(T)
	if err := json.Unmarshal(raw, into); err != nil {
		return nil, fmt.Errorf("decoding %T: %w", into, err)
	}
	return into, nil
}
