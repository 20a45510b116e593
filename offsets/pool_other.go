//go:build !linux

package offsets

import "syscall"

// setUserTimeout has no portable form: elsewhere keepalives alone must do.
func setUserTimeout(string, string, syscall.RawConn) error { return nil }
