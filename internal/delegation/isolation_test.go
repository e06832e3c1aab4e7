package delegation

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

func TestEvaluateIsolation(t *testing.T) {
	required := pathSpec(func(s *v1alpha1.DelegationPathSpec) { s.Isolation = v1alpha1.IsolationRequired })
	with := func(i Isolation, options ...pathOption) Input {
		return but(ask(path(options...), hop("isolate")), func(in *Input) { in.Facts.Isolation = i })
	}
	alone, shared := Isolation{Asked: true}, Isolation{Asked: true, Actors: []string{"User eve can impersonate its accounts"}}
	notIsolated := []fault{{Reason: v1alpha1.ReasonNotIsolated}}
	checkDenials(t, map[string]denial{
		"required":               {in: with(shared, required), twin: with(alone, required), want: notIsolated},
		"required, and not else": {in: with(shared, required), twin: with(shared), want: notIsolated},
	})
	for name, i := range map[string]Isolation{"not asked": {}, "not known": {Asked: true, Unknown: "no answer"}} {
		if v := Evaluate(with(i, required)); v.Outcome != Undetermined {
			t.Errorf("%s: the verdict is %+v", name, v)
		}
	}
}

func TestSetIsolated(t *testing.T) {
	many := strings.Split(strings.Repeat("User eve can read its Secrets,", 20), ",")[:20]
	for name, test := range map[string]struct {
		isolation Isolation
		want      metav1.ConditionStatus
		says      string
	}{
		"alone":                    {Isolation{Asked: true}, metav1.ConditionTrue, "nobody but administrators"},
		"shared":                   {Isolation{Asked: true, Actors: []string{"User eve can"}}, metav1.ConditionFalse, "User eve can"},
		"shared by many":           {Isolation{Asked: true, Actors: many}, metav1.ConditionFalse, "and 12 more"},
		"not known":                {Isolation{Asked: true, Unknown: "no answer"}, metav1.ConditionUnknown, "no answer"},
		"shared, and more unknown": {Isolation{Asked: true, Unknown: "too many", Actors: many[:1]}, metav1.ConditionFalse, "User eve"},
	} {
		var conditions []metav1.Condition
		conditionSetter{conditions: &conditions}.setIsolated(test.isolation)
		if c := conditions[0]; c.Type != v1alpha1.ConditionIsolated || c.Status != test.want || !strings.Contains(c.Message, test.says) {
			t.Errorf("%s: the condition is %+v", name, c)
		}
	}
}
