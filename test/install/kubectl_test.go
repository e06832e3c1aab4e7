//go:build unix

package install

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/cluster"
	"github.com/wayleave/wayleave/test/operator"
)

// TestKubectl installs Wayleave without Helm, gives what a team gives once, plays the smallest path, and removes everything.
func TestKubectl(t *testing.T) {
	if why := cluster.CanRunNode(); why != nil {
		t.Logf("nothing of this package runs here: %v", why)
		return
	}
	s := newSite(t)
	overlay := s.overlay()
	s.kubectl("apply", "--server-side", "-k", overlay)
	s.kubectl("rollout", "status", "-n", operator.Namespace, "deployment", "--timeout=4m")
	s.kubectl("apply", "-f", root+"/config/samples/team.yaml")

	var err error
	s.author, err = client.New(s.cluster.UserConfig(author, "on-call"), client.Options{Scheme: operator.Scheme()})
	s.must(err)
	smallest, err := operator.Load(root + "/config/samples/minimal.yaml")
	s.must(err)
	for _, o := range smallest {
		s.create(o)
	}
	s.complete(&batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "look"}})
	hop := &v1alpha1.DelegationHop{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "look"}}
	s.reads(hop, v1alpha1.ReasonUsesExhausted, v1alpha1.ReasonIdle)
	s.revoke(hop)

	s.kubectl("create", "configmap", "wayleave-freeze", "-n", operator.Namespace, "--from-literal=reason=Wayleave is being removed")
	s.eventually("all hops to be withdrawn", func() error {
		var hops v1alpha1.DelegationHopList
		err := s.admin.List(s.Context(), &hops)
		for i := range hops.Items {
			if hops.Items[i].Status.ServiceAccountName != "" {
				err = errors.Join(err, fmt.Errorf("hop %s holds an identity", hops.Items[i].Name))
			}
		}
		return err
	})
	s.kubectl("delete", "-k", overlay, "--timeout=2m")
	s.nothingLeft()
	if err := s.admin.List(s.Context(), &v1alpha1.DelegationHopList{}); !meta.IsNoMatchError(err) && !apierrors.IsNotFound(err) {
		s.Errorf("the kinds are still served: %v", err)
	}
	namespace := &corev1.Namespace{}
	if err := s.admin.Get(s.Context(), client.ObjectKey{Name: operator.Namespace}, namespace); !apierrors.IsNotFound(err) {
		s.Errorf("the namespace is %+v: %v", namespace.Status, err)
	}
}

// overlay is a kustomization of a team, with its own image.
func (s *site) overlay() string {
	s.Helper()
	base, err := filepath.Abs(root + "/config/default")
	s.must(err)
	dir := s.TempDir()
	relative, err := filepath.Rel(dir, base)
	s.must(err)
	text := fmt.Sprintf(`
resources: [%q]
images: [{name: ghcr.io/wayleave/wayleave, newTag: local}]
patches:
- target: {kind: Deployment}
  patch: |
    - op: replace
      path: /spec/template/spec/containers/0/imagePullPolicy
      value: Never
`, relative)
	s.must(os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600))
	return dir
}

func (s *site) kubectl(args ...string) {
	s.Helper()
	began := time.Now()
	cmd := exec.CommandContext(s.Context(), s.cluster.Kubectl(), append([]string{"--kubeconfig", s.cluster.Kubeconfig()}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.Fatalf("kubectl %v: %v\n%s\n%s", args, err, out, s.pods())
	}
	s.Logf("kubectl %s took %s", args[0], time.Since(began).Round(100*time.Millisecond))
}
