//go:build unix

// Command demo plays an incident response on a local cluster: an alert bot starts a delegated path, two hops of it work
// under identities of their own, the path is revoked half way, and nothing of it is left. Each step says what is
// expected of it; one that does not hold ends the demo with exit code 1. It runs in the root of the repository.
//
// With KEEP=1 the cluster and the operator stay up until `make cluster-down`. With -node=false the control plane plays
// alone where a node could be, too.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/wayleave/wayleave/test/cluster"
	"github.com/wayleave/wayleave/test/operator"
)

func main() {
	node := flag.Bool("node", true, "run pods where that can be")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := start(ctx, *node)
	if err != nil && ctx.Err() != nil {
		err = errors.New("interrupted") // whatever failed for that
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// staying tells this program that it is the one that stays.
const staying = "WAYLEAVE_DEMO_STAYS"

func start(ctx context.Context, node bool) error {
	switch {
	case os.Getenv(staying) != "":
		return stay(ctx, node)
	case keeps(os.Getenv("KEEP")):
		return keep(ctx)
	}
	if kept, err := cluster.Kept(); err != nil {
		return err
	} else if kept != nil && kept.Node && node {
		return errUp // only one cluster with a node can run, and this one does not end by itself
	}
	return play(ctx, os.Stdout, setting{node: node}, func(d *demo) error {
		fmt.Fprintln(d.out, "\nThat is all. The cluster is taken down.")
		return nil
	})
}

// keeps says whether KEEP asks for the cluster to stay.
func keeps(value string) bool {
	switch strings.ToLower(value) {
	case "", "0", "no", "false":
		return false
	}
	return true
}

var errUp = errors.New("a cluster is up already: end it with `make cluster-down`")

// setting is where the story plays.
type setting struct {
	node bool   // run pods, where that can be
	dir  string // of the cluster; not named, a temporary one
}

// wantsNode says whether pods run, and tells why not where they cannot.
func (s setting) wantsNode(out io.Writer) bool {
	why := cluster.CanRunNode()
	switch {
	case !s.node:
		fmt.Fprintln(out, "No pods will run, the control plane plays alone: -node=false.")
	case why != nil:
		fmt.Fprintf(out, "No pods will run, the control plane plays alone: %v.\n", why)
	}
	return s.node && why == nil
}

// play brings up the cluster with Wayleave on it, tells the story, and takes it all down.
func play(ctx context.Context, out io.Writer, where setting, then func(*demo) error) (err error) {
	if _, err := os.Stat(samples); err != nil {
		return fmt.Errorf("start it in the root of the repository: %w", err)
	}
	node := where.wantsNode(out)
	c, err := cluster.Start(ctx, cluster.Options{Node: node, Log: out, Dir: where.dir})
	if err != nil {
		return fmt.Errorf("starting the cluster: %w", err)
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	fmt.Fprintln(out, "building and starting Wayleave")
	op, err := operator.Start(ctx, c, operator.Options{Root: ".", Log: out})
	if err != nil {
		return fmt.Errorf("starting Wayleave: %w", err)
	}
	defer op.Stop()
	d := &demo{out: out, cluster: c, operator: op, node: node, dir: filepath.Join(c.Dir(), "demo")}
	if err := d.prepare(ctx); err != nil {
		return fmt.Errorf("setting the stage: %w", err)
	}
	if err := d.tell(ctx); err != nil {
		return fmt.Errorf("step %d did not go as it should: %w", d.steps, err)
	}
	return then(d)
}

// keep starts this program once more, apart from the terminal, and passes on what it tells. The other one closes its
// end when the story is told and the cluster stays; the kernel does so when it fails.
func keep(ctx context.Context) error {
	if kept, err := cluster.Kept(); err != nil {
		return err
	} else if kept != nil {
		return errUp
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	told, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer told.Close()
	other := exec.Command(self, os.Args[1:]...)
	other.Env = append(os.Environ(), staying+"=1")
	other.ExtraFiles = []*os.File{theirs}
	other.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := other.Start(); err != nil {
		return err
	}
	_ = theirs.Close() // theirs now
	defer context.AfterFunc(ctx, func() { _ = other.Process.Signal(syscall.SIGTERM) })()
	if _, err := io.Copy(os.Stdout, told); err != nil {
		return err
	}
	if kept, err := cluster.Kept(); err != nil || kept != nil {
		return err
	}
	_ = other.Wait() // its exit code is told below
	return errors.New("no cluster was kept")
}

// stay is the process that a kept cluster belongs to.
func stay(ctx context.Context, node bool) error {
	const inherited = 3
	syscall.CloseOnExec(inherited) // or the cluster's processes would keep it open
	out := os.NewFile(inherited, "out")
	dir, err := cluster.KeptDir()
	if err != nil {
		return err
	}
	err = play(ctx, out, setting{node: node, dir: dir}, func(d *demo) error {
		d.explain()
		_ = out.Close() // the one who reads it knows by that that all is well
		<-ctx.Done()
		return nil
	})
	if err != nil {
		fmt.Fprintln(out, "demo:", err)
		return err
	}
	return os.RemoveAll(dir)
}
