//go:build unix

package install

import (
	"errors"
	"fmt"
	"os/exec"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/cluster"
	"github.com/wayleave/wayleave/test/operator"
)

// TestKubectl plays the first page of the README with kubectl alone, and removes everything.
func TestKubectl(t *testing.T) {
	if why := cluster.CanRunNode(); why != nil {
		t.Logf("nothing of this package runs here: %v", why)
		return
	}
	s := newSite(t)
	s.firstPage("kubectl")

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
	s.kubectl("delete", "-f", root+"/dist/install.yaml", "--timeout=2m")
	s.nothingLeft()
	if err := s.admin.List(s.Context(), &v1alpha1.DelegationHopList{}); !meta.IsNoMatchError(err) && !apierrors.IsNotFound(err) {
		s.Errorf("the kinds are still served: %v", err)
	}
	namespace := &corev1.Namespace{}
	if err := s.admin.Get(s.Context(), client.ObjectKey{Name: operator.Namespace}, namespace); !apierrors.IsNotFound(err) {
		s.Errorf("the namespace is %+v: %v", namespace.Status, err)
	}
	s.removesInTheWrongOrder()
}

// removesInTheWrongOrder installs Wayleave again, and takes its processes away while a hop is in use, then the namespace of the hop, and
// the rest last: nothing waits for what is gone.
func (s *site) removesInTheWrongOrder() {
	s.Helper()
	s.kubectl("apply", "--server-side", "-f", root+"/dist/install.yaml")
	s.kubectl("rollout", "status", "-n", operator.Namespace, "deployment", "--timeout=4m")
	s.kubectl("apply", "-f", root+"/config/samples/team.yaml")
	var err error
	s.author, err = client.New(s.cluster.UserConfig(author, "on-call"), client.Options{Scheme: operator.Scheme()})
	s.must(err)
	hop := s.delegate("live")
	job := s.job(hop, "list pods in "+on+" every 200ms for 10m")
	s.create(job)
	s.running(job, "dhop-live.")

	s.kubectl("delete", "namespace", operator.Namespace, "--timeout=1m")
	s.kubectl("delete", "namespace", ns, "--timeout=1m")
	s.kubectl("delete", "-f", root+"/dist/install.yaml", "--ignore-not-found", "--timeout=1m")
	// As docs/install.md says.
	s.kubectl("delete", "rolebindings,clusterrolebindings", "-A", "-l", v1alpha1.LabelHopUID)
	s.kubectl("delete", "roles,clusterroles", "-A", "-l", v1alpha1.LabelHopUID)
	s.nothingLeft()
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
