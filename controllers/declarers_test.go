package controllers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

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

// TestUseWithoutStamp: a use of which nobody says who declared it is not known to be anybody's, and does not go on for ever.
func TestUseWithoutStamp(t *testing.T) {
	live := fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).Build()
	hop := &v1alpha1.DelegationHop{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "look", UID: "hop"}}
	next := &v1alpha1.DelegationHopStatus{Uses: &v1alpha1.Uses{Live: []v1alpha1.Use{
		{Kind: v1alpha1.WorkloadJob, Name: "gone", UID: "job", By: "bob"},
	}}}
	begin := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	r := &HopReconciler{live: live, declarers: newDeclarers(), maxFactAge: time.Minute}
	for _, step := range []struct {
		after time.Duration
		want  v1alpha1.Reason
	}{{0, ""}, {time.Minute, v1alpha1.ReasonUndetermined}} {
		in := delegation.Input{Now: begin.Add(step.after), Chain: delegation.Chain{Hops: []*v1alpha1.DelegationHop{hop}}}
		if err := r.judgeUses(t.Context(), &pass{in: in, next: next}); err != nil {
			t.Fatal(err)
		}
		if got := next.Uses.Live[0].SuspendedFor; got != step.want {
			t.Errorf("after %s it is suspended for %q, want %q", step.after, got, step.want)
		}
	}
}
