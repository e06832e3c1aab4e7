//go:build unix

package queues

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/test/cluster"
	"github.com/wayleave/wayleave/test/operator"
)

// manager is a controller of others, built from its module and run beside the cluster as its own ServiceAccount.
type manager struct {
	name, module, program string
	// config is its configuration, with CERTS, WEBHOOK and HEALTH for a folder and two ports.
	config string
}

var kueue = manager{
	name: "kueue", module: "sigs.k8s.io/kueue", program: "sigs.k8s.io/kueue/cmd/kueue",
	config: `
apiVersion: config.kueue.x-k8s.io/v1beta2
kind: Configuration
namespace: kueue-system
health: {healthProbeBindAddress: "127.0.0.1:HEALTH"}
metrics: {bindAddress: "0"}
webhook: {host: 127.0.0.1, port: WEBHOOK, certDir: CERTS}
leaderElection: {leaderElect: false}
internalCertManagement: {enable: false}
featureGates: {VisibilityOnDemand: false}
integrations: {frameworks: [batch/job, jobset.x-k8s.io/jobset]}
`,
}

var jobset = manager{
	name: "jobset", module: "sigs.k8s.io/jobset", program: "sigs.k8s.io/jobset",
	config: `
apiVersion: config.jobset.x-k8s.io/v1alpha1
kind: Configuration
health: {healthProbeBindAddress: "127.0.0.1:HEALTH"}
metrics: {bindAddress: "0"}
webhook: {host: 127.0.0.1, port: WEBHOOK, certDir: CERTS}
leaderElection: {leaderElect: false}
internalCertManagement: {enable: false}
`,
}

func (m manager) namespace() string { return m.name + "-system" }

// user is the name of its ServiceAccount.
func (m manager) user() string {
	return "system:serviceaccount:" + m.namespace() + ":" + m.name + "-controller-manager"
}

// site is a cluster with Wayleave, Kueue and JobSet.
type site struct {
	*testing.T
	cluster *cluster.Cluster
	admin   client.Client
	folder  string
}

func newSite(t *testing.T) *site {
	t.Helper()
	t.Chdir("../..") // where the operator is built
	c, err := cluster.Start(t.Context(), cluster.Options{Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	op, err := operator.Start(t.Context(), c, operator.Options{Root: ".", Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(op.Stop)
	s := &site{T: t, cluster: c, folder: t.TempDir()}
	if s.admin, err = client.New(c.Config(), client.Options{Scheme: operator.Scheme()}); err != nil {
		t.Fatal(err)
	}
	s.become("admin", c.Config())
	s.types("admin", "kubectl apply -f config/samples/ceiling.yaml")
	s.become("alert-bot", s.withToken("incident-response", "alert-bot"))
	return s
}

// install builds a manager, applies what its module ships but what runs in pods, and starts it.
func (s *site) install(m manager) {
	s.Helper()
	folder := filepath.Join(s.folder, m.name)
	if err := os.Mkdir(folder, 0o700); err != nil {
		s.Fatal(err)
	}
	binary := filepath.Join(folder, m.name)
	s.types("admin", "cd test/queues/managers/"+m.name+" && go build -o "+binary+" "+m.program)
	source := strings.TrimSpace(s.types("admin", "cd test/queues/managers/"+m.name+" && go list -m -f '{{.Version}} {{.Dir}}' "+m.module))
	version, source, _ := strings.Cut(source, " ")
	s.Logf("%s %s", m.module, version)

	ca, key, err := cert.GenerateSelfSignedCertKey("localhost", []net.IP{net.IPv4(127, 0, 0, 1)}, nil)
	if err != nil {
		s.Fatal(err)
	}
	webhook, health := s.freePort(), s.freePort()
	certs := []string{folder}
	if m.name == "kueue" { // reads those of its metrics here, whether it serves metrics or not
		certs = append(certs, "/etc/kueue/metrics/certs")
		s.Cleanup(func() {
			_ = os.RemoveAll(certs[1])
			_, _ = os.Remove("/etc/kueue/metrics"), os.Remove("/etc/kueue") // where nothing else is in them
		})
	}
	for _, in := range certs {
		s.write(filepath.Join(in, "tls.crt"), ca)
		s.write(filepath.Join(in, "tls.key"), key)
	}
	objects, err := operator.Decode([]byte(s.types("admin", "kubectl kustomize "+source+"/config/default")))
	if err != nil {
		s.Fatal(err)
	}
	for _, object := range objects {
		switch object.GetKind() {
		case "Deployment", "Service", "APIService", "Secret":
			continue
		}
		pointTo(object.Object, fmt.Sprintf("https://localhost:%d", webhook), ca)
		s.apply(object)
	}
	s.become(m.name, s.withToken(m.namespace(), m.name+"-controller-manager"))
	config := filepath.Join(folder, "config.yaml")
	here := strings.NewReplacer("CERTS", folder, "WEBHOOK", fmt.Sprint(webhook), "HEALTH", fmt.Sprint(health))
	s.write(config, []byte(here.Replace(m.config)))
	program, err := s.cluster.StartProgram(m.name, binary, "--kubeconfig", s.kubeconfig(m.name), "--config", config)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(program.Stop)
	s.eventually(m.name+" to be ready", func() error {
		if err := program.Died(); err != nil {
			s.Fatal(err)
		}
		_, err := s.tries("admin", fmt.Sprintf("curl -fsS http://127.0.0.1:%d/readyz", health))
		return err
	})
}

// pointTo replaces the Service of each webhook in an object by a URL on this machine.
func pointTo(in any, url string, ca []byte) {
	switch in := in.(type) {
	case []any:
		for _, value := range in {
			pointTo(value, url, ca)
		}
	case map[string]any:
		if service, ok := in["service"].(map[string]any); ok && service["path"] != nil {
			delete(in, "service")
			in["url"], in["caBundle"] = fmt.Sprint(url, service["path"]), ca
			return
		}
		for _, value := range in {
			pointTo(value, url, ca)
		}
	}
}

func (s *site) apply(object *unstructured.Unstructured) {
	s.Helper()
	s.eventually("to apply "+object.GetKind()+" "+object.GetName(), func() error {
		apply := client.ApplyConfigurationFromUnstructured(object)
		return s.admin.Apply(s.Context(), apply, client.FieldOwner("installer"), client.ForceOwnership)
	})
}

func (s *site) write(path string, content []byte) {
	s.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		s.Fatal(err)
	}
}

func (s *site) freePort() int {
	s.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// withToken is the configuration of a ServiceAccount.
func (s *site) withToken(namespace, account string) *rest.Config {
	s.Helper()
	config := rest.AnonymousClientConfig(s.cluster.Config())
	config.BearerToken = strings.TrimSpace(s.types("admin", "kubectl -n "+namespace+" create token "+account))
	return config
}

func (s *site) kubeconfig(user string) string { return filepath.Join(s.folder, user+".kubeconfig") }

// become writes the kubeconfig of a user.
func (s *site) become(user string, c *rest.Config) {
	s.Helper()
	if err := cluster.WriteKubeconfig(s.kubeconfig(user), user, c); err != nil {
		s.Fatal(err)
	}
}

// types runs a script as a user in the root of the repository, and returns its output. It must succeed.
func (s *site) types(user, script string) string {
	s.Helper()
	output, err := s.tries(user, script)
	if err != nil {
		s.Fatalf("as %s: %s\n%v", user, script, err)
	}
	return output
}

// tries runs a script that may fail.
func (s *site) tries(user, script string) (string, error) {
	command := exec.CommandContext(s.Context(), "bash", "-euo", "pipefail", "-c", script)
	command.WaitDelay = time.Second
	command.Env = append(os.Environ(),
		"PATH="+filepath.Dir(s.cluster.Kubectl())+string(filepath.ListSeparator)+os.Getenv("PATH"),
		"KUBECONFIG="+s.kubeconfig(user), "KUBECACHEDIR="+filepath.Join(s.folder, "cache"))
	var errors strings.Builder
	command.Stderr = &errors
	output, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, errors.String())
	}
	return string(output), nil
}

func (s *site) eventually(what string, done func() error) {
	s.Helper()
	var err error
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if err = done(); err == nil {
			return
		}
	}
	s.Fatalf("waiting for %s: %v", what, err)
}
