//go:build unix

// Command bench measures what Wayleave costs on a real API server, and prints one table. Every number has a floor beside
// it: the same outcome without Wayleave, measured in the same run in turns, since an absolute time says more about the
// machine than about the program. No time is a failure.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// sizes are how much is measured. The defaults take some minutes on two idle cores, once the binaries of the
// cluster are built.
type sizes struct {
	revocations, tokens, grants, cascades, cascadeHops, strangers, hops, pods, algebra int
	paths, uses, idle, burstHops, burstPods, withdrawn, answers, writes                int
}

// options are the flags. The bench starts itself again with the last two, which are hidden; see allow.go.
type options struct {
	sizes sizes
	only  string
	allow string
	port  int
}

func parse(args []string) options {
	var o options
	n := &o.sizes
	flags := flag.NewFlagSet("bench", flag.ExitOnError) // not the global one, where libraries add flags
	flags.IntVar(&n.algebra, "algebra", 5, "rounds of the algebra's benchmark")
	flags.IntVar(&n.revocations, "revocations", 50, "revocations, until the first 403")
	flags.IntVar(&n.tokens, "tokens", 5, "revocations, until the first 401, at the same time")
	flags.IntVar(&n.grants, "grants", 20, "grants of each kind")
	flags.IntVar(&n.cascades, "cascades", 3, "revocations of a whole path")
	flags.IntVar(&n.cascadeHops, "cascade-hops", 100, "hops of that path")
	flags.IntVar(&n.strangers, "strangers", 50, "revocations and admissions, quiet and with strangers' RBAC")
	flags.IntVar(&n.uses, "uses", 50, "uses of each kind, from pod to open gate")
	flags.IntVar(&n.answers, "answers", 10, "pods of each kind that run on a node, until their first answer")
	flags.IntVar(&n.burstHops, "burst-hops", 10, "hops of which pods arrive at the gate at once")
	flags.IntVar(&n.burstPods, "burst-pods", 50, "pods of each of these hops, at most 64")
	flags.IntVar(&n.withdrawn, "withdrawn", 500, "hops in use of the path that is revoked; 1000 take many minutes to be in use")
	flags.IntVar(&n.hops, "hops", 10_000, "hops in the cache of the webhook while pods are admitted")
	flags.IntVar(&n.idle, "idle", 1000, "idle hops in the cluster while gates are opened; 10000 take many minutes to become idle")
	flags.IntVar(&n.writes, "writes", 400, "writes of each kind, with the policies and without")
	flags.IntVar(&n.paths, "paths", 2000, "paths, of which ten have the same origin, when the rights of one of these change")
	flags.IntVar(&n.pods, "pods", 200, "pods of each kind to admit")
	flags.StringVar(&o.only, "only", "",
		"regular expression of what to measure: algebra, floor, answer, revocation, tokens, grant, cascade, strangers, authority, gate, "+
			"admission; empty means all")
	flags.StringVar(&o.allow, "allow", "", "")
	flags.IntVar(&o.port, "port", 0, "")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "Usage: go run ./test/bench [flags]")
		flags.VisitAll(func(f *flag.Flag) {
			if f.Usage != "" {
				fmt.Fprintf(flags.Output(), "  -%s %s\n\t%s\n", f.Name, f.DefValue, f.Usage)
			}
		})
	}
	_ = flags.Parse(args) // it exits on an error
	return o
}

func main() {
	o := parse(os.Args[1:])
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctrl.SetLogger(zap.New(zap.WriteTo(os.Stderr)))

	var err error
	if o.allow != "" {
		err = serveAllow(ctx, o.allow, o.port)
	} else {
		err = run(ctx, o.sizes, o.only)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // the signals end with the process
	}
}

// stage measures something and returns its rows.
type stage struct {
	name string
	run  func(context.Context, *site, sizes) ([]row, error)
}

// results are what was measured.
type results struct {
	rows   []row
	memory []memory
	notes  []string // what is no time
}

// run measures and prints the tables, even after a failure.
func run(ctx context.Context, n sizes, only string) error {
	chosen, err := regexp.Compile("^(?:" + only + ")")
	if err != nil {
		return fmt.Errorf("reading -only: %w", err)
	}
	began := time.Now()
	var found results
	err = runStages(ctx, n, chosen, &found)
	if len(found.rows) > 0 {
		progress("done in %s", time.Since(began).Round(time.Second))
		fmt.Println()
		writeTable(os.Stdout, found.rows)
		fmt.Println("\nOf fewer than 100 samples, p99 is the largest. Ratios are Wayleave divided by the floor.")
		for _, note := range found.notes {
			fmt.Println("- " + note)
		}
		writeMemory(os.Stdout, found.memory)
	}
	return err
}

func runStages(ctx context.Context, n sizes, chosen *regexp.Regexp, found *results) error {
	var stages []stage
	for _, st := range []stage{
		{"revocation", revocations}, {"tokens", tokens}, {"grant", grants}, {"cascade", cascades},
		{"strangers", func(ctx context.Context, s *site, n sizes) ([]row, error) { return strangers(ctx, s, n, &found.memory) }},
		{"authority", func(ctx context.Context, s *site, n sizes) ([]row, error) { return lostRights(ctx, s, n, &found.notes) }},
		{"gate", func(ctx context.Context, s *site, n sizes) ([]row, error) { return gates(ctx, s, n, &found.notes) }},
		{"admission", admissions}, // last: it kills the controller and fills the cluster
	} {
		if chosen.MatchString(st.name) {
			stages = append(stages, st)
		}
	}
	if err := runAlone(ctx, n, chosen, found); err != nil {
		return err
	}
	if len(stages) == 0 {
		return nil
	}
	s, err := newSite(ctx, false)
	if err != nil {
		return err
	}
	defer s.close()
	for _, st := range stages {
		began := time.Now()
		rows, err := st.run(ctx, s, n)
		found.rows = append(found.rows, rows...)
		if err != nil {
			return fmt.Errorf("%s: %w", st.name, err)
		}
		progress("%s took %s", st.name, time.Since(began).Round(100*time.Millisecond))
	}
	return nil
}

// runAlone runs the stages that need no site, or one of their own.
func runAlone(ctx context.Context, n sizes, chosen *regexp.Regexp, found *results) error {
	for _, st := range []struct {
		name string
		run  func() ([]row, error)
	}{
		{"algebra", func() ([]row, error) { return algebra(ctx, n.algebra) }}, // first, while nothing else runs here
		{"floor", func() ([]row, error) { return policies(ctx, n, &found.notes) }},
		{"answer", func() ([]row, error) { return answers(ctx, n) }},
	} {
		if !chosen.MatchString(st.name) {
			continue
		}
		rows, err := st.run()
		found.rows = append(found.rows, rows...)
		if err != nil {
			return fmt.Errorf("%s: %w", st.name, err)
		}
	}
	return nil
}

// progress prints the progress.
func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }
