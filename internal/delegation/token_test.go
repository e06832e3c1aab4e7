package delegation

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

func TestTokenDue(t *testing.T) {
	credential := func(issued, expires time.Duration) hopOption {
		return func(h *v1alpha1.DelegationHop) {
			h.Status.Credential = &v1alpha1.Credential{IssuedAt: *at(issued), ExpiresAt: *at(expires)}
		}
	}
	for name, test := range map[string]struct {
		hop  *v1alpha1.DelegationHop
		want time.Time
	}{
		"no token is asked for":      {hop: hop("isolate")},
		"none is asked for any more": {hop: hop("isolate", credential(0, time.Hour))},
		"none was made yet":          {hop: hop("isolate", withToken("")), want: noon},
		"one of ten minutes":         {hop: hop("isolate", withToken(""), credential(0, 10*time.Minute)), want: noon.Add(8 * time.Minute)},
		"one of an hour, long ago": {
			hop: hop("isolate", withToken(""), credential(-2*time.Hour, -time.Hour)), want: noon.Add(-72 * time.Minute),
		},
		"one that ended before it was made": {hop: hop("isolate", withToken(""), credential(0, -time.Minute)), want: noon.Add(-48 * time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, TokenDue(test.hop, noon)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestTokenForAnotherAudienceEndsWithItsHop, as nothing can revoke it.
func TestTokenForAnotherAudienceEndsWithItsHop(t *testing.T) {
	vault, own := TokenSpec{Audience: "vault", Life: time.Hour}, TokenSpec{Life: time.Hour}
	for left, may := range map[time.Duration]bool{2 * time.Hour: true, 11 * time.Minute: true, 10 * time.Minute: false, 0: false} {
		end := noon.Add(left)
		if got := vault.MayIssue(end, noon); got != may {
			t.Errorf("with %s left a token for vault may be issued: %v", left, got)
		}
		if life := vault.NextTokenLife(end, noon); may && noon.Add(life).After(end) {
			t.Errorf("with %s left a token for vault lives for %s", left, life)
		}
		if !own.MayIssue(end, noon) {
			t.Errorf("with %s left no token for the API server is issued, which ends with the hop anyway", left)
		}
	}
	for name, c := range map[string]struct {
		life     time.Duration
		audience string
		want     v1alpha1.Reason
	}{
		"a short hop":                             {life: 11*time.Minute - 1, audience: "vault", want: v1alpha1.ReasonLifetimeTooShort},
		"a hop that is long enough":               {life: 11 * time.Minute, audience: "vault", want: v1alpha1.ReasonGranted},
		"a short hop with a token for Kubernetes": {life: time.Minute, want: v1alpha1.ReasonGranted},
	} {
		h := hop("isolate", withToken(c.audience), hopSpec(func(s *v1alpha1.DelegationHopSpec) {
			s.Lifetime = &v1alpha1.Lifetime{Duration: &metav1.Duration{Duration: c.life}}
		}))
		h.Status.ActiveSince = nil
		p := path(func(p *v1alpha1.DelegationPath) { p.Spec.Scope.Audiences = []string{"vault"} })
		if got := Evaluate(ask(p, h)); got.Reason(v1alpha1.ReasonGranted) != c.want {
			t.Errorf("%s: %s, want %s", name, got.Message(), c.want)
		}
	}
}
