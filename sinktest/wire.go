package sinktest

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
)

// errCut looks like an error of the network.
var errCut error = &net.OpError{Op: "use connection", Net: "tcp", Err: errors.New("cut by sinktest")}

// wire is what the connections of one process go through. It counts the statements
// that are sent, and cuts after one of them.
type wire struct {
	mu    sync.Mutex
	links map[*link]struct{}
	sent  int    // statements since arm
	at    int    // cut after so many; 0: never
	die   func() // nil: only the connection is cut, not the process
	fired bool
	dead  bool
}

// arm makes the wire cut after n more statements, of whatever connection: that connection, or,
// if die is not nil, all there are and will be, and calls die.
func (w *wire) arm(n int, die func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent, w.at, w.die, w.fired = 0, n, die, false
}

// disarm reports how many statements were sent since arm, and whether a cut was made.
func (w *wire) disarm() (sent int, fired bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at, w.die = 0, nil
	return w.sent, w.fired
}

// attach puts a connection on the wire, beneath PostgreSQL's protocol and above TLS.
func (w *wire) attach(_ context.Context, _ *pgconn.Config, c net.Conn) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		_ = c.Close()
		return nil, errCut
	}
	l := &link{Conn: c, wire: w, header: 4}
	w.links[l] = struct{}{}
	return l, nil
}

// counts notes a statement and reports whether to cut after it.
func (w *wire) counts() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent++
	return w.sent == w.at
}

// cut closes what is to be closed.
func (w *wire) cut(l *link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = l.Conn.Close()
	if w.fired {
		return
	}
	w.fired = true
	if w.die == nil {
		return
	}
	w.dead = true
	for other := range w.links {
		_ = other.Conn.Close()
	}
	w.die()
}

// link is one connection on a wire.
type link struct {
	net.Conn
	wire *wire

	// The message at hand: a type and a length, or, at the start, a length.
	head   [5]byte
	have   int // bytes of its header so far
	header int // how many the header has
	rest   int // bytes of its body to come

	mu     sync.Mutex
	losing bool // the next answer gets lost, and the connection with it
}

func (l *link) Close() error {
	l.wire.mu.Lock()
	delete(l.wire.links, l)
	l.wire.mu.Unlock()
	return l.Conn.Close()
}

// Write sends messages, up to the statement after which the wire is cut.
func (l *link) Write(b []byte) (int, error) {
	if l.loses() {
		l.wire.cut(l)
		return 0, errCut
	}
	n, last := l.scan(b)
	if !last {
		return l.Conn.Write(b)
	}
	if tail := b[n:]; len(tail) == 0 || len(tail) == 5 && tail[0] == 'S' {
		// Nothing but a request to answer follows: the server answers when it has
		// executed the statement, and the answer doesn't arrive.
		l.mu.Lock()
		l.losing = true
		l.mu.Unlock()
		return l.Conn.Write(b)
	}
	_, _ = l.Conn.Write(b[:n])
	l.wire.cut(l)
	return 0, errCut
}

func (l *link) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if l.loses() {
		l.wire.cut(l)
		return 0, errCut
	}
	return n, err
}

func (l *link) loses() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.losing
}

// scan follows the messages in b. If one is the statement to cut after, it returns
// where that ends, and true.
func (l *link) scan(b []byte) (int, bool) {
	for i := 0; i < len(b); {
		if l.have < l.header {
			n := copy(l.head[l.have:l.header], b[i:])
			i += n
			if l.have += n; l.have < l.header {
				break
			}
			l.rest = int(binary.BigEndian.Uint32(l.head[l.header-4:])) - 4
		}
		n := min(l.rest, len(b)-i)
		i += n
		if l.rest -= n; l.rest > 0 {
			break
		}
		typed := l.header == 5
		l.have, l.header = 0, 5
		// Query, Execute, CopyDone: the messages that make the server do something.
		if typed && (l.head[0] == 'Q' || l.head[0] == 'E' || l.head[0] == 'c') && l.wire.counts() {
			return i, true
		}
	}
	return 0, false
}
