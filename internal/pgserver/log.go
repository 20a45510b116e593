package pgserver

import (
	"bytes"
	"io"
	"os"
)

// logTail returns the last lines that a server wrote to its log after position from.
func logTail(path string, from int64) []byte {
	f, err := os.Open(path)
	if err != nil {
		return []byte(err.Error())
	}
	defer f.Close()
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return []byte(err.Error())
	}
	b, _ := io.ReadAll(io.LimitReader(f, 1<<20))
	return lastLines(b)
}

// lastLines returns at most the last 20 lines.
func lastLines(b []byte) []byte {
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-20):], []byte("\n"))
}
