//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// benchLine is a line of Go's benchmarks: name, CPUs, iterations, time.
var benchLine = regexp.MustCompile(`(?m)^BenchmarkMissing/(\w+)/(scope|library)(?:-\d+)?\s+\d+\s+(\S+) ns/op`)

// algebraCases are the cases of BenchmarkMissing, with their descriptions.
var algebraCases = []struct{ name, about string }{
	{"OtherResources", "other resources"}, {"OtherVerbs", "the same resources, other verbs"}, {"Partly", "a part of it"},
}

// algebra compares the algebra of scopes with the library that the API server uses. Each round is one run of the
// package's benchmark, in which the two take turns; a sample is the mean of such a turn.
func algebra(ctx context.Context, rounds int) ([]row, error) {
	dir, err := os.MkdirTemp("", "wayleave-bench-")
	if err != nil {
		return nil, fmt.Errorf("creating a folder: %w", err)
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "scope.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, "github.com/wayleave/wayleave/internal/scope")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the benchmark: %w\n%s", err, out)
	}
	ours, floor := map[string]series{}, map[string]series{}
	for i := range rounds {
		progress("algebra: round %d of %d", i+1, rounds)
		command := exec.CommandContext(ctx, binary, "-test.run=^$", "-test.bench=^BenchmarkMissing$", "-test.benchtime=100ms")
		command.Dir = dir
		out, err := command.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("running the benchmark: %w\n%s", err, out)
		}
		for _, match := range benchLine.FindAllStringSubmatch(string(out), -1) {
			sample, err := time.ParseDuration(match[3] + "ns")
			if err != nil {
				return nil, fmt.Errorf("reading %q: %w", strings.TrimSpace(match[0]), err)
			}
			into := ours
			if match[2] == "library" {
				into = floor
			}
			into[match[1]] = append(into[match[1]], sample)
		}
	}
	var rows []row
	for _, c := range algebraCases {
		if len(ours[c.name]) == 0 || len(floor[c.name]) == 0 {
			return nil, fmt.Errorf("BenchmarkMissing has no case %s of both scope and library", c.name)
		}
		rows = append(rows, row{
			what: fmt.Sprintf("256 permissions against 1,000 rules about %s, beside component-helpers (n=%d)", c.about, rounds),
			ours: ours[c.name], floor: floor[c.name],
		})
	}
	return rows, nil
}
