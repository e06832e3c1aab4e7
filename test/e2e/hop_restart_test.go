//go:build unix

package e2e

import (
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestHopWhileControllerIsDown: what happens while no controller runs is handled at the next start. It stops the
// controller, so nothing runs beside it.
func TestHopWhileControllerIsDown(t *testing.T) {
	f := setup(t)
	p, q := f.path("contain"), f.path("other")
	deleted, child := f.hop("triage", "contain", ""), f.hop("isolate", "contain", "triage")
	revoked, forgotten, narrowed := f.hop("report", "contain", ""), f.hop("orphan", "other", ""), f.hop("wide", "contain", "")
	f.apply(f.by, p, q, deleted, child, revoked, forgotten, narrowed)
	all := []*v1alpha1.DelegationHop{deleted, child, revoked, forgotten, narrowed}
	tokens := map[string]client.Client{}
	accounts := map[string]string{}
	for _, h := range all {
		accounts[h.Name] = f.granted(h)
		tokens[h.Name] = f.withToken(f.token(h))
	}

	suite.operator.Kill("controller")
	f.remove(f.by, deleted)
	f.change(f.by, revoked, revoke)
	f.change(f.by, narrowed, f.scopePatch(`"get"`))
	// A path and its hop, deleted together: neither is left to refer to the Roles in other namespaces.
	f.remove(f.by, q)
	f.remove(f.by, forgotten)
	// Without us the garbage collector ends the account and the Secret, and with them the credential.
	for _, h := range []*v1alpha1.DelegationHop{deleted, forgotten} {
		f.eventually("the credential of "+h.Name+" to stop working", func() error { return wantUnauthorized(f.read(tokens[h.Name])) })
	}
	if err := f.read(tokens[revoked.Name]); err != nil {
		t.Errorf("the hop lost its permissions although no controller ran: %v", err)
	}

	if err := suite.operator.StartController(f.Context()); err != nil {
		t.Fatal(err)
	}
	f.state(revoked, v1alpha1.ReasonRevoked)
	f.state(child, v1alpha1.ReasonChainBroken)
	for _, h := range []*v1alpha1.DelegationHop{deleted, child, revoked, forgotten} {
		f.nothingLeft(h)
		f.eventually(h.Name+" to be unknown", func() error { return wantUnauthorized(f.read(tokens[h.Name])) })
	}
	if got := f.granted(narrowed); got != accounts[narrowed.Name] {
		t.Errorf("a restart replaced the account %s by %s", accounts[narrowed.Name], got)
	}
	f.holds(narrowed, map[string][]rbacv1.PolicyRule{f.on: {rule("", "configmaps", "get")}})
	f.state(p, v1alpha1.ReasonActive)
}
