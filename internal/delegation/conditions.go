package delegation

import (
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// conditionSetter sets conditions of one object at one time.
type conditionSetter struct {
	conditions *[]metav1.Condition
	generation int64
	now        metav1.Time
}

// set restates a condition; its time of transition stays while its status does.
func (s conditionSetter) set(kind string, status metav1.ConditionStatus, reason v1alpha1.Reason, message string) {
	meta.SetStatusCondition(s.conditions, metav1.Condition{
		Type: kind, Status: status, ObservedGeneration: s.generation, LastTransitionTime: s.now,
		Reason: string(reason), Message: message,
	})
}

// setSummary sets Ready, Reconciling and Stalled as kstatus defines them: what waits is reconciling; what a user has to
// fix, or no one can, is stalled.
func (s conditionSetter) setSummary(reason v1alpha1.Reason, message string) {
	class := reason.Class()
	s.set(v1alpha1.ConditionReady, conditionStatus(class == v1alpha1.ClassGood), reason, message)
	s.set(v1alpha1.ConditionReconciling, conditionStatus(class == v1alpha1.ClassWaiting), reason, message)
	s.set(v1alpha1.ConditionStalled, conditionStatus(class == v1alpha1.ClassFinal || class == v1alpha1.ClassFixable), reason, message)
}

func conditionStatus(yes bool) metav1.ConditionStatus {
	if yes {
		return metav1.ConditionTrue
	}
	return metav1.ConditionFalse
}

// status is an outcome as the status of a condition.
func (o Outcome) status() metav1.ConditionStatus {
	switch o {
	case Allow:
		return metav1.ConditionTrue
	case Deny:
		return metav1.ConditionFalse
	default:
		return metav1.ConditionUnknown
	}
}

// ReadyReason is the reason of the Ready condition; empty before the first verdict.
func ReadyReason(conditions []metav1.Condition) v1alpha1.Reason {
	if c := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady); c != nil {
		return v1alpha1.Reason(c.Reason)
	}
	return ""
}

// incomplete says in a condition that not every step could be done.
func incomplete(what string, err error) string {
	f := Finding{Reason: v1alpha1.ReasonNotYetValid, Message: what + " is not complete yet: " + APIMessage(err, "it is tried again")}
	return f.BoundedString()
}

// LeftoverError says that an object of a grant exists although it was deleted. A status may have its text as it is.
type LeftoverError struct{ Object Object }

func (e LeftoverError) Error() string {
	return fmt.Sprintf("%s %s was deleted and still exists: check whether a finalizer holds it", e.Object.Kind, e.Object.Key)
}

// APIMessage is what the API server said in an error, or otherwise if it is not the API server's. An error of the network
// may name a port that differs on each try, and a message that changes each time is a status that changes each time,
// which undoes the limit on retries.
func APIMessage(err error, otherwise string) string {
	if leftover, ok := errors.AsType[LeftoverError](err); ok {
		return leftover.Error()
	}
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		return status.Status().Message
	}
	return otherwise
}
