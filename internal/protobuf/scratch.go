package protobuf

import (
	"github.com/oncesink/oncesink/internal/event"
)

// scratch is what reading a record needs, and the next one may use again.
type scratch struct {
	values []event.Value
	arena  *[]byte
	start  int // of what the record has made in the arena
	joined int // bytes that were put together
	limit  int // of either
	// slots are those of the messages that are being read, one within the other: see frame. seen are the fields in their chains.
	slots   []int32
	seen    []seen
	entries []entry
	text    []byte
	inner   []event.Value // of paths into JSON
}

// seen is a field that was seen, of the message that is being read.
type seen struct {
	n      uint64
	lo, hi int
	next   int32 // in its chain, -1 at its end
	packed bool  // of a repeated scalar: several
}

// frame is where in a scratch the slots of a message are: for each field two, the first and the last of its chain, and for each
// oneof one, its member that was seen last. All are -1 to begin with.
type frame struct {
	slots, seen int
	fields      int
}

func (s *scratch) push(fields, oneofs int) frame {
	f := frame{len(s.slots), len(s.seen), fields}
	for range 2*fields + oneofs {
		s.slots = append(s.slots, -1)
	}
	return f
}

// pop ends with a message.
func (s *scratch) pop(f frame) {
	s.slots, s.seen = s.slots[:f.slots], s.seen[:f.seen]
}

func (s *scratch) first(f frame, field int) int32 { return s.slots[f.slots+2*field] }

// add puts a field at the end of its chain, or, of a scalar that is not repeated, in place of it.
func (s *scratch) add(f frame, field int, t *token, replace, packed bool) {
	chain := s.slots[f.slots+2*field : f.slots+2*field+2]
	it := seen{t.n, t.lo, t.hi, -1, packed}
	if replace && chain[0] >= 0 {
		s.seen[chain[0]] = it
		return
	}
	at := int32(len(s.seen))
	s.seen = append(s.seen, it)
	if chain[0] < 0 {
		chain[0] = at
	} else {
		s.seen[chain[1]].next = at
	}
	chain[1] = at
}

// forget empties a field's chain.
func (s *scratch) forget(f frame, field int) { s.slots[f.slots+2*field] = -1 }

// choose notes that a member of a oneof was seen, and returns the one that was seen before, if it is another one, else -1.
func (s *scratch) choose(f frame, oneof, member int) int {
	slot := &s.slots[f.slots+2*f.fields+oneof]
	before := int(*slot)
	*slot = int32(member)
	if before == member {
		return -1
	}
	return before
}

// message returns what a chain of messages is put together, and where in that it begins: one after the other is the same message.
func (s *scratch) message(b []byte, first int32) ([]byte, int, error) {
	one := &s.seen[first]
	if one.next < 0 {
		return b[:one.hi], one.lo, nil
	}
	var all []byte
	for at := first; at >= 0; at = s.seen[at].next {
		if s.joined += s.seen[at].hi - s.seen[at].lo; s.joined > s.limit {
			return nil, 0, errLarge
		}
		all = append(all, b[s.seen[at].lo:s.seen[at].hi]...)
	}
	return all, 0, nil
}

// release forgets the record, and what it needed uncommonly much of.
func (s *scratch) release() {
	s.values, s.arena, s.joined = nil, nil, 0
	s.slots, s.seen, s.entries, s.text = s.slots[:0], s.seen[:0], s.entries[:0], s.text[:0]
	clear(s.inner)
	if cap(s.seen) > maxKept {
		s.seen = nil
	}
	if cap(s.entries) > maxKept {
		s.entries = nil
	}
	if cap(s.text) > maxKept {
		s.text = nil
	}
}

// maxKept is how much a scratch keeps of anything.
const maxKept = 1 << 14
