package delegation

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// rotateAt is the part of a token's life after which it is replaced.
const rotateAt = 0.8

// minTokenLife is the shortest token that the API server issues. A token that outlasts its hop by that much is worth
// nothing: it ends with the Secret and the account that it is bound to.
const minTokenLife = 10 * time.Minute

// tokenLife is the longest that a token of a hop may live.
func tokenLife(t *v1alpha1.Token) time.Duration {
	if t.Expiration == nil {
		return minTokenLife
	}
	return max(minTokenLife, t.Expiration.Duration)
}

// NextTokenLife is the life of a token that is issued now.
func (t TokenSpec) NextTokenLife(notAfter, now time.Time) time.Duration {
	return max(minTokenLife, min(t.Life, notAfter.Sub(now)))
}

// TokenDue is when a hop's token has to be issued or replaced: a time that is not after now for one that is missing, the
// zero time where none is asked for.
func TokenDue(hop *v1alpha1.DelegationHop, now time.Time) time.Time {
	if hop.Spec.Token == nil {
		return time.Time{}
	}
	if hop.Status.Credential == nil {
		return now
	}
	return rotationDue(hop.Status.Credential)
}

// NeedsToken says whether a token has to be issued into a hop's Secret. The credential is what the status says of it, and
// secretHolds the id of the token that the Secret holds; empty if it holds none.
func NeedsToken(c *v1alpha1.Credential, secretHolds string, now time.Time) bool {
	return c == nil || c.ID == "" || c.ID != secretHolds || !now.Before(rotationDue(c))
}

func rotationDue(c *v1alpha1.Credential) time.Time {
	life := c.ExpiresAt.Sub(c.IssuedAt.Time)
	return c.IssuedAt.Add(time.Duration(float64(life) * rotateAt))
}

// AnnouncedCredential is what the status says of the Secret of a hop before there is a token in it; nil where the hop asks
// for none. A Secret that the status does not name would be lost if the controller ended here and the spec named
// another Secret meanwhile.
func AnnouncedCredential(hop *v1alpha1.DelegationHop, now time.Time) *v1alpha1.Credential {
	if hop.Spec.Token == nil {
		return nil
	}
	at := metav1.NewTime(now.Truncate(time.Second))
	return &v1alpha1.Credential{SecretName: hop.Spec.Token.SecretName, IssuedAt: at, ExpiresAt: at}
}
