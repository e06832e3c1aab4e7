package delegation

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

func TestEvaluateExclusive(t *testing.T) {
	with := func(f Foreign) Input {
		return but(ask(path(), hop("isolate")), func(in *Input) { in.Facts.Foreign = f })
	}
	notExclusive, bindings := []fault{{Reason: v1alpha1.ReasonNotExclusive}}, []string{"RoleBinding payments/extra"}
	checkDenials(t, map[string]denial{
		"by name":              {in: with(Foreign{ByName: bindings}), twin: with(Foreign{}), want: notExclusive},
		"by a group, strictly": {in: with(Foreign{ByGroup: bindings, Strict: true}), twin: with(Foreign{ByGroup: bindings}), want: notExclusive},
	})
	if v := Evaluate(with(Foreign{Unknown: "no answer"})); v.Outcome != Undetermined {
		t.Errorf("where it is not known, the verdict is %+v", v)
	}
}

func TestSetExclusive(t *testing.T) {
	bindings := []string{"RoleBinding payments/extra"}
	for name, test := range map[string]struct {
		foreign Foreign
		want    metav1.ConditionStatus
		reason  v1alpha1.Reason
	}{
		"nothing":     {Foreign{}, metav1.ConditionTrue, v1alpha1.ReasonExclusive},
		"by name":     {Foreign{ByName: bindings}, metav1.ConditionFalse, v1alpha1.ReasonNotExclusive},
		"by a group":  {Foreign{ByGroup: bindings}, metav1.ConditionFalse, v1alpha1.ReasonNotExclusive},
		"not known":   {Foreign{Unknown: "no answer"}, metav1.ConditionUnknown, v1alpha1.ReasonUndetermined},
		"none is had": {Foreign{Strict: true}, metav1.ConditionTrue, v1alpha1.ReasonExclusive},
	} {
		var conditions []metav1.Condition
		conditionSetter{conditions: &conditions}.setExclusive(test.foreign)
		if c := conditions[0]; c.Type != v1alpha1.ConditionExclusive || c.Status != test.want || c.Reason != string(test.reason) {
			t.Errorf("%s: the condition is %+v", name, c)
		}
	}
}
