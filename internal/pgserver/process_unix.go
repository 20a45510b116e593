//go:build unix

package pgserver

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

// process is a server's postmaster. One goroutine waits for it.
type process struct {
	pid  int
	done chan struct{} // closed when it has ended
	err  error         // how; to be read after done
}

// startProcess starts a postmaster that doesn't outlive this process.
func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{done: make(chan struct{})}
	started := make(chan error)
	go func() {
		defer close(p.done)
		release, err := startTied(cmd)
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

func (p *process) exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *process) signal(sig syscall.Signal) error {
	if p.exited() {
		return nil
	}
	if err := syscall.Kill(p.pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal process %d: %w", p.pid, err)
	}
	return nil
}

// kill ends the postmaster and its children with SIGKILL and waits until all are gone.
func (p *process) kill() error {
	if p.exited() {
		return nil
	}
	// Stopped first, so that no child is born, or cleaned up after, while we kill.
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	children, err := childrenOf(p.pid)
	if err != nil {
		return err
	}
	for _, pid := range append([]int{p.pid}, children...) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("signal process %d: %w", pid, err)
		}
	}
	<-p.done
	deadline := time.Now().Add(killTimeout)
	for _, pid := range children {
		for running(pid) {
			if time.Now().After(deadline) {
				return fmt.Errorf("process %d: still there after SIGKILL: %w", pid, os.ErrDeadlineExceeded)
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
	return nil
}
