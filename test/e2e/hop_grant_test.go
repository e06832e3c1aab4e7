//go:build unix

package e2e

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestHopScopeChanges: within its bounds a hop keeps its account, and its Roles follow exactly.
func TestHopScopeChanges(t *testing.T) {
	f := hopSetup(t)
	other := f.ns + "-other"
	f.namespace(other)
	f.ceiling(other)
	f.bind(other, f.by, rule("", "pods,configmaps", "get,list"))
	p := f.path("contain", func(p *v1alpha1.DelegationPath) {
		p.Spec.Scope = in([]string{f.on, other}, resources("", "pods,configmaps", "get,list"))
	})
	h := f.hop("isolate", "contain", "")
	f.apply(f.by, p, h)
	account := f.granted(h)
	f.holds(h, map[string][]rbacv1.PolicyRule{f.on: {rule("", "configmaps", "get,list")}})

	for _, step := range []struct {
		scope v1alpha1.Scope
		want  map[string][]rbacv1.PolicyRule
	}{
		{in([]string{f.on}, resources("", "configmaps", "get")), map[string][]rbacv1.PolicyRule{f.on: {rule("", "configmaps", "get")}}},
		{
			in([]string{f.on, other}, resources("", "pods", "list")),
			map[string][]rbacv1.PolicyRule{f.on: {rule("", "pods", "list")}, other: {rule("", "pods", "list")}},
		},
		{in([]string{other}, resources("", "pods", "list", "one")), map[string][]rbacv1.PolicyRule{other: {rule("", "pods", "list", "one")}}},
	} {
		if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(h), h); err != nil {
			t.Fatal(err)
		}
		changed := h.DeepCopy()
		changed.Spec.Scope = &step.scope
		if err := f.as(f.by).Patch(f.Context(), changed, client.MergeFrom(h)); err != nil {
			t.Fatal(err)
		}
		if got := f.granted(h); got != account {
			t.Errorf("the account was %s and is %s", account, got)
		}
		f.holds(h, step.want)
	}

	notAfter := time.Now().Add(30 * time.Minute).UTC().Truncate(time.Second)
	f.change(f.by, h, `{"spec":{"lifetime":{"notAfter":"`+notAfter.Format(time.RFC3339)+`"}}}`)
	f.grantedAnew(h, account)
	if want := fmt.Sprintf(".%d", notAfter.Unix()); !strings.HasSuffix(h.Status.ServiceAccountName, want) {
		t.Errorf("the account %s does not end in %s", h.Status.ServiceAccountName, want)
	}
}

// TestHopSecret: a hop's Secret is its own, follows its spec, and holds what a delegate needs.
func TestHopSecret(t *testing.T) {
	f := hopSetup(t)
	foreign := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "taken"},
		Data:       map[string][]byte{"password": []byte("of another user")},
	}
	f.make(foreign)
	p := f.path("contain", func(p *v1alpha1.DelegationPath) { p.Spec.Scope.Audiences = []string{"vault"} })
	h := f.hop("isolate", "contain", "", func(h *v1alpha1.DelegationHop) {
		h.Spec.Token.SecretName = "taken"
		h.Spec.Scope.Audiences = []string{"vault"}
	})
	f.apply(f.by, p, h)
	message := f.state(h, v1alpha1.ReasonSecretTaken)
	t.Log(message)
	f.nothingLeft(h)
	if h.Status.Incarnation != 0 {
		t.Errorf("it had %d identities", h.Status.Incarnation)
	}
	if got, err := f.secret(f.ns, "taken"); err != nil || got.ResourceVersion != foreign.ResourceVersion {
		t.Errorf("the foreign Secret was touched: %v, %v", err, got)
	}

	f.change(f.by, h, `{"spec":{"token":{"secretName":"first"}}}`)
	account := f.granted(h)
	first := f.withToken(f.token(h))
	if err := f.read(first); err != nil {
		t.Errorf("the token may not read: %v", err)
	}
	secret, err := f.secret(f.ns, "first")
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, secret.Data["kubeconfig"], 0o600); err != nil {
		t.Fatal(err)
	}
	whoami := exec.CommandContext(f.Context(), suite.cluster.Kubectl(), "--kubeconfig", kubeconfig, "auth", "whoami")
	if out, err := whoami.CombinedOutput(); err != nil || !strings.Contains(string(out), f.ns+":"+account) {
		t.Errorf("kubectl with the kubeconfig: %v\n%s", err, out)
	}

	f.change(f.by, h, `{"spec":{"token":{"secretName":"second"}}}`)
	f.granted(h)
	second := f.withToken(f.token(h))
	if err := f.read(second); err != nil {
		t.Errorf("the token may not read: %v", err)
	}
	if _, err := f.secret(f.ns, "first"); !apierrors.IsNotFound(err) {
		t.Errorf("the Secret of before: %v", err)
	}
	f.eventually("the token of the old Secret to be unknown", func() error { return wantUnauthorized(f.read(first)) })

	// Another audience: the token for the API server ends, and nothing of it is left in the Secret.
	f.change(f.by, h, `{"spec":{"token":{"audience":"vault"}}}`)
	f.granted(h)
	f.eventually("the Secret to hold only the token", func() error {
		secret, err := f.secret(f.ns, "second")
		if err != nil {
			return err
		}
		if keys := slices.Sorted(maps.Keys(secret.Data)); !slices.Equal(keys, []string{"token"}) {
			return fmt.Errorf("it holds %v", keys)
		}
		return nil
	})
	if err := f.read(f.withToken(f.token(h))); !apierrors.IsUnauthorized(err) {
		t.Errorf("the API server knows a token for vault: %v", orAllowed(err))
	}
	f.eventually("the token of before to be unknown", func() error { return wantUnauthorized(f.read(second)) })

	// A hop without a token keeps its identity and no Secret.
	f.change(f.by, h, `{"spec":{"token":null}}`)
	f.granted(h)
	if _, err := f.secret(f.ns, "second"); !apierrors.IsNotFound(err) {
		t.Errorf("the Secret of before: %v", err)
	}
	if h.Status.Credential != nil || h.Status.ServiceAccountName != account {
		t.Errorf("its status describes %+v", h.Status)
	}
}

// TestHopIsRestored: manual changes to a grant are reverted within moments.
func TestHopIsRestored(t *testing.T) {
	want := func(f *fixture) map[string][]rbacv1.PolicyRule {
		return map[string][]rbacv1.PolicyRule{f.on: {rule("", "configmaps", "get,list")}}
	}
	intruder := rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "mallory@example.com"}
	for name, c := range map[string]struct {
		tamper    func(f *fixture, account *corev1.ServiceAccount, role *rbacv1.Role, binding *rbacv1.RoleBinding) error
		recreated bool // under another account
	}{
		"the Role is deleted": {tamper: func(f *fixture, _ *corev1.ServiceAccount, role *rbacv1.Role, _ *rbacv1.RoleBinding) error {
			return suite.admin.Delete(f.Context(), role)
		}},
		"the Role is widened": {tamper: func(f *fixture, _ *corev1.ServiceAccount, role *rbacv1.Role, _ *rbacv1.RoleBinding) error {
			role.Rules = append(role.Rules, rule("", "secrets", "*"))
			return suite.admin.Update(f.Context(), role)
		}},
		"the Role loses its labels": {tamper: func(
			f *fixture, _ *corev1.ServiceAccount, role *rbacv1.Role, _ *rbacv1.RoleBinding,
		) error {
			role.Labels, role.Rules = nil, append(role.Rules, rule("", "secrets", "*"))
			return suite.admin.Update(f.Context(), role)
		}},
		"the binding is deleted": {tamper: func(
			f *fixture, _ *corev1.ServiceAccount, _ *rbacv1.Role, binding *rbacv1.RoleBinding,
		) error {
			return suite.admin.Delete(f.Context(), binding)
		}},
		"the binding gains a subject": {tamper: func(
			f *fixture, _ *corev1.ServiceAccount, _ *rbacv1.Role, binding *rbacv1.RoleBinding,
		) error {
			binding.Subjects = append(binding.Subjects, intruder)
			return suite.admin.Update(f.Context(), binding)
		}},
		"the binding gains a subject and loses its labels": {tamper: func(
			f *fixture, _ *corev1.ServiceAccount, _ *rbacv1.Role, binding *rbacv1.RoleBinding,
		) error {
			binding.Subjects, binding.Labels = append(binding.Subjects, intruder), nil
			return suite.admin.Update(f.Context(), binding)
		}},
		"the binding is labelled for another path": {tamper: func(
			f *fixture, _ *corev1.ServiceAccount, _ *rbacv1.Role, binding *rbacv1.RoleBinding,
		) error {
			binding.Labels[v1alpha1.LabelPathUID] = "another"
			return suite.admin.Update(f.Context(), binding)
		}},
		"the account is deleted": {recreated: true, tamper: func(
			f *fixture, account *corev1.ServiceAccount, _ *rbacv1.Role, _ *rbacv1.RoleBinding,
		) error {
			return suite.admin.Delete(f.Context(), account)
		}},
		"the account is recreated by a user": {recreated: true, tamper: func(
			f *fixture, account *corev1.ServiceAccount, _ *rbacv1.Role, _ *rbacv1.RoleBinding,
		) error {
			impostor := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: account.Namespace, Name: account.Name}}
			if err := suite.admin.Delete(f.Context(), account); err != nil {
				return err
			}
			if err := suite.admin.Create(f.Context(), impostor); err != nil {
				return err
			}
			return nil
		}},
		"the account loses its labels": {tamper: func(
			f *fixture, account *corev1.ServiceAccount, _ *rbacv1.Role, _ *rbacv1.RoleBinding,
		) error {
			account.Labels = nil
			return suite.admin.Update(f.Context(), account)
		}},
		"the account loses its owner": {tamper: func(
			f *fixture, account *corev1.ServiceAccount, _ *rbacv1.Role, _ *rbacv1.RoleBinding,
		) error {
			account.OwnerReferences = nil
			return suite.admin.Update(f.Context(), account)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := hopSetupOn(t, false)
			h := f.hop("isolate", "contain", "")
			f.apply(f.by, f.path("contain"), h)
			name := f.granted(h)
			f.holds(h, want(f))
			account, role, binding := &corev1.ServiceAccount{}, &rbacv1.Role{}, &rbacv1.RoleBinding{}
			for namespace, o := range map[string][]client.Object{f.ns: {account}, f.on: {role, binding}} {
				for _, o := range o {
					if err := suite.admin.Get(f.Context(), client.ObjectKey{Namespace: namespace, Name: name}, o); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := c.tamper(f, account, role, binding); err != nil {
				t.Fatal(err)
			}
			if c.recreated {
				f.grantedAnew(h, name)
			}
			f.holds(h, want(f))
			if got := f.granted(h); !c.recreated && got != name {
				t.Errorf("its account is %s", got)
			}
			own := client.MatchingLabels{v1alpha1.LabelPathUID: h.Status.PathUID}
			for _, list := range []client.ObjectList{&rbacv1.RoleList{}, &rbacv1.RoleBindingList{}, &corev1.ServiceAccountList{}} {
				f.eventually(fmt.Sprintf("one %T", list), func() error { return f.count(list, 1, own) })
			}
			f.eventually("the token to work", func() error { return f.read(f.withToken(f.token(h))) })
		})
	}
}

func (f *fixture) count(list client.ObjectList, want int, opts ...client.ListOption) error {
	if err := suite.admin.List(f.Context(), list, opts...); err != nil {
		return err
	}
	got := meta.LenList(list)
	if got != want {
		return fmt.Errorf("there are %d", got)
	}
	return nil
}

// TestHopCeiling: the controller grants what it was given to grant, when and as long as it is given.
func TestHopCeiling(t *testing.T) {
	for name, take := range map[string]func(f *fixture, role *rbacv1.ClusterRole, binding *rbacv1.RoleBinding) error{
		"the binding is deleted": func(f *fixture, _ *rbacv1.ClusterRole, binding *rbacv1.RoleBinding) error {
			return suite.admin.Delete(f.Context(), binding)
		},
		"the binding is given to another subject": func(f *fixture, _ *rbacv1.ClusterRole, binding *rbacv1.RoleBinding) error {
			binding.Subjects[0].Name = "another-account"
			return suite.admin.Update(f.Context(), binding)
		},
		"the role loses its label": func(f *fixture, role *rbacv1.ClusterRole, _ *rbacv1.RoleBinding) error {
			role.Labels = nil
			return suite.admin.Update(f.Context(), role)
		},
		"the role is narrowed": func(f *fixture, role *rbacv1.ClusterRole, _ *rbacv1.RoleBinding) error {
			role.Rules = []rbacv1.PolicyRule{rule("", "configmaps", "get")}
			return suite.admin.Update(f.Context(), role)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := hopSetup(t)
			other := f.ns + "-other"
			f.namespace(other)
			f.bind(other, f.by, rule("", "configmaps", "get,list"))
			scope := in([]string{other}, resources("", "configmaps", "get,list"))
			h := f.hop("isolate", "contain", "", func(h *v1alpha1.DelegationHop) { h.Spec.Scope = &scope })
			f.apply(f.by, f.path("contain", func(p *v1alpha1.DelegationPath) { p.Spec.Scope = scope }), h)
			message := f.state(h, v1alpha1.ReasonScopeExceedsCeiling)
			for _, word := range []string{"configmaps", other, v1alpha1.LabelCeiling} {
				if !strings.Contains(message, word) {
					t.Errorf("the message does not name %s: %s", word, message)
				}
			}
			f.nothingLeft(h)
			f.ceiling(other)
			account := f.granted(h)
			generation := h.Generation

			var bindings rbacv1.RoleBindingList
			if err := suite.admin.List(f.Context(), &bindings, client.InNamespace(other)); err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(bindings.Items, func(b rbacv1.RoleBinding) bool { return strings.HasPrefix(b.Name, "ceiling-") })
			role := &rbacv1.ClusterRole{}
			if err := suite.admin.Get(f.Context(), client.ObjectKey{Name: bindings.Items[i].Name}, role); err != nil {
				t.Fatal(err)
			}
			if err := take(f, role, &bindings.Items[i]); err != nil {
				t.Fatal(err)
			}
			f.state(h, v1alpha1.ReasonScopeExceedsCeiling)
			f.nothingLeft(h)
			f.ceiling(other)
			f.grantedAnew(h, account)
			if h.Generation != generation {
				t.Errorf("the hop had to be changed")
			}
		})
	}
}

// TestHopClusterRules: a ClusterRoleBinding is a tax on every request, so there is one only for a hop that asks for it.
func TestHopClusterRules(t *testing.T) {
	f := hopSetup(t)
	f.everywhere(f.by, rule("", "nodes", "get,list"))
	p := f.path("contain", func(p *v1alpha1.DelegationPath) {
		p.Spec.Scope.Cluster = []v1alpha1.ClusterRule{{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"get", "list"}}}
	})
	with := f.hop("with", "contain", "", func(h *v1alpha1.DelegationHop) {
		h.Spec.Scope.Cluster = []v1alpha1.ClusterRule{{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"list"}}}
	})
	without := f.hop("without", "contain", "")
	f.apply(f.by, p, with, without)
	for h, want := range map[*v1alpha1.DelegationHop]int{with: 1, without: 0} {
		f.granted(h)
		own := client.MatchingLabels{v1alpha1.LabelHopUID: string(h.UID)}
		for _, list := range []client.ObjectList{&rbacv1.ClusterRoleList{}, &rbacv1.ClusterRoleBindingList{}} {
			if err := f.count(list, want, own); err != nil {
				t.Errorf("%T of hop %s: %v", list, h.Name, err)
			}
		}
	}
	hop := f.withToken(f.token(with))
	if err := hop.List(f.Context(), &corev1.NodeList{}); err != nil {
		t.Errorf("the hop may not list nodes: %v", err)
	}
	if err := hop.Get(f.Context(), client.ObjectKey{Name: "any"}, &corev1.Node{}); !apierrors.IsForbidden(err) {
		t.Errorf("the hop may get a node: %v", err)
	}
	f.change(f.by, p, revoke)
	f.state(with, v1alpha1.ReasonRevoked)
	f.nothingLeft(with)
}

// TestCeilingGoneWithItsNamespace: what the controller was given in a namespace goes with it, and it is the namespace that is
// named.
func TestCeilingGoneWithItsNamespace(t *testing.T) {
	f := hopSetup(t)
	gone := f.ns + "-gone"
	f.namespace(gone)
	f.bind(gone, f.by, rule("", "configmaps", "get,list"))
	scope := in([]string{f.on, gone}, resources("", "configmaps", "get,list"))
	h := f.hop("isolate", "contain", "", func(h *v1alpha1.DelegationHop) { h.Spec.Scope = &scope })
	f.apply(f.by, f.path("contain", func(p *v1alpha1.DelegationPath) { p.Spec.Scope = scope }), h)
	f.state(h, v1alpha1.ReasonScopeExceedsCeiling)
	if err := suite.admin.Delete(f.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: gone}}); err != nil {
		t.Fatal(err)
	}
	f.change(f.by, h, `{"spec":{"lifetime":{"duration":"30m"}}}`)
	if said := f.state(h, v1alpha1.ReasonNamespaceNotFound); !strings.Contains(said, fmt.Sprintf("%q", gone)) {
		t.Errorf("the hop says %q", said)
	}
}

// TestHopNamespaceMissing: a hop whose scope names a namespace that does not exist names it, with nothing half made,
// and is granted once it exists.
func TestHopNamespaceMissing(t *testing.T) {
	f := hopSetup(t)
	missing := f.ns + "-missing"
	// What is granted in all namespaces is for no other test: they run at the same time.
	f.everywhere(f.by, rule("", "endpoints", "get,list"))
	scope := in([]string{f.on, missing}, resources("", "endpoints", "get,list"))
	h := f.hop("isolate", "contain", "", func(h *v1alpha1.DelegationHop) { h.Spec.Scope = &scope })
	f.apply(f.by, f.path("contain", func(p *v1alpha1.DelegationPath) { p.Spec.Scope = scope }), h)
	if said := f.state(h, v1alpha1.ReasonNamespaceNotFound); !strings.Contains(said, fmt.Sprintf("%q", missing)) {
		t.Errorf("the hop says %q", said)
	}
	f.nothingLeft(h)
	if h.Status.Incarnation != 0 {
		t.Errorf("it had %d identities", h.Status.Incarnation)
	}
	f.namespace(missing)
	f.granted(h)
	rules := []rbacv1.PolicyRule{rule("", "endpoints", "get,list")}
	f.holds(h, map[string][]rbacv1.PolicyRule{f.on: rules, missing: rules})
}
