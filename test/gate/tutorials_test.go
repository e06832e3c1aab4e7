//go:build unix

package gate

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/wayleave/wayleave/test/cluster"
)

var shell = regexp.MustCompile("(?s)\n```sh\n(.*?\n)```")

// TestTutorials runs the commands of the tutorials, those of each page in one shell, as an administrator would. Those of approvals.md come
// then, as the person who decides.
func TestTutorials(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(root, "docs", "tutorials", "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("there are %d tutorials: %v", len(pages), err)
	}
	t.Run("all", func(t *testing.T) {
		for _, page := range pages {
			t.Run(strings.TrimSuffix(filepath.Base(page), ".md"), func(t *testing.T) {
				t.Parallel()
				typed(t, suite.cluster.Config(), commandsOf(t, page))
			})
		}
	})
	t.Run("approvals", func(t *testing.T) {
		typed(t, suite.cluster.Config(), asked)
		page := filepath.Join(root, "docs", "approvals.md")
		typed(t, suite.cluster.UserConfig("carol@example.com", "change-board"), commandsOf(t, page))
		typed(t, suite.cluster.Config(), "kubectl --namespace=requests wait --for=condition=Ready dpath/restart-orders --timeout=30s")
	})
}

// asked is what the people of approvals.md find: a path that waits as it is, and the right to see that it does.
const asked = `
kubectl apply -f config/samples/approval-setup.yaml -f config/samples/portal.yaml
kubectl create clusterrolebinding change-board-looks --clusterrole=wayleave-viewer --group=change-board
kubectl --namespace=requests delete dpath,dhop,dapproval --all
kubectl --namespace=requests --as=alice@example.com apply -f config/samples/approval.yaml
kubectl --namespace=requests wait --for=jsonpath='{.status.hops.total}'=1 dpath/restart-orders --timeout=30s
kubectl --namespace=requests wait --for=jsonpath='{.status.approval.state}'=Pending dpath/restart-orders --timeout=30s
`

// commandsOf are the commands of a page.
func commandsOf(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for _, block := range shell.FindAllStringSubmatch(string(text), -1) {
		commands = append(commands, block[1])
	}
	return strings.Join(commands, "\n")
}

// typed runs commands in one shell, in a folder of its own that has config/ in it. They must succeed.
func typed(t *testing.T, as *rest.Config, commands string) {
	t.Helper()
	folder := t.TempDir()
	kubeconfig := filepath.Join(folder, "kubeconfig")
	if err := cluster.WriteKubeconfig(kubeconfig, "user", as); err != nil {
		t.Fatal(err)
	}
	repository, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(repository, "config"), filepath.Join(folder, "config")); err != nil { // what a page writes stays here
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "bash", "-euxo", "pipefail", "-c", commands)
	command.Dir, command.WaitDelay = folder, time.Second
	command.Env = append(os.Environ(),
		"PATH="+filepath.Dir(suite.cluster.Kubectl())+string(filepath.ListSeparator)+os.Getenv("PATH"), "KUBECONFIG="+kubeconfig)
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, output)
	}
	t.Logf("%s", output)
}
