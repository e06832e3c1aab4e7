package delegation

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// Isolation says who, besides a hop, can act as its account or read its token.
type Isolation struct {
	// Asked is true where somebody looked.
	Asked bool
	// Actors are those who can, each with how.
	Actors []string
	// Unknown says why it could not be found out; empty where it was.
	Unknown string
}

// maxActorsNamed bounds how many of them a message names.
const maxActorsNamed = 8

// finding is that nobody else can act as a hop, or that somebody can.
func (i Isolation) finding() Finding {
	switch named := i.Actors; {
	case !i.Asked:
		return Finding{Reason: v1alpha1.ReasonUndetermined, Message: "who else can act as the hop was not looked up"}
	case len(named) == 0 && i.Unknown != "":
		return Finding{Reason: v1alpha1.ReasonUndetermined, Message: "could not determine who else can act as the hop: " + i.Unknown}
	case len(named) == 0:
		return Finding{Reason: v1alpha1.ReasonIsolated, Message: "nobody but administrators of the cluster can act as the hop"}
	default:
		more := ""
		if len(named) > maxActorsNamed {
			more = fmt.Sprintf(" and %d more", len(named)-maxActorsNamed)
		}
		return Finding{Reason: v1alpha1.ReasonNotIsolated, Message: fmt.Sprintf(
			"others can act as the hop, so keep it in a namespace of its own: %s%s",
			strings.Join(named[:min(len(named), maxActorsNamed)], "; "), more)}
	}
}

// checkIsolation checks that nobody else can act as the hop asked about, where its path requires that.
func (e *evaluation) checkIsolation() {
	if e.in.Path == nil || len(e.in.Chain.Hops) == 0 || e.in.Path.Spec.Isolation != v1alpha1.IsolationRequired {
		return
	}
	if f := e.in.Facts.Isolation.finding(); f.Reason != v1alpha1.ReasonIsolated {
		e.report(f)
	}
}

// setIsolated writes the condition that says whether others can act as a hop.
func (s conditionSetter) setIsolated(i Isolation) {
	if !i.Asked {
		return
	}
	f := i.finding()
	status := map[v1alpha1.Reason]metav1.ConditionStatus{
		v1alpha1.ReasonIsolated: metav1.ConditionTrue, v1alpha1.ReasonNotIsolated: metav1.ConditionFalse,
	}[f.Reason]
	if status == "" {
		status = metav1.ConditionUnknown
	}
	s.set(v1alpha1.ConditionIsolated, status, f.Reason, f.BoundedString())
}
