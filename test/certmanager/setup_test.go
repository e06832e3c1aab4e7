//go:build unix

package certmanager

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/wayleave/wayleave/test/cluster"
	"github.com/wayleave/wayleave/test/operator"
)

const (
	root   = "../.."
	module = "github.com/cert-manager/cert-manager"
	// patience is for what the cluster does; the kubelet brings a changed Secret to a pod within two minutes.
	patience = 3 * time.Minute
)

// site is a cluster with a node and the image of Wayleave.
type site struct {
	*testing.T
	cluster *cluster.Cluster
	admin   client.Client
}

func newSite(t *testing.T) *site {
	t.Helper()
	logf.SetLogger(logr.Discard())
	c, err := cluster.Start(t.Context(), cluster.Options{Node: true, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	s := &site{T: t, cluster: c}
	s.admin, err = client.New(c.Config(), client.Options{Scheme: operator.Scheme()})
	s.must(err)
	t.Chdir(root) // where the image is built
	s.must(operator.LoadImage(t.Context(), c, "."))
	return s
}

// installCertManager applies what cert-manager's own chart has, but what runs in pods and cert-manager's webhook, and runs the
// controllers and the CA injector beside the cluster, as the accounts that the chart gives to them.
func (s *site) installCertManager() {
	s.Helper()
	binary := filepath.Join(s.TempDir(), "manager")
	_, err := s.run("go", "-C", "test/certmanager/manager", "build", "-o", binary, ".")
	s.must(err)
	source, err := s.run("go", "-C", "test/certmanager/manager", "list", "-m", "-f", "{{.Version}} {{.Dir}}", module)
	s.must(err)
	version, source, _ := strings.Cut(strings.TrimSpace(source), " ")
	s.Logf("cert-manager %s", version)
	s.must(s.admin.Create(s.Context(), namespace("cert-manager")))
	chart := s.helm("v4", "template", "cert-manager", source+"/deploy/charts/cert-manager", "--namespace", "cert-manager", "--no-hooks",
		"--set", "crds.enabled=true")
	objects, err := operator.Decode([]byte(chart))
	s.must(err)
	for _, object := range objects {
		switch object.GetKind() {
		case "Deployment", "Service", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration":
			continue
		}
		s.must(s.admin.Apply(s.Context(), client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("installer")))
	}
	_, err = s.kubectl("wait", "--for=condition=Established", "--timeout=1m", "crd/certificates.cert-manager.io",
		"crd/issuers.cert-manager.io", "crd/certificaterequests.cert-manager.io")
	s.must(err)
	s.start(binary, "controller", "cert-manager")
	s.start(binary, "cainjector", "cert-manager-cainjector")
}

// start runs a program of cert-manager as its account.
func (s *site) start(binary, name, account string) {
	s.Helper()
	token, err := s.kubectl("-n", "cert-manager", "create", "token", account)
	s.must(err)
	config := rest.AnonymousClientConfig(s.cluster.Config())
	config.BearerToken = strings.TrimSpace(token)
	kubeconfig := filepath.Join(s.TempDir(), "kubeconfig")
	s.must(cluster.WriteKubeconfig(kubeconfig, account, config))
	program, err := s.cluster.StartProgram("cert-manager-"+name, binary, name, kubeconfig)
	s.must(err)
	s.Cleanup(func() {
		if err := program.Died(); err != nil {
			s.Error(err)
		}
		program.Stop()
		if out, err := os.ReadFile(program.Log()); err == nil && s.Failed() {
			s.Logf("%s:\n%s", name, out)
		}
	})
}

func (s *site) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// helm runs a version of Helm as administrator, and returns its output. It must succeed.
func (s *site) helm(version string, args ...string) string {
	s.Helper()
	began := time.Now()
	out, err := s.tryHelm(version, args...)
	if err != nil {
		seen, _ := s.kubectl("get", "pods,events,certificates,issuers,certificaterequests", "-n", operator.Namespace)
		s.Fatalf("%v\n%s", err, seen)
	}
	s.Logf("helm %s %s took %s", version, args[0], time.Since(began).Round(100*time.Millisecond))
	return out
}

// tryHelm runs what may fail.
func (s *site) tryHelm(version string, args ...string) (string, error) {
	s.Helper()
	cmd, err := operator.Helm(s.Context(), ".", version, s.TempDir(), s.cluster.Kubeconfig(), args...)
	s.must(err)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("helm %s: %w\n%s", strings.Join(args, " "), err, &stderr)
	}
	return string(out), err
}

func (s *site) kubectl(args ...string) (string, error) {
	return s.run(s.cluster.Kubectl(), append([]string{"--kubeconfig", s.cluster.Kubeconfig()}, args...)...)
}

// run runs a program in the root of the repository, and returns its output.
func (s *site) run(program string, args ...string) (string, error) {
	cmd := exec.CommandContext(context.WithoutCancel(s.Context()), program, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", filepath.Base(program), strings.Join(args, " "), err, &stderr)
	}
	return string(out), nil
}

func (s *site) eventually(what string, check func() error) {
	s.Helper()
	began := time.Now()
	for {
		err := check()
		if err == nil {
			s.Logf("%s: after %s", what, time.Since(began).Round(100*time.Millisecond))
			return
		}
		if time.Since(began) > patience {
			s.Fatalf("waited %s for %s: %v", patience, what, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
