//go:build unix

// Package docs tests the documentation: each command of a page runs on a real control plane as the user that the page
// names, and each list is complete.
package docs

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/cluster"
	"github.com/wayleave/wayleave/test/operator"
)

const root = "../.."

// pages are the pages for users, in the order in which their commands run.
var pages = []string{
	"README.md", "docs/concepts.md", "docs/reasons.md", "docs/operations.md", "docs/install.md", "docs/reference/metrics.md",
	"docs/threat-model.md",
}

// onANode are the pages whose commands test/gate runs, each page in one shell.
var onANode = []string{"docs/approvals.md", "docs/tutorials/2-agent-ticket-pipeline.md", "docs/tutorials/4-approval.md"}

// block is a fenced block of a page.
type block struct {
	page, language string
	as             string // the user who runs it; empty if it needs no cluster
	first          string // the tool for which it is part of the first page, which test/install types; empty elsewhere
	text           string
}

var fence = regexp.MustCompile("(?s)\n```(\\w+)(?: as=(\\S+)| first=(\\S+))?\n(.*?\n)```")

func blocks(t *testing.T, page string) []block {
	t.Helper()
	var found []block
	for _, match := range fence.FindAllStringSubmatch(read(t, page), -1) {
		found = append(found, block{page: page, language: match[1], as: match[2], first: match[3], text: match[4]})
	}
	return found
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// TestMinimalExample: the one in the README is the sample, and small.
func TestMinimalExample(t *testing.T) {
	sample := read(t, "config/samples/minimal.yaml")
	if lines := strings.Count(sample, "\n"); lines >= 30 {
		t.Errorf("the minimal example has %d lines, not fewer than 30", lines)
	}
	var shown []string
	for _, b := range blocks(t, "README.md") {
		if b.language == "yaml" {
			shown = append(shown, b.text)
		}
	}
	if diff := cmp.Diff([]string{sample}, shown); diff != "" {
		t.Errorf("the README does not show config/samples/minimal.yaml unchanged (-sample +README):\n%s", diff)
	}
}

var testCommand = regexp.MustCompile("`go test (\\./\\S+) -run=(\\w+)`")

// TestSingleTests: the commands that run one test run one.
func TestSingleTests(t *testing.T) {
	commands := testCommand.FindAllStringSubmatch(read(t, "CONTRIBUTING.md"), -1)
	if len(commands) == 0 {
		t.Fatal("CONTRIBUTING.md does not say how to run a single test")
	}
	for _, command := range commands {
		files, err := filepath.Glob(filepath.Join(root, command[1], "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(files, func(file string) bool {
			content, err := os.ReadFile(file)
			return err == nil && strings.Contains(string(content), "\nfunc "+command[2])
		}) {
			t.Errorf("%s runs nothing", command[0])
		}
	}
}

var threatRow = regexp.MustCompile(`(?m)^\| (\d+) \|.*\|([^|]*)\|$`)

// TestThreats: the ways around are numbered, and each names a test that exists, or says that it is open.
func TestThreats(t *testing.T) {
	tests := map[string]bool{}
	for _, folder := range []string{"test/*", "internal/*", "controllers", "webhooks", "cmd/*"} {
		files, err := filepath.Glob(filepath.Join(root, folder, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, match := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(content), -1) {
				tests[match[1]] = true
			}
		}
	}
	rows := threatRow.FindAllStringSubmatch(read(t, "docs/threat-model.md"), -1)
	if len(rows) < 40 {
		t.Errorf("there are only %d ways around", len(rows))
	}
	for i, row := range rows {
		if row[1] != strconv.Itoa(i+1) {
			t.Errorf("way %d has the number %s", i+1, row[1])
		}
		switch named := strings.Trim(strings.TrimSpace(row[2]), "`"); {
		case named == "" && !strings.Contains(row[0], "open:"):
			t.Errorf("way %s names no test, and is not said to be open", row[1])
		case named != "" && !tests[named]:
			t.Errorf("way %s names %s, which does not exist", row[1], named)
		}
	}
}

var reasonRow = regexp.MustCompile("^\\| `(\\w+)` \\| [^|]+ \\| [^|]+ \\|$")

// TestReasons: the page lists every reason, once and under its class.
func TestReasons(t *testing.T) {
	listed := map[v1alpha1.Reason]v1alpha1.Class{}
	var class string
	for line := range strings.Lines(read(t, "docs/reasons.md")) {
		line = strings.TrimSpace(line)
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			class = heading
		}
		if row := reasonRow.FindStringSubmatch(line); row != nil {
			reason := v1alpha1.Reason(row[1])
			if _, twice := listed[reason]; twice {
				t.Errorf("%s is listed twice", reason)
			}
			listed[reason] = v1alpha1.Class(class)
		}
	}
	if diff := cmp.Diff(v1alpha1.Reasons(), listed); diff != "" {
		t.Errorf("docs/reasons.md does not list the reasons (-code +page):\n%s", diff)
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks: the targets of links exist.
func TestLinks(t *testing.T) {
	for _, page := range slices.Concat(pages, onANode, []string{"CONTRIBUTING.md"}) {
		for _, match := range link.FindAllStringSubmatch(read(t, page), -1) {
			target, _, _ := strings.Cut(match[1], "#")
			if target == "" || strings.Contains(target, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(page), target)); err != nil {
				t.Errorf("%s links to %s: %v", page, target, err)
			}
		}
	}
}

var makeTarget = regexp.MustCompile("(?m)(?:^|`)make ([a-z-]+)")

// TestMakeTargets: the make targets in the pages exist.
func TestMakeTargets(t *testing.T) {
	makefile := read(t, "Makefile")
	for _, page := range slices.Concat(pages, onANode, []string{"CONTRIBUTING.md"}) {
		for _, match := range makeTarget.FindAllStringSubmatch(read(t, page), -1) {
			if !strings.Contains(makefile, "\n"+match[1]+":") {
				t.Errorf("%s says `make %s`, which the Makefile does not have", page, match[1])
			}
		}
	}
}

var (
	flagInPage = regexp.MustCompile("`--([a-z-]+)`")
	flagInHelp = regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z-]+)`)
)

// TestFlags: the page on operations lists the flags of the processes, all of them and no others.
func TestFlags(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "wayleave")
	if err := cluster.BuildProgram(t.Context(), "github.com/wayleave/wayleave/cmd/wayleave", binary); err != nil {
		t.Fatal(err)
	}
	existing := map[string]bool{}
	for _, process := range []string{"controller", "webhook", "certs"} {
		help, err := exec.CommandContext(t.Context(), binary, process, "--help").Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range flagInHelp.FindAllSubmatch(help, -1) {
			if name := string(match[1]); name != "help" && !strings.HasPrefix(name, "zap-") {
				existing[name] = true
			}
		}
	}
	_, section, _ := strings.Cut(read(t, "docs/operations.md"), "## Flags")
	section, _, _ = strings.Cut(section, "\n## ")
	listed := map[string]bool{}
	for _, match := range flagInPage.FindAllStringSubmatch(section, -1) {
		if name := match[1]; name != "zap-" {
			listed[name] = true
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(existing)), slices.Sorted(maps.Keys(listed))); diff != "" {
		t.Errorf("docs/operations.md does not list the flags (-existing +page):\n%s", diff)
	}
}

// stamped are the fields that admission sets; users do not write them.
var stamped = []string{"spec.revoked.by", "spec.revoked.at", "spec.origin.uid", "spec.author.uid",
	"spec.origin.declaredBy", "spec.author.declaredBy"}

// TestSamplesShowEachField: each field that a user can write is in a sample.
func TestSamplesShowEachField(t *testing.T) {
	samples, err := filepath.Glob(filepath.Join(root, "config", "samples", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{} // of both kinds: a shared field needs to be shown only once
	for _, sample := range samples {
		objects, err := operator.Load(sample)
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range objects {
			if object.GroupVersionKind().Group == v1alpha1.GroupName {
				collect(object.Object["spec"], "spec", shown)
			}
		}
	}
	definitions, err := operator.Load(filepath.Join(root, "config", "crd"))
	if err != nil {
		t.Fatal(err)
	}
	for _, definition := range definitions {
		spec := dig(t, definition.Object, "spec")
		kind, _ := dig(t, spec, "names")["kind"].(string)
		version, _ := spec["versions"].([]any)[0].(map[string]any)
		schema := dig(t, version, "schema", "openAPIV3Schema", "properties", "spec")
		for _, field := range fieldsOf(schema, "spec") {
			if kind != "DelegationApproval" && !shown[field] && !slices.Contains(stamped, field) { // one names a UID: docs/approvals.md shows it
				t.Errorf("no sample shows %s of a %s", field, kind)
			}
		}
	}
}

func dig(t *testing.T, m map[string]any, path ...string) map[string]any {
	t.Helper()
	for _, key := range path {
		next, ok := m[key].(map[string]any)
		if !ok {
			t.Fatalf("no %s in %v", key, slices.Sorted(maps.Keys(m)))
		}
		m = next
	}
	return m
}

// collect notes the paths of all fields of a value.
func collect(value any, path string, into map[string]bool) {
	into[path] = true
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			collect(inner, path+"."+key, into)
		}
	case []any:
		for _, inner := range v {
			collect(inner, path, into)
		}
	}
}

// fieldsOf are the paths of all fields of a schema.
func fieldsOf(schema map[string]any, path string) []string {
	fields := []string{path}
	if items, ok := schema["items"].(map[string]any); ok {
		return fieldsOf(items, path)
	}
	properties, _ := schema["properties"].(map[string]any)
	for key, inner := range properties {
		if inner, ok := inner.(map[string]any); ok {
			fields = append(fields, fieldsOf(inner, path+"."+key)...)
		}
	}
	return fields
}

// TestFences: the tests see every block of a page.
func TestFences(t *testing.T) {
	for _, page := range pages {
		if fences, found := strings.Count(read(t, page), "\n```"), len(blocks(t, page)); fences != 2*found {
			t.Errorf("%s has %d lines with a fence, but only %d blocks were parsed", page, fences, found)
		}
		for _, b := range blocks(t, page) {
			if b.language == "sh" && b.as == "" && b.first == "" && strings.Contains(b.text, "kubectl") {
				t.Errorf("%s does not name the user of:\n%s", page, b.text)
			}
		}
	}
}
