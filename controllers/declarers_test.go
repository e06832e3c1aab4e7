package controllers

import (
	"testing"
	"time"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// TestJudgeUse: a use of who may not goes on no more; of whom it is not known, it does until the last answer is too old.
func TestJudgeUse(t *testing.T) {
	const most = 10 * time.Minute
	begin := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	allow, deny, unknown := delegation.Answer{Outcome: delegation.Allow}, delegation.Answer{Outcome: delegation.Deny}, delegation.Answer{}
	type step struct {
		after  time.Duration
		answer delegation.Answer
		want   v1alpha1.Reason
	}
	for name, steps := range map[string][]step{
		"who may":            {{0, allow, ""}},
		"who may not":        {{0, deny, v1alpha1.ReasonNotPermittedToUse}, {time.Second, allow, ""}},
		"not known":          {{0, unknown, ""}, {most - time.Second, unknown, ""}, {most, unknown, v1alpha1.ReasonUndetermined}},
		"known in between":   {{0, unknown, ""}, {most - time.Second, allow, ""}, {most, unknown, ""}},
		"not known, and not": {{0, unknown, ""}, {time.Second, deny, v1alpha1.ReasonNotPermittedToUse}},
		"not, and not known": {{0, deny, v1alpha1.ReasonNotPermittedToUse}, {time.Second, unknown, v1alpha1.ReasonNotPermittedToUse}},
	} {
		r, d, use := &HopReconciler{maxFactAge: most}, &declarer{}, &v1alpha1.Use{}
		for _, s := range steps {
			p := &pass{in: delegation.Input{Now: begin.Add(s.after)}}
			r.judgeUse(p, use, d, s.answer)
			if use.SuspendedFor != s.want {
				t.Errorf("%s, after %s: suspended for %q, want %q", name, s.after, use.SuspendedFor, s.want)
			}
		}
	}
}
