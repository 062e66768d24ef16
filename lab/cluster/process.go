package cluster

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"
)

// Command is a program to run as a child of the lab.
type Command struct {
	Path string
	Args []string
	Env  []string // nil: the lab's own
	Dir  string
	Log  io.Writer
}

// Process is a child of the lab.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Run starts c. The process is killed when ctx ends, and by the kernel when the
// lab dies.
func Run(ctx context.Context, c Command) (*Process, error) {
	cmd := exec.CommandContext(ctx, c.Path, c.Args...) //nolint:gosec // a program the lab built
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = c.Env, c.Dir, c.Log, c.Log
	cmd.SysProcAttr = childAttr()
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", c.Path, err)
	}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the process ended, once Done.
func (p *Process) Err() error { return p.err }

// Exited says whether the process has ended.
func (p *Process) Exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Terminate asks the process to end.
func (p *Process) Terminate() { p.Signal(syscall.SIGTERM) }

// Signal sends a signal; a process that has ended does not mind.
func (p *Process) Signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// Kill ends the process and waits for it.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Freeze stops the process without ending it.
func (p *Process) Freeze() error {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stopping process %d: %w", p.cmd.Process.Pid, err)
	}
	return nil
}

// Thaw lets a frozen process go on.
func (p *Process) Thaw() error {
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("continuing process %d: %w", p.cmd.Process.Pid, err)
	}
	return nil
}
