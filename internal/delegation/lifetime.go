package delegation

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// end is the earlier of what a lifetime says, zero if that is not known. A duration counts only once it has a beginning.
func end(l *v1alpha1.Lifetime, since *metav1.Time) time.Time {
	var at time.Time
	if l != nil && l.NotAfter != nil {
		at = known(l.NotAfter.Time)
	}
	if l != nil && l.Duration != nil && since != nil {
		at = earlier(at, known(since.Add(l.Duration.Duration)))
	}
	return at
}

// known is a time to the second and not beyond: object times have no fractions, and rounding up would outlast the grant.
// It is never the zero time, which somebody may write, and which would pass for no end at all.
func known(t time.Time) time.Time {
	if epoch := time.Unix(0, 0).UTC(); t.Before(epoch) {
		return epoch
	}
	return t.Truncate(time.Second)
}

// earlier is the earlier of two times of which either may be unknown.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// ended says whether an end has come, by the lifetime or by what the status recorded: an end that has passed once
// stays, whatever a later change of the lifetime says.
func ended(now, at time.Time, recorded *metav1.Time) (time.Time, bool) {
	if recorded != nil && !now.Before(recorded.Time) {
		return recorded.Time, true
	}
	return at, !at.IsZero() && !now.Before(at)
}

// declared is a lifetime, and whose it is.
type declared struct {
	lifetime *v1alpha1.Lifetime
	whose    string
}

// longer says how a lifetime declares more than the one above it, a later point in time, or a longer duration, with a
// place for whose that is; nothing where it does not. What merely runs longer because it began later is cut off, not
// refused, so that the answer never depends on when the question is asked.
func longer(l, above *v1alpha1.Lifetime) string {
	if l == nil || above == nil {
		return ""
	}
	if l.Duration != nil && above.Duration != nil && l.Duration.Duration > above.Duration.Duration {
		return brief(l.Duration.Duration) + " is longer than %s's " + brief(above.Duration.Duration)
	}
	if l.NotAfter != nil && above.NotAfter != nil && l.NotAfter.After(above.NotAfter.Time) {
		return l.NotAfter.UTC().Format(time.RFC3339) + " is later than %s's " + above.NotAfter.UTC().Format(time.RFC3339)
	}
	return ""
}

// brief writes a duration as one would: 48h, not 48h0m0s.
func brief(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
