package delegation

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

func TestNextChange(t *testing.T) {
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
			if diff := cmp.Diff(test.want, NextChange(Verdict{NotAfter: test.end}, test.tokenDue, noon)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRequeueAfter(t *testing.T) {
	for name, c := range map[string]struct {
		notAfter, tokenDue, took time.Duration // from the moment of the question; 0: none
		want                     time.Duration
	}{
		"nothing comes":                           {},
		"the end":                                 {notAfter: time.Minute, want: time.Minute + time.Millisecond},
		"a token before the end":                  {notAfter: time.Minute, tokenDue: 40 * time.Second, want: 40*time.Second + time.Millisecond},
		"the work does not add to the lifetime":   {notAfter: time.Minute, took: 3 * time.Second, want: 57*time.Second + time.Millisecond},
		"the end came while it worked":            {notAfter: time.Second, took: 3 * time.Second, want: time.Millisecond},
		"an end that has passed requeues no more": {notAfter: -time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			var v Verdict
			var due time.Time
			if c.notAfter != 0 {
				v.NotAfter = noon.Add(c.notAfter)
			}
			if c.tokenDue != 0 {
				due = noon.Add(c.tokenDue)
			}
			if got := requeueAfter(v, due, noon, noon.Add(c.took)); got != c.want {
				t.Errorf("requeued after %s, want %s", got, c.want)
			}
		})
	}
}

func TestRequeueHopAfter(t *testing.T) {
	allow := Verdict{Outcome: Allow, NotAfter: noon.Add(time.Hour)}
	for name, c := range map[string]struct {
		verdict     Verdict
		denied      v1alpha1.Reason
		overwritten bool
		want        time.Duration
	}{
		"a valid hop until its end":       {verdict: allow, want: time.Hour + time.Millisecond},
		"an open question is asked again": {verdict: Verdict{NotAfter: noon.Add(time.Hour)}, want: UndeterminedRetry},
		"an open question of a hop that is about to go": {
			verdict: Verdict{NotAfter: noon.Add(time.Second)}, want: time.Second + time.Millisecond,
		},
		"a denial that passes":                 {verdict: allow, denied: v1alpha1.ReasonNotYetValid, want: UndeterminedRetry},
		"a denial that a user has to fix":      {verdict: allow, denied: v1alpha1.ReasonSecretTaken, want: DeniedRetry},
		"what is overwritten is put back":      {verdict: allow, overwritten: true, want: DeniedRetry},
		"a hop that has ended is not requeued": {verdict: deniedFor(v1alpha1.ReasonRevoked)},
	} {
		t.Run(name, func(t *testing.T) {
			var applied Applied
			if c.denied != "" {
				applied.Denied = &Finding{Reason: c.denied}
			}
			if c.overwritten {
				applied.Overwritten = &Finding{Reason: v1alpha1.ReasonOverwritten}
			}
			if got := RequeueHopAfter(c.verdict, applied, time.Time{}, noon, noon, 10*time.Minute); got != c.want {
				t.Errorf("requeued after %s, want %s", got, c.want)
			}
		})
	}
}
