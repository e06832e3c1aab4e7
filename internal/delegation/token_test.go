package delegation

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
