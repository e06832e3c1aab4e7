//go:build unix

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"testing"

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
