//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// A cluster ends with the process that started it. To keep one, a program starts
// itself again as the keeper: a process of its own session that owns the cluster
// and reports its progress through a pipe. At most one cluster is kept.

// keeperEnv makes this program the keeper.
const keeperEnv = "WAYLEAVE_CLUSTER_KEEPER"

// keeperPipe is the file descriptor of the pipe in the keeper.
const keeperPipe = 3

// KeptDir returns the state folder of the kept cluster. It is always the same,
// so that its kubeconfig is, and so that `make cluster-down` finds it.
func KeptDir() (string, error) {
	cache, err := Cache()
	if err != nil {
		return "", fmt.Errorf("finding the cache folder: %w", err)
	}
	return filepath.Join(cache, "cluster"), nil
}

// Kept returns the kept cluster, or nil if none is running.
func Kept() (*Info, error) {
	dir, err := KeptDir()
	if err != nil {
		return nil, err
	}
	running, err := Running()
	if err != nil {
		return nil, fmt.Errorf("looking for a running cluster: %w", err)
	}
	resolved, _ := filepath.EvalSymlinks(dir) // fails if there is no cluster
	for _, info := range running {
		if info.Dir == resolved {
			return &info, nil
		}
	}
	return nil, nil
}

// KeptNode returns the kept cluster, as far as it takes to load images into its node.
func KeptNode(ctx context.Context) (*Cluster, error) {
	kept, err := Kept()
	if err != nil {
		return nil, err
	}
	if kept == nil || !kept.Node {
		return nil, errors.New("no cluster with a node is kept: start one with `make cluster`")
	}
	binaries, err := Binaries(ctx, os.Stderr, "kubectl")
	if err != nil {
		return nil, err
	}
	return &Cluster{binaries: binaries, record: &record{Dir: kept.Dir, Node: &traces{}}}, nil
}

// NodeTaken returns an error that says how to end the kept cluster, if that one
// has a node: this machine can run no other, and waiting would not help.
func NodeTaken() error {
	kept, err := Kept()
	if err != nil || kept == nil || !kept.Node {
		return err
	}
	// After a crash of the keeper, its watchdog holds the lock while it removes the cluster.
	if errors.Is(syscall.Kill(kept.PID, 0), syscall.ESRCH) {
		return nil
	}
	return fmt.Errorf("a cluster has been kept since %s by process %d, and only one with a node can run at a time: "+
		"end it with `make cluster-down`", kept.since(), kept.PID)
}

// IsKeeper reports whether StartKeeper started this process, which then calls Keep.
func IsKeeper() bool { return os.Getenv(keeperEnv) != "" }

// StartKeeper starts this program as the keeper, with these arguments. It copies
// the keeper's progress to out and returns when the cluster is kept, or an error
// when the keeper has failed. The context bounds the start only.
func StartKeeper(ctx context.Context, out io.Writer, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	progress, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("opening a pipe: %w", err)
	}
	defer progress.Close()
	keeper := exec.Command(self, args...)
	keeper.Env = append(os.Environ(), keeperEnv+"=1")
	keeper.ExtraFiles = []*os.File{write}
	keeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = keeper.Start()
	_ = write.Close() // or the copy below would never end
	if err != nil {
		return fmt.Errorf("starting the process that keeps the cluster: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = keeper.Process.Signal(syscall.SIGTERM) })()
	// The keeper closes its end when the cluster is kept; the kernel does when it fails.
	if _, err := io.Copy(out, progress); err != nil {
		return fmt.Errorf("reading the progress of the cluster: %w", err)
	}
	if kept, err := Kept(); err != nil || kept != nil {
		return err
	}
	_ = keeper.Wait() // it has written its error to out
	return errors.New("the cluster was not kept")
}

// Keep runs in the keeper. Start starts a cluster in dir, writes progress, calls
// keep, which returns when ctx ends, and stops the cluster.
func Keep(ctx context.Context, start func(progress io.Writer, dir string, keep func()) error) error {
	syscall.CloseOnExec(keeperPipe) // or the cluster's processes would keep it open
	progress := os.NewFile(keeperPipe, "progress")
	dir, err := KeptDir()
	if err != nil {
		return err
	}
	err = start(progress, dir, func() {
		_ = progress.Close()
		<-ctx.Done()
	})
	if err != nil {
		fmt.Fprintln(progress, err)
		return err // and leave the folder to Sweep
	}
	return os.RemoveAll(dir)
}

// StopKept stops the kept cluster, removes its files, and returns whether there
// was one.
func StopKept() (bool, error) {
	kept, err := Kept()
	if err != nil {
		return false, err
	}
	if kept != nil {
		if err := endKeeper(kept); err != nil {
			return false, err
		}
	}
	if err := Sweep(); err != nil {
		return false, err
	}
	dir, err := KeptDir()
	if err != nil {
		return false, err
	}
	return kept != nil, os.RemoveAll(dir)
}

// endKeeper asks the keeper to end and waits. Its process id is valid while it
// holds the lock of its cluster.
func endKeeper(kept *Info) error {
	if err := syscall.Kill(kept.PID, syscall.SIGTERM); err != nil {
		return fmt.Errorf("ending process %d: %w", kept.PID, err)
	}
	for range 300 {
		if now, err := Kept(); err != nil || now == nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("process %d does not end", kept.PID)
}
