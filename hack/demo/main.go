//go:build unix

// Command demo plays an incident response on a local cluster: an alert bot starts a delegated path, two hops of it work
// under identities of their own, the path is revoked while they work, and nothing of it is left. The demo checks the
// result of each step and exits with code 1 when one is wrong. Run it in the root of the repository.
//
// With KEEP=1 the cluster and the operator run until `make cluster-down`. With -node=false no node is started.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/wayleave/wayleave/test/cluster"
	"github.com/wayleave/wayleave/test/operator"
)

func main() {
	node := flag.Bool("node", true, "run pods, if this machine can")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := start(ctx, *node)
	if err != nil && ctx.Err() != nil {
		err = errors.New("interrupted") // the error is only a consequence
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func start(ctx context.Context, node bool) error {
	switch {
	case cluster.IsKeeper():
		return stay(ctx, node)
	case keeps(os.Getenv("KEEP")):
		return keep(ctx)
	}
	if node {
		if err := cluster.NodeTaken(); err != nil {
			return err
		}
	}
	return play(ctx, os.Stdout, setting{node: node}, func(d *demo) error {
		fmt.Fprintln(d.out, "\nThe demo is complete. Stopping the cluster.")
		return nil
	})
}

// keeps reports whether the value of KEEP asks to keep the cluster.
func keeps(value string) bool {
	switch strings.ToLower(value) {
	case "", "0", "no", "false":
		return false
	}
	return true
}

// setting is where the story plays.
type setting struct {
	node bool   // run pods, if this machine can
	dir  string // state folder of the cluster; if empty, a temporary one
}

// wantsNode returns whether pods run, and prints why they do not.
func (s setting) wantsNode(out io.Writer) bool {
	why := cluster.CanRunNode()
	switch {
	case !s.node:
		fmt.Fprintln(out, "Pods will not run; the demo uses the control plane only: -node=false.")
	case why != nil:
		fmt.Fprintf(out, "Pods will not run; the demo uses the control plane only: %v.\n", why)
	}
	return s.node && why == nil
}

// play starts a cluster with Wayleave on it, plays the story, calls then, and stops everything.
func play(ctx context.Context, out io.Writer, where setting, then func(*demo) error) (err error) {
	if _, err := os.Stat(samples); err != nil {
		return fmt.Errorf("run the demo in the root of the repository: %w", err)
	}
	node := where.wantsNode(out)
	c, err := cluster.Start(ctx, cluster.Options{Node: node, Log: out, Dir: where.dir})
	if err != nil {
		return fmt.Errorf("starting the cluster: %w", err)
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	fmt.Fprintln(out, "building and starting Wayleave")
	d := &demo{out: out, cluster: c, node: node, dir: filepath.Join(c.Dir(), "demo")}
	if err := d.install(ctx); err != nil {
		return fmt.Errorf("starting Wayleave: %w", err)
	}
	defer d.wayleave.Stop()
	if err := d.prepare(ctx); err != nil {
		return fmt.Errorf("preparing the demo: %w", err)
	}
	if err := d.story(ctx); err != nil {
		return fmt.Errorf("step %d failed: %w", d.steps, err)
	}
	return then(d)
}

// wayleave is Wayleave on the demo's cluster.
type wayleave interface {
	AuditLines(ctx context.Context) ([]byte, error)
	Stop()
}

// install installs Wayleave: as pods where a node runs, and as processes beside the cluster where none does.
func (d *demo) install(ctx context.Context) error {
	options := operator.Options{Root: ".", Log: d.out}
	if d.node {
		pods, err := operator.StartPods(ctx, d.cluster, options)
		d.wayleave, d.logs = pods, "kubectl -n "+operator.Namespace+" logs -l app.kubernetes.io/name=wayleave --prefix"
		return err
	}
	processes, err := operator.Start(ctx, d.cluster, options)
	if err != nil {
		return err
	}
	d.wayleave, d.logs = processes, filepath.Dir(processes.Log(operator.Controller))
	return nil
}

// keep starts this program again as the keeper of the cluster, and shows what it prints.
func keep(ctx context.Context) error {
	if kept, err := cluster.Kept(); err != nil {
		return err
	} else if kept != nil {
		return errors.New("a cluster is already kept: end it with `make cluster-down`")
	}
	return cluster.StartKeeper(ctx, os.Stdout, os.Args[1:]...)
}

// stay owns the kept cluster: it plays the story and stays until it is asked to end.
func stay(ctx context.Context, node bool) error {
	return cluster.Keep(ctx, func(out io.Writer, dir string, keep func()) error {
		err := play(ctx, out, setting{node: node, dir: dir}, func(d *demo) error {
			d.explain()
			keep()
			return nil
		})
		if err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		return nil
	})
}
