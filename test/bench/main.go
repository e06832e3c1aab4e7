//go:build unix

// Command bench measures what Wayleave costs on a real API server, and prints one table. Every number stands beside its
// floor: the same outcome reached without Wayleave, measured in the same run in turns with ours, since a time by itself
// says more about the machine than about the program. Nothing passes or fails by a time.
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

// sizes are how much is measured. The defaults end within three minutes on two quiet cores, once the binaries of the cluster
// are built.
type sizes struct {
	revocations, tokens, grants, cascades, cascadeHops, hops, pods, algebra int
}

func main() {
	var n sizes
	flags := flag.NewFlagSet("bench", flag.ExitOnError) // not the one of all programs, where libraries put theirs
	flags.IntVar(&n.algebra, "algebra", 5, "rounds of the algebra's benchmark")
	flags.IntVar(&n.revocations, "revocations", 50, "revocations, until the first 403")
	flags.IntVar(&n.tokens, "tokens", 5, "revocations, until the first 401, all at once")
	flags.IntVar(&n.grants, "grants", 20, "grants of each sort")
	flags.IntVar(&n.cascades, "cascades", 3, "withdrawals of a whole path")
	flags.IntVar(&n.cascadeHops, "cascade-hops", 100, "hops of such a path")
	flags.IntVar(&n.hops, "hops", 10_000, "hops in the cache of the webhook while pods are admitted")
	flags.IntVar(&n.pods, "pods", 200, "pods of each sort to be admitted")
	only := flags.String("only", "", "regular expression of what to measure: algebra, revocation, tokens, grant, cascade, admission; empty means all")
	// What this program starts itself with once more; see allow.go. Flags that say nothing of themselves are not listed.
	allow := flags.String("allow", "", "")
	port := flags.Int("port", 0, "")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "Usage: go run ./test/bench [flags]")
		flags.VisitAll(func(f *flag.Flag) {
			if f.Usage != "" {
				fmt.Fprintf(flags.Output(), "  -%s %s\n\t%s\n", f.Name, f.DefValue, f.Usage)
			}
		})
	}
	_ = flags.Parse(os.Args[1:]) // it exits by itself
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctrl.SetLogger(zap.New(zap.WriteTo(os.Stderr)))

	var err error
	if *allow != "" {
		err = serveAllow(ctx, *allow, *port)
	} else {
		err = run(ctx, n, *only)
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

// run measures and prints, also what was measured before a failure.
func run(ctx context.Context, n sizes, only string) error {
	chosen, err := regexp.Compile("^(?:" + only + ")")
	if err != nil {
		return fmt.Errorf("reading -only: %w", err)
	}
	began := time.Now()
	var rows []row
	err = runStages(ctx, n, chosen, func(more []row) { rows = append(rows, more...) })
	if len(rows) > 0 {
		progress("done in %s", time.Since(began).Round(time.Second))
		fmt.Println()
		writeTable(os.Stdout, rows)
		fmt.Println("\nOf fewer than 100 samples, p99 is the largest. Ratios are ours divided by the floor.")
	}
	return err
}

func runStages(ctx context.Context, n sizes, chosen *regexp.Regexp, add func([]row)) error {
	var stages []stage
	for _, st := range []stage{
		{"revocation", revocations}, {"tokens", tokens}, {"grant", grants}, {"cascade", cascades},
		{"admission", admissions}, // last: it ends the controller and fills the cluster
	} {
		if chosen.MatchString(st.name) {
			stages = append(stages, st)
		}
	}
	if chosen.MatchString("algebra") { // first, while nothing else runs here
		rows, err := algebra(ctx, n.algebra)
		add(rows)
		if err != nil {
			return fmt.Errorf("algebra: %w", err)
		}
	}
	if len(stages) == 0 {
		return nil
	}
	s, err := newSite(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	for _, st := range stages {
		began := time.Now()
		rows, err := st.run(ctx, s, n)
		add(rows)
		if err != nil {
			return fmt.Errorf("%s: %w", st.name, err)
		}
		progress("%s took %s", st.name, time.Since(began).Round(100*time.Millisecond))
	}
	return nil
}

// progress tells a person how far it is.
func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }
