package facts

import (
	"testing"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/rbac"
)

// TestIsolationOf: what concerns a hop of what is known of its namespace.
func TestIsolationOf(t *testing.T) {
	hop, keeps := &v1alpha1.DelegationHop{}, &v1alpha1.DelegationHop{}
	hop.Status.ServiceAccountName, keeps.Status.ServiceAccountName = "dhop-x.5f0d.1", "dhop-x.5f0d.1"
	keeps.Spec.Token = &v1alpha1.Token{SecretName: "x-token"}
	for name, test := range map[string]struct {
		actor      rbac.Actor
		hop, keeps int
	}{
		"accounts":           {rbac.Actor{}, 1, 1},
		"its account":        {rbac.Actor{Names: []string{"dhop-x.5f0d.1"}}, 1, 1},
		"another account":    {rbac.Actor{Names: []string{"ci"}}, 0, 0},
		"Secrets":            {rbac.Actor{Secrets: true}, 0, 1},
		"the Secret":         {rbac.Actor{Secrets: true, Names: []string{"x-token"}}, 0, 1},
		"another Secret":     {rbac.Actor{Secrets: true, Names: []string{"y-token"}}, 0, 0},
		"no account by name": {rbac.Actor{Names: []string{"x-token"}}, 0, 0},
	} {
		known := actors{found: []rbac.Actor{test.actor}, complete: true}
		if got := len(isolationOf(hop, known).Actors); got != test.hop {
			t.Errorf("%s: %d can act as a hop without a token, want %d", name, got, test.hop)
		}
		if got := len(isolationOf(keeps, known).Actors); got != test.keeps {
			t.Errorf("%s: %d can act as a hop with a token, want %d", name, got, test.keeps)
		}
	}
	if isolationOf(hop, actors{}).Unknown == "" {
		t.Error("what was not read to its end is taken for all there is")
	}
}
