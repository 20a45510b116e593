//go:build unix

package pgserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is who the server runs as. A nil account is the process's own user.
type account struct {
	name     string
	uid, gid int
}

// runAs returns nil for an ordinary user, and an unprivileged account for root.
func runAs() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "_postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err1 == nil && err2 == nil && uid != 0 {
			return &account{name: name, uid: uid, gid: gid}, nil
		}
	}
	return nil, errors.New("PostgreSQL refuses to run as root, and there is no account postgres or nobody to run it as: create one (useradd --system postgres), or start this program as an ordinary user")
}

// apply makes a command run under the account.
func (a *account) apply(cmd *exec.Cmd) {
	if a != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}}
	}
}

// own hands a directory to the account.
func (a *account) own(dir string) error {
	if a == nil {
		return nil
	}
	if err := a.canReach(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Chown(dir, a.uid, a.gid); err != nil {
		return fmt.Errorf("hand directory to account %s: %w", a.name, err)
	}
	return nil
}

// canReach tells whether the account may pass through dir and all directories above it.
func (a *account) canReach(dir string) error {
	if a == nil {
		return nil
	}
	for {
		info, err := os.Stat(dir)
		if err != nil {
			return fmt.Errorf("look at directory: %w", err)
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return nil
		}
		bit := os.FileMode(0o001)
		switch {
		case int(st.Uid) == a.uid:
			bit = 0o100
		case int(st.Gid) == a.gid:
			bit = 0o010
		}
		if info.Mode()&bit == 0 {
			return fmt.Errorf("account %s, which PostgreSQL runs as because this process is root, can't enter %s: use a directory below /tmp, or chmod a+x it", a.name, dir)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
		dir = filepath.Dir(dir)
	}
}

// TempDir creates a new directory that the server's account can reach, in one of the
// preferred directories if it can be had there. The caller removes it.
func TempDir(pattern string, preferred ...string) (string, error) {
	a, err := runAs()
	if err != nil {
		return "", err
	}
	var errs []error
	for _, parent := range append(preferred, os.TempDir(), "/tmp", "/var/tmp") {
		parent, err := filepath.Abs(parent)
		if err == nil {
			err = a.canReach(parent)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		dir, err := os.MkdirTemp(parent, pattern)
		if err == nil {
			return dir, nil
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("create a temporary directory: %w", errors.Join(errs...))
}
