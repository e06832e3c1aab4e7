package delegation

import (
	"testing"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestAHopIsNobodysOrigin: authority that a hop holds ends with its path, and must not be handed on by another one.
func TestAHopIsNobodysOrigin(t *testing.T) {
	for user, isHop := range map[string]bool{
		"system:serviceaccount:agents:dhop-isolate.0123456789.1790000000": true,
		"system:serviceaccount:agents:isolate":                            false,
		"system:serviceaccount:dhop-agents:isolate":                       false,
		"dhop-isolate": false,
	} {
		origin := pathSpec(func(s *v1alpha1.DelegationPathSpec) { s.Origin = &v1alpha1.Subject{User: user} })
		author := hopSpec(func(s *v1alpha1.DelegationHopSpec) { s.Author = &v1alpha1.Subject{User: user} })
		for name, test := range map[string]struct {
			in     Input
			reason v1alpha1.Reason
		}{
			"as origin": {ask(path(origin)), v1alpha1.ReasonOriginUnauthorized},
			"as author": {ask(path(), hop("isolate", author)), v1alpha1.ReasonNotPermittedToDelegate},
		} {
			if _, found := Evaluate(test.in).Find(test.reason); found != isHop {
				t.Errorf("%s %s: denied %v, want %v", user, name, found, isHop)
			}
		}
	}
}
