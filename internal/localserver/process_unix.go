//go:build unix

package localserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// killTimeout bounds the wait until killed processes are gone.
const killTimeout = 10 * time.Second

// Process is a running child. Its methods are safe for concurrent use.
type Process struct {
	pid  int
	done chan struct{}
	err  error
}

// Start starts a child in a process group of its own, so that a Ctrl-C in the terminal
// reaches us and not the child behind our back. When this process ends, however it
// ends, the child gets the signal last.
func Start(cmd *exec.Cmd, last syscall.Signal) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	p := &Process{done: make(chan struct{})}
	started := make(chan error)
	go func() {
		defer close(p.done)
		release, err := startTied(cmd, last)
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		release()
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	p.pid = cmd.Process.Pid
	return p, nil
}

// PID returns the child's process id, which may be somebody else's once Done is closed.
func (p *Process) PID() int { return p.pid }

// Done is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err returns how the child ended, as [exec.Cmd.Wait] does. It waits for the end.
func (p *Process) Err() error {
	<-p.done
	return p.err
}

// Exited tells whether the child has ended.
func (p *Process) Exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Signal sends a signal to the child. After its end it does nothing.
func (p *Process) Signal(sig syscall.Signal) error {
	if p.Exited() {
		return nil
	}
	return signal(p.pid, sig)
}

// Kill ends the child and its own children with SIGKILL, and waits until all are gone.
func (p *Process) Kill() error {
	if p.Exited() {
		return nil
	}
	// Stopped first: no further child is born, and none is cleaned up after, while we kill.
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	children, err := childrenOf(p.pid)
	if err != nil {
		return errors.Join(err, p.Signal(syscall.SIGKILL))
	}
	for _, pid := range append([]int{p.pid}, children...) {
		if err := signal(pid, syscall.SIGKILL); err != nil {
			return err
		}
	}
	<-p.done
	deadline := time.Now().Add(killTimeout)
	for _, pid := range children {
		for running(pid) {
			if time.Now().After(deadline) {
				return fmt.Errorf("kill process %d: still there: %w", pid, os.ErrDeadlineExceeded)
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
	return nil
}

// signal sends a signal to a process, which may be gone already.
func signal(pid int, sig syscall.Signal) error {
	if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal process %d: %w", pid, err)
	}
	return nil
}
