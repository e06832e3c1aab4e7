package webhooks

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/audit"
	"github.com/wayleave/wayleave/internal/testutil"
)

// fullDisk takes no audit line.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("disk full") }

// TestDecisionsAreCounted: each decision is counted once, as what was answered, and each answer has a duration.
func TestDecisionsAreCounted(t *testing.T) {
	const decisions, durations = "wayleave_admission_decisions_total", "wayleave_admission_duration_seconds"
	objects := granted()
	path, _ := objects[0].(*v1alpha1.DelegationPath)
	revoked := path.DeepCopy()
	revoked.Spec.Revoked = &v1alpha1.Revocation{Reason: "test"}
	labelled := pod(assigned)
	labelled.Labels["app"] = "isolate"
	validator := func(w *world) admission.Handler { return newWorkloadValidator(w.Options) }
	delegations := func(w *world) admission.Handler { return newDelegationValidator(w.Options) }
	for name, test := range map[string]struct {
		handler func(*world) admission.Handler
		req     admission.Request
		full    bool // no audit line can be written
		want    map[string]float64
	}{
		"allowed": {handler: validator, req: mutated(t, "alice", "Job", job(), nil), want: map[string]float64{
			decisions + `{kind="Job",reason="Granted",verdict="Allow"}`: 1, durations + `{kind="Job"}`: 1,
		}},
		"allowed, without a line": {handler: validator, req: mutated(t, "alice", "Job", job(), nil), full: true, want: map[string]float64{
			decisions + `{kind="Job",reason="Undetermined",verdict="Deny"}`: 1, durations + `{kind="Job"}`: 1,
		}},
		"denied": {handler: validator, req: mutated(t, "mallory", "Job", job(), nil), want: map[string]float64{
			decisions + `{kind="Job",reason="NotPermittedToUse",verdict="Deny"}`: 1, durations + `{kind="Job"}`: 1,
		}},
		"malformed": {handler: validator, req: request(t, "alice", "Job", 7, nil), want: map[string]float64{
			decisions + `{kind="Job",reason="Undetermined",verdict="Deny"}`: 1, durations + `{kind="Job"}`: 1,
		}},
		"nothing to decide": {handler: validator, req: request(t, "alice", "Pod", labelled, pod(assigned)), want: map[string]float64{
			durations + `{kind="Pod"}`: 1,
		}},
		"revoked": {handler: delegations, req: request(t, "bob", "DelegationPath", revoked, path), want: map[string]float64{
			decisions + `{kind="DelegationPath",reason="Revoked",verdict="Allow"}`: 1, durations + `{kind="DelegationPath"}`: 1,
		}},
		"revoked, without a line": {
			handler: delegations, req: request(t, "bob", "DelegationPath", revoked, path), full: true, want: map[string]float64{
				decisions + `{kind="DelegationPath",reason="Revoked",verdict="Allow"}`: 1, durations + `{kind="DelegationPath"}`: 1,
			},
		},
		"a kind that is not known": {handler: delegations, req: request(t, "bob", "Rosebud", path, nil), want: map[string]float64{
			decisions + `{kind="Other",reason="Undetermined",verdict="Deny"}`: 1, durations + `{kind="Other"}`: 1,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, granted()...)
			w.allowed["alice use delegationhops/isolate"] = true
			if test.full {
				w.Audit = audit.New(fullDisk{})
			}
			timed{test.handler(w), w.metrics, w.Clock}.Handle(t.Context(), test.req)
			if diff := cmp.Diff(test.want, testutil.Metrics(t, w.metrics)); diff != "" {
				t.Errorf("-want +served:\n%s", diff)
			}
		})
	}
}
