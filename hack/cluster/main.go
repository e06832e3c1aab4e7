//go:build unix

// Command cluster starts a local cluster that is kept until it is stopped.
// `make cluster` and `make cluster-down` run it.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wayleave/wayleave/test/cluster"
	"github.com/wayleave/wayleave/test/operator"
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
		Short:         "Start and stop a local Kubernetes cluster",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	var node string
	up := &cobra.Command{
		Use: "up", Short: "Start the cluster and print how to reach it", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return up(c.Context(), node) },
	}
	var image string
	load := &cobra.Command{
		Use: "load", Short: "Load images into the node of the cluster: that of Wayleave, and those of the samples", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return load(c.Context(), image) },
	}
	load.Flags().StringVar(&image, "image", "dist/image", "the image of Wayleave, as an OCI image layout")
	up.Flags().StringVar(&node, "node", "auto", "run a node for pods: true, false, or auto (if this machine can)")
	root.AddCommand(up, load,
		&cobra.Command{
			Use: "down", Short: "Stop the cluster and remove its files", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return down() },
		},
		&cobra.Command{
			Use: "build", Short: "Build the programs of the cluster that are not built yet", Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error {
				return cluster.Build(c.Context(), cluster.Options{Node: cluster.CanRunNode() == nil, Log: os.Stderr})
			},
		},
		&cobra.Command{
			Use: "check", Short: "Fail if a kept cluster has the only node that can run", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return cluster.NodeTaken() },
		},
		&cobra.Command{
			Use: "status", Short: "List the clusters that run on this machine", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return status() },
		})
	return root
}

func up(ctx context.Context, node string) error {
	withNode, err := wantsNode(node)
	if err != nil {
		return err
	}
	if cluster.IsKeeper() {
		return keep(ctx, withNode)
	}
	kept, err := cluster.Kept()
	if err != nil {
		return err
	}
	if kept == nil {
		if err := cluster.StartKeeper(ctx, os.Stderr, "up", fmt.Sprintf("--node=%t", withNode)); err != nil {
			return err
		}
	} else if kept.Node != withNode && node != "auto" {
		return fmt.Errorf("the cluster is already running with --node=%t: stop it with `make cluster-down`", kept.Node)
	}
	return explain(ctx)
}

func load(ctx context.Context, image string) error {
	c, err := cluster.KeptNode(ctx)
	if err != nil {
		return err
	}
	if err := operator.LoadSampleImages(ctx, c); err != nil {
		return err
	}
	name, err := operator.ImportImage(ctx, c, ".", image)
	if err != nil {
		return err
	}
	fmt.Printf("the node has %s and the images of the samples\n", name)
	return nil
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
			fmt.Fprintf(os.Stderr, "pods will not run: %v\n", why)
		}
		return why == nil, nil
	default:
		return false, fmt.Errorf("--node=%s is not true, false or auto", node)
	}
}

// keep owns the cluster until it is asked to end.
func keep(ctx context.Context, node bool) error {
	return cluster.Keep(ctx, func(progress io.Writer, dir string, keep func()) error {
		c, err := cluster.Start(ctx, cluster.Options{Node: node, Log: progress, Dir: dir})
		if err != nil {
			return err
		}
		keep()
		return c.Stop()
	})
}

// explain prints how to reach the cluster.
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
	fmt.Printf("export PATH=%s:$PATH\n", filepath.Dir(binaries["kubectl"]))
	return nil
}

func down() error {
	stopped, err := cluster.StopKept()
	if err != nil {
		return err
	}
	if stopped {
		fmt.Println("the cluster is stopped and its files are removed")
	} else {
		fmt.Println("no cluster was running")
	}
	return nil
}

func status() error {
	infos, err := cluster.Running()
	if err != nil {
		return err
	}
	if len(infos) == 0 {
		fmt.Println("no cluster is running")
	}
	for _, info := range infos {
		fmt.Println(info)
	}
	return nil
}
