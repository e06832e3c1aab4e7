//go:build unix

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

// keepForTest is what this program does as the keeper: it keeps the record of a
// cluster that has no processes, or fails.
func keepForTest() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	_ = Keep(ctx, func(progress io.Writer, dir string, keep func()) error {
		r, err := newRecord(dir)
		if err != nil {
			return err
		}
		if os.Args[1] == "fail" {
			return errors.Join(r.remove(), errors.New("no cluster today"))
		}
		fmt.Fprintln(progress, "the cluster is up")
		keep()
		return r.remove()
	})
}

func TestKeep(t *testing.T) {
	g := NewWithT(t)
	t.Setenv("WAYLEAVE_CACHE", t.TempDir())
	dir, err := KeptDir()
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _, _ = StopKept() })

	g.Expect(StopKept()).To(BeFalse(), "nothing is kept yet")
	var out bytes.Buffer
	g.Expect(StartKeeper(t.Context(), &out, "keep")).To(Succeed())
	g.Expect(out.String()).To(Equal("the cluster is up\n"))
	kept, err := Kept()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(kept).NotTo(BeNil())
	g.Expect(kept.Dir).To(BeADirectory())
	g.Expect(kept.PID).NotTo(Equal(os.Getpid()))

	g.Expect(StopKept()).To(BeTrue())
	g.Expect(Kept()).To(BeNil())
	g.Expect(dir).NotTo(BeADirectory())
}

func TestFailedKeep(t *testing.T) {
	g := NewWithT(t)
	t.Setenv("WAYLEAVE_CACHE", t.TempDir())
	var out bytes.Buffer
	g.Expect(StartKeeper(t.Context(), &out, "fail")).To(MatchError("the cluster was not kept"))
	g.Expect(out.String()).To(Equal("no cluster today\n"))
	g.Expect(Kept()).To(BeNil())
}

func TestNodeTaken(t *testing.T) {
	for name, test := range map[string]struct {
		kept, node, ended bool
		want              bool
	}{
		"a kept cluster has the node":                 {kept: true, node: true, want: true},
		"a kept cluster has no node":                  {kept: true},
		"a cluster that ends by itself has the node":  {node: true},
		"the keeper has ended, or the machine itself": {kept: true, node: true, ended: true},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			t.Setenv("WAYLEAVE_CACHE", t.TempDir())
			r, owner := sleeper(t, test.kept, test.node)
			if test.ended {
				end(owner)
			}
			if !test.want {
				g.Expect(NodeTaken()).To(Succeed())
				return
			}
			g.Expect(NodeTaken()).To(MatchError(fmt.Sprintf("a cluster has been kept since %s by process %d, "+
				"and only one with a node can run at a time: end it with `make cluster-down`",
				r.Since.Local().Format(time.DateTime), owner.Process.Pid)))
		})
	}
}

// TestNodeNotTakenByWatchdog: after a crash of the keeper the lock is held by who removes the cluster.
func TestNodeNotTakenByWatchdog(t *testing.T) {
	g := NewWithT(t)
	t.Setenv("WAYLEAVE_CACHE", t.TempDir())
	r, keeper := sleeper(t, true, true)
	g.Expect(NodeTaken()).NotTo(Succeed())
	end(keeper)
	parent, err := records()
	g.Expect(err).NotTo(HaveOccurred())
	lock, err := tryLock(filepath.Join(parent, r.ID+".lock"))
	g.Expect(err).NotTo(HaveOccurred())
	defer lock.Close()
	g.Expect(Running()).To(HaveLen(1))
	g.Expect(NodeTaken()).To(Succeed())
}

// sleeper writes the record of a cluster that only holds its lock, in a process of its own.
func sleeper(t *testing.T, kept, node bool) (*record, *exec.Cmd) {
	t.Helper()
	g := NewWithT(t)
	dir := ""
	if kept {
		var err error
		dir, err = KeptDir()
		g.Expect(err).NotTo(HaveOccurred())
	}
	r, err := newRecord(dir)
	g.Expect(err).NotTo(HaveOccurred())
	owner := exec.Command("sleep", "600")
	owner.ExtraFiles = []*os.File{r.lock} // the lock is free when no process has the file open
	g.Expect(owner.Start()).To(Succeed())
	t.Cleanup(func() { end(owner) })
	g.Expect(r.lock.Close()).To(Succeed())
	if r.PID = owner.Process.Pid; node {
		r.Node = &traces{}
	}
	g.Expect(r.save()).To(Succeed())
	return r, owner
}

func end(c *exec.Cmd) {
	_ = c.Process.Kill()
	_ = c.Wait()
}
