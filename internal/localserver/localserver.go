// Package localserver has the pieces to run other people's servers beside a program,
// for its demo and its tests: child processes that never outlive it, free ports, a
// cache of what was downloaded, and the end of a log for an error message.
package localserver

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
)

// FreePort returns a port of 127.0.0.1 that nobody listens on at this moment. Somebody
// else may take it before its user does: try again with another one then.
func FreePort() (int, error) {
	ports, err := FreePorts(1)
	if err != nil {
		return 0, err
	}
	return ports[0], nil
}

// FreePorts is FreePort for n ports, no two of which are the same.
func FreePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() // held until all are found
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

// LogTail returns the last lines of a log after position from, or why it can't be read.
func LogTail(path string, from int64) []byte {
	f, err := os.Open(path)
	if err != nil {
		return []byte(err.Error())
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return []byte(err.Error())
	}
	const most = 64 << 10
	if _, err := f.Seek(max(from, info.Size()-most), io.SeekStart); err != nil {
		return []byte(err.Error())
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return []byte(err.Error())
	}
	return LastLines(b)
}

// LastLines returns at most the last 20 lines of an output.
func LastLines(b []byte) []byte {
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-20):], []byte("\n"))
}
