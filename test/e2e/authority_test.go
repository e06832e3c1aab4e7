//go:build unix

package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// refusedSoon waits until the API server refuses what a token could do, and notes how long after a change that was.
func (f *fixture) refusedSoon(c client.Client, what string, change func() error) {
	f.Helper()
	begin := time.Now()
	if err := change(); err != nil {
		f.Fatal(err)
	}
	f.eventually("the hop to be refused after "+what, func() error {
		if err := f.read(c); !apierrors.IsForbidden(err) && !apierrors.IsUnauthorized(err) {
			return orAllowed(err)
		}
		return nil
	})
	f.measured("%s to the first refused request of the hop: %s", what, time.Since(begin).Round(time.Millisecond))
}

// TestOriginLosesARight: whichever object of RBAC gave it, what rests on it is withdrawn as soon as it is gone, with what is missing in
// words, and comes back with it.
func TestOriginLosesARight(t *testing.T) {
	reads := rule("", "configmaps", "get,list")
	for name, change := range map[string]struct {
		// given gives the origin the right, and returns how to take it and how to give it again.
		given func(f *fixture, origin string) (take, giveBack func() error)
	}{
		"its binding is deleted": {func(f *fixture, origin string) (func() error, func() error) {
			b := f.bind(f.on, origin, reads)
			again := &rbacv1.RoleBinding{
				ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: b.Name}, RoleRef: b.RoleRef, Subjects: b.Subjects,
			}
			return func() error { return suite.admin.Delete(f.Context(), b) }, func() error { return suite.admin.Create(f.Context(), again) }
		}},
		"its role is changed": {func(f *fixture, origin string) (func() error, func() error) {
			b := f.bind(f.on, origin, reads)
			set := func(rules ...rbacv1.PolicyRule) error {
				role := &rbacv1.Role{}
				return errors.Join(suite.admin.Get(f.Context(), client.ObjectKey{Namespace: b.Namespace, Name: b.RoleRef.Name}, role),
					func() error { role.Rules = rules; return suite.admin.Update(f.Context(), role) }())
			}
			return func() error { return set(rule("", "configmaps", "get")) }, func() error { return set(reads) }
		}},
		"the role of its group is changed, in the whole cluster": {func(f *fixture, origin string) (func() error, func() error) {
			name := fmt.Sprintf("of-a-group-%d", counter.Add(1))
			f.make(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{reads}})
			f.make(&rbacv1.ClusterRoleBinding{
				ObjectMeta: metav1.ObjectMeta{Name: name},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
				Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "sre-of-" + origin}},
			})
			set := func(rules ...rbacv1.PolicyRule) error {
				role := &rbacv1.ClusterRole{}
				return errors.Join(suite.admin.Get(f.Context(), client.ObjectKey{Name: name}, role),
					func() error { role.Rules = rules; return suite.admin.Update(f.Context(), role) }())
			}
			return func() error { return set() }, func() error { return set(reads) }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := hopSetup(t)
			origin := f.named("olga")
			f.bind(f.ns, origin, rule(v1alpha1.GroupName, "delegationpaths,delegationhops", "create"))
			take, giveBack := change.given(f, origin)
			path, hop := f.path("contain", func(p *v1alpha1.DelegationPath) {
				p.Spec.Scope = f.scope(resources("", "configmaps", "get,list"))
			}), f.hop("isolate", "contain", "")
			by := f.as(origin, "sre-of-"+origin)
			for _, o := range []client.Object{path, hop} {
				f.eventually("the origin to be let create", func() error { return by.Create(f.Context(), o) })
			}
			account := f.granted(hop)
			identity := f.withToken(f.token(hop))
			f.eventually("the hop to work", func() error { return f.read(identity) })

			f.refusedSoon(identity, "the origin losing a right, as "+name, take)
			says := f.state(path, v1alpha1.ReasonScopeExceedsOrigin)
			if !strings.Contains(says, `may not itself`) || !strings.Contains(says, "list configmaps") {
				t.Errorf("the path says %q", says)
			}
			f.state(hop, v1alpha1.ReasonScopeExceedsOrigin)
			if err := giveBack(); err != nil {
				t.Fatal(err)
			}
			f.state(path, v1alpha1.ReasonActive)
			f.grantedAnew(hop, account)
		})
	}
}

// TestAuthorLosesDelegate: a hop ends with its author's right to delegate on the path, and all hops below it with it.
func TestAuthorLosesDelegate(t *testing.T) {
	f := hopSetup(t)
	bob := f.named("bob")
	f.bind(f.ns, bob, rule(v1alpha1.GroupName, "delegationhops", "create"))
	delegate := f.bind(f.ns, bob, rule(v1alpha1.GroupName, "delegationpaths", "delegate"))
	path, first, below := f.path("contain"), f.hop("isolate", "contain", ""), f.hop("below", "contain", "isolate")
	f.apply(f.by, path)
	f.state(path, v1alpha1.ReasonActive)
	f.eventually("bob to be let create a hop", func() error { return f.as(bob).Create(f.Context(), first) })
	f.apply(f.by, below)
	f.granted(first)
	f.granted(below)
	identity := f.withToken(f.token(below))
	f.eventually("the hop below to work", func() error { return f.read(identity) })

	f.refusedSoon(identity, "the author of the hop above losing delegate", func() error { return suite.admin.Delete(f.Context(), delegate) })
	for _, h := range []*v1alpha1.DelegationHop{first, below} {
		f.state(h, v1alpha1.ReasonNotPermittedToDelegate)
	}
	f.state(path, v1alpha1.ReasonActive)
	f.bind(f.ns, bob, rule(v1alpha1.GroupName, "delegationpaths", "delegate"))
	f.granted(first)
	f.granted(below)
}

// TestDeclarerLosesUse: what somebody started stops when they may not use the hop any more, the hop and what others started go on, and it
// goes on with the right.
func TestDeclarerLosesUse(t *testing.T) {
	f := hopSetup(t)
	_, hop := f.chain(maxUses(2))
	f.usable(hop.Name)
	loses := f.named("carol")
	f.bind(f.ns, loses, rule("batch", "jobs", "create"))
	lost := f.bind(f.ns, loses, mayUse)
	byLoser, byKeeper := f.work("by-loser", hop.Name), f.work("by-keeper", hop.Name)
	f.eventually("carol to be let create Jobs", func() error { return f.creates(loses, byLoser.DeepCopy()) })
	f.apply(loses, byLoser)
	f.apply(f.by, byKeeper)
	f.opened(byLoser, 1)
	kept := f.opened(byKeeper, 1)[0]
	f.uses(hop, "2/2", 2)

	if err := suite.admin.Delete(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	f.refused(byLoser, v1alpha1.ReasonNotPermittedToUse)
	f.uses(hop, "2/2", 2)
	if now := f.opened(byKeeper, 1)[0]; now.UID != kept.UID {
		t.Errorf("the pod of another user was replaced: %s, then %s", kept.Name, now.Name)
	}
	f.valid(hop)

	f.remove(f.by, byKeeper)
	f.uses(hop, "2/2", 1)
	f.holds(hop, nil) // nobody uses it who may

	f.bind(f.ns, loses, mayUse)
	f.opened(byLoser, 1)
	f.uses(hop, "2/2", 1)
	if use := hop.Status.Uses.Live[0]; use.SuspendedFor != "" || use.Name != byLoser.Name {
		t.Errorf("the use is %+v", use)
	}
	resumed := &batchv1.Job{}
	err := suite.admin.Get(t.Context(), client.ObjectKeyFromObject(byLoser), resumed)
	if err != nil || resumed.Annotations[v1alpha1.AnnotationSuspendedFor] != "" {
		t.Errorf("the Job resumed has %v (%v)", resumed.Annotations, err)
	}
}

// TestOriginGone: what a ServiceAccount began ends with it, also when another account is made under its name, until somebody applies the
// path anew who may act as it.
func TestOriginGone(t *testing.T) {
	f := hopSetup(t)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "tenant"}}
	again := account.DeepCopy()
	f.make(account)
	tenant := "system:serviceaccount:" + f.ns + ":tenant"
	f.bind(f.on, tenant, rule("", "configmaps", "get,list"))
	f.bind(f.ns, tenant, rule(v1alpha1.GroupName, "delegationpaths,delegationhops", "create,patch"))
	path, hop := f.path("contain", func(p *v1alpha1.DelegationPath) {
		p.Spec.Scope = f.scope(resources("", "configmaps", "get,list"))
	}), f.hop("isolate", "contain", "")
	for _, o := range []client.Object{path, hop} {
		f.eventually("the account to be let create", func() error { return f.as(tenant).Create(f.Context(), o) })
	}
	before := f.granted(hop)
	if path.Spec.Origin.UID != string(account.UID) || hop.Spec.Author.UID != string(account.UID) {
		t.Errorf("origin and author are %+v and %+v, want UID %s", path.Spec.Origin, hop.Spec.Author, account.UID)
	}
	identity := f.withToken(f.token(hop))
	f.eventually("the hop to work", func() error { return f.read(identity) })

	f.refusedSoon(identity, "the origin being deleted", func() error { return suite.admin.Delete(f.Context(), account) })
	f.state(path, v1alpha1.ReasonOriginGone)
	f.make(again)
	f.bind(f.ns, f.named("bob"), rule(v1alpha1.GroupName, "delegationpaths", "patch"))
	const anew = `{"spec":{"reason":"anew"}}`
	f.eventually("somebody else to be let patch the path", func() error { return f.patch(f.named("bob"), path, anew) })
	if says := f.state(path, v1alpha1.ReasonOriginGone); !strings.Contains(says, "was deleted and recreated") {
		t.Errorf("the path says %q", says)
	}
	const nothing = `{"spec":{}}`
	f.change(tenant, path, nothing)
	f.state(path, v1alpha1.ReasonActive)
	f.state(hop, v1alpha1.ReasonOriginGone)
	f.impersonator(f.by, "serviceaccounts", "tenant")
	f.eventually("who may act as the account to apply the hop anew", func() error {
		if err := f.patch(f.by, hop, nothing); err != nil {
			return err
		}
		if hop.Spec.Author.UID != string(again.UID) {
			return fmt.Errorf("the author is %+v", hop.Spec.Author)
		}
		return nil
	})
	f.grantedAnew(hop, before)
}

// TestUnboundedOrigin: an origin that may do everything bounds nothing, and the status says so.
func TestUnboundedOrigin(t *testing.T) {
	f := hopSetup(t)
	path := f.path("contain")
	if err := f.as(f.named("root"), "system:masters").Create(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	f.state(path, v1alpha1.ReasonActive)
	c := meta.FindStatusCondition(path.Status.Conditions, v1alpha1.ConditionOriginAuthorized)
	if c == nil || c.Status != metav1.ConditionTrue || c.Reason != string(v1alpha1.ReasonUnbounded) ||
		!strings.Contains(c.Message, `still in "system:masters" cannot be asked`) {
		t.Errorf("OriginAuthorized is %+v", c)
	}
}
