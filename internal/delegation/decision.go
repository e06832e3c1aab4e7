package delegation

import (
	"fmt"
	"slices"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/scope"
)

// JudgeDecision says why a decision on a path is not admitted; nil if it is. The input is that of the path, which is nil where there is
// none, and says whether who decides may. Who may not is told nothing about the path.
func JudgeDecision(in Input, a *v1alpha1.DelegationApproval, may Answer) *Finding {
	spec, at := a.Spec, "spec.path"
	refuse := func(reason v1alpha1.Reason, field, format string, args ...any) *Finding {
		return &Finding{Reason: reason, Field: field, Message: fmt.Sprintf(format, args...)}
	}
	switch may.Outcome {
	case Allow:
	case Deny:
		return refuse(v1alpha1.ReasonNotPermittedToApprove, at, "%q may not %s: get a Role in this namespace that gives the verb %s on this path",
			spec.Approver.User, scope.Describe(may.Missing), v1alpha1.VerbApprove)
	default:
		return refuse(v1alpha1.ReasonUndetermined, at, "could not determine whether %q may approve the path: %s", spec.Approver.User, may.Detail)
	}
	p := in.Path
	switch {
	case p == nil || !p.DeletionTimestamp.IsZero():
		return refuse(v1alpha1.ReasonNotPermittedToApprove, at, "path %q does not exist: a decision is on a path that exists", spec.Path.Name)
	case spec.Path.UID != string(p.UID):
		return refuse(v1alpha1.ReasonNotPermittedToApprove, "spec.path.uid",
			"path %q is another one than the one decided on, with UID %s: look at it, and decide anew", p.Name, p.UID)
	case !AsksForApproval(p, in.Facts.Terms):
		return refuse(v1alpha1.ReasonNotPermittedToApprove, at, "path %q needs no approval; to end it, set spec.revoked", p.Name)
	}
	v := Evaluate(in)
	if i := slices.IndexFunc(v.Findings, isFinal); i >= 0 {
		return refuse(v.Findings[i].Reason, at, "path %q has ended, and nothing is decided about it any more: %s",
			p.Name, v.Findings[i].Relative(in.Now))
	}
	rule, _ := approvalRule(p, in.Facts.Terms)
	if why := ineligible(in, spec.Approver, rule); why != "" {
		return refuse(v1alpha1.ReasonNotPermittedToApprove, "spec.approver", "%q %s", spec.Approver.User, why)
	}
	if spec.Decision == v1alpha1.DecisionDenied {
		return nil // whatever was shown, and however often
	}
	return judgeApproval(in, v, spec, refuse)
}

func judgeApproval(
	in Input, v Verdict, spec v1alpha1.DelegationApprovalSpec, refuse func(v1alpha1.Reason, string, string, ...any) *Finding,
) *Finding {
	facts := in.Facts.Approval
	switch {
	case facts.Unknown != "" || facts.Digest == "":
		return refuse(v1alpha1.ReasonUndetermined, "spec.digest", "could not determine what is to be approved: %s", facts.Unknown)
	case spec.Digest != facts.Digest:
		return refuse(v1alpha1.ReasonApprovalStale, "spec.digest", "path %q is not what was shown: its digest is %s now; look at it again",
			in.Path.Name, facts.Digest)
	case !in.Now.Before(spec.ExpiresAt.Time):
		return refuse(v1alpha1.ReasonApprovalExpired, "spec.expiresAt", "it has passed: name a time to come")
	case slices.ContainsFunc(v.Approvals, func(d v1alpha1.RecordedDecision) bool { return Person(d.Approver) == Person(spec.Approver.User) }):
		return refuse(v1alpha1.ReasonNotPermittedToApprove, "spec.approver", "%q has approved path %q already: it takes somebody else",
			spec.Approver.User, in.Path.Name)
	case !v.waitsForApproval():
		return refuse(v1alpha1.ReasonNotPermittedToApprove, "spec.path", "path %q is approved already", in.Path.Name)
	}
	return nil
}
