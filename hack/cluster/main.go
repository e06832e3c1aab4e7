//go:build unix

// Command cluster starts a local cluster that stays until it is told to end.
// `make cluster` and `make cluster-down` are short for it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/wayleave/wayleave/test/cluster"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:gocritic // the signals end with the process
	}
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "cluster",
		Short:         "Start and end a local Kubernetes cluster",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	var node string
	up := &cobra.Command{
		Use: "up", Short: "Start the cluster and print how to reach it", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return up(c.Context(), node) },
	}
	up.Flags().StringVar(&node, "node", "auto", "with a node on which pods run: true, false, or auto for where it can be")
	root.AddCommand(up,
		&cobra.Command{
			Use: "down", Short: "End the cluster and remove all of it", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return down() },
		},
		&cobra.Command{
			Use: "build", Short: "Build the programs of the cluster, unless they are built", Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error {
				return cluster.Build(c.Context(), cluster.Options{Node: cluster.CanRunNode() == nil, Log: os.Stderr})
			},
		},
		&cobra.Command{
			Use: "status", Short: "Say which clusters run on this machine", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return status() },
		},
		&cobra.Command{
			Use: "stay", Hidden: true, Args: cobra.ExactArgs(1),
			RunE: func(c *cobra.Command, args []string) error { return stay(c.Context(), args[0] == "true") },
		})
	return root
}

func up(ctx context.Context, node string) error {
	if path := os.Getenv(cluster.UseKubeconfig); path != "" {
		return fmt.Errorf("%s names a cluster already: %s", cluster.UseKubeconfig, path)
	}
	withNode, err := wantsNode(node)
	if err != nil {
		return err
	}
	running, err := cluster.Kept()
	if err != nil {
		return err
	}
	if running == nil {
		if err := startStaying(ctx, withNode); err != nil {
			return err
		}
	} else if running.Node != withNode && node != "auto" {
		return fmt.Errorf("the cluster is up already with --node=%t: end it with `make cluster-down`", running.Node)
	}
	return explain(ctx)
}

func wantsNode(node string) (bool, error) {
	why := cluster.CanRunNode()
	switch node {
	case "true":
		return true, why
	case "false":
		return false, nil
	case "auto":
		if why != nil {
			fmt.Fprintf(os.Stderr, "no pods will run: %v\n", why)
		}
		return why == nil, nil
	default:
		return false, fmt.Errorf("--node=%s is neither true, false nor auto", node)
	}
}

// startStaying starts this program once more, apart from the terminal. It tells
// its progress through a pipe, which it closes when the cluster is up, and so
// does the kernel when it fails.
func startStaying(ctx context.Context, node bool) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	progress, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer progress.Close()
	daemon := exec.Command(self, "stay", fmt.Sprint(node))
	daemon.ExtraFiles = []*os.File{theirs}
	daemon.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := daemon.Start(); err != nil {
		return err
	}
	_ = theirs.Close()
	stop := context.AfterFunc(ctx, func() { _ = daemon.Process.Signal(syscall.SIGTERM) })
	defer stop()
	if _, err := io.Copy(os.Stderr, progress); err != nil {
		return err
	}
	if running, err := cluster.Kept(); err != nil || running != nil {
		return err
	}
	_ = daemon.Wait()
	return errors.New("the cluster did not start")
}

// stay is the process that a cluster which stays belongs to.
func stay(ctx context.Context, node bool) error {
	const inherited = 3
	syscall.CloseOnExec(inherited) // or the cluster's processes would keep it open
	progress := os.NewFile(inherited, "progress")
	dir, err := cluster.KeptDir()
	if err != nil {
		return err
	}
	c, err := cluster.Start(ctx, cluster.Options{Node: node, Log: progress, Dir: dir})
	if err != nil {
		fmt.Fprintln(progress, err)
		return err
	}
	_ = progress.Close()
	<-ctx.Done()
	if err := c.Stop(); err != nil {
		return err // with the folder left as it is, for it to be swept
	}
	return os.RemoveAll(dir)
}

func explain(ctx context.Context) error {
	dir, err := cluster.KeptDir()
	if err != nil {
		return err
	}
	binaries, err := cluster.Binaries(ctx, os.Stderr, "kubectl")
	if err != nil {
		return err
	}
	fmt.Printf("export KUBECONFIG=%s\n", filepath.Join(dir, "kubeconfig"))
	fmt.Printf("export PATH=$PATH:%s\n", filepath.Dir(binaries["kubectl"]))
	return nil
}

func down() error {
	running, err := cluster.Kept()
	if err != nil {
		return err
	}
	if running != nil {
		if err := end(running); err != nil {
			return err
		}
	}
	if err := cluster.Sweep(); err != nil {
		return err
	}
	dir, err := cluster.KeptDir()
	if err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if running == nil {
		fmt.Println("no cluster was up")
	} else {
		fmt.Println("the cluster is down, and its files are removed")
	}
	return nil
}

// end asks the cluster's process to end. Its id is good as long as it holds the
// lock of its cluster, which is what running means.
func end(running *cluster.Info) error {
	if err := syscall.Kill(running.PID, syscall.SIGTERM); err != nil {
		return fmt.Errorf("ending process %d: %w", running.PID, err)
	}
	for range 300 {
		if now, err := cluster.Kept(); err != nil || now == nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("process %d does not end", running.PID)
}

func status() error {
	infos, err := cluster.Running()
	if err != nil {
		return err
	}
	if len(infos) == 0 {
		fmt.Println("no cluster runs")
	}
	for _, info := range infos {
		parts := []string{fmt.Sprintf("process %d", info.PID), "state in " + info.Dir}
		if info.Node {
			parts = append(parts, "with a node")
		}
		fmt.Println(strings.Join(parts, ", "))
	}
	return nil
}
