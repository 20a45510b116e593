//go:build !linux

package torture

// Limits of a process.
const files, memory = 0, 0

// limit needs Linux' prlimit.
func limit(r *rig, p *process, what int, n uint64) (restore func()) {
	r.Helper()
	r.Fatal("the limits of another process can be set on Linux alone")
	return nil
}
