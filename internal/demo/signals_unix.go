//go:build unix

package demo

import "syscall"

// freeze stops the process where it stands, as a long pause or a paused
// machine does: it neither ends nor lets go of anything.
func (w *worker) freeze() error { return w.proc.Signal(syscall.SIGSTOP) }

// wake lets a frozen process go on. It does nothing to any other.
func (w *worker) wake() error { return w.proc.Signal(syscall.SIGCONT) }
