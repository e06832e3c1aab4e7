package delegation

import (
	"testing"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// A parent above its ceiling once removed the bindings of its valid child on each reconcile.
func TestCascades(t *testing.T) {
	for name, c := range map[string]struct {
		verdict Verdict
		want    bool
	}{
		"revoked":                      {verdict: deniedFor(v1alpha1.ReasonRevoked), want: true},
		"above its ceiling":            {verdict: deniedFor(v1alpha1.ReasonScopeExceedsCeiling)},
		"in an unbound namespace":      {verdict: deniedFor(v1alpha1.ReasonHopNamespaceNotBound)},
		"in a namespace that is gone":  {verdict: deniedFor(v1alpha1.ReasonNamespaceNotFound)},
		"under a taken name":           {verdict: deniedFor(v1alpha1.ReasonSecretTaken)},
		"above its ceiling, suspended": {verdict: deniedFor(v1alpha1.ReasonScopeExceedsCeiling, v1alpha1.ReasonSuspended), want: true},
		"denied a Secret":              {verdict: Verdict{Outcome: Allow}},
		"undetermined for too long":    {verdict: Verdict{Findings: []Finding{{Reason: v1alpha1.ReasonUndetermined}}}},
	} {
		if got := c.verdict.Cascades(); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
