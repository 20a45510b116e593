// Package checker decides whether a database holds what was produced: each event once, in order, and nothing else. It knows a history, which
// the producer wrote, and what SQL says of the tables and of the ledger. It shares no code with the sink, so that what one of them gets
// wrong the other doesn't take for right.
package checker

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// Kind is what becomes of an event.
type Kind string

const (
	Upsert    Kind = "upsert"    // a row of both tables
	Tombstone Kind = "tombstone" // deletes the key's row
	Poison    Kind = "poison"    // a dead letter
	Aborted   Kind = "aborted"   // of a transaction that was aborted, or that is open: nothing
	Other     Kind = "other"     // no event of the tables: nothing is asked of it
	Read      Kind = "read"      // not produced: what a reader saw of the key
)

// Op is a line of a history: an event that the brokers have acknowledged, or what a reader saw.
type Op struct {
	Kind      Kind   `json:"kind"`
	Topic     string `json:"topic,omitempty"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Key       int64  `json:"key"`
	Version   int64  `json:"version"` // of what was read: 0 where there was no row
	Value     string `json:"value,omitempty"`
	Begun     int64  `json:"begun"` // nanoseconds since the history began
	Ended     int64  `json:"ended"` // acknowledged, or read
}

// History is a file of operations, a JSON object a line. It is safe for concurrent use.
type History struct {
	mu  sync.Mutex
	f   *os.File
	w   *bufio.Writer
	err error
}

// Create makes a new file.
func Create(path string) (*History, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &History{f: f, w: bufio.NewWriter(f)}, nil
}

// Add appends operations. An error is told by Close.
func (h *History) Add(ops ...Op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, op := range ops {
		b, err := json.Marshal(op)
		if err == nil {
			_, err = h.w.Write(append(b, '\n'))
		}
		h.err = errors.Join(h.err, err)
	}
}

// Flush writes what was added.
func (h *History) Flush() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return errors.Join(h.err, h.w.Flush())
}

// Close flushes and closes the file.
func (h *History) Close() error { return errors.Join(h.Flush(), h.f.Close()) }

// Load reads a file.
func Load(path string) ([]Op, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var ops []Op
	for d := json.NewDecoder(bufio.NewReader(f)); ; {
		var op Op
		switch err := d.Decode(&op); {
		case errors.Is(err, io.EOF):
			return ops, nil
		case err != nil:
			return nil, fmt.Errorf("read history %s: %w", path, err)
		}
		ops = append(ops, op)
	}
}
