package delegation

import (
	"fmt"
	"slices"
	"time"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// maxLiveUses is how many uses of a hop may be live at a time, as the schema bounds them.
const maxLiveUses = 64

// HasLiveUse says whether a use of a hop is live, be it suspended or not.
func HasLiveUse(status *v1alpha1.DelegationHopStatus) bool {
	return status.Uses != nil && len(status.Uses.Live) > 0
}

// InUse says whether a use of a hop is live and not suspended: then the hop needs its permissions.
func InUse(status *v1alpha1.DelegationHopStatus) bool {
	return HasLiveUse(status) && slices.ContainsFunc(status.Uses.Live, func(u v1alpha1.Use) bool { return u.SuspendedFor == "" })
}

// IsSpent says whether the present identity of a hop has been used and no use is live: then it is to be replaced, so that no
// token of a use that has ended works in a later one. What holds the token of a hop has no moment of use, so a hop that keeps
// one keeps its identity.
func IsSpent(hop *v1alpha1.DelegationHop, next *v1alpha1.DelegationHopStatus) bool {
	return hop.Spec.Token == nil && next.Uses != nil && len(next.Uses.Live) == 0 &&
		next.Uses.Incarnation == next.Incarnation && next.Incarnation > 0
}

// LiveUse is the live use that a Job or Pod is; nil if it is none.
func LiveUse(status *v1alpha1.DelegationHopStatus, uid string) *v1alpha1.Use {
	if status.Uses == nil {
		return nil
	}
	i := slices.IndexFunc(status.Uses.Live, func(u v1alpha1.Use) bool { return u.UID == uid })
	if i < 0 {
		return nil
	}
	return &status.Uses.Live[i]
}

// BeginUse counts a use of a hop in its next status, unless it is live already. The finding says why it may not begin, or not
// go on; nil if it may.
func BeginUse(next *v1alpha1.DelegationHopStatus, hop *v1alpha1.DelegationHop, use v1alpha1.Use, now time.Time) *Finding {
	if live := LiveUse(next, use.UID); live != nil {
		if UseOver(hop, *live, now) {
			f := DurationExceeded(hop)
			return &f
		}
		next.Uses.Incarnation = next.Incarnation // it may have begun as an earlier identity
		live.SuspendedFor = ""
		return nil
	}
	if hop.Spec.Workload == nil {
		return &Finding{Reason: v1alpha1.ReasonWorkloadNotAllowed, Message: nothingMayRun}
	}
	if f := usesExhausted(hop, next.Uses); f != nil {
		return f
	}
	summarizeUses(next, hop)
	uses := next.Uses
	if f := TooManyLiveUses(next, use.UID); f != nil {
		return f
	}
	use.Since.Time = now.Truncate(time.Second)
	*uses.Begun++
	uses.Live, uses.Incarnation = append(uses.Live, use), next.Incarnation
	summarizeUses(next, hop)
	return nil
}

// TooManyLiveUses says that a use has to wait for another one to end; nil if it does not, or is live.
func TooManyLiveUses(next *v1alpha1.DelegationHopStatus, uid string) *Finding {
	if next.Uses == nil || len(next.Uses.Live) < maxLiveUses || LiveUse(next, uid) != nil {
		return nil
	}
	return &Finding{Reason: v1alpha1.ReasonTooManyLiveUses, Message: fmt.Sprintf(
		"%d uses of the hop are live, the most at a time: this one begins when another has ended", maxLiveUses)}
}

// EndUses removes from the next status of a hop the uses that have ended.
func EndUses(next *v1alpha1.DelegationHopStatus, ended func(v1alpha1.Use) bool) {
	if next.Uses == nil {
		return
	}
	if next.Uses.Live = slices.DeleteFunc(next.Uses.Live, ended); len(next.Uses.Live) == 0 {
		next.Uses.Live = nil
	}
}

// UseOver says whether a use has lasted as long as its hop allows.
func UseOver(hop *v1alpha1.DelegationHop, use v1alpha1.Use, now time.Time) bool {
	end := useEnd(hop, use)
	return !end.IsZero() && !now.Before(end)
}

// useEnd is when a use of a hop has lasted as long as the hop allows; zero if the hop does not limit it.
func useEnd(hop *v1alpha1.DelegationHop, use v1alpha1.Use) time.Time {
	w := hop.Spec.Workload
	if w == nil || w.MaxDuration == nil {
		return time.Time{}
	}
	return use.Since.Add(w.MaxDuration.Duration)
}

// NextUseEnd is when the first of the live uses of a hop has lasted as long as the hop allows; zero if none ever has.
func NextUseEnd(hop *v1alpha1.DelegationHop, status *v1alpha1.DelegationHopStatus) time.Time {
	var next time.Time
	if status.Uses != nil {
		for _, use := range status.Uses.Live {
			next = earlier(next, useEnd(hop, use))
		}
	}
	return next
}

// Deadline is how many seconds a pod of a use may run from now: until the hop ends, or the use. It is at least one.
func Deadline(hop *v1alpha1.DelegationHop, use v1alpha1.Use, v Verdict, now time.Time) int64 {
	left := earlier(v.NotAfter, useEnd(hop, use)).Sub(now)
	return max(1, int64(left/time.Second))
}

// DurationExceeded is why a use of a hop that is over is ended. Without a maxDuration no use ever is.
func DurationExceeded(hop *v1alpha1.DelegationHop) Finding {
	return Finding{Reason: v1alpha1.ReasonDurationExceeded, Field: "spec.workload.maxDuration", Message: fmt.Sprintf(
		"a use of the hop may last %s: create a new Job; if it needs longer, raise workload.maxDuration of the hop first",
		brief(hop.Spec.Workload.MaxDuration.Duration))}
}

// MayNotUseAnyMore is why a live use is suspended while its hop is valid.
func MayNotUseAnyMore(use v1alpha1.Use) Finding {
	message := fmt.Sprintf("its author %q does not hold the verb %s on the hop any more: it goes on when they do again",
		use.By, v1alpha1.VerbUse)
	if use.SuspendedFor == v1alpha1.ReasonUndetermined {
		message = fmt.Sprintf("could not determine for too long whether its author %q may still use the hop", use.By)
	}
	return Finding{Reason: use.SuspendedFor, Actor: use.By, Message: message}
}

// usesExhausted says why no other use of a hop may begin; nil if one may.
func usesExhausted(hop *v1alpha1.DelegationHop, uses *v1alpha1.Uses) *Finding {
	w := hop.Spec.Workload
	if w == nil || w.MaxUses == 0 || begun(uses) < w.MaxUses {
		return nil
	}
	return &Finding{Reason: v1alpha1.ReasonUsesExhausted, Elsewhere: true, Message: fmt.Sprintf(
		"%d of %d uses of the hop have begun: allow more in workload.maxUses of the hop, or make a new hop", begun(uses), w.MaxUses)}
}

func begun(uses *v1alpha1.Uses) int32 {
	if uses == nil || uses.Begun == nil {
		return 0
	}
	return *uses.Begun
}

// summarizeUses says in the next status how many uses have begun, if any may.
func summarizeUses(next *v1alpha1.DelegationHopStatus, hop *v1alpha1.DelegationHop) {
	if hop.Spec.Workload == nil && next.Uses == nil {
		return
	}
	if next.Uses == nil {
		next.Uses = &v1alpha1.Uses{}
	}
	if next.Uses.Begun == nil {
		next.Uses.Begun = new(int32)
	}
	next.Uses.Summary = fmt.Sprint(begun(next.Uses))
	if w := hop.Spec.Workload; w != nil && w.MaxUses > 0 {
		next.Uses.Summary += fmt.Sprintf("/%d", w.MaxUses)
	}
}
