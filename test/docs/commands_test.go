//go:build unix

package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/wayleave/wayleave/test/cluster"
	"github.com/wayleave/wayleave/test/operator"
)

// reader is a user who runs the commands of the pages.
type reader struct {
	cluster *cluster.Cluster
	folder  string
}

// TestCommands runs the commands of the pages and applies their examples.
func TestCommands(t *testing.T) {
	c, err := cluster.Start(t.Context(), cluster.Options{Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	op, err := operator.Start(t.Context(), c, operator.Options{Root: root, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(op.Stop)

	r := reader{cluster: c, folder: t.TempDir()}
	r.become(t, "admin", c.Config())
	r.types(t, "admin", "kubectl create clusterrolebinding platform-team --clusterrole=cluster-admin --group=platform-team")
	r.become(t, "platform", c.UserConfig("platform@example.com", "platform-team"))
	r.become(t, "alice", c.UserConfig("alice@example.com", "on-call"))

	for _, page := range pages {
		for _, b := range blocks(t, page) {
			switch {
			case b.language == "sh" && b.as != "":
				r.becomeBot(t, b.as)
				t.Logf("%s$ %s%s", b.as, b.text, r.types(t, b.as, b.text))
			case b.language == "yaml" && page != "README.md":
				file := filepath.Join(r.folder, "example.yaml")
				if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
					t.Fatal(err)
				}
				r.types(t, "platform", "kubectl apply --dry-run=server -f "+file)
			}
		}
	}
	r.appliesSamples(t)
}

// appliesSamples applies all samples twice: GitOps tools apply them repeatedly.
func (r *reader) appliesSamples(t *testing.T) {
	t.Helper()
	for file, as := range map[string]string{
		"ceiling.yaml": "platform", "minimal.yaml": "alert-bot", "incident-response.yaml": "alert-bot", "agent-token.yaml": "platform",
		"follow.yaml": "alert-bot", "split.yaml": "alert-bot",
		"gitops.yaml": "platform",
	} {
		r.types(t, as, "kubectl apply -f config/samples/"+file)
		second := r.types(t, as, "kubectl apply -f config/samples/"+file)
		if strings.Contains(second, "configured") || strings.Contains(second, "created") {
			t.Errorf("%s changes something when it is applied a second time:\n%s", file, second)
		}
	}
	for _, ready := range []string{
		"-n incident-response dpath/contain-4711 dhop/triage dhop/isolate dhop/follow dpath/ticket-1234 dpath/nightly-inventory dhop/count",
		"-n agents dhop/stock dhop/stock-vault",
	} {
		r.types(t, "alice", "kubectl wait --for=condition=Ready --timeout=60s "+ready)
	}
	r.types(t, "platform", "kubectl -n agents get secret stock-credential stock-vault-token")
}

func (r *reader) kubeconfig(name string) string { return filepath.Join(r.folder, name+".kubeconfig") }

// become writes the kubeconfig of a user.
func (r *reader) become(t *testing.T, name string, c *rest.Config) {
	t.Helper()
	if err := cluster.WriteKubeconfig(r.kubeconfig(name), name, c); err != nil {
		t.Fatal(err)
	}
}

// becomeBot creates a token for the alert bot, which is possible only once its account exists.
func (r *reader) becomeBot(t *testing.T, name string) {
	t.Helper()
	if _, err := os.Stat(r.kubeconfig(name)); err == nil || name != "alert-bot" {
		return
	}
	config := rest.AnonymousClientConfig(r.cluster.Config())
	config.BearerToken = strings.TrimSpace(r.types(t, "admin", "kubectl -n incident-response create token alert-bot"))
	r.become(t, name, config)
}

// types runs a script as a user in the root of the repository, and returns its output. It must succeed.
func (r *reader) types(t *testing.T, as, script string) string {
	t.Helper()
	if _, err := os.Stat(r.kubeconfig(as)); err != nil {
		t.Fatalf("no such user: %q: %v", as, err)
	}
	command := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	command.Dir, command.WaitDelay = root, time.Second
	command.Env = append(os.Environ(),
		"PATH="+filepath.Dir(r.cluster.Kubectl())+string(filepath.ListSeparator)+os.Getenv("PATH"),
		"KUBECONFIG="+r.kubeconfig(as), "KUBECACHEDIR="+filepath.Join(r.folder, "cache"))
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("as %s:\n%s%v:\n%s", as, script, err, output)
	}
	return string(output)
}
