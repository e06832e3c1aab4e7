package delegation

import (
	"testing"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestDepthCountsWhatIsBelow: hops can be created leaf first, and below a path that does not exist.
func TestDepthCountsWhatIsBelow(t *testing.T) {
	below := func(in Input, levels int) Input {
		in.Below = levels
		return in
	}
	for name, c := range map[string]struct {
		in   Input
		want bool
	}{
		"a hop with as many levels below as the path allows": {in: below(ask(path(), hop("isolate")), MaxDepth(path())-1)},
		"a hop with one level more":                          {in: below(ask(path(), hop("isolate")), MaxDepth(path())), want: true},
		"a hop without a path, as deep as any may be":        {in: below(ask(nil, hop("isolate", withoutStatus)), MaxChain-1)},
		"a hop without a path, deeper than any may be":       {in: below(ask(nil, hop("isolate", withoutStatus)), MaxChain), want: true},
	} {
		f, found := Evaluate(c.in).Find(v1alpha1.ReasonDepthExceeded)
		if found != c.want || found && f.Node != "" {
			t.Errorf("%s: %t %+v", name, found, f)
		}
	}
}
