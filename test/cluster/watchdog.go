//go:build unix

package cluster

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// watchdogEnv turns this program into a watchdog of the named cluster.
const watchdogEnv = "WAYLEAVE_CLUSTER_WATCHDOG"

// watchdog is a second process of this program that removes the cluster when
// the first one ends without having done so: after Ctrl-C, a panic, a test
// timeout or kill -9. It learns of that end by the other side of its input
// being closed, which the kernel does for every process.
type watchdog struct {
	command *exec.Cmd
	input   io.Closer
}

// init is where the second process leaves the way of the first, whatever
// program this package is part of.
func init() {
	id := os.Getenv(watchdogEnv)
	if id == "" {
		return
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	// Whoever only looks at the record holds its lock for a moment, so more than once.
	for range 100 {
		if gone, err := sweepOne(id); gone {
			os.Exit(0)
		} else if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	os.Exit(1)
}

func startWatchdog(r *record) (*watchdog, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	// The log says why, should the watchdog fail: the folder is then still there.
	log, err := os.Create(filepath.Join(r.logs(), "watchdog.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command := exec.Command(self)
	command.Env = append(os.Environ(), watchdogEnv+"="+r.ID)
	command.Stdout, command.Stderr = log, log
	// Its own session: it must outlive a terminal and what Ctrl-C ends there.
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	input, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	return &watchdog{command: command, input: input}, nil
}

// dismiss ends the watchdog of a cluster that is removed.
func (w *watchdog) dismiss() {
	if w == nil {
		return
	}
	_ = w.input.Close()
	_ = w.command.Wait()
}
