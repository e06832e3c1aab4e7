package delegation

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// Foreign says what others bound to the account of a hop, so that it may do more than its hop. The zero value is for a hop that has no
// account, or whose account has what its hop gives it alone.
type Foreign struct {
	// ByName are bindings that name the account.
	ByName []string
	// ByGroup are bindings of a group that all accounts of its namespace are in.
	ByGroup []string
	// Strict is true where those of a group withdraw the hop, too.
	Strict bool
	// Unknown says why it could not be found out; empty where it was.
	Unknown string
}

// checkExclusive checks that nobody gave the account of the hop asked about more than its hop does.
func (e *evaluation) checkExclusive() {
	f := e.in.Facts.Foreign
	if f.Unknown != "" {
		e.report(Finding{
			Reason: v1alpha1.ReasonUndetermined, Message: "could not determine what others bound to the account of the hop: " + f.Unknown,
		})
	}
	if found := f.finding(); found != nil && (len(f.ByName) > 0 || f.Strict) {
		e.report(*found)
	}
}

// finding names what others gave; nil where it is nothing.
func (f Foreign) finding() *Finding {
	how, bindings := "by its name", f.ByName
	if len(bindings) == 0 {
		how, bindings = "by a group that it is in", f.ByGroup
	}
	if len(bindings) == 0 {
		return nil
	}
	return &Finding{Reason: v1alpha1.ReasonNotExclusive, Message: fmt.Sprintf(
		"the account of the hop may do more than its hop, %s: delete it, or take that subject out of it: %s", how, strings.Join(bindings, ", "))}
}

// setExclusive writes the condition that says whether the account of a hop has only what its hop gives it.
func (s conditionSetter) setExclusive(f Foreign) {
	switch found := f.finding(); {
	case f.Unknown != "":
		s.set(v1alpha1.ConditionExclusive, metav1.ConditionUnknown, v1alpha1.ReasonUndetermined, f.Unknown)
	case found != nil:
		s.set(v1alpha1.ConditionExclusive, metav1.ConditionFalse, found.Reason, found.BoundedString())
	default:
		s.set(v1alpha1.ConditionExclusive, metav1.ConditionTrue, v1alpha1.ReasonExclusive, "nobody bound anything else to the account of the hop")
	}
}
