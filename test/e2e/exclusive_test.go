//go:build unix

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestForeignRightsWithdraw: who binds something to the account of a hop ends it, and is named. The policies would let nobody do so.
func TestForeignRightsWithdraw(t *testing.T) {
	for name, subject := range map[string]func(ns, account string) rbacv1.Subject{
		"as account": func(ns, account string) rbacv1.Subject {
			return rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: ns, Name: account}
		},
		"as user": func(ns, account string) rbacv1.Subject {
			return rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "system:serviceaccount:" + ns + ":" + account}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it waits, most of the time
			f := setupOn(t, false)
			p, h := f.path("contain"), f.hop("isolate", "contain", "")
			f.apply(f.by, p, h)
			account := f.granted(h)
			f.exclusive(h, metav1.ConditionTrue, "")
			identity := f.withToken(f.token(h))
			f.eventually("the hop to read", func() error { return f.read(identity) })

			extra := &rbacv1.RoleBinding{
				ObjectMeta: metav1.ObjectMeta{Namespace: f.on, Name: "extra"},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
				Subjects:   []rbacv1.Subject{subject(f.ns, account)},
			}
			f.make(extra)
			began := time.Now()
			said := f.state(h, v1alpha1.ReasonNotExclusive)
			f.measured("withdrawn %s after somebody bound rights to the account of a hop %s", time.Since(began).Round(time.Millisecond), name)
			if !strings.Contains(said, "RoleBinding "+f.on+"/extra") {
				t.Errorf("the hop does not name the binding: %s", said)
			}
			f.eventually("what was bound to be of no use", func() error {
				if err := f.read(identity); err == nil {
					return fmt.Errorf("the token works")
				}
				return nil
			})
			if err := suite.admin.Delete(t.Context(), extra); err != nil {
				t.Fatal(err)
			}
			f.make(&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: f.on, Name: "unrelated"}, RoleRef: extra.RoleRef})
			f.grantedAnew(h, account)
		})
	}
}

// TestGroupsAreNamed: what a group gives to the account of a hop is told, and ends nothing.
func TestGroupsAreNamed(t *testing.T) {
	f := setup(t)
	p, h := f.path("contain"), f.hop("isolate", "contain", "")
	f.apply(f.by, p, h)
	account := f.granted(h)
	bind := func(ns, group string) client.Object {
		return &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "all"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: group}},
		}
	}
	here := bind(f.on, "system:serviceaccounts:"+f.ns)
	f.make(here)
	f.exclusive(h, metav1.ConditionFalse, "RoleBinding "+f.on+"/all")
	if got := f.granted(h); got != account {
		t.Errorf("the hop has account %s, and had %s", got, account)
	}
	if err := suite.admin.Delete(t.Context(), here); err != nil {
		t.Fatal(err)
	}
	f.exclusive(h, metav1.ConditionTrue, "")
	f.namespace("elsewhere-" + f.ns)
	f.make(bind("elsewhere-"+f.ns, "system:serviceaccounts")) // is theirs to give
	f.change(f.by, h, `{"metadata":{"annotations":{"look":"again"}}}`)
	time.Sleep(500 * time.Millisecond) // for what must not happen
	f.exclusive(h, metav1.ConditionTrue, "")
}

// exclusive waits for a hop to say whether its account has what it gives alone.
func (f *fixture) exclusive(h *v1alpha1.DelegationHop, want metav1.ConditionStatus, says string) {
	f.Helper()
	f.condition(h, v1alpha1.ConditionExclusive, want, says)
}

// condition waits for a condition of a hop.
func (f *fixture) condition(h *v1alpha1.DelegationHop, kind string, want metav1.ConditionStatus, says string) {
	f.Helper()
	f.eventually("the condition "+kind, func() error {
		if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(h), h); err != nil {
			return err
		}
		c := meta.FindStatusCondition(h.Status.Conditions, kind)
		if c == nil || c.Status != want || !strings.Contains(c.Message, says) {
			return fmt.Errorf("it is %+v", c)
		}
		return nil
	})
}

// TestIsolation: who can act as a hop is named, and where the path requires that nobody can, the hop holds nothing until that is so.
func TestIsolation(t *testing.T) {
	f := setup(t)
	p, h := f.path("contain"), f.hop("isolate", "contain", "")
	f.apply(f.by, p, h)
	f.granted(h)
	f.condition(h, v1alpha1.ConditionIsolated, metav1.ConditionTrue, "")
	f.bind(f.ns, "eve", rule("", "secrets", "get", "another"))
	binding := f.bind(f.ns, "eve", rule("", "serviceaccounts", "impersonate"))
	named := "User eve can impersonate its accounts (RoleBinding " + f.ns + "/" + binding.Name + ")"
	f.condition(h, v1alpha1.ConditionIsolated, metav1.ConditionFalse, named)
	if strings.Contains(meta.FindStatusCondition(h.Status.Conditions, v1alpha1.ConditionIsolated).Message, "Secrets") {
		t.Error("who may read another Secret is named")
	}
	account := f.granted(h)
	f.change(f.by, p, `{"spec":{"isolation":"Required"}}`)
	f.state(h, v1alpha1.ReasonNotIsolated)
	if err := suite.admin.Delete(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	f.grantedAnew(h, account)
	f.bind(f.ns, "eve", rule("", "secrets", "list"))
	f.state(h, v1alpha1.ReasonNotIsolated)
}
