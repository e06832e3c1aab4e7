package delegation

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// rotateAt is the part of a token's life after which it is replaced.
const rotateAt = 0.8

// minTokenLife is the shortest token that the API server issues. One for the API server that outlasts its hop by that much is
// worth nothing: it ends with the Secret and the account that it is bound to. For another audience it would be good until
// it expires, so none is issued then.
const minTokenLife = 10 * time.Minute

// tokenLife is the longest that a token of a hop may live.
func tokenLife(t *v1alpha1.Token) time.Duration {
	if t.Expiration == nil {
		return minTokenLife
	}
	return max(minTokenLife, t.Expiration.Duration)
}

// minLifeWithAudience is the shortest life of a hop with a token for another audience, with a minute for the grant.
const minLifeWithAudience = minTokenLife + time.Minute

// MayIssue says whether a token that is issued now ends with its hop.
func (t TokenSpec) MayIssue(notAfter, now time.Time) bool {
	return t.Audience == "" || t.left(notAfter, now) >= minTokenLife
}

// left is how long a token that is issued now may live. The API server reads its clock a moment later.
func (t TokenSpec) left(notAfter, now time.Time) time.Duration { return notAfter.Sub(now) - lifeSlack }

// TooLate is why there is no token for another audience at the end of a hop's life.
func (t TokenSpec) TooLate() Finding {
	return Finding{Reason: v1alpha1.ReasonLifetimeTooShort, Field: "spec.token.audience", Message: tooShort(t.Audience)}
}

func tooShort(audience string) string {
	return fmt.Sprintf("a token for audience %q lives for %s at least and cannot be revoked, so it would outlive the hop: "+
		"let the hop live for %s or longer, or leave the audience out", audience, brief(minTokenLife), brief(minLifeWithAudience))
}

// checkTokenLife checks that a hop lives as long as the shortest token for another audience.
func (e *evaluation) checkTokenLife(h *v1alpha1.DelegationHop, n node) {
	t := h.Spec.Token
	if t == nil || t.Audience == "" || e.end.IsZero() {
		return
	}
	since := e.in.Now.Truncate(time.Second)
	if h.Status.ActiveSince != nil {
		since = h.Status.ActiveSince.Time
	}
	if e.end.Sub(since) >= minLifeWithAudience {
		return
	}
	own := h.Spec.Lifetime != nil && h.Spec.Lifetime.Duration != nil && h.Spec.Lifetime.Duration.Duration < minLifeWithAudience
	e.report(Finding{
		Reason: v1alpha1.ReasonLifetimeTooShort, Node: n.name, Itself: own, Field: "spec.token.audience", Message: tooShort(t.Audience),
	})
}

// NextTokenLife is the life of a token that is issued now.
func (t TokenSpec) NextTokenLife(notAfter, now time.Time) time.Duration {
	return max(minTokenLife, min(t.Life, t.left(notAfter, now)))
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

// NextDue is when a hop's token is due, or a use of it has lasted as long as the hop allows, whichever comes first; zero if
// neither ever is.
func NextDue(hop *v1alpha1.DelegationHop, now time.Time) time.Time {
	return earlier(TokenDue(hop, now), NextUseEnd(hop, &hop.Status))
}

// HasToken says whether a token of the hop was issued.
func HasToken(hop *v1alpha1.DelegationHop) bool {
	return hop.Status.Credential != nil && hop.Status.Credential.ID != ""
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
