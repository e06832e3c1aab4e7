package delegation

import (
	"slices"
	"strings"
	"time"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/scope"
)

// Verdict is the answer to one Input.
type Verdict struct {
	// Outcome is the answer.
	Outcome Outcome
	// Findings say what prevents an Allow, the worst first; none with an Allow.
	Findings []Finding
	// NotAfter is the earliest end along the chain, to the second. With an Allow it is never zero. Otherwise the duration of
	// what has not begun does not count, and it is zero where nothing else ends.
	NotAfter time.Time
	// Scope is what the path, or the hop asked about, may do.
	Scope scope.Set
	// Approvals are those by which the path is approved, as far as they go.
	Approvals []v1alpha1.RecordedDecision
	// Denied is the decision that ended the path; nil if none did.
	Denied *v1alpha1.RecordedDecision
	// Made are the names of the hops that the identity of the hop asked about made, which it may use.
	Made []string
}

// Reason is the reason of the worst finding, or the good reason given for an Allow.
func (v Verdict) Reason(good v1alpha1.Reason) v1alpha1.Reason {
	if len(v.Findings) == 0 {
		return good
	}
	return v.Findings[0].Reason
}

// Class is the class of the worst finding.
func (v Verdict) Class() v1alpha1.Class {
	if len(v.Findings) == 0 {
		return v1alpha1.ClassGood
	}
	return v.Findings[0].Reason.Class()
}

const (
	// maxReported bounds how many findings a message has.
	maxReported = 4
	// maxMessage bounds a message, in bytes, as the note of an Event is bounded.
	maxMessage = 1024
)

// Message gives the findings with absolute times, the worst first, in at most 1 KiB, or until when an Allow is valid: for
// conditions.
func (v Verdict) Message() string {
	if v.Outcome == Allow {
		message := "valid until " + v.NotAfter.UTC().Format(time.RFC3339)
		if len(v.Approvals) > 0 {
			message = clip(message+"; "+approvedBy(v.Approvals), maxMessage)
		}
		return message
	}
	return v.join(Finding.String)
}

// RelativeMessage gives the findings with times relative to now, the worst first, in at most 1 KiB: for answers.
func (v Verdict) RelativeMessage(now time.Time) string {
	return v.join(func(f Finding) string { return f.Relative(now) })
}

func (v Verdict) join(format func(Finding) string) string {
	reported := make([]string, 0, maxReported+1)
	for i, f := range v.Findings {
		if i == maxReported {
			reported = append(reported, "and more")
			break
		}
		reported = append(reported, format(f))
	}
	return clip(strings.Join(reported, "; "), maxMessage)
}

// clip cuts a text to at most n bytes, between runes.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-len("…")], "") + "…"
}

// Cascades says whether what a hop is withdrawn for holds for the hops below it, too. What the controller was given to
// grant, and where it may work, is asked for each hop, as is the name of its Secret, and a question without an answer waits for
// each hop.
func (v Verdict) Cascades() bool {
	return slices.ContainsFunc(v.Findings, func(f Finding) bool {
		return !f.OfController() && !isOpenQuestion(f) && f.Reason != v1alpha1.ReasonSecretTaken
	})
}

// actor is the user who caused the worst finding; empty where none did.
func (v Verdict) actor() string {
	if len(v.Findings) == 0 {
		return ""
	}
	worst := v.Findings[0]
	if worst.Reason == v1alpha1.ReasonRevoked && worst.Actor == "" {
		return Unknown
	}
	return worst.Actor
}

// Find returns the first finding with a reason, and whether there is one.
func (v Verdict) Find(reason v1alpha1.Reason) (Finding, bool) {
	for _, f := range v.Findings {
		if f.Reason == reason {
			return f, true
		}
	}
	return Finding{}, false
}
