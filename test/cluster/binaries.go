//go:build unix

package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"time"
)

// packages are the programs of a cluster, with their packages in the modules that
// hack/kubernetes/go.mod pins.
var packages = map[string]string{
	"etcd":                    "go.etcd.io/etcd/server/v3",
	"kube-apiserver":          "k8s.io/kubernetes/cmd/kube-apiserver",
	"kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
	"kube-proxy":              "k8s.io/kubernetes/cmd/kube-proxy",
	"kube-scheduler":          "k8s.io/kubernetes/cmd/kube-scheduler",
	"kubectl":                 "k8s.io/kubernetes/cmd/kubectl",
	"kubelet":                 "k8s.io/kubernetes/cmd/kubelet",
}

func controlPlaneBinaries() []string {
	return []string{"etcd", "kube-apiserver", "kube-controller-manager", "kubectl"}
}

// Build builds the programs of a cluster that are not in the cache, so that Start
// finds them.
func Build(ctx context.Context, o Options) error {
	_, err := Binaries(ctx, o.Log, needed(o)...)
	return err
}

// Binaries returns the paths of the named programs of Kubernetes and etcd. It
// builds those that are not in the cache. KUBEBUILDER_ASSETS, if set, is a folder
// whose programs are used instead.
func Binaries(ctx context.Context, log io.Writer, names ...string) (map[string]string, error) {
	if log == nil {
		log = io.Discard
	}
	paths := map[string]string{}
	var rest []string
	for _, name := range names {
		if path := filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), name); filepath.IsAbs(path) && exists(path) {
			paths[name] = path
		} else {
			rest = append(rest, name)
		}
	}
	if len(rest) == 0 {
		return paths, nil
	}
	b, err := newBuild()
	if err != nil {
		return nil, fmt.Errorf("finding the binaries of Kubernetes: %w", err)
	}
	if err := b.ensure(ctx, log, rest); err != nil {
		return nil, err
	}
	for _, name := range rest {
		paths[name] = b.path(name)
	}
	return paths, nil
}

// build builds programs from the module in hack/kubernetes.
type build struct {
	module  string // its folder
	cache   string
	version string // of Kubernetes, as "v1.37.2"
}

var kubernetesVersion = regexp.MustCompile(`k8s\.io/kubernetes (v[0-9]+\.[0-9]+\.[0-9]+\S*)`)

func newBuild() (*build, error) {
	root, err := repository()
	if err != nil {
		return nil, err
	}
	b := &build{module: filepath.Join(root, "hack", "kubernetes")}
	pins, err := os.ReadFile(filepath.Join(b.module, "go.mod"))
	if err != nil {
		return nil, err
	}
	sums, err := os.ReadFile(filepath.Join(b.module, "go.sum"))
	if err != nil {
		return nil, err
	}
	match := kubernetesVersion.FindSubmatch(pins)
	if match == nil {
		return nil, fmt.Errorf("%s does not name a version of Kubernetes", b.module)
	}
	b.version = string(match[1])
	cache, err := Cache()
	if err != nil {
		return nil, err
	}
	b.cache = filepath.Join(cache, "kubernetes", key(pins, sums))
	return b, os.MkdirAll(b.cache, 0o755)
}

// key changes with the pinned versions, but not with the compiler or the code of
// this repository: a build takes minutes.
func key(pins, sums []byte) string {
	sum := sha256.Sum256(bytes.Join([][]byte{pins, sums, []byte(runtime.GOOS + "/" + runtime.GOARCH)}, nil))
	return hex.EncodeToString(sum[:6])
}

// repository finds the checkout that contains the working folder. The path at
// compile time is not known: -trimpath removes it.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for start := dir; ; {
		if exists(filepath.Join(dir, "hack", "kubernetes", "go.mod")) {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("%s is not inside a checkout of this project", start)
		}
		dir = parent
	}
}

func (b *build) path(name string) string { return filepath.Join(b.cache, name) }

func (b *build) missing(names []string) []string {
	var missing []string
	for _, name := range names {
		if !exists(b.path(name)) {
			missing = append(missing, name)
		}
	}
	return missing
}

// ensure builds what is missing. The tests of several packages run at the same
// time: one builds and the others wait.
func (b *build) ensure(ctx context.Context, log io.Writer, names []string) error {
	if len(b.missing(names)) == 0 {
		return nil
	}
	lock, err := waitLock(ctx, filepath.Join(b.cache, ".lock"), func() {
		fmt.Fprintln(log, "waiting for another build of the same binaries")
	})
	if err != nil {
		return fmt.Errorf("waiting for another build: %w", err)
	}
	defer lock.Close()
	missing := b.missing(names)
	for i, name := range missing {
		hint := ""
		if i == 0 {
			hint = ", the first build takes about ten minutes on two cores"
		}
		fmt.Fprintf(log, "building %s for Kubernetes %s (%d/%d%s)\n", name, b.version, i+1, len(missing), hint)
		if err := b.compile(ctx, name); err != nil {
			return fmt.Errorf("building %s: %w", name, err)
		}
	}
	return nil
}

func (b *build) compile(ctx context.Context, name string) error {
	const version = "k8s.io/component-base/version."
	numbers := regexp.MustCompile(`[0-9]+`).FindAllString(b.version, 2)
	flags := fmt.Sprintf("-s -w -X %[1]sgitVersion=%[2]s -X %[1]sgitMajor=%[3]s -X %[1]sgitMinor=%[4]s",
		version, b.version, numbers[0], numbers[1])
	fresh := b.path(name) + ".new"
	if err := goBuild(ctx, b.module, flags, fresh, packages[name]); err != nil {
		return err
	}
	return os.Rename(fresh, b.path(name))
}

// BuildProgram builds a Go program as a static file that LoadImage accepts. The
// package is named as for `go build` in the working folder.
func BuildProgram(ctx context.Context, pkg, output string) error {
	if err := goBuild(ctx, "", "-s -w", output, pkg); err != nil {
		return fmt.Errorf("building %s: %w", pkg, err)
	}
	return nil
}

func goBuild(ctx context.Context, dir, ldflags, output, pkg string) error {
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", ldflags, "-o", output, pkg)
	command.Dir = dir
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	out, err := command.CombinedOutput()
	if err != nil {
		return errors.Join(err, errors.New(string(out)))
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// waitLock takes a lock, waits while another process holds it, and calls waiting
// once if it has to wait.
func waitLock(ctx context.Context, path string, waiting func()) (*os.File, error) {
	for first := true; ; first = false {
		lock, err := tryLock(path)
		if !errors.Is(err, errLocked) {
			return lock, err
		}
		if first {
			waiting()
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
