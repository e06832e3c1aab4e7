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

// watchdogEnv makes this program the watchdog of the named cluster.
const watchdogEnv = "WAYLEAVE_CLUSTER_WATCHDOG"

// watchdog is a second process of this program that removes the cluster if the
// first one ends without doing so: after Ctrl-C, a panic, a test timeout or
// kill -9. Its input ends when the kernel closes the files of the first process.
type watchdog struct {
	command *exec.Cmd
	input   io.Closer
}

// init runs the watchdog before main, since any program can be the first process.
func init() {
	id := os.Getenv(watchdogEnv)
	if id == "" {
		return
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	// Retry, since a process that only reads the record holds its lock for a moment.
	for range 100 {
		if removed, err := sweepOne(id); removed {
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
	// If the watchdog fails, the folder still exists and the log in it says why.
	log, err := os.Create(filepath.Join(r.logs(), "watchdog.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command := exec.Command(self)
	command.Env = append(os.Environ(), watchdogEnv+"="+r.ID)
	command.Stdout, command.Stderr = log, log
	// Its own session: it must survive Ctrl-C and the end of the terminal.
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

// stop stops the watchdog of a removed cluster.
func (w *watchdog) stop() {
	if w == nil {
		return
	}
	_ = w.input.Close()
	_ = w.command.Wait()
}
