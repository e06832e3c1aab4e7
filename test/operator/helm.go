//go:build unix

package operator

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// HelmVersions are the versions of Helm that are in use.
var HelmVersions = []string{"v3", "v4"}

// HelmProgram is the path of the program of a version of Helm, which Go builds once and keeps in its build cache.
func HelmProgram(ctx context.Context, root, version string) (string, error) {
	build := exec.CommandContext(ctx, "go", "-C", filepath.Join(root, "hack", "helm"), "tool", "-n", "helm.sh/helm/"+version+"/cmd/helm")
	var stderr bytes.Buffer
	build.Stderr = &stderr
	path, err := build.Output()
	if err != nil {
		return "", fmt.Errorf("building Helm %s: %w\n%s", version, err, &stderr)
	}
	return strings.TrimSpace(string(path)), nil
}

// Helm is a command of a version of Helm, without settings of the user, which keeps what it has to keep in a folder.
func Helm(ctx context.Context, root, version, home, kubeconfig string, args ...string) (*exec.Cmd, error) {
	path, err := HelmProgram(ctx, root, version)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home, "KUBECONFIG="+kubeconfig)
	return cmd, nil
}
