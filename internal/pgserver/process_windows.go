package pgserver

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

var errWindows = errors.New("a private PostgreSQL server is not supported on Windows: use WSL")

type account struct{}

func runAs() (*account, error)               { return nil, errWindows }
func (a *account) apply(*exec.Cmd)           {}
func (a *account) own(string) error          { return nil }
func (a *account) canReach(string) error     { return nil }
func TempDir(pattern string) (string, error) { return os.MkdirTemp("", pattern) }

type process struct {
	pid  int
	done chan struct{}
	err  error
}

func startProcess(*exec.Cmd) (*process, error) { return nil, errWindows }
func (p *process) exited() bool                { return true }
func (p *process) signal(syscall.Signal) error { return errWindows }
func (p *process) kill() error                 { return errWindows }
func removeSharedMemory(int)                   {}
