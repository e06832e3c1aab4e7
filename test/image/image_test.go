// Package image tests the container image that `make image` builds, and that the Dockerfile makes the same one.
package image

import (
	"bytes"
	"debug/elf"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	root    = "../.."
	version = "v1.2.3-test"
	user    = "65532:65532"
	program = "/ko-app/wayleave"
)

var machines = map[platform]elf.Machine{
	{OS: "linux", Architecture: "amd64"}: elf.EM_X86_64,
	{OS: "linux", Architecture: "arm64"}: elf.EM_AARCH64,
}

// TestImage: what a checkout gives is one image for all platforms, whatever folder it is in and whether it is a clone.
func TestImage(t *testing.T) {
	dist := t.TempDir()
	image := makeImage(t, root, dist)
	digest := image.digest(t)
	if elsewhere := makeImage(t, exported(t), t.TempDir()).digest(t); elsewhere != digest {
		t.Errorf("the image is %s here, and %s of the same files elsewhere", digest, elsewhere)
	}
	held := decode[index](t, image.blob(t, digest))
	seen := map[platform]bool{}
	for _, d := range held.Manifests {
		seen[d.Platform] = true
		t.Run(d.Platform.Architecture, func(t *testing.T) {
			image.check(t, d)
			checkSBOM(t, dist, d)
		})
	}
	if want := set(slices.Collect(maps.Keys(machines))); !maps.Equal(want, seen) || len(held.Manifests) != len(want) {
		t.Errorf("the image is for %v, not for %v", held.Manifests, want)
	}
}

func makeImage(t *testing.T, folder, dist string) layout {
	t.Helper()
	command := exec.CommandContext(t.Context(), "make", "-C", folder, "image",
		"DIST="+dist, "VERSION="+version, "SOURCE_DATE_EPOCH=1700000000")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return layout{filepath.Join(dist, "image")}
}

// exported is a copy of what belongs to the repository, without the repository.
func exported(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	files := output(t, nil, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	for file := range strings.SplitSeq(files, "\x00") {
		content, err := os.ReadFile(filepath.Join(root, file))
		if file == "" || os.IsNotExist(err) {
			continue // the end of the list, and what is deleted and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		target := filepath.Join(folder, file)
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(target, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func (l layout) check(t *testing.T, d descriptor) {
	t.Helper()
	m := decode[manifest](t, l.blob(t, d.Digest))
	if got := m.Annotations["org.opencontainers.image.version"]; got != version {
		t.Errorf("the image says that its version is %q, not %q", got, version)
	}
	want := config{platform: d.Platform, Created: "2023-11-14T22:13:20Z"}
	want.Config.User = user
	want.Config.Entrypoint = []string{program}
	if diff := cmp.Diff(want, decode[config](t, l.blob(t, m.Config.Digest)), cmp.AllowUnexported(config{})); diff != "" {
		t.Errorf("the configuration is wrong (-want +got):\n%s", diff)
	}
	files := l.files(t, m)
	if names := slices.Collect(maps.Keys(files)); !slices.Equal(names, []string{program}) {
		t.Fatalf("the image has the files %q, not only %q", names, program)
	}
	checkProgram(t, d.Platform, files[program])
}

// checkProgram requires that nothing else is needed to run the program, and runs it if this machine can.
func checkProgram(t *testing.T, p platform, content []byte) {
	t.Helper()
	binary, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if binary.Machine != machines[p] {
		t.Errorf("the program is for %s", binary.Machine)
	}
	if slices.ContainsFunc(binary.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		t.Error("the program is not static")
	}
	if p.OS != runtime.GOOS || p.Architecture != runtime.GOARCH {
		return
	}
	file := filepath.Join(t.TempDir(), "wayleave")
	if err := os.WriteFile(file, content, 0o700); err != nil {
		t.Fatal(err)
	}
	if got := output(t, nil, file, "--version"); got != "wayleave version "+version+"\n" {
		t.Errorf("the program says %q", got)
	}
}

type document struct {
	Version  string `json:"spdxVersion"`
	Name     string `json:"name"`
	Packages []struct {
		Name string `json:"name"`
		Refs []struct {
			Locator string `json:"referenceLocator"`
		} `json:"externalRefs"`
	} `json:"packages"`
}

// checkSBOM: the SBOM names the image and each module of go.mod that is part of the program.
func checkSBOM(t *testing.T, dist string, d descriptor) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dist, fmt.Sprintf("wayleave-%s-%s.spdx.json", d.Platform.OS, d.Platform.Architecture)))
	if err != nil {
		t.Fatal(err)
	}
	sbom := decode[document](t, content)
	if sbom.Version != "SPDX-2.3" || sbom.Name != "sbom-"+d.Digest {
		t.Errorf("the SBOM is %s in %s, not of %s", sbom.Name, sbom.Version, d.Digest)
	}
	named := map[string]bool{}
	for _, p := range sbom.Packages {
		for _, ref := range p.Refs {
			if module, ok := strings.CutPrefix(ref.Locator, "pkg:golang/"); ok {
				_, moduleVersion, _ := strings.Cut(strings.TrimSuffix(module, "?type=module"), "@")
				named[p.Name+" "+moduleVersion] = true
			}
		}
	}
	modules := output(t, []string{"CGO_ENABLED=0", "GOOS=" + d.Platform.OS, "GOARCH=" + d.Platform.Architecture},
		"go", "list", "-deps", "-f", "{{with .Module}}{{.Path}} {{if .Main}}"+version+"{{else}}{{.Version}}{{end}}\n{{end}}", "./cmd/wayleave")
	if diff := cmp.Diff(set(strings.FieldsFunc(modules, func(r rune) bool { return r == '\n' })), named); diff != "" {
		t.Errorf("the SBOM does not name the modules of the program (-go list +SBOM):\n%s", diff)
	}
}

// output is what a command says that runs in the root folder.
func output(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, args...)
	command.Dir = root
	command.Env = append(os.Environ(), env...)
	command.Stderr = t.Output()
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return string(out)
}

func set[T comparable](values []T) map[T]bool {
	s := map[T]bool{}
	for _, value := range values {
		s[value] = true
	}
	return s
}
