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

// TestScopeNamesATokenSecret: a path may not name the Secret in which a hop keeps its token, nor a hop take one that a path
// names: who comes second gives way.
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
	if said := f.state(h, v1alpha1.ReasonSecretTaken); !strings.Contains(said, `Secret "isolate-token"`) {
		t.Errorf("the hop says %q", said)
	}
	f.state(before, v1alpha1.ReasonActive)
	f.change(f.by, before, revoke)
	f.granted(h)
	f.wantDenied(f.creates(f.by, reads("after")), "ScopeAmplifies", `get secrets "isolate-token" in namespace `+f.ns, "keeps its token there")
	if said := f.answer(f.colleague("mallory"), reads("elsewhere")); strings.Contains(said, "keeps its token") || said == "" {
		t.Errorf("who may not read the Secret is told %q", said)
	}
	f.remove(f.by, h)
	f.apply(f.by, reads("after"))
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
