package delegation

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// setApproval states where the approval of a path stands. Approvals are spent by the write that makes the path active.
func setApproval(next *v1alpha1.DelegationPathStatus, in Input, v Verdict) {
	if a := next.Approval; v.Class() == v1alpha1.ClassFinal && a != nil && a.State == v1alpha1.ApprovalPending && v.Denied == nil {
		a.State = v1alpha1.ApprovalClosed // nobody can approve it any more
		return
	}
	if v.Denied == nil && (!AsksForApproval(in.Path, in.Facts.Terms) || in.Facts.Approval.Digest == "") {
		return
	}
	if next.Approval == nil {
		next.Approval = &v1alpha1.ApprovalStatus{State: v1alpha1.ApprovalPending}
	}
	if in.Facts.Approval.Digest != "" {
		next.Digest = in.Facts.Approval.Digest
	}
	if v.Denied == nil {
		spend(next.Approval, in, v)
	} else if next.Approval.State != v1alpha1.ApprovalDenied {
		next.Approval.State, next.Approval.Decisions = v1alpha1.ApprovalDenied, []v1alpha1.RecordedDecision{*v.Denied}
	}
}

// spend states for which text a path waits, or by which approvals it is approved.
func spend(a *v1alpha1.ApprovalStatus, in Input, v Verdict) {
	now, digest := toTheSecond(in.Now), in.Facts.Approval.Digest
	if a.RequestedDigest != digest || v.waitsForApproval() && a.State == v1alpha1.ApprovalApproved {
		a.RequestedDigest, a.RequestedAt = digest, now
	}
	switch {
	case v.Outcome == Allow:
		a.State = v1alpha1.ApprovalApproved
		if !isSpent(a, v) || a.ApprovedDigest != digest {
			a.ApprovedDigest, a.SpentAt, a.Decisions = digest, spentAt(now, in.Facts.Approval.Newest, v.Approvals), v.Approvals
		}
	case v.waitsForApproval():
		a.State = v1alpha1.ApprovalPending
	}
}

// spentAt is when approvals are spent: not before what they are of was made, nor they themselves, where the clock of the API server is
// ahead.
func spentAt(now *metav1.Time, newest time.Time, approvals []v1alpha1.RecordedDecision) *metav1.Time {
	at := now.Time
	if newest.After(at) {
		at = newest
	}
	for _, a := range approvals {
		if a.At.After(at) {
			at = a.At.Time
		}
	}
	return new(metav1.NewTime(at))
}

// waitsForApproval says whether a path is not approved as it is.
func (v Verdict) waitsForApproval() bool {
	return slices.ContainsFunc(v.Findings, func(f Finding) bool { return slices.Contains(approvalReasons, f.Reason) })
}

// isSpent says whether the approvals of a verdict are those that were spent.
func isSpent(a *v1alpha1.ApprovalStatus, v Verdict) bool {
	return a != nil && a.SpentAt != nil && slices.EqualFunc(a.Decisions, v.Approvals, func(x, y v1alpha1.RecordedDecision) bool {
		return x.UID == y.UID
	})
}

// approversOf are the names of those who decided.
func approversOf(decisions []v1alpha1.RecordedDecision) string {
	var names []string
	for _, d := range decisions {
		names = append(names, d.Approver)
	}
	return strings.Join(names, ", ")
}

// approvalReasons are those that say that a path waits for approval, or does not get one.
var approvalReasons = []v1alpha1.Reason{
	v1alpha1.ReasonApprovalDenied, v1alpha1.ReasonApprovalStale, v1alpha1.ReasonApprovalExpired, v1alpha1.ReasonApprovalMissing,
}

// setApproved states whether a path is approved as it is.
func setApproved(s conditionSetter, in Input, v Verdict, a *v1alpha1.ApprovalStatus) {
	if a != nil && a.State == v1alpha1.ApprovalClosed {
		s.set(v1alpha1.ConditionApproved, metav1.ConditionFalse, v.Reason(v1alpha1.ReasonUndetermined), "the path ended before it was approved")
		return
	}
	if !AsksForApproval(in.Path, in.Facts.Terms) && (a == nil || v.Class() != v1alpha1.ClassFinal) {
		s.set(v1alpha1.ConditionApproved, metav1.ConditionTrue, v1alpha1.ReasonApprovalNotRequired, "the path needs no approval")
		return
	}
	for _, reason := range approvalReasons {
		if f, found := v.Find(reason); found {
			s.set(v1alpha1.ConditionApproved, metav1.ConditionFalse, reason, f.BoundedString())
			return
		}
	}
	if len(v.Approvals) > 0 {
		s.set(v1alpha1.ConditionApproved, metav1.ConditionTrue, v1alpha1.ReasonApproved, clip(approvedBy(v.Approvals), maxMessage))
		return
	}
	if a != nil && a.State == v1alpha1.ApprovalApproved && v.Outcome == Deny { // it has ended, and nothing is asked any more
		s.set(v1alpha1.ConditionApproved, metav1.ConditionTrue, v1alpha1.ReasonApproved, clip(approvedBy(a.Decisions), maxMessage))
		return
	}
	s.set(v1alpha1.ConditionApproved, metav1.ConditionUnknown, v.Reason(v1alpha1.ReasonUndetermined), v.Message())
}

// approvedBy says who approved, with what credential and until when.
func approvedBy(decisions []v1alpha1.RecordedDecision) string {
	var by []string
	for _, d := range decisions {
		credential := ""
		if d.CredentialID != "" {
			credential = " with credential " + d.CredentialID
		}
		by = append(by, fmt.Sprintf("%q%s until %s (%q)", d.Approver, credential, d.ExpiresAt.UTC().Format(time.RFC3339), d.Reason))
	}
	return "approved by " + strings.Join(by, ", ")
}
