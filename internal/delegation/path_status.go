package delegation

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// Controller is the actor of audit lines and of the history where no user caused a transition.
const Controller = "wayleave"

// Unknown is the actor where a user caused a transition while no webhook answered that could have stamped who.
const Unknown = "unknown"

const (
	// maxHistory is how many transitions a path's status keeps, as its schema bounds them.
	maxHistory = 32
	// maxHistoryBytes bounds them as they are stored, so that an author who causes long messages leaves room in the object.
	maxHistoryBytes = 32 << 10
	// maxActor is how many characters the schema lets an actor have.
	maxActor = 1024
)

// PathStatus is the next status of the path of an input, whose hops are given. Where it is denied, their bindings are gone at the
// time given.
func PathStatus(in Input, v Verdict, hops []*v1alpha1.DelegationHop, unbound time.Time) *v1alpha1.DelegationPathStatus {
	path, now := in.Path, metav1.NewTime(in.Now)
	next := path.Status.DeepCopy()
	next.ObservedGeneration = path.Generation
	latchEnd(&next.Ended, v, in.Now)
	next.OriginUID = pinAccount(next.OriginUID, path.Spec.Origin, in.Facts.OriginAccount)
	begin(&next.ActiveSince, v, in.Now)
	recordEnd(&next.ExpiresAt, v, next.ActiveSince, in.Now)
	next.Hops = countHops(path, hops)
	recordWithdrawal(next, in, v, hops, unbound)
	setApproval(next, in, v)

	reason := v.Reason(v1alpha1.ReasonActive)
	if reason != ReadyReason(path.Status.Conditions) {
		next.History = append(next.History, v1alpha1.Transition{
			Time: now.Rfc3339Copy(), Actor: PathActor(path, v), Reason: reason, Message: v.Message(),
		})
		next.History = latest(next.History)
	}
	s := conditionSetter{conditions: &next.Conditions, generation: path.Generation, now: now}
	setOriginAuthorized(s, in, v)
	setApproved(s, in, v, next.Approval)
	s.setSummary(reason, v.Message())
	return next
}

// setOriginAuthorized states what was answered about the origin, and what a verdict says about it.
func setOriginAuthorized(s conditionSetter, in Input, v Verdict) {
	set := func(status metav1.ConditionStatus, f Finding) {
		s.set(v1alpha1.ConditionOriginAuthorized, status, f.Reason, f.BoundedString())
	}
	for _, reason := range []v1alpha1.Reason{
		v1alpha1.ReasonOriginUnauthorized, v1alpha1.ReasonOriginGone, v1alpha1.ReasonScopeExceedsOrigin,
	} {
		if f, found := v.Find(reason); found {
			set(metav1.ConditionFalse, f)
			return
		}
	}
	if f, found := v.Find(v1alpha1.ReasonUndetermined); found {
		set(metav1.ConditionUnknown, f)
		return
	}
	if in.Facts.Origin.Outcome != Allow {
		s.set(v1alpha1.ConditionOriginAuthorized, metav1.ConditionUnknown, v.Reason(v1alpha1.ReasonActive),
			"the path has ended, so what its origin may do is not asked any more")
		return
	}
	reason, message := v1alpha1.ReasonOriginAuthorized, "the origin may do all that the path allows"
	if in.Facts.Unbounded.Outcome == Allow {
		reason, message = v1alpha1.ReasonUnbounded, "the origin may do everything, so it bounds nothing"
	}
	message += accepted(in.Path.Spec.Scope.AcceptedRisks) + notAsked(in.Path.Spec.Origin, in.MaxUserLifetime)
	s.set(v1alpha1.ConditionOriginAuthorized, metav1.ConditionTrue, reason, clip(message, maxMessage))
}

// notAsked says what cannot be asked about an origin, and what bounds that.
func notAsked(origin *v1alpha1.Subject, most time.Duration) string {
	if IsServiceAccount(origin.User) {
		return ""
	}
	said := "; whether the user still exists"
	if len(origin.Groups) > 0 {
		said += fmt.Sprintf(" and is still in %s", quoteSome(origin.Groups))
	}
	said += " cannot be asked: it is as when the path was applied"
	if most > 0 {
		said += fmt.Sprintf(", and the path ends %s after it became active at the latest", brief(most))
	}
	return said
}

// latest are the last transitions that a status has room for, at least one.
func latest(history []v1alpha1.Transition) []v1alpha1.Transition {
	room := maxHistoryBytes
	for i, transition := range slices.Backward(history) {
		raw, err := json.Marshal(transition)
		if room -= len(raw); err != nil || room < 0 || len(history)-i > maxHistory {
			return history[min(i+1, len(history)-1):]
		}
	}
	return history
}

// countHops counts the hops that are bound to a path. One that names the path and whose author may not delegate on it is not of
// the path, and neither is one of an earlier path of the name: whoever may create hops anywhere may create those.
func countHops(path *v1alpha1.DelegationPath, hops []*v1alpha1.DelegationHop) *v1alpha1.HopCounts {
	var total, ready, stalled int32
	for _, hop := range hops {
		reason := ReadyReason(hop.Status.Conditions)
		if hop.Status.PathUID != string(path.UID) || reason == v1alpha1.ReasonNotPermittedToDelegate {
			continue
		}
		total++
		switch {
		case reason == "":
		case reason.Class() == v1alpha1.ClassGood:
			ready++
		case reason.Class() != v1alpha1.ClassWaiting:
			stalled++
		}
	}
	return &v1alpha1.HopCounts{Total: &total, Ready: &ready, Stalled: &stalled}
}

// PathActor is who caused the path's present state, as far as admission recorded it. A name is cut to what the schema
// takes: a status that cannot be written would go on saying that the path is active.
func PathActor(path *v1alpha1.DelegationPath, v Verdict) string {
	if v.Outcome == Allow && len(v.Approvals) > 0 && !isSpent(path.Status.Approval, v) {
		return clip(approversOf(v.Approvals), maxActor)
	}
	if path.Generation != path.Status.ObservedGeneration && v.actor() == "" {
		return clip(changedBy(path), maxActor)
	}
	return HopActor(v)
}

// changedBy is who made the path's present generation.
func changedBy(path *v1alpha1.DelegationPath) string {
	by, generation := path.Annotations[v1alpha1.AnnotationChangedBy], path.Annotations[v1alpha1.AnnotationChangedGeneration]
	if by == "" || generation != strconv.FormatInt(path.Generation, 10) {
		return Unknown
	}
	return by
}

// HopActor is who caused a hop's present state.
func HopActor(v Verdict) string {
	if actor := v.actor(); actor != "" {
		return clip(actor, maxActor)
	}
	return Controller
}
