package delegation

import (
	"time"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// rotateAt is the part of a token's life after which it is replaced.
const rotateAt = 0.8

// TokenDue is when a hop's token is to be made or replaced: a time that is past or now for one that is missing, the
// zero time where no token is asked for.
func TokenDue(hop *v1alpha1.DelegationHop, now time.Time) time.Time {
	if hop.Spec.Token == nil {
		return time.Time{}
	}
	c := hop.Status.Credential
	if c == nil {
		return now
	}
	life := c.ExpiresAt.Sub(c.IssuedAt.Time)
	return c.IssuedAt.Add(time.Duration(float64(life) * rotateAt))
}

// NextWake is how long from now the object has to be looked at again because time alone changes something: its
// end, or the end of its token. Zero means never.
func NextWake(v Verdict, tokenDue, now time.Time) time.Duration {
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
