//go:build unix

package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// marker is the environment variable that every process of a cluster has, with
// the cluster's id. The processes are found by it when they have to end: a list
// of process ids could be stale and name another user's process.
const marker = "WAYLEAVE_CLUSTER_ID"

// process is a running part of a cluster.
type process struct {
	name, path string
	args       []string
	log        string
	command    *exec.Cmd
	done       chan struct{} // closed when it has ended
}

// start starts a program whose output goes to the cluster's logs.
func (r *record) start(name, path string, args ...string) (*process, error) {
	p := &process{name: name, path: path, args: args, done: make(chan struct{})}
	p.log = filepath.Join(r.logs(), name+".log")
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.command = exec.Command(path, args...)
	p.command.Dir = r.Dir
	p.command.Stdout, p.command.Stderr = log, log
	p.command.Env = environment(r.ID)
	// Its own group: Ctrl-C must reach this process only, which ends the others in order.
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		_ = p.command.Wait()
		close(p.done)
	}()
	return p, nil
}

// environment is small on purpose: a proxy set in this shell, for example, would
// come between the API server and its webhooks.
func environment(id string) []string {
	return []string{
		marker + "=" + id,
		"PATH=" + os.Getenv("PATH") + ":/usr/local/sbin:/usr/sbin:/sbin",
		"HOME=" + os.Getenv("HOME"),
	}
}

// end asks the process to end, and kills it after the grace period.
func (p *process) end(grace time.Duration) {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(grace):
		_ = p.command.Process.Kill()
		<-p.done
	}
}

// died returns an error with the last output of the process, or nil while it runs.
func (p *process) died() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended (%s) with this output:\n%s", p.name, p.command.ProcessState, lastLines(p.log, 15))
	default:
		return nil
	}
}

func lastLines(path string, n int) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// stepTimeout is for one step of a start, on a busy machine.
const stepTimeout = 2 * time.Minute

// until waits until done returns nil. It fails when the context ends or when a
// process of the cluster has died, with the reason.
func (c *Cluster) until(ctx context.Context, what string, done func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	for {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := done(attempt)
		cancel()
		if err == nil {
			return nil
		}
		for _, p := range c.processes {
			if died := p.died(); died != nil {
				return fmt.Errorf("waiting for %s: %w", what, died)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w: %w", what, context.Cause(ctx), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// run starts a program of the cluster.
func (c *Cluster) run(name string, args ...string) error {
	p, err := c.record.start(name, c.binaries[name], args...)
	if err != nil {
		return err
	}
	c.processes = append(c.processes, p)
	return nil
}
