package delegation

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

const (
	// approvalWithin is how long a request for approval waits where the path does not say it.
	approvalWithin = 72 * time.Hour
	// maxDecisions is how many decisions the status of a path keeps, and how many people a path can require.
	maxDecisions = 8
)

// Approval is what was found out about the approval of a path. It is looked up where AsksForApproval says so.
type Approval struct {
	// Digest is that of the path as it is; empty if it could not be computed.
	Digest string
	// NotStored is true where the path, or a hop of it, is that of a request: it has no digest yet.
	NotStored bool
	// Unknown is why something could not be found out; empty if all was.
	Unknown string
	// Newest is when the newest of the hops that the digest covers was made; zero if it covers none.
	Newest time.Time
	// Excluded are the users, by name in lower case, who must not approve, and why: each is a part of what is to be approved.
	Excluded map[string]string
	// Decisions are those of the path that are not in its status.
	Decisions []Decided
}

// Decided is a decision, and whether who decided may.
type Decided struct {
	*v1alpha1.DelegationApproval

	MayApprove Answer
}

// AsksForApproval says whether the verdict depends on whether a path was approved.
func AsksForApproval(p *v1alpha1.DelegationPath, t Terms) bool {
	_, required := approvalRule(p, t)
	return required
}

// approvalRule is the rule by which a path has to be approved, if it has to be: by its own, for the risks that it accepts, or since a
// ceiling that it uses says so. A denial is final also where nothing has to be approved any more.
func approvalRule(p *v1alpha1.DelegationPath, t Terms) (v1alpha1.ApprovalRule, bool) {
	rule := v1alpha1.ApprovalRule{}
	if p.Spec.Approval != nil {
		rule = *p.Spec.Approval
	}
	required := p.Spec.Approval != nil || len(toApprove(p)) > 0 || t.Approvals > 0 || isDenied(p)
	rule.Count = min(max(1, rule.Count, t.Approvals), maxDecisions)
	rule.Covers = cmp.Or(rule.Covers, v1alpha1.CoversHops)
	if rule.Within == nil {
		rule.Within = &metav1.Duration{Duration: approvalWithin}
	}
	return rule, required
}

func isDenied(p *v1alpha1.DelegationPath) bool {
	return p.Status.Approval != nil && p.Status.Approval.State == v1alpha1.ApprovalDenied
}

// Covers is what an approval of a path covers.
func Covers(p *v1alpha1.DelegationPath) v1alpha1.ApprovalCovers {
	rule, _ := approvalRule(p, Terms{})
	return rule.Covers
}

// checkApproval checks that a path that has to be approved was, as it is, by enough people who may. What they approved ends with the first
// approval without which there are not enough.
func (e *evaluation) checkApproval(p *v1alpha1.DelegationPath, n node) {
	rule, required := approvalRule(p, e.in.Facts.Terms)
	if denial := e.denial(p, rule); denial != nil {
		e.denied = denial
		e.report(Finding{
			Reason: v1alpha1.ReasonApprovalDenied, Node: n.name, Actor: denial.Approver, At: denial.At.Time,
			Message: fmt.Sprintf("%q; this is final: make a new path", denial.Reason),
		})
		return
	}
	if !required {
		return
	}
	if e.in.Facts.Approval.NotStored {
		e.report(Finding{Reason: v1alpha1.ReasonApprovalMissing, Node: n.name, Message: fmt.Sprintf(
			"it takes the approval of %d, of those who hold the verb %s on the path%s: its status.digest is going to say what they approve",
			rule.Count, v1alpha1.VerbApprove, ofWhom(rule))})
		return
	}
	if facts := e.in.Facts.Approval; facts.Unknown != "" || facts.Digest == "" {
		e.reportUnapproved(n, cmp.Or(facts.Unknown, "it was not looked up"))
		return
	}
	if unknown := e.mayBeDenied(rule); unknown != "" {
		e.reportUnapproved(n, unknown)
		return
	}
	if !e.approved(p, rule, n) {
		return
	}
	end := known(e.approvals[rule.Count-1].ExpiresAt.Time)
	e.begun, e.end = earlier(e.begun, end), earlier(e.end, end)
}

func (e *evaluation) reportUnapproved(n node, why string) {
	e.report(Finding{Reason: v1alpha1.ReasonUndetermined, Node: n.name, Message: "could not determine whether the path is approved: " + why})
}

// approved keeps the approvals that count, and reports what is missing.
func (e *evaluation) approved(p *v1alpha1.DelegationPath, rule v1alpha1.ApprovalRule, n node) bool {
	if e.approvals = e.standing(p, rule); len(e.approvals) >= int(rule.Count) {
		return true
	}
	until := e.requestedAt(p).Add(rule.Within.Duration)
	if !e.in.Now.Before(until) {
		e.begun, e.end = until, until
		e.report(Finding{
			Reason: v1alpha1.ReasonExpired, Node: n.name, Field: "spec.approval.within", At: until,
			Message: fmt.Sprintf("the request for approval has waited for %s: make a new path", brief(rule.Within.Duration)),
		})
		return false
	}
	reason, what := e.whyMissing(p)
	if reason == "" {
		e.reportUnapproved(n, what)
		return false
	}
	e.begun = earlier(e.begun, until) // to look again then
	e.report(Finding{Reason: reason, Node: n.name, Message: fmt.Sprintf(
		"%s%d of %d approvals were given: until %s, who holds the verb %s on the path%s may create a DelegationApproval of its status.digest",
		what, len(e.approvals), rule.Count, until.UTC().Format(time.RFC3339), v1alpha1.VerbApprove, ofWhom(rule))})
	return false
}

// ofWhom says of whom alone an approval counts.
func ofWhom(rule v1alpha1.ApprovalRule) string {
	if rule.Approvers == nil {
		return ""
	}
	var names []string
	for _, a := range rule.Approvers {
		names = append(names, a.Name)
	}
	return " and is among " + quoteSome(names)
}

// requestedAt is since when a path waits for approval as it is. One that was approved waits from when its approvals do not do any more:
// more may be demanded by then, and the request that they answered is over.
func (e *evaluation) requestedAt(p *v1alpha1.DelegationPath) time.Time {
	a := p.Status.Approval
	if a != nil && a.State != v1alpha1.ApprovalApproved && a.RequestedAt != nil && a.RequestedDigest == e.in.Facts.Approval.Digest {
		return a.RequestedAt.Time
	}
	return e.in.Now.Truncate(time.Second)
}

// standing are the approvals that count now, each of another person, those that hold longest first: the ones that were spent if the path
// is as it was then, and those that were given since.
func (e *evaluation) standing(p *v1alpha1.DelegationPath, rule v1alpha1.ApprovalRule) []v1alpha1.RecordedDecision {
	var all []v1alpha1.RecordedDecision
	facts := e.in.Facts.Approval
	if e.isAsApproved(p) {
		all = append(all, p.Status.Approval.Decisions...)
	}
	for _, d := range facts.Decisions {
		if d.Spec.Decision == v1alpha1.DecisionApproved && d.Spec.Digest == facts.Digest && d.MayApprove.Outcome == Allow && !isOver(p, d) &&
			ineligible(e.in, d.Spec.Approver, rule) == "" && !d.CreationTimestamp.Time.After(e.requestedAt(p).Add(rule.Within.Duration)) {
			all = append(all, recordedDecision(d.DelegationApproval))
		}
	}
	all = slices.DeleteFunc(all, func(d v1alpha1.RecordedDecision) bool {
		return !e.in.Now.Before(d.ExpiresAt.Time) || excluded(e.in, d.Approver) != ""
	})
	slices.SortStableFunc(all, func(a, b v1alpha1.RecordedDecision) int {
		return cmp.Or(b.ExpiresAt.Compare(a.ExpiresAt.Time), strings.Compare(a.Name, b.Name))
	})
	people := map[string]bool{}
	all = slices.DeleteFunc(all, func(d v1alpha1.RecordedDecision) bool {
		again := people[Person(d.Approver)]
		people[Person(d.Approver)] = true
		return again
	})
	return all[:min(len(all), int(rule.Count))]
}

// isAsApproved says whether a path is as it was when its approvals were spent. A hop that was made since is another one, though it says the
// same: its uses would begin anew.
func (e *evaluation) isAsApproved(p *v1alpha1.DelegationPath) bool {
	a, facts := p.Status.Approval, e.in.Facts.Approval
	return a != nil && a.SpentAt != nil && a.ApprovedDigest == facts.Digest && !facts.Newest.After(a.SpentAt.Time)
}

// isOver says whether a decision was spent, or given before others were: it is of no use for what the path became since.
func isOver(p *v1alpha1.DelegationPath, d Decided) bool {
	a := p.Status.Approval
	return a != nil && a.SpentAt != nil && (d.CreationTimestamp.Time.Before(a.SpentAt.Time) ||
		slices.ContainsFunc(a.Decisions, func(spent v1alpha1.RecordedDecision) bool { return spent.UID == string(d.UID) }))
}

// denial is the decision that ends a path; nil if there is none. It need not be of the path as it is.
func (e *evaluation) denial(p *v1alpha1.DelegationPath, rule v1alpha1.ApprovalRule) *v1alpha1.RecordedDecision {
	if a := p.Status.Approval; isDenied(p) && len(a.Decisions) > 0 {
		return &a.Decisions[0]
	}
	for _, d := range e.in.Facts.Approval.Decisions {
		if d.Spec.Decision == v1alpha1.DecisionDenied && d.MayApprove.Outcome == Allow && ineligible(e.in, d.Spec.Approver, rule) == "" {
			return new(recordedDecision(d.DelegationApproval))
		}
	}
	return nil
}

// mayBeDenied says what is not known of somebody who denied the path; empty if nothing is.
func (e *evaluation) mayBeDenied(rule v1alpha1.ApprovalRule) string {
	for _, d := range e.in.Facts.Approval.Decisions {
		if d.Spec.Decision == v1alpha1.DecisionDenied && d.MayApprove.Outcome == Undetermined && ineligible(e.in, d.Spec.Approver, rule) == "" {
			return cmp.Or(d.MayApprove.Detail, "whether who denied it may was not looked up")
		}
	}
	return ""
}

// whyMissing says why approvals that were given do not count. Without a reason, one could count of which something is not known.
func (e *evaluation) whyMissing(p *v1alpha1.DelegationPath) (v1alpha1.Reason, string) {
	facts, reason, what := e.in.Facts.Approval, v1alpha1.ReasonApprovalMissing, ""
	if a := p.Status.Approval; a != nil && a.SpentAt != nil && !e.isAsApproved(p) {
		reason, what = v1alpha1.ReasonApprovalStale, "the path was changed since it was approved, or a hop of it; "
	}
	for _, d := range facts.Decisions {
		switch {
		case d.Spec.Decision != v1alpha1.DecisionApproved:
		case d.Spec.Digest != facts.Digest:
			reason, what = v1alpha1.ReasonApprovalStale, "the path was changed since it was approved, or a hop of it; "
		case !e.in.Now.Before(d.Spec.ExpiresAt.Time) && reason == v1alpha1.ReasonApprovalMissing:
			reason, what = v1alpha1.ReasonApprovalExpired, fmt.Sprintf("the approval by %q has ended; ", d.Spec.Approver.User)
		case d.MayApprove.Outcome == Undetermined:
			return "", d.MayApprove.Detail
		}
	}
	return reason, what
}

// Person is a user as somebody who decides: names that differ in case alone are not two people.
func Person(user string) string { return strings.ToLower(strings.TrimSpace(user)) }

// excluded says why a user must not approve a path of which they are a part; empty if they may.
func excluded(in Input, user string) string {
	switch origin := in.Path.Spec.Origin; {
	case origin != nil && Person(origin.User) == Person(user):
		return "is the origin of the path"
	case origin != nil && origin.DeclaredBy != "" && Person(origin.DeclaredBy) == Person(user):
		return "named the origin of the path"
	case IsHopAccount(user):
		return "is the identity of a hop"
	}
	return in.Facts.Approval.Excluded[Person(user)]
}

// ineligible says why the decision of somebody does not count; empty if it does.
func ineligible(in Input, who *v1alpha1.Approver, rule v1alpha1.ApprovalRule) string {
	if who == nil {
		return "is not known"
	}
	if why := excluded(in, who.User); why != "" {
		return why
	}
	named := slices.Contains(rule.Approvers, v1alpha1.ApproverRef{Kind: v1alpha1.ApproverUser, Name: who.User})
	switch {
	case strings.HasPrefix(who.User, "system:") && !named:
		return "is no person: name it as a User in spec.approval.approvers of the path"
	case rule.Approvers != nil && !named && !slices.ContainsFunc(rule.Approvers, func(a v1alpha1.ApproverRef) bool {
		return a.Kind == v1alpha1.ApproverGroup && slices.Contains(who.Groups, a.Name)
	}):
		return "is not among spec.approval.approvers of the path"
	case in.RequireCredential && who.CredentialID == "":
		return "uses a credential without an id, which is required here (--approver-credential=require)"
	}
	return ""
}

func recordedDecision(a *v1alpha1.DelegationApproval) v1alpha1.RecordedDecision {
	return v1alpha1.RecordedDecision{
		Name: a.Name, UID: string(a.UID), Approver: a.Spec.Approver.User, CredentialID: a.Spec.Approver.CredentialID,
		Reason: a.Spec.Reason, At: a.CreationTimestamp, ExpiresAt: a.Spec.ExpiresAt,
	}
}

// HasApproved says whether a user approved a path as its status says.
func HasApproved(p *v1alpha1.DelegationPath, user string) bool {
	a := p.Status.Approval
	return a != nil && a.State == v1alpha1.ApprovalApproved && slices.ContainsFunc(a.Decisions, func(d v1alpha1.RecordedDecision) bool {
		return Person(d.Approver) == Person(user)
	})
}

// OfPeople are those of some hops that no identity of a hop made: what one makes is narrower than the hop that made it, which is approved.
func OfPeople(hops []*v1alpha1.DelegationHop) []*v1alpha1.DelegationHop {
	return slices.DeleteFunc(slices.Clone(hops), func(h *v1alpha1.DelegationHop) bool { return IsHopAccount(authorOf(h)) })
}
