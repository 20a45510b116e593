//go:build unix

package localserver

import (
	"errors"
	"os"
	"syscall"
)

// Lock takes an exclusive lock on an open file, which ends when the file is closed or
// the process ends. Without wait, a lock that another one holds is an error.
func Lock(f *os.File, wait bool) error {
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	for {
		if err := syscall.Flock(int(f.Fd()), how); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
