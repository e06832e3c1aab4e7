package delegation

import (
	"strings"
	"time"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/scope"
)

// Verdict is the answer to one Input.
type Verdict struct {
	// Outcome is the answer.
	Outcome Outcome
	// Findings say what stands in the way, the worst first; none with an Allow.
	Findings []Finding
	// NotAfter is the earliest end along the chain, to the second. With an Allow it is never zero; else the duration of
	// what has not begun counts for nothing, and it is zero where nothing else ends.
	NotAfter time.Time
	// Scope is what the path, or the hop asked about, may do.
	Scope scope.Set
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

// maxTold bounds how many findings a message tells; the rest are counted.
const maxTold = 4

// Message tells the findings with absolute times, the worst first, in at most 1 KiB, or until when an Allow holds: for
// conditions.
func (v Verdict) Message() string {
	if v.Outcome == Allow {
		return "valid until " + v.NotAfter.UTC().Format(time.RFC3339)
	}
	return v.join(Finding.String)
}

// Told tells the findings with times relative to now, the worst first, in at most 1 KiB: for answers.
func (v Verdict) Told(now time.Time) string {
	return v.join(func(f Finding) string { return f.Told(now) })
}

func (v Verdict) join(tell func(Finding) string) string {
	told := make([]string, 0, maxTold+1)
	for i, f := range v.Findings {
		if i == maxTold {
			told = append(told, "and more")
			break
		}
		told = append(told, tell(f))
	}
	return clip(strings.Join(told, "; "), 1024)
}

// clip cuts a text to at most n bytes, between runes.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-len("…")], "") + "…"
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
