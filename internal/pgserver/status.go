package pgserver

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Lines of postmaster.pid, from 0.
const (
	linePID          = 0
	lineSharedMemory = 6 // key and id
	lineStatus       = 7
)

// statusLine returns a line of what the postmaster notes about itself, or "" if it isn't there.
func (s *Server) statusLine(n int) string {
	b, _ := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	lines := strings.Split(string(b), "\n")
	if n >= len(lines) {
		return ""
	}
	return strings.TrimSpace(lines[n])
}

// sharedMemory returns the id of the System V segment that the running server holds, or -1.
func (s *Server) sharedMemory() int {
	_, id, _ := strings.Cut(s.statusLine(lineSharedMemory), " ")
	n, err := strconv.Atoi(strings.TrimSpace(id))
	if err != nil {
		return -1
	}
	return n
}
