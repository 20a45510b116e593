package torture

import (
	"bytes"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Limits of a process, as prlimit has them.
const (
	files  = unix.RLIMIT_NOFILE
	memory = unix.RLIMIT_DATA
)

// limit bounds what a process may have, by prlimit: a number of descriptors, or so many bytes of memory more than it has. restore lifts it.
func limit(r *rig, p *process, what int, n uint64) (restore func()) {
	r.Helper()
	pid := p.proc.PID()
	if what == memory {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		r.must(err)
		_, rest, _ := bytes.Cut(b, []byte("VmData:"))
		var has uint64
		_, err = fmt.Sscan(string(rest), &has)
		r.must(err)
		n += has << 10
	}
	var before unix.Rlimit
	r.must(unix.Prlimit(pid, what, nil, &before))
	r.must(unix.Prlimit(pid, what, &unix.Rlimit{Cur: n, Max: before.Max}, nil))
	return func() { r.must(unix.Prlimit(pid, what, &before, nil)) }
}
