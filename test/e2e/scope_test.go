//go:build unix

package e2e

import (
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/scope"
)

// TestScopeNamesATokenSecret: a path may not name the Secret in which a hop of another path keeps its token, whichever of
// the two was first.
func TestScopeNamesATokenSecret(t *testing.T) {
	f := hopSetup(t)
	f.bind(f.ns, f.by, rule("", "secrets", "get", "isolate-token"))
	reads := func(name string) *v1alpha1.DelegationPath {
		return f.path(name, func(p *v1alpha1.DelegationPath) {
			p.Spec.Scope = in([]string{f.ns}, resources("", "secrets", "get", "isolate-token"))
		})
	}
	before := reads("before")
	f.apply(f.by, before)
	f.state(before, v1alpha1.ReasonActive)

	h := f.hop("isolate", "contain", "")
	f.apply(f.by, f.path("contain"), h)
	f.granted(h)
	if said := f.state(before, v1alpha1.ReasonScopeAmplifies); !strings.Contains(said, `get secrets "isolate-token" in namespace `+f.ns) {
		t.Errorf("the path says %q", said)
	}
	f.wantDenied(f.creates(f.by, reads("after")), "ScopeAmplifies", "a hop of another path keeps its token there")

	f.remove(f.by, h)
	f.state(before, v1alpha1.ReasonActive)
}

// TestViewFits: what the ClusterRole view of Kubernetes allows in a namespace fits in a scope that accepts streams.
func TestViewFits(t *testing.T) {
	f := hopSetup(t)
	view := &rbacv1.ClusterRole{}
	if err := suite.admin.Get(f.Context(), client.ObjectKey{Name: "view"}, view); err != nil {
		t.Fatal(err)
	}
	if len(view.Rules) == 0 {
		t.Fatal("the ClusterRole has no rules")
	}
	for _, r := range view.Rules {
		entry := in([]string{f.on}, v1alpha1.ResourceRule{
			APIGroups: r.APIGroups, Resources: r.Resources, Verbs: r.Verbs, ResourceNames: r.ResourceNames,
		})
		bearer := scope.Bearer{Accepted: []scope.Risk{v1alpha1.RiskStreams}}
		if problems := scope.EscalationRisks(entry, bearer); len(problems) > 0 {
			t.Errorf("%v does not fit: %v", r, problems)
		}
	}
}
