package localserver

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// Process is a running child. On Windows there is none.
type Process struct{}

// Start always fails.
func Start(*exec.Cmd, syscall.Signal) (*Process, error) {
	return nil, errors.New("private servers are not supported on Windows: use WSL")
}

func (p *Process) PID() int                    { return 0 }
func (p *Process) Done() <-chan struct{}       { return nil }
func (p *Process) Err() error                  { return nil }
func (p *Process) Exited() bool                { return true }
func (p *Process) Signal(syscall.Signal) error { return nil }
func (p *Process) Kill() error                 { return nil }

// Lock does nothing: who asks is alone.
func Lock(*os.File, bool) error { return nil }
