//go:build unix

package cluster

import (
	"time"
)

// Program is a program that runs beside a cluster and ends with it, even after a
// crash.
type Program struct{ process *process }

// StartProgram starts a program whose output goes to the cluster's logs.
func (c *Cluster) StartProgram(name, path string, args ...string) (*Program, error) {
	p, err := c.record.start(name, path, args...)
	if err != nil {
		return nil, err
	}
	return &Program{process: p}, nil
}

// Dir returns the folder of the cluster's state.
func (c *Cluster) Dir() string { return c.record.Dir }

// PID is the program's process id.
func (p *Program) PID() int { return p.process.command.Process.Pid }

// Stop asks the program to end, and kills it after ten seconds.
func (p *Program) Stop() { p.process.end(10 * time.Second) }

// Kill ends the program as a crash would.
func (p *Program) Kill() {
	_ = p.process.command.Process.Kill()
	<-p.process.done
}

// Died returns an error with the program's last output, or nil while it runs.
func (p *Program) Died() error { return p.process.died() }

// Log returns the path of the program's output.
func (p *Program) Log() string { return p.process.log }
