package image

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	instruction = regexp.MustCompile(`^(FROM|WORKDIR|COPY|RUN|ARG|USER|ENTRYPOINT) \S.*[^\\]$`)
	goRelease   = regexp.MustCompile(`(?m)^go (\d+\.\d+)`)
)

// TestDockerfile: docker build gives the program that make image gives, since make build has the same flags, at the same
// path and for the same user.
func TestDockerfile(t *testing.T) {
	var stages [][]string
	for line := range strings.Lines(read(t, "Dockerfile")) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
			continue
		case !instruction.MatchString(line):
			t.Fatalf("the Dockerfile has the line %q", line)
		case strings.HasPrefix(line, "FROM "):
			stages = append(stages, nil)
		case len(stages) == 0:
			t.Fatalf("the Dockerfile has %q before its first stage", line)
		}
		stages[len(stages)-1] = append(stages[len(stages)-1], line)
	}
	if len(stages) != 2 {
		t.Fatalf("the Dockerfile has %d stages, not 2", len(stages))
	}
	building, final := stages[0], stages[1]
	release := goRelease.FindStringSubmatch(read(t, "go.mod"))[1]
	if want := "FROM --platform=$BUILDPLATFORM golang:" + release + " AS build"; building[0] != want {
		t.Errorf("the Dockerfile builds with %q, not %q", building[0], want)
	}
	if want := `RUN GOOS=$TARGETOS GOARCH=$TARGETARCH make build VERSION="$VERSION"`; !slices.Contains(building, want) {
		t.Errorf("the Dockerfile does not %q", want)
	}
	want := []string{"COPY --from=build /src/bin/wayleave " + program, "USER " + user, `ENTRYPOINT ["` + program + `"]`}
	if diff := cmp.Diff(want, final[1:]); diff != "" {
		t.Errorf("the image of the Dockerfile is another one (-make image +Dockerfile):\n%s", diff)
	}
}

// TestBuildFlags: make build and make image use the same flags.
func TestBuildFlags(t *testing.T) {
	flags := regexp.MustCompile(` (-trimpath .*?main\.version=v1')`)
	var found []string
	for _, target := range []string{"build", "image"} {
		lines := output(t, nil, "make", "-n", target, "VERSION=v1", "SOURCE_DATE_EPOCH=1")
		match := flags.FindStringSubmatch(lines)
		if match == nil {
			t.Fatalf("make %s does not set the version:\n%s", target, lines)
		}
		found = append(found, match[1])
	}
	if found[0] != found[1] {
		t.Errorf("make build uses %s, make image %s", found[0], found[1])
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
