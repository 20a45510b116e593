package pgserver

import (
	"os"
	"os/exec"
)

// account is who the server runs as. On Windows no server is started: see localserver.Start.
type account struct{ name string }

func runAs() (*account, error)           { return nil, nil }
func (a *account) apply(*exec.Cmd)       {}
func (a *account) own(string) error      { return nil }
func (a *account) canReach(string) error { return nil }
func removeSharedMemory(int)             {}

// TempDir creates a new directory. The caller removes it.
func TempDir(pattern string, _ ...string) (string, error) { return os.MkdirTemp("", pattern) }
