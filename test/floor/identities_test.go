//go:build unix

package floor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestTokens: the tokens of hops are for the controller and for nodes, and do not outlive the account.
func TestTokens(t *testing.T) {
	f := setup(t)
	soon, ended := accountUntil(time.Now().Add(2*time.Minute)), accountUntil(time.Now().Add(-time.Minute))
	for _, name := range []string{soon, ended} {
		f.makeAccount(name)
	}
	pod := f.pod("dhop-x")
	f.must(suite.admin.Create(t.Context(), pod))
	request := func(user, account string, seconds int64, bound bool, options ...client.SubResourceCreateOption) error {
		r := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
		if bound {
			r.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}
		}
		sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: account}}
		return f.users[user].SubResource("token").Create(t.Context(), sa, r, options...)
	}
	for _, user := range []string{admin, editor} {
		f.denied(request(user, f.account, 600, false), "tokens", "requested by the controller of Wayleave")
		f.denied(request(user, f.account, 600, true), "tokens", "requested by the controller of Wayleave")
		f.denied(request(user, f.account, 600, false, client.DryRunAll), "tokens", "requested by the controller of Wayleave")
		f.allowed(request(user, "default", 7200, false))
	}
	f.denied(request(node, f.account, 600, false), "tokens", "requested by the controller of Wayleave")
	for _, user := range []string{ours, node} {
		bound := user == node
		f.allowed(request(user, f.account, 600, bound))
		f.allowed(request(user, f.account, 3000, bound))
		f.denied(request(user, f.account, 3607, bound), "tokens", "at most 3600 seconds")
		f.denied(request(user, ended, 600, bound), "tokens", "has ended")
	}
	f.allowed(request(ours, soon, 600, false))
	f.denied(request(ours, soon, 900, false), "tokens", "ends with the account")
}

// TestTokenSecrets: nobody has the API server fill a Secret with a token of a hop.
func TestTokenSecrets(t *testing.T) {
	f := setup(t)
	secret := func(kind corev1.SecretType, account string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
			Namespace: f.ns, GenerateName: "s-", Annotations: map[string]string{corev1.ServiceAccountNameKey: account},
		}, Type: kind}
	}
	const says = "a token without end"
	for _, user := range []string{admin, editor} {
		c := f.users[user]
		f.denied(c.Create(t.Context(), secret(corev1.SecretTypeServiceAccountToken, f.account)), "token-secrets", says)
		f.allowed(c.Create(t.Context(), secret(corev1.SecretTypeOpaque, f.account)))
		other := secret(corev1.SecretTypeServiceAccountToken, "default")
		f.allowed(c.Create(t.Context(), other))
		patch := `{"metadata":{"annotations":{"kubernetes.io/service-account.name":"` + f.account + `"}}}`
		f.denied(c.Patch(t.Context(), other, client.RawPatch(types.MergePatchType, []byte(patch))), "token-secrets", says)
	}
}

// TestIdentities: what makes a hop an identity is the controller's, and goes at once.
func TestIdentities(t *testing.T) {
	f := setup(t)
	key := metav1.ObjectMeta{Namespace: f.ns, Name: f.account}
	rules := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}}
	role := &rbacv1.Role{ObjectMeta: key, Rules: rules}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: key, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: f.account},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: f.ns, Name: f.account}},
	}
	account := &corev1.ServiceAccount{ObjectMeta: key}
	f.allowed(f.users[ours].Create(t.Context(), role))
	f.allowed(f.users[ours].Create(t.Context(), binding))
	for _, user := range []string{admin, editor} {
		c := f.users[user]
		for _, o := range []client.Object{
			&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "dhop-mine"}},
			&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, GenerateName: "dhop-"}},
			&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "dhop-mine"}},
		} {
			f.denied(c.Create(t.Context(), o), "identities", "written by the controller of Wayleave alone")
		}
		merge := func(o client.Object, patch string) error {
			return c.Patch(t.Context(), o.DeepCopyObject().(client.Object), client.RawPatch(types.MergePatchType, []byte(patch)))
		}
		f.denied(merge(role, `{"rules":[]}`), "identities", "written by the controller of Wayleave alone")
		f.denied(merge(account, `{"metadata":{"labels":{"a":"b"}}}`), "identities", "written by the controller of Wayleave alone")
		f.denied(merge(account, `{"imagePullSecrets":[{"name":"x"}]}`), "identities", "written by the controller of Wayleave alone")
		for _, o := range []client.Object{account, role, binding} {
			f.denied(merge(o, `{"metadata":{"finalizers":["example.com/x"]}}`), "identities|bindings", "")
			f.goesAtOnce(c, o)
		}
		f.allowed(c.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
			Namespace: f.ns, GenerateName: "mine-", Finalizers: []string{"example.com/x"},
		}}, client.DryRunAll))
	}
	finalizer := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":["example.com/x"]}}`))
	f.denied(f.users[ours].Patch(t.Context(), role.DeepCopy(), finalizer), "identities", "gets no finalizer")
}

// goesAtOnce: whoever may delete an object can, alone or with all others, but in no way that keeps it.
func (f *fixture) goesAtOnce(c client.Client, o client.Object) {
	f.Helper()
	one := func() client.Object { return o.DeepCopyObject().(client.Object) }
	for _, policy := range []metav1.DeletionPropagation{metav1.DeletePropagationForeground, metav1.DeletePropagationOrphan} {
		f.denied(c.Delete(f.Context(), one(), client.PropagationPolicy(policy), client.DryRunAll), "deletions", "deleted at once")
		all := c.DeleteAllOf(f.Context(), one(), client.InNamespace(f.ns), client.PropagationPolicy(policy), client.DryRunAll)
		f.denied(all, "deletions", "deleted at once")
	}
	f.allowed(c.Delete(f.Context(), one(), client.DryRunAll))
}

// TestExtraBindings: nobody gives the account of a hop more; groups are left alone.
func TestExtraBindings(t *testing.T) {
	f := setup(t)
	to := func(s rbacv1.Subject) *rbacv1.RoleBinding {
		return &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, GenerateName: "extra-"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"}, Subjects: []rbacv1.Subject{s},
		}
	}
	user := func(name string) rbacv1.Subject {
		return rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name}
	}
	for _, who := range []string{admin, editor} {
		c := f.users[who]
		for _, s := range []rbacv1.Subject{
			{Kind: rbacv1.ServiceAccountKind, Namespace: f.ns, Name: f.account},
			{Kind: rbacv1.ServiceAccountKind, Namespace: "another", Name: f.account},
			user("system:serviceaccount:" + f.ns + ":" + f.account),
		} {
			f.denied(c.Create(t.Context(), to(s)), "bindings", "only the controller of Wayleave binds")
		}
		bystander := to(user("bob"))
		f.allowed(c.Create(t.Context(), bystander))
		bystander.Subjects = append(bystander.Subjects, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: f.ns, Name: f.account})
		f.denied(c.Update(t.Context(), bystander), "bindings", "only the controller of Wayleave binds")
		group := rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: "system:serviceaccounts:" + f.ns}
		f.allowed(c.Create(t.Context(), to(group)))
	}
}

// TestCertificates: no certificate is asked for a pod of a hop.
func TestCertificates(t *testing.T) {
	f := setup(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	f.must(err)
	stub, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	f.must(err)
	request := func(account string) error {
		return suite.admin.Create(t.Context(), &certificatesv1.PodCertificateRequest{
			ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "c"},
			Spec: certificatesv1.PodCertificateRequestSpec{
				SignerName: "example.com/s", PodName: "p", PodUID: "1", ServiceAccountName: account, ServiceAccountUID: "2",
				NodeName: "n1", NodeUID: "3", MaxExpirationSeconds: new(int32(3600)), StubPKCS10Request: stub,
			},
		}, client.DryRunAll)
	}
	f.denied(request(f.account), "certificates", "no certificate is issued")
	f.allowed(request("default"))
}
