package wire

import (
	"bytes"
	"encoding/binary"
)

// Trap waits for a client's message of PostgreSQL's protocol, a statement (a query, or one that is parsed) with a text in it, springs once,
// and resets its connection.
type Trap struct {
	Text  string // in lower case; the statement is compared without regard to case
	Whole bool   // the statement is this text, and does not only have it
	After bool   // when the server answers, whose answer is thrown away; otherwise before it gets the message
	Do    func() // what else is done, then
	// Hold, if it is there, keeps the message until it is closed, and lets it pass late, in place of a reset. Not with After.
	Hold <-chan struct{}
}

// Set sets the trap, in place of one that has not sprung; nil takes it away.
func (p *Proxy) Set(t *Trap) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trap = t
}

// sprung feeds a client's bytes to its frames, and takes the trap if it springs: before is where its message begins in b.
func (p *Proxy) sprung(f *frames, b []byte) (before int, t *Trap) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := f.feed(b, p.trap)
	if at < 0 {
		return 0, nil
	}
	t, p.trap = p.trap, nil
	return at, t
}

// frames cuts a client's bytes into messages: the first has no type.
type frames struct {
	started bool
	skip    int    // bytes of a message that are of no interest
	part    []byte // the beginning of a message that is to be looked at
}

// most is how much of a message is looked at.
const most = 16 << 10

// feed returns where in b the first message begins that springs the trap (0 if it began before), or -1.
func (f *frames) feed(b []byte, t *Trap) int {
	found, at := -1, 0
	for at < len(b) {
		if f.skip > 0 {
			n := min(f.skip, len(b)-at)
			f.skip -= n
			at += n
			continue
		}
		head := 5
		if !f.started {
			head = 4
		}
		begin := at - len(f.part)
		take := func(want int) bool {
			n := min(want-len(f.part), len(b)-at)
			if n > 0 {
				f.part = append(f.part, b[at:at+n]...)
				at += n
			}
			return len(f.part) >= want
		}
		if !take(head) {
			break
		}
		size := head - 4 + int(binary.BigEndian.Uint32(f.part[head-4:]))
		look := min(size, most)
		if kind := f.part[0]; !f.started || (kind != 'Q' && kind != 'P') {
			look = head
		}
		if !take(look) {
			break
		}
		if f.started && t != nil && found < 0 && t.matches(f.part) {
			found = max(begin, 0)
		}
		f.started, f.skip, f.part = true, size-look, f.part[:0]
	}
	return found
}

// matches looks at a message from its type on.
func (t *Trap) matches(message []byte) bool {
	if message[0] != 'Q' && message[0] != 'P' || len(message) < 6 {
		return false
	}
	text := bytes.ToLower(bytes.TrimRight(message[5:], "\x00"))
	if t.Whole {
		return string(bytes.Trim(text, "; ")) == t.Text
	}
	return bytes.Contains(text, []byte(t.Text))
}
