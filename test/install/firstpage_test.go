//go:build unix

package install

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/wayleave/wayleave/test/operator"
)

// firstCommands are the commands of the first page, with the tool for which they are: helm, kubectl, or both.
var firstCommands = regexp.MustCompile("(?s)\n```sh first=(\\w+)\n(.*?)\n```")

// firstPage types the first page of the README, on a cluster that has nothing but the images.
func (s *site) firstPage(tool string) {
	s.Helper()
	page, err := os.ReadFile(root + "/README.md")
	s.must(err)
	helm, err := operator.HelmProgram(s.Context(), root, "v4")
	s.must(err)
	path := s.TempDir()
	for name, program := range map[string]string{"kubectl": s.cluster.Kubectl(), "helm": helm} {
		s.must(os.Symlink(program, filepath.Join(path, name)))
	}
	began, typed := time.Now(), 0
	for _, block := range firstCommands.FindAllStringSubmatch(string(page), -1) {
		if block[1] != tool && block[1] != "both" {
			continue
		}
		typed++
		cmd := exec.CommandContext(s.Context(), "bash", "-euo", "pipefail", "-c", block[2])
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "KUBECONFIG="+s.cluster.Kubeconfig(), "PATH="+path+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			s.Fatalf("%s\n%v:\n%s\n%s", block[2], err, out, s.pods())
		}
		s.Logf("$ %s\n%s", strings.ReplaceAll(block[2], "\n", "\n$ "), out)
	}
	if typed < 4 {
		s.Fatalf("the first page has only %d blocks of commands for %s", typed, tool)
	}
	s.Logf("the first page with %s took %s", tool, time.Since(began).Round(time.Second))
}
