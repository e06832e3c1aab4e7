//go:build unix

package floor

import (
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/test/operator"
)

// TestCertsWriteTheirSecret: who took over the certificate rotation writes its Secret, and nothing else by which they could act, whatever
// they are given.
func TestCertsWriteTheirSecret(t *testing.T) {
	f := setup(t)
	const name = "system:serviceaccount:" + operator.Namespace + ":wayleave-certs"
	certs, err := client.New(suite.cluster.UserConfig(name, admin), client.Options{Scheme: operator.Scheme()})
	f.must(err)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operator.Namespace, Name: "wayleave-webhook-cert"}}
	f.must(suite.admin.Create(t.Context(), secret))
	secret.Data = map[string][]byte{"tls.crt": []byte("x")}
	f.allowed(certs.Update(t.Context(), secret))

	const words = "updates the Secret wayleave-webhook-cert of its namespace alone"
	other := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operator.Namespace, Name: "other"}}
	f.must(suite.admin.Create(t.Context(), other.DeepCopy()))
	same := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: secret.Name}}
	f.denied(certs.Update(t.Context(), other), "certs", words)
	f.denied(certs.Delete(t.Context(), secret), "certs", words)
	for _, o := range append([]client.Object{
		same, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "mine"}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "mine"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "mallory"}},
		},
	}, f.starters()...) {
		f.denied(certs.Create(t.Context(), o, client.DryRunAll), "certs", words)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "default"}}
	err = certs.SubResource("token").Create(t.Context(), account, &authenticationv1.TokenRequest{})
	f.denied(err, "certs", words)
	f.allowed(certs.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "x"}}, client.DryRunAll))
}
