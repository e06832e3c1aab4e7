//go:build unix

package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
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
	earlier := grantedEarlier(t)
	// Its pod was superseded, and the controller did not live to resume it.
	idle := f.hop("idle", "contain", "", usedBy(v1alpha1.WorkloadJob, v1alpha1.WorkloadPod))
	f.apply(f.by, idle)
	f.state(idle, v1alpha1.ReasonIdle)
	f.usable(idle.Name)
	job := f.work("superseded", idle.Name)
	job.Spec.Suspend = new(true)
	f.apply(f.by, job)

	suite.operator.Kill("controller")
	earlier.replace()
	f.remove(f.by, deleted)
	f.change(f.by, revoked, revoke)
	f.change(f.by, narrowed, f.scopePatch(`"get"`))
	mark := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q,%q:%q}}}`, v1alpha1.AnnotationSuspendedFor, v1alpha1.ReasonWrongServiceAccount,
		v1alpha1.AnnotationSuspendedHop, idle.UID)
	if err := suite.admin.Patch(t.Context(), job, client.RawPatch(types.MergePatchType, []byte(mark))); err != nil {
		t.Fatal(err)
	}
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
	earlier.isSwept()
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
	f.eventually("the Job to be resumed", func() error {
		if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(job), job); err != nil {
			return err
		}
		if *job.Spec.Suspend {
			return errors.New("it is suspended")
		}
		return nil
	})
}

// earlierHop is one that is replaced by another hop of its name while no controller runs. Nothing can be decided about that
// one, so its reconcile touches nothing: what the earlier one left in another namespace is left to the sweep. Where a name is
// gone or decided, the hop's own reconcile removes it as well, and would hide a sweep that does not.
type earlierHop struct {
	*fixture
	hop    *v1alpha1.DelegationHop
	left   []client.Object
	rights client.Object // what its origin holds
}

func grantedEarlier(t *testing.T) *earlierHop {
	t.Helper()
	e := &earlierHop{fixture: setup(t)}
	other := e.ns + "-other"
	e.namespace(other)
	e.ceiling(other)
	e.rights = e.bind(other, e.by, rule("", "configmaps", "get,list"))
	scope := in([]string{other}, resources("", "configmaps", "get,list"))
	e.hop = e.fixture.hop("again", "undecided", "", func(h *v1alpha1.DelegationHop) { h.Spec.Scope = &scope })
	e.apply(e.by, e.path("undecided", func(p *v1alpha1.DelegationPath) { p.Spec.Scope = scope }), e.hop)
	made := metav1.ObjectMeta{Namespace: other, Name: e.granted(e.hop)}
	e.left = []client.Object{&rbacv1.Role{ObjectMeta: made}, &rbacv1.RoleBinding{ObjectMeta: made}}
	return e
}

// replace deletes the hop and creates another one of its name, whose origin holds nothing by RBAC. Whether the API server
// gives it more is what the controller may not ask.
func (e *earlierHop) replace() {
	e.Helper()
	e.remove(e.by, e.hop)
	e.hop = e.fixture.hop(e.hop.Name, "undecided", "", func(h *v1alpha1.DelegationHop) { h.Spec.Scope = e.hop.Spec.Scope })
	e.apply(e.by, e.hop)
	if err := suite.admin.Delete(e.Context(), e.rights); err != nil {
		e.Fatal(err)
	}
	for _, name := range []string{"wayleave-controller", "wayleave-metrics-auth"} {
		e.mayNotAsk(name)
	}
}

// mayNotAsk takes from a role, until the test ends, the right to ask what others may.
func (e *earlierHop) mayNotAsk(name string) {
	e.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := suite.admin.Get(e.Context(), client.ObjectKeyFromObject(role), role); err != nil {
		e.Fatal(err)
	}
	rules := slices.Clone(role.Rules)
	role.Rules = slices.DeleteFunc(role.Rules, func(r rbacv1.PolicyRule) bool {
		return slices.Contains(r.Resources, "subjectaccessreviews")
	})
	if err := suite.admin.Update(e.Context(), role); err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() {
		if role.Rules = rules; suite.admin.Update(context.Background(), role) != nil {
			e.Error("the controller did not get back its right to ask")
		}
	})
}

// isSwept waits until all of the earlier hop is gone, and demands that the later one is still undecided.
func (e *earlierHop) isSwept() {
	e.Helper()
	for _, o := range e.left {
		e.gone(o)
	}
	e.state(e.hop, v1alpha1.ReasonUndetermined)
}
