//go:build unix

// Package random drives Wayleave at random: users make paths, hops, Jobs and pods, take rights away and give them back, end
// processes and start them, and an administrator meddles. After each step a checker that shares no code with the operator asks
// the API server whether three laws hold: no account of an invalid hop exists, no hop can do more than its scope, and no pod runs
// outside a valid chain.
//
// WAYLEAVE_RANDOM_FOR=10m drives for ten minutes; without it, for what make test can spare. A run that breaks a law prints what
// was done in words, with the seed of rapid, and leaves its steps in testdata/stories, the shortest that was found. They are
// played again by
//
//	go test ./test/random -run=TestStories/NAME
//
// and, with all choices made again, by -run=TestRandom -rapid.seed=SEED. A story that found something is committed: it names its
// steps, and not the bits that rapid drew, so that it stays the same when steps are added here.
package random

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/wayleave/wayleave/test/cluster"
	"github.com/wayleave/wayleave/test/operator"
)

const (
	root = "../.."
	// leaseDuration bounds how long a controller that starts waits for the Lease of the one that was killed.
	leaseDuration = 5 * time.Second
	// briefly is how long it is driven if WAYLEAVE_RANDOM_FOR does not say.
	briefly = 12 * time.Second
)

var suite struct {
	cluster  *cluster.Cluster
	operator *operator.Operator
	admin    client.Client
	// until is when no run begins any more; what has found something goes on.
	until time.Time
	found bool
	total counts
}

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctrl.SetLogger(zap.New(zap.WriteTo(os.Stderr)))
	ctx := context.Background()
	var err error
	if suite.cluster, err = cluster.Start(ctx, cluster.Options{Log: os.Stderr}); err != nil {
		fmt.Fprintln(os.Stderr, "starting the cluster:", err)
		return 1
	}
	defer func() { _ = suite.cluster.Stop() }() // the watchdog removes what is left
	o := operator.Options{Root: root, Log: os.Stderr, LeaseDuration: leaseDuration}
	if suite.operator, err = operator.Start(ctx, suite.cluster, o); err != nil {
		fmt.Fprintln(os.Stderr, "starting the operator:", err)
		return 1
	}
	defer suite.operator.Stop()
	for _, name := range processes {
		up[name] = time.Now()
	}
	config := suite.cluster.Config()
	config.QPS = -1
	if suite.admin, err = client.New(config, client.Options{Scheme: operator.Scheme()}); err != nil {
		fmt.Fprintln(os.Stderr, "connecting:", err)
		return 1
	}
	return m.Run()
}

// TestRandom drives for a bounded time, in runs of some steps, each in namespaces of its own.
func TestRandom(t *testing.T) {
	length := briefly
	if s := os.Getenv("WAYLEAVE_RANDOM_FOR"); s != "" {
		var err error
		if length, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range map[string]string{
		"rapid.checks": strconv.Itoa(int(length.Seconds())), "rapid.steps": "15", "rapid.nofailfile": "true", "rapid.shrinktime": "2m",
	} {
		if !given[name] {
			if err := flag.Set(name, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	began := time.Now()
	suite.until = began.Add(length)
	suite.total = counts{}
	rapid.Check(t, func(r *rapid.T) { drive(t, r) })
	t.Logf("drove for %.0f s: %s", time.Since(began).Seconds(), suite.total)
	if c := suite.total; c.accounts == 0 || c.allowed == 0 || c.opened == 0 {
		t.Errorf("too little happened for the laws to mean anything: %s", c)
	}
}

// over says whether the time is over, and nothing was found that is worth more.
func over() bool { return !suite.found && time.Now().After(suite.until) }

// drive does one run.
func drive(t *testing.T, r *rapid.T) {
	t.Helper()
	if over() {
		return
	}
	w := newWorld(r.Fatalf)
	defer w.remove()
	defer func() { suite.total.add(w.checker.counts) }()
	w.broken = func(violations []string) {
		suite.found = true
		t.Log(w.tell(violations))
		w.keep(t)
		r.Fatal(strings.Join(violations, "\n"))
	}
	suite.total.runs++
	for _, s := range prelude(r) {
		w.do(s)
	}
	do := map[string]func(*rapid.T){}
	for name := range actions {
		if name == "wait for accounts" {
			continue // which may take long
		}
		for i := range max(1, often[name]) {
			do[fmt.Sprint(name, i)] = func(r *rapid.T) {
				if s := drawStep(r, name); !over() {
					w.do(s)
					r.Log(w.words[len(w.words)-1])
				}
			}
		}
	}
	r.Repeat(do)
	w.settle()
	t.Logf("run %d, %.1f s: %s", suite.total.runs, time.Since(w.began).Seconds(), w.checker.counts)
}

// often is what is done more often than the rest.
var often = map[string]int{"make a hop": 3, "create a job": 3, "create a pod": 2, "end a pod": 2, "change a path": 2}

// prelude makes two paths and a hop of each kind, so that most of what follows is about something that exists.
func prelude(r *rapid.T) []step {
	steps := []step{
		drawStep(r, "make a path"), drawStep(r, "make a path"), drawStep(r, "make a hop"), drawStep(r, "make a hop"), drawStep(r, "make a hop"),
		drawStep(r, "wait for accounts"), drawStep(r, "create a job"),
	}
	for i := range steps {
		steps[i].Who, steps[i].Wide, steps[i].Life = 0, false, 0
	}
	for i, scope := range []int{1<<atoms - 1, steps[1].Scope} {
		steps[i].Path, steps[i].Scope = i, scope
	}
	for i := range 3 {
		h := &steps[2+i]
		h.Hop, h.Path, h.Parent, h.Kind = i, 0, -1, i
	}
	steps[4].Parent = 1            // in the other namespace
	steps[6].Hop = 1 + steps[6].On // under which something may run
	return steps
}

// drawStep draws all that any action asks about. Nothing that it draws depends on what the API server answers.
func drawStep(r *rapid.T, name string) step {
	number := func(of string, from, to int) int { // rapid.IntRange prefers small ones
		all := make([]int, 0, to-from+1)
		for n := from; n <= to; n++ {
			all = append(all, n)
		}
		return rapid.SampledFrom(all).Draw(r, of)
	}
	return step{
		Do:     name,
		Who:    number("who", 0, 5) / 5,
		Path:   number("path", 0, paths-1),
		Hop:    number("hop", 0, hops-1),
		Parent: number("parent", -hops/2, hops-1),
		On:     number("on", 0, 1),
		Scope:  number("scope", 1, 1<<atoms-1) | 1<<number("more", 0, atoms-1),
		Wide:   number("wide", 0, 5) == 5,
		Life:   rapid.SampledFrom([]int{0, 0, 0, 1, 1, 2, 3}).Draw(r, "life"),
		Kind:   number("kind", 0, 3),
	}
}

// TestStories plays what has found something, and what is worth telling again.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/stories/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("there is no story: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var steps []step
			if err := json.Unmarshal(raw, &steps); err != nil {
				t.Fatal(err)
			}
			w := newWorld(t.Fatalf)
			defer w.remove()
			w.broken = func(violations []string) { t.Fatal(w.tell(violations)) }
			for _, s := range steps {
				time.Sleep(time.Until(w.began.Add(time.Duration(s.At) * time.Millisecond)))
				if actions[s.Do] == nil {
					t.Fatalf("nobody can %q, but %v", s.Do, slices.Sorted(maps.Keys(actions)))
				}
				w.do(s)
			}
			w.settle()
			t.Logf("%s\n%s", strings.Join(w.words, "\n"), w.checker.counts)
		})
	}
}
