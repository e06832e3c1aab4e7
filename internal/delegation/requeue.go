package delegation

import (
	"time"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

const (
	// UndeterminedRetry is how long an open question waits until it is asked again.
	UndeterminedRetry = 10 * time.Second
	// DeniedRetry is how long a grant that the API server denied waits for its next try. Most of what a denial depends on is
	// watched; this is for what is not, such as a quota, or the Secret of another owner.
	DeniedRetry = 15 * time.Second
)

// NextChange is how long from now until time alone changes something: the end of the object, or its token is due. Zero
// means never.
func NextChange(v Verdict, tokenDue, now time.Time) time.Duration {
	next := v.NotAfter
	if !next.After(now) {
		next = time.Time{}
	}
	if tokenDue.After(now) {
		next = earlier(next, tokenDue)
	}
	if next.IsZero() {
		return 0
	}
	return next.Sub(now)
}

// requeueAfter is how long from now to look again because of time alone, after a verdict of a moment ago: the work since
// then took time, which must not be added to a lifetime. A millisecond is added so that the end has surely passed. Zero
// means never.
func requeueAfter(v Verdict, tokenDue, asked, now time.Time) time.Duration {
	if next := NextChange(v, tokenDue, asked); next > 0 {
		return max(0, next-now.Sub(asked)) + time.Millisecond
	}
	return 0
}

// RequeuePathAfter is when to look at a path again, from now; zero means never.
func RequeuePathAfter(v Verdict, asked, now time.Time) time.Duration {
	retry := time.Duration(0)
	if v.Outcome == Undetermined {
		retry = UndeterminedRetry
	}
	return Sooner(requeueAfter(v, time.Time{}, asked, now), retry)
}

// RequeueHopAfter is when to look at a hop again, from now; zero means never. Applied is what became of the verdict.
func RequeueHopAfter(v Verdict, applied Applied, tokenDue, asked, now time.Time, maxFactAge time.Duration) time.Duration {
	retry := time.Duration(0)
	switch {
	case applied.Denied != nil && applied.Denied.Reason.Class() == v1alpha1.ClassWaiting:
		retry = UndeterminedRetry
	case applied.Denied != nil, applied.Overwritten != nil:
		retry = DeniedRetry
	case v.Outcome == Undetermined:
		retry = min(maxFactAge, UndeterminedRetry)
	}
	return Sooner(applied.Again, Sooner(requeueAfter(v, tokenDue, asked, now), retry))
}

// Sooner is the shorter of two waits, of which zero means never.
func Sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
