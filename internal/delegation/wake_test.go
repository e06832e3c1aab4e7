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
		"no token is asked for":             {hop: hop("isolate")},
		"none is asked for any more":        {hop: hop("isolate", credential(0, time.Hour))},
		"none was made yet":                 {hop: hop("isolate", withToken("")), want: noon},
		"one of ten minutes":                {hop: hop("isolate", withToken(""), credential(0, 10*time.Minute)), want: noon.Add(8 * time.Minute)},
		"one of an hour, long ago":          {hop: hop("isolate", withToken(""), credential(-2*time.Hour, -time.Hour)), want: noon.Add(-72 * time.Minute)},
		"one that ended before it was made": {hop: hop("isolate", withToken(""), credential(0, -time.Minute)), want: noon.Add(-48 * time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, TokenDue(test.hop, noon)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestNextWake(t *testing.T) {
	after := noon.Add
	for name, test := range map[string]struct {
		end, tokenDue time.Time
		want          time.Duration
	}{
		"neither end nor token":     {want: 0},
		"the end":                   {end: after(time.Minute), want: time.Minute},
		"the token before the end":  {end: after(time.Minute), tokenDue: after(time.Second), want: time.Second},
		"the end before the token":  {end: after(time.Second), tokenDue: after(time.Minute), want: time.Second},
		"the token alone":           {tokenDue: after(time.Minute), want: time.Minute},
		"a token that is due":       {end: after(time.Minute), tokenDue: noon, want: time.Minute},
		"an end that is now":        {end: noon, want: 0},
		"an end that is now, again": {end: noon, tokenDue: after(time.Minute), want: time.Minute},
		"an end that was":           {end: after(-time.Minute), tokenDue: after(time.Minute), want: time.Minute},
		"both have been":            {end: after(-time.Minute), tokenDue: after(-time.Second), want: 0},
		"one nanosecond is a while": {end: after(1), want: 1},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, NextWake(Verdict{NotAfter: test.end}, test.tokenDue, noon)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
