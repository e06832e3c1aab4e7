package delegation

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// Finding is one thing that prevents an Allow.
type Finding struct {
	// Reason is out of the vocabulary of the API group.
	Reason v1alpha1.Reason
	// Node names the node of the chain that has the fault, such as `hop agents/triage`; empty for the object that the
	// question is about.
	Node string
	// Itself is true for a fault of the object that the question is about, whatever other objects say, where the reason alone
	// does not tell: see DependsOnOthers.
	Itself bool
	// Elsewhere is true for a fault that another object may fix, where the reason alone does not say so.
	Elsewhere bool
	// Field is the path of the field at fault, such as spec.scope.namespaced[0].rules[1].verbs[0]; empty where none is.
	Field string
	// Actor is the user who caused it; empty where none did.
	Actor string
	// At is when it happened, where that is known.
	At time.Time
	// Message is one sentence that a person can act on.
	Message string
}

// String gives the finding with absolute times, so that the same finding always reads the same: for conditions.
func (f Finding) String() string {
	when := ""
	if !f.At.IsZero() {
		when = " at " + f.At.UTC().Format(time.RFC3339)
	}
	return f.format(when)
}

// Relative gives the finding with times relative to now: for answers that are read at that moment.
func (f Finding) Relative(now time.Time) string {
	when := ""
	if !f.At.IsZero() {
		// The clock that stamped it may be ahead of ours.
		when = " " + duration.HumanDuration(max(0, now.Sub(f.At))) + " ago"
	}
	return f.format(when)
}

// BoundedString is String within the bounds of a condition and of an Event.
func (f Finding) BoundedString() string { return clip(f.String(), maxMessage) }

func (f Finding) format(when string) string {
	var b strings.Builder
	b.WriteString(string(f.Reason))
	if f.Actor != "" {
		b.WriteString(" by " + f.Actor)
	}
	b.WriteString(when)
	switch {
	case f.Message == "":
	case f.Reason == v1alpha1.ReasonRevoked:
		fmt.Fprintf(&b, " (%q)", f.Message)
	default:
		b.WriteString(": ")
		if f.Field != "" && f.Reason.Class() == v1alpha1.ClassFixable {
			b.WriteString(f.Field + ": ")
		}
		b.WriteString(f.Message)
	}
	if f.Node != "" && !f.ofWholePath() {
		b.WriteString(" [" + f.Node + "]")
	}
	return b.String()
}

// ofWholePath says whether a finding is the revocation of the whole path, which needs no node: the message names the path.
func (f Finding) ofWholePath() bool {
	return f.Reason == v1alpha1.ReasonRevoked && strings.HasPrefix(f.Node, pathPrefix)
}

var urgency = map[v1alpha1.Class]int{
	v1alpha1.ClassFinal:   0,
	v1alpha1.ClassFixable: 1,
	v1alpha1.ClassWaiting: 2,
	v1alpha1.ClassGood:    3,
}

// worstFirst sorts by class and keeps the order of the chain within a class. An open question comes after what is known.
func worstFirst(findings []Finding) {
	rank := func(f Finding) int {
		if f.Reason == v1alpha1.ReasonUndetermined {
			return len(urgency)
		}
		return urgency[f.Reason.Class()]
	}
	slices.SortStableFunc(findings, func(a, b Finding) int { return cmp.Compare(rank(a), rank(b)) })
}
