//go:build unix

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

func (f *fixture) origin(p *v1alpha1.DelegationPath) *v1alpha1.Subject {
	f.Helper()
	now := &v1alpha1.DelegationPath{}
	if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(p), now); err != nil {
		f.Fatal(err)
	}
	return now.Spec.Origin
}

func (f *fixture) author(h *v1alpha1.DelegationHop) *v1alpha1.Subject {
	f.Helper()
	now := &v1alpha1.DelegationHop{}
	if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(h), now); err != nil {
		f.Fatal(err)
	}
	return now.Spec.Author
}

func (f *fixture) wantSubject(got *v1alpha1.Subject, user string, groups ...string) {
	f.Helper()
	if diff := cmp.Diff(&v1alpha1.Subject{User: user, Groups: groups}, got); diff != "" {
		f.Error(diff)
	}
}

// wantDeclared demands a subject that somebody else named.
func (f *fixture) wantDeclared(got *v1alpha1.Subject, by, user string, groups ...string) {
	f.Helper()
	if diff := cmp.Diff(&v1alpha1.Subject{User: user, Groups: groups, DeclaredBy: by}, got); diff != "" {
		f.Error(diff)
	}
}

func (f *fixture) changedBy(o client.Object) string {
	f.Helper()
	return f.stored(o).GetAnnotations()[v1alpha1.AnnotationChangedBy]
}

// colleague is a user who may write paths and hops, and delegate nothing that the fixture's paths name.
func (f *fixture) colleague(name string) string {
	user := f.named(name)
	f.bind(f.ns, user, rule(v1alpha1.GroupName, "delegationpaths,delegationhops", "get,list,create,update,patch,delete"))
	return user
}

// TestWebhookStampsOrigin: the origin of a path is the user who last changed what it may do.
func TestWebhookStampsOrigin(t *testing.T) {
	f := setup(t)
	bob, carol := f.colleague("bob"), f.colleague("carol")
	f.bind(f.on, carol, rule("", "pods,configmaps", "get,list,delete"), rule("networking.k8s.io", "networkpolicies", "create"))
	p := f.path("contain")
	f.apply(f.by, p)
	f.wantSubject(f.origin(p), f.by)
	if got := f.changedBy(p); got != f.by {
		t.Errorf("changed by %q", got)
	}

	// Changes to other fields keep the origin, whoever makes them.
	for _, patch := range []string{
		`{"spec":{"reason":"Alert 4711, second look"}}`, `{"spec":{"suspend":true}}`, `{"spec":{"suspend":false}}`,
		`{"metadata":{"labels":{"team":"sre"}}}`, `{"spec":{"origin":null,"reason":"Alert 4711"}}`,
	} {
		f.wantAllowed(f.patch(bob, p, patch))
		f.wantSubject(f.origin(p), f.by)
	}
	if got := f.changedBy(p); got != bob {
		t.Errorf("changed by %q", got)
	}
	f.wantAllowed(f.patch(carol, p, `{"metadata":{"annotations":{"delegation.wayleave.dev/changed-by":"another-user"}}}`))
	if got := f.changedBy(p); got != bob {
		t.Errorf("the note of who changed the path was forged: %q", got)
	}

	// What does makes its author the origin, who must hold it all.
	longer := `{"spec":{"lifetime":{"duration":"50m"}}}`
	f.wantDenied(f.patch(bob, p, longer), "ScopeExceedsOrigin", bob)
	f.wantSubject(f.origin(p), f.by)
	f.wantAllowed(f.patch(carol, p, longer))
	f.wantSubject(f.origin(p), carol)
	f.wantAllowed(f.patch(f.by, p, `{"spec":{"hops":{"maxDepth":3}}}`))
	f.wantSubject(f.origin(p), f.by)

	// A user who may impersonate the origin changes the path in its name.
	f.impersonator(bob, "users", f.by)
	f.eventually("bob to be let act as the origin", func() error { return f.patch(bob, p, `{"spec":{"lifetime":{"duration":"40m"}}}`) })
	f.wantDeclared(f.origin(p), bob, f.by)
}

// TestWebhookLetsDeclare: an origin is declared by who may impersonate the user and each of its groups.
func TestWebhookLetsDeclare(t *testing.T) {
	f := setup(t)
	gitops := f.colleague("gitops")
	team := fmt.Sprintf("team-%d", counter.Add(1))
	robot := "system:serviceaccount:" + f.ns + ":robot"
	f.bind(f.on, robot, rule("", "pods,configmaps", "get,list,delete"), rule("networking.k8s.io", "networkpolicies", "create"))
	declares := func(name, user string, groups ...string) *v1alpha1.DelegationPath {
		return f.path(name, func(p *v1alpha1.DelegationPath) { p.Spec.Origin = &v1alpha1.Subject{User: user, Groups: groups} })
	}
	try := func(p *v1alpha1.DelegationPath) error { return f.as(gitops).Create(f.Context(), p) }

	f.wantDenied(try(declares("user", f.by)), "OriginUnauthorized", "impersonate users")
	f.impersonator(gitops, "users", f.by)
	f.eventually("the user to be declared", func() error { return try(declares("user", f.by)) })
	f.wantDeclared(f.origin(declares("user", "")), gitops, f.by)

	f.wantDenied(try(declares("group", f.by, team)), "OriginUnauthorized", "impersonate groups")
	f.impersonator(gitops, "groups", team)
	f.eventually("the group to be declared", func() error { return try(declares("group", f.by, team)) })
	f.wantDeclared(f.origin(declares("group", "")), gitops, f.by, team)

	f.wantDenied(try(declares("account", robot)), "OriginUnauthorized", "impersonate serviceaccounts")
	f.bind(f.ns, gitops, rule("", "serviceaccounts", "impersonate", "robot"))
	f.eventually("the account to be declared", func() error { return try(declares("account", robot)) })
	f.wantDeclared(f.origin(declares("account", "")), gitops, robot)

	// What a subject's name implies needs no right of its own, and is no right of another name.
	f.wantAllowed(try(declares("implied", robot, "system:serviceaccounts:"+f.ns)))
	f.wantDenied(try(declares("implied-for-others", f.by, "system:serviceaccounts:"+f.ns)), "OriginUnauthorized", "impersonate groups")

	// Oneself, with fewer groups than one has, is no declaration.
	self := declares("self", f.by)
	if err := f.as(f.by, team).Create(f.Context(), self); err != nil {
		t.Error(err)
	}
	f.wantSubject(f.origin(self), f.by)
	whole := f.path("with-groups")
	if err := f.as(f.by, team, "system:masters-in-name-only").Create(f.Context(), whole); err != nil {
		t.Error(err)
	}
	f.wantSubject(f.origin(whole), f.by, team, "system:masters-in-name-only")

	// What was declared is taken over by who changes the path without the right to it.
	other := f.colleague("other")
	f.wantDenied(f.patch(other, declares("user", f.by), `{"spec":{"lifetime":{"duration":"30m"}}}`), "ScopeExceedsOrigin", other)
	f.wantAllowed(f.patch(gitops, declares("user", f.by), `{"spec":{"lifetime":{"duration":"30m"}}}`))
	f.wantDeclared(f.origin(declares("user", "")), gitops, f.by)
}

// TestWebhookStampsAuthor: a hop is its author's, who is the path's origin or holds delegate on the path.
func TestWebhookStampsAuthor(t *testing.T) {
	f := setup(t)
	bob := f.colleague("bob")
	p, h := f.path("contain"), f.hop("triage", "contain", "")
	f.apply(f.by, p, h)
	f.wantSubject(f.author(h), f.by)
	another := func() *v1alpha1.DelegationHop { return f.hop("report", "contain", "triage") }

	f.wantDenied(f.as(bob).Create(f.Context(), another()), "NotPermittedToDelegate", bob)
	shorter := `{"spec":{"lifetime":{"duration":"10m"}}}`
	f.wantDenied(f.patch(bob, h, shorter), "NotPermittedToDelegate", bob)
	f.wantAllowed(f.patch(bob, h, `{"metadata":{"labels":{"team":"sre"}}}`))
	f.wantSubject(f.author(h), f.by)

	f.bind(f.ns, bob, rule(v1alpha1.GroupName, "delegationpaths", v1alpha1.VerbDelegate, "contain"))
	f.eventually("bob to add a hop", func() error { return f.as(bob).Create(f.Context(), another()) })
	f.wantSubject(f.author(another()), bob)
	f.wantAllowed(f.patch(bob, h, shorter))
	f.wantSubject(f.author(h), bob)
	other := f.path("other")
	f.apply(f.by, other)
	f.wantDenied(f.as(bob).Create(f.Context(), f.hop("elsewhere", "other", "")), "NotPermittedToDelegate")

	// A hop of another path's namespace needs its author there.
	f.wantDenied(f.as(bob).Create(f.Context(), f.hop("forged", "other", "", func(h *v1alpha1.DelegationHop) {
		h.Spec.Author = &v1alpha1.Subject{User: f.by}
	})), "spec.author declares", "you may not act as them")
}

// TestWebhookStampsRevocation: who revoked, and when, is what the API server knows, and stays.
func TestWebhookStampsRevocation(t *testing.T) {
	f := setup(t)
	bob := f.colleague("bob")
	p, h := f.path("contain"), f.hop("triage", "contain", "")
	f.apply(f.by, p, h)
	for _, o := range []client.Object{h, p} {
		f.wantAllowed(f.patch(bob, o, `{"spec":{"revoked":{"reason":"false alarm","by":"another-user","at":"1999-01-01T00:00:00Z"}}}`))
		revoked, _, _ := unstructured.NestedStringMap(f.stored(o).Object, "spec", "revoked")
		at, err := time.Parse(time.RFC3339, revoked["at"])
		if err != nil || time.Since(at).Abs() > patience || revoked["by"] != bob || revoked["reason"] != "false alarm" {
			t.Errorf("revoked is %v", revoked)
		}
		f.wantDenied(f.patch(f.by, o, `{"spec":{"revoked":null}}`), "revoked is final")
		f.wantDenied(f.patch(f.by, o, `{"spec":{"revoked":{"reason":"drill"}}}`), "revoked is final")
		f.wantDenied(f.patch(f.by, o, fmt.Sprintf(`{"spec":{"revoked":{"by":%q}}}`, f.by)), "revoked is final")
		f.wantAllowed(f.patch(f.by, o, `{"spec":{"revoked":{"reason":"false alarm"}}}`))
	}
	f.wantSubject(f.origin(p), f.by)
	f.wantSubject(f.author(h), f.by)
	if got := f.changedBy(p); got != bob {
		t.Errorf("changed by %q", got)
	}
	f.recorded("DelegationPath "+f.ns+"/contain", "Allow", v1alpha1.ReasonRevoked)
	f.recorded("DelegationHop "+f.ns+"/triage", "Allow", v1alpha1.ReasonRevoked)
}

// TestWebhookLetsRevokeWithoutRights: a user who may patch a path can revoke it, even if its origin has lost every permission.
func TestWebhookLetsRevokeWithoutRights(t *testing.T) {
	f := setup(t)
	dave, guard := f.colleague("dave"), f.named("guard")
	binding := f.bind(f.on, dave, rule("", "pods,configmaps", "get,list,delete"), rule("networking.k8s.io", "networkpolicies", "create"))
	f.bind(f.ns, guard, rule(v1alpha1.GroupName, "delegationpaths,delegationhops", "patch"))
	p, h := f.path("contain"), f.hop("triage", "contain", "")
	f.apply(dave, p, h)
	if err := suite.admin.Delete(f.Context(), binding); err != nil {
		t.Fatal(err)
	}
	// The origin can change nothing that matters any more: it does not hold what the path says.
	f.eventually("the loss to be known", func() error {
		err := f.patch(dave, p, `{"spec":{"lifetime":{"duration":"30m"}}}`)
		if err == nil {
			return errAllowed
		}
		f.wantDenied(err, "ScopeExceedsOrigin")
		return nil
	})
	f.wantAllowed(f.patch(guard, p, `{"spec":{"suspend":true}}`))
	f.wantAllowed(f.patch(guard, h, `{"spec":{"revoked":{"reason":"dave has left"}}}`))
	f.wantAllowed(f.patch(guard, p, `{"spec":{"revoked":{"reason":"dave has left"}}}`))
	f.state(p, v1alpha1.ReasonRevoked)
	f.state(h, v1alpha1.ReasonRevoked)
	f.wantSubject(f.origin(p), dave)
}

// TestWebhookIsQuietForGitOps: what is applied is what is read back, and applying it again changes nothing.
func TestWebhookIsQuietForGitOps(t *testing.T) {
	f := setup(t)
	bob := f.colleague("bob")
	manifests := func() (*v1alpha1.DelegationPath, *v1alpha1.DelegationHop) {
		return f.path("contain"), f.hop("triage", "contain", "")
	}
	p, h := manifests()
	for _, o := range []client.Object{p, h} {
		if _, err := f.ssa(f.by, "gitops", o); err != nil {
			t.Fatal(err)
		}
	}
	f.state(p, v1alpha1.ReasonActive)
	f.valid(h)
	f.token(h)
	path, hop := manifests()
	for _, o := range []client.Object{path, hop} {
		f.eventually("a second apply to change nothing", func() error { // the controller may write a status in between
			before := f.stored(o)
			if _, err := f.ssa(f.by, "gitops", o); err != nil {
				return err
			}
			if after := f.stored(o); before.GetResourceVersion() != after.GetResourceVersion() {
				return fmt.Errorf("it changed %s", cmp.Diff(before.Object, after.Object))
			}
			return nil
		})
	}

	// A duration stays as it was written.
	raw := f.stored(p)
	scope, _, _ := unstructured.NestedMap(raw.Object, "spec", "scope")
	metadata := map[string]any{"name": "written", "namespace": f.ns}
	raw.Object = map[string]any{"apiVersion": raw.GetAPIVersion(), "kind": raw.GetKind(), "metadata": metadata, "spec": map[string]any{
		"reason": "as it was written", "lifetime": map[string]any{"duration": "10m"}, "scope": scope,
	}}
	if err := f.as(f.by).Create(f.Context(), raw); err != nil {
		t.Fatal(err)
	}
	written := f.stored(f.path("written"))
	if got, _, _ := unstructured.NestedString(written.Object, "spec", "lifetime", "duration"); got != "10m" {
		t.Errorf("the duration became %q", got)
	}
	f.wantAllowed(f.patch(bob, f.path("written"), `{"spec":{"reason":"another one"}}`))
	if got, _, _ := unstructured.NestedString(f.stored(f.path("written")).Object, "spec", "lifetime", "duration"); got != "10m" {
		t.Errorf("the duration became %q", got)
	}

	// Applying the manifest again does not undo a revocation by another user.
	f.wantAllowed(f.patch(bob, p, `{"spec":{"revoked":{"reason":"false alarm"}}}`))
	clean, _ := manifests()
	if _, err := f.ssa(f.by, "gitops", clean); err != nil {
		t.Fatalf("the manifest cannot be applied any more: %v", err)
	}
	if by, _, _ := unstructured.NestedString(f.stored(p).Object, "spec", "revoked", "by"); by != bob {
		t.Errorf("the revocation is %q's now", by)
	}
	f.state(p, v1alpha1.ReasonRevoked)
}
