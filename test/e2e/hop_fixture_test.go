//go:build unix

package e2e

import (
	"fmt"
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/operator"
)

// hopSetup is a fixture for a test that disturbs no other one.
func hopSetup(t *testing.T) *fixture {
	t.Helper()
	return hopSetupOn(t, true)
}

func hopSetupOn(t *testing.T, floor bool) *fixture {
	t.Helper()
	t.Parallel()
	return setupOn(t, floor)
}

// change patches an object as a user.
func (f *fixture) change(user string, o client.Object, patch string) {
	f.Helper()
	if err := f.as(user).Patch(f.Context(), o, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		f.Fatalf("%s changing %T %s: %v", user, o, o.GetName(), err)
	}
}

// remove deletes an object as a user.
func (f *fixture) remove(user string, o client.Object) {
	f.Helper()
	if err := f.as(user).Delete(f.Context(), o); err != nil {
		f.Fatalf("%s deleting %T %s: %v", user, o, o.GetName(), err)
	}
}

// valid waits for a hop to hold its grant, or to be idle.
func (f *fixture) valid(o client.Object) {
	f.Helper()
	f.state(o, v1alpha1.ReasonGranted, v1alpha1.ReasonIdle)
}

// granted waits for a hop to hold its grant, and returns the name of its account.
func (f *fixture) granted(h *v1alpha1.DelegationHop) string {
	f.Helper()
	f.valid(h)
	return h.Status.ServiceAccountName
}

// grantedAnew waits for a hop to hold its grant under another account than before.
func (f *fixture) grantedAnew(h *v1alpha1.DelegationHop, before string) {
	f.Helper()
	f.eventually("another incarnation of hop "+h.Name, func() error {
		if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(h), h); err != nil {
			return err
		}
		if now := h.Status.ServiceAccountName; now == "" || now == before {
			return fmt.Errorf("its account is %q", now)
		}
		return nil
	})
	f.valid(h)
	f.eventually("the old account to be deleted", func() error {
		var old corev1.ServiceAccount
		err := suite.admin.Get(f.Context(), client.ObjectKey{Namespace: h.Namespace, Name: before}, &old)
		if apierrors.IsNotFound(err) || err == nil && old.Labels[v1alpha1.LabelHopUID] == "" { // a recreated one has no permissions
			return nil
		}
		return orAllowed(err)
	})
}

// holds waits until exactly these rules exist for a hop, by namespace, each bound to its account alone.
func (f *fixture) holds(h *v1alpha1.DelegationHop, want map[string][]rbacv1.PolicyRule) {
	f.Helper()
	f.eventually("the rights of hop "+h.Name, func() error {
		if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(h), h); err != nil {
			return err
		}
		own := client.MatchingLabels{v1alpha1.LabelHopUID: string(h.UID)}
		var roles rbacv1.RoleList
		var bindings rbacv1.RoleBindingList
		for _, list := range []client.ObjectList{&roles, &bindings} {
			if err := suite.admin.List(f.Context(), list, own); err != nil {
				return err
			}
		}
		got := map[string][]rbacv1.PolicyRule{}
		for _, role := range roles.Items {
			got[role.Namespace] = role.Rules
		}
		account := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: h.Namespace, Name: h.Status.ServiceAccountName}}
		for _, b := range bindings.Items {
			if b.Name != h.Status.ServiceAccountName || b.RoleRef.Name != b.Name || !equal(b.Subjects, account) {
				return fmt.Errorf("binding %s/%s is of %s to %v", b.Namespace, b.Name, b.RoleRef.Name, b.Subjects)
			}
		}
		if len(bindings.Items) != len(roles.Items) || len(roles.Items) != len(want) || !maps.EqualFunc(got, want, equalRules) {
			return fmt.Errorf("there are %d bindings and %v", len(bindings.Items), got)
		}
		return nil
	})
}

func equal[T comparable](a, b []T) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func equalRules(a, b []rbacv1.PolicyRule) bool {
	return fmt.Sprint(a) == fmt.Sprint(b)
}

// secret is the Secret of a hop's token.
func (f *fixture) secret(namespace, name string) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	return secret, suite.admin.Get(f.Context(), client.ObjectKey{Namespace: namespace, Name: name}, secret)
}

// everywhere gives a user rights, and lets the controller grant them, in all namespaces.
func (f *fixture) everywhere(user string, rules ...rbacv1.PolicyRule) {
	f.Helper()
	name := fmt.Sprintf("everywhere-%d", counter.Add(1))
	f.make(
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.LabelCeiling: "true"}}, Rules: rules},
	)
	f.make(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects: []rbacv1.Subject{
			{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user},
			{Kind: rbacv1.ServiceAccountKind, Namespace: operator.Namespace, Name: "wayleave-controller"},
		},
	})
}

// in makes a scope in other namespaces than the fixture's.
func in(namespaces []string, rules ...v1alpha1.ResourceRule) v1alpha1.Scope {
	return v1alpha1.Scope{Namespaced: []v1alpha1.NamespacedScope{{Namespaces: namespaces, Rules: rules}}}
}

// narrow is a patch of a path's or hop's scope to one verb on ConfigMaps, and wide back to what the fixture makes.
func (f *fixture) scopePatch(verbs string) string {
	return fmt.Sprintf(
		`{"spec":{"scope":{"namespaced":[{"namespaces":[%q],"rules":[{"apiGroups":[""],"resources":["configmaps"],"verbs":[%s]}]}]}}}`,
		f.on, verbs,
	)
}

const revoke = `{"spec":{"revoked":{"reason":"false alarm"}}}`

// read asks for a ConfigMap with a token.
func (f *fixture) read(c client.Client) error {
	return c.List(f.Context(), &corev1.ConfigMapList{}, client.InNamespace(f.on))
}
