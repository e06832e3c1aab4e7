package delegation

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// PinReferences returns the next status of the hop asked about, with what a verdict alone decides: the path and parent
// that the hop is bound to, which are the first that it finds; when it became active and when it ends; and since when a
// question is open.
func PinReferences(in Input, v Verdict) *v1alpha1.DelegationHopStatus {
	hop := in.Chain.Last()
	next := hop.Status.DeepCopy()
	next.ObservedGeneration = hop.Generation
	if next.PathUID == "" && in.Path != nil && in.Path.DeletionTimestamp.IsZero() {
		next.PathUID = string(in.Path.UID)
	}
	if hops := in.Chain.Hops; next.ParentUID == "" && len(hops) > 1 {
		next.ParentUID = string(hops[len(hops)-2].UID)
	}
	next.AuthorUID = pinAccount(next.AuthorUID, hop.Spec.Author, in.Facts.authorAccount(len(in.Chain.Hops)-1))
	begin(&next.ActiveSince, v, in.Now)
	recordEnd(&next.ExpiresAt, v, next.ActiveSince, in.Now)
	latchEnd(&next.Ended, v, in.Now)
	summarizeUses(next, hop)
	if v.Outcome != Undetermined {
		next.UndeterminedSince = nil
	} else if next.UndeterminedSince == nil {
		next.UndeterminedSince = toTheSecond(in.Now)
	}
	return next
}

// FactsTooOld says whether a question about a hop has been open for longer than its grant may exist without the answer.
func FactsTooOld(status *v1alpha1.DelegationHopStatus, now time.Time, maxAge time.Duration) bool {
	since := status.UndeterminedSince
	return since != nil && now.Sub(since.Time) >= maxAge
}

// Applied is what became of a verdict on a hop in the cluster.
type Applied struct {
	// Denied is why the grant could not be made although the verdict allows it.
	Denied *Finding
	// Overwritten is who keeps changing a part of the grant that decides nothing. The hop holds its grant.
	Overwritten *Finding
	// Idle is true for a hop that is not in use and keeps no token, so that it has an identity and no permissions.
	Idle bool
	// Again is after what time to look at the uses of the hop again; zero if nothing is expected.
	Again time.Duration
	// Err is the error of a step that could not be done.
	Err error
	// InEffect says whether all objects of the grant were seen to exist. It is set while the verdict is Undetermined, when
	// nothing is touched.
	InEffect metav1.ConditionStatus
}

// SetHopConditions states in the conditions of the next status what a verdict was and what became of it.
func SetHopConditions(next *v1alpha1.DelegationHopStatus, in Input, v Verdict, applied Applied) {
	s := conditionSetter{conditions: &next.Conditions, generation: in.Chain.Last().Generation, now: metav1.NewTime(in.Now)}
	reason, message := v.Reason(v1alpha1.ReasonGranted), v.Message()
	s.set(v1alpha1.ConditionValid, v.Outcome.status(), reason, message)
	switch {
	case applied.Denied != nil:
		reason, message = applied.Denied.Reason, applied.Denied.BoundedString()
	case applied.Err != nil && v.Outcome == Allow:
		reason, message = v1alpha1.ReasonNotYetValid, incomplete("the grant", applied.Err)
	case applied.Idle:
		reason, message = v1alpha1.ReasonIdle, message+"; its permissions exist while a workload runs under it"
	}
	granted, grantedMessage := grantedStatus(next, v, applied, reason), message
	if applied.Err != nil && reason.Class() != v1alpha1.ClassGood && next.ServiceAccountName != "" {
		granted = metav1.ConditionUnknown
		switch {
		case OnlyUnbound(v, applied.Err):
			grantedMessage = leftBehind(next, v)
		case v.Outcome != Allow || applied.Denied != nil:
			grantedMessage = incomplete("the withdrawal", applied.Err)
		}
	}
	s.set(v1alpha1.ConditionGranted, granted, reason, grantedMessage)
	s.setExclusive(in.Facts.Foreign)
	s.setIsolated(in.Facts.Isolation)
	if reason.Class() == v1alpha1.ClassGood {
		next.Withdrawal = nil
	}
	if o := applied.Overwritten; o != nil && reason.Class() == v1alpha1.ClassGood {
		reason, message = o.Reason, o.BoundedString()
	}
	s.setSummary(reason, message)
}

// grantedStatus says whether the grant exists.
func grantedStatus(next *v1alpha1.DelegationHopStatus, v Verdict, applied Applied, reason v1alpha1.Reason) metav1.ConditionStatus {
	switch {
	case next.ServiceAccountName == "":
		return metav1.ConditionFalse
	case v.Outcome == Undetermined:
		return applied.InEffect
	case applied.Idle:
		return metav1.ConditionFalse
	}
	return conditionStatus(reason.Class() == v1alpha1.ClassGood)
}

// begin records when an object was first allowed. It is written once.
func begin(since **metav1.Time, v Verdict, now time.Time) {
	if v.Outcome == Allow && *since == nil {
		*since = toTheSecond(now)
	}
}

// recordEnd records when an object ends. An end that has passed is never moved: what expired stays expired. What never
// began has no end yet, unless its time has passed without it: its verdict counts as if it began just now, and to record
// that would move the end with each evaluation, until it has passed.
func recordEnd(at **metav1.Time, v Verdict, since *metav1.Time, now time.Time) {
	if *at != nil && !now.Before((*at).Time) {
		return
	}
	if v.NotAfter.IsZero() || since == nil && v.NotAfter.After(now) {
		return
	}
	*at = new(metav1.NewTime(v.NotAfter))
}

func toTheSecond(t time.Time) *metav1.Time { return new(metav1.NewTime(t.Truncate(time.Second))) }
