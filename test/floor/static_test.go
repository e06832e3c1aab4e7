//go:build unix

package floor

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/test/cluster"
	"github.com/wayleave/wayleave/test/operator"
)

// TestPoliciesFromDisk: an API server that takes the policies from disk starts, and enforces them before anything is installed by the API;
// nobody deletes them there.
func TestPoliciesFromDisk(t *testing.T) {
	folder := t.TempDir()
	f := &fixture{T: t, ns: "default", account: accountUntil(time.Now().Add(time.Hour))}
	policies := filepath.Join(folder, "policies")
	f.must(os.Mkdir(policies, 0o700))
	kustomize := exec.CommandContext(t.Context(), suite.cluster.Kubectl(), "kustomize", filepath.Join(root, "config", "static"))
	manifest, err := kustomize.Output()
	f.must(err)
	f.must(os.WriteFile(filepath.Join(policies, "policies.yaml"), manifest, 0o600))
	config := filepath.Join(folder, "admission.yaml") // as docs/operations.md says
	f.must(os.WriteFile(config, fmt.Appendf(nil, `
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: ValidatingAdmissionPolicy
  configuration:
    apiVersion: apiserver.config.k8s.io/v1
    kind: ValidatingAdmissionPolicyConfiguration
    staticManifestsDir: %s
`, policies), 0o600))
	c, err := cluster.Start(t.Context(), cluster.Options{
		Log: t.Output(), APIServerArgs: []string{"--admission-control-config-file=" + config},
	})
	f.must(err)
	t.Cleanup(func() { f.must(c.Stop()) })
	root, err := client.New(c.UserConfig("root", admin), client.Options{Scheme: operator.Scheme()})
	f.must(err)

	for name, test := range map[string]struct {
		object client.Object
		policy string
	}{
		"a binding": {&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "extra"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: f.ns, Name: f.account}},
		}, "bindings"},
		"an account": {&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: f.account}}, "identities"},
		"a Secret": {&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: f.ns, Name: "legacy", Annotations: map[string]string{corev1.ServiceAccountNameKey: f.account},
			},
			Type: corev1.SecretTypeServiceAccountToken,
		}, "token-secrets"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fixture{T: t}
			f.denied(root.Create(t.Context(), test.object), test.policy, "")
		})
	}
	f.allowed(root.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "other"}}))

	var all admissionregistrationv1.ValidatingAdmissionPolicyList
	f.must(root.List(t.Context(), &all))
	if len(all.Items) > 0 {
		t.Errorf("the API has %d policies", len(all.Items))
	}
	static := &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "hop-pods.delegation.wayleave.dev.static.k8s.io"},
	}
	if err := root.Delete(t.Context(), static); !apierrors.IsNotFound(err) {
		t.Errorf("deleting a policy on disk: %v", err)
	}
}
