package delegation

import (
	"testing"
	"time"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestJudgeDecision: what could not count is refused, each for its reason.
func TestJudgeDecision(t *testing.T) {
	one := v1alpha1.ApprovalRule{Count: 1}
	of := func(change ...func(*Decided)) *v1alpha1.DelegationApproval {
		d := by("bob", change...)
		d.Spec.Path = v1alpha1.ApprovedPath{Name: "contain-4711", UID: "path-uid"}
		return d.DelegationApproval
	}
	another := of()
	another.Spec.Path.UID = "another"
	anew := of(decides(v1alpha1.DecisionDenied))
	anew.Spec.Path.UID = "another"
	approved := needing(one)
	approved.Status.Approval = &v1alpha1.ApprovalStatus{
		State: v1alpha1.ApprovalApproved, SpentAt: at(-time.Minute), ApprovedDigest: shownDigest,
		Decisions: []v1alpha1.RecordedDecision{{UID: "1", Approver: "carol", ExpiresAt: *at(time.Hour)}},
	}
	revokedPath := needing(one, pathSpec(func(s *v1alpha1.DelegationPathSpec) { s.Revoked = revoked("enough") }))
	none := decided(nil)
	denied := decided(needing(one), by("carol", decides(v1alpha1.DecisionDenied)))
	unread := but(decided(needing(one)), func(i *Input) { i.Facts.Approval.Digest = "" })
	halfway := decided(needing(v1alpha1.ApprovalRule{Count: 2}), by("Bob"))
	for name, tc := range map[string]struct {
		in   Input
		a    *v1alpha1.DelegationApproval
		may  Answer
		want v1alpha1.Reason
	}{
		"what is in order":                 {decided(needing(one)), of(), yes, ""},
		"a denial":                         {decided(needing(one)), of(decides(v1alpha1.DecisionDenied), ofDigest("sha256:2222")), yes, ""},
		"who may not":                      {decided(needing(one)), of(), Answer{Outcome: Deny}, v1alpha1.ReasonNotPermittedToApprove},
		"of whom it is not known":          {decided(needing(one)), of(), Answer{}, v1alpha1.ReasonUndetermined},
		"no path":                          {none, of(), yes, v1alpha1.ReasonNotPermittedToApprove},
		"a path made anew":                 {decided(needing(one)), another, yes, v1alpha1.ReasonNotPermittedToApprove},
		"a path made anew, that is denied": {decided(needing(one)), anew, yes, v1alpha1.ReasonNotPermittedToApprove},
		"a path that needs none":           {ask(path()), of(), yes, v1alpha1.ReasonNotPermittedToApprove},
		"a path that was revoked":          {decided(revokedPath), of(), yes, v1alpha1.ReasonRevoked},
		"a path that was denied":           {denied, of(), yes, v1alpha1.ReasonApprovalDenied},
		"another text":                     {decided(needing(one)), of(ofDigest("sha256:2222")), yes, v1alpha1.ReasonApprovalStale},
		"a time that has passed":           {decided(needing(one)), of(holding(at(0))), yes, v1alpha1.ReasonApprovalExpired},
		"a digest that is not known":       {unread, of(), yes, v1alpha1.ReasonUndetermined},
		"who has approved already":         {halfway, of(), yes, v1alpha1.ReasonNotPermittedToApprove},
		"what is approved already":         {decided(approved), of(), yes, v1alpha1.ReasonNotPermittedToApprove},
		"what waited for too long":         {decided(waiting(one, -73*time.Hour)), of(), yes, v1alpha1.ReasonExpired},
	} {
		got := v1alpha1.Reason("")
		if f := JudgeDecision(tc.in, tc.a, tc.may); f != nil {
			got = f.Reason
		}
		if got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

// TestExpiredRequestsStayExpired: a change does not revive what nobody approved in time.
func TestExpiredRequestsStayExpired(t *testing.T) {
	p := waiting(v1alpha1.ApprovalRule{Count: 1}, -73*time.Hour)
	in := decided(p)
	p.Status = *PathStatus(in, Evaluate(in), nil, noon)
	changed := but(decided(p, by("bob", ofDigest("sha256:2222"))), func(i *Input) { i.Facts.Approval.Digest = "sha256:2222" })
	if v := Evaluate(changed); v.Reason("") != v1alpha1.ReasonExpired {
		t.Errorf("after a change: %s", v.Message())
	}
}
