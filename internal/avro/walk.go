package avro

import (
	"encoding/binary"
	"fmt"

	"github.com/oncesink/oncesink/internal/connect"
	"github.com/oncesink/oncesink/internal/event"
)

// Codes of what this package refuses.
const (
	malformed = "ONS22"
	tooLarge  = "54000" // program_limit_exceeded
	tooDeep   = "54001" // statement_too_complex
)

// Bounds of what a few bytes may become. Recursive schemas, and arrays of what takes no byte, have no others.
const (
	maxDepth   = 2_000     // of values in each other
	freeBudget = 1 << 20   // values that may take no byte
	maxJSON    = 256 << 20 // bytes that the containers of a record become
)

// reader goes through one record. After a method has returned false it is of no more use, but for why.
type reader struct {
	doc         []byte
	i           int
	values      []event.Value
	arena       *[]byte
	began       int // of arena
	placeholder *connect.Placeholder
	depth       int
	budget      int
	scratch     event.Value // of elements
	// plainly: a container is written as Avro has it, without what Kafka Connect says.
	plainly bool
	// why a record is refused, and where: made only then.
	why   error
	where string
}

func (r *reader) refuse(code, message string) bool {
	r.why = &event.Refusal{Code: code, Message: message, Plain: true}
	return false
}

// short refuses a record that ends too early.
func (r *reader) short() bool { return r.refuse(malformed, "the record ends too early") }

// in says in which field a record is refused, the innermost one first.
func (r *reader) in(name string) bool {
	if r.where == "" {
		r.where = ", field " + name
	} else if len(r.where) < 200 { // a recursive one may be anywhere
		r.where = ", field " + name + "." + r.where[len(", field "):]
	}
	return false
}

// all reads the record as a whole.
func (r *reader) all(g *program) bool {
	if len(g.named) > 0 {
		r.schemaName(g)
	}
	ok := false
	if g.root != nil {
		ok = r.read(g.root)
	} else {
		ok = r.skip(g.typ)
	}
	if ok && r.i != len(r.doc) {
		return r.refuse(malformed, fmt.Sprintf("%d bytes are left over", len(r.doc)-r.i))
	}
	return ok
}

// schemaName fills the paths that ask for the name of the record's type: in a union, of its branch. What has no name leaves them
// absent, and so does what will be refused.
func (r *reader) schemaName(g *program) {
	t := g.typ
	if t.kind == union {
		i := r.i
		n, ok := r.long()
		r.i = i
		if !ok || n < 0 || n >= int64(len(t.branches)) {
			return
		}
		t = t.branches[n]
	}
	if t.name != nil {
		for _, want := range g.named {
			r.values[want] = event.Value{Kind: event.Text, Raw: t.name}
		}
	}
}

// read reads what stands at a place.
func (r *reader) read(p *place) bool {
	t := p.typ
	switch t.kind {
	case union:
		n, ok := r.index(len(t.branches))
		if !ok {
			return false
		}
		if p.branches[n] == nil {
			return r.skip(t.branches[n])
		}
		return r.read(p.branches[n])
	case record:
		if len(p.wants) > 0 {
			i := r.i
			if !r.whole(p) {
				return false
			}
			if p.steps == nil {
				return true
			}
			r.i = i
		}
		for i := range p.steps {
			s := &p.steps[i]
			ok := false
			if s.place != nil {
				ok = r.read(s.place)
			} else {
				ok = r.skip(s.typ)
			}
			if !ok {
				return r.in(t.fields[i].name)
			}
		}
		return true
	case array, mapping:
		return r.whole(p)
	}
	v := &r.values[p.wants[0]]
	if !r.scalar(t, v) {
		return false
	}
	for _, want := range p.wants[1:] {
		r.values[want] = *v
	}
	return true
}

// long reads a number of up to 64 bits.
func (r *reader) long() (n int64, ok bool) {
	if r.i < len(r.doc) && r.doc[r.i] < 0x80 {
		b := r.doc[r.i]
		r.i++
		return int64(b>>1) ^ -int64(b&1), true
	}
	u, size := binary.Uvarint(r.doc[r.i:])
	switch {
	case size == 0:
		return 0, r.short()
	case size < 0:
		return 0, r.refuse(malformed, "a number of more than 64 bits")
	}
	r.i += size
	return int64(u>>1) ^ -int64(u&1), true
}

// index reads which of n a union or an enum has.
func (r *reader) index(n int) (int, bool) {
	i, ok := r.long()
	if ok && (i < 0 || i >= int64(n)) {
		ok = r.refuse(malformed, fmt.Sprintf("a union or an enum has no %d: they count from 0 to %d", i, n-1))
	}
	return int(i), ok
}

// bytes takes the next n.
func (r *reader) bytes(n int) ([]byte, bool) {
	if n > len(r.doc)-r.i {
		return nil, r.short()
	}
	r.i += n
	return r.doc[r.i-n : r.i : r.i], true
}

// counted takes bytes that their number stands before.
func (r *reader) counted() ([]byte, bool) {
	n, ok := r.long()
	switch {
	case !ok:
		return nil, false
	case n < 0:
		return nil, r.refuse(malformed, "a length below zero")
	case n > int64(len(r.doc)-r.i):
		return nil, r.refuse(malformed, fmt.Sprintf("a length of %d bytes, where %d are left", n, len(r.doc)-r.i))
	}
	return r.bytes(int(n))
}

// enter counts a value that others are in.
func (r *reader) enter(cost int) bool {
	r.depth++
	r.budget -= cost
	switch {
	case r.depth > maxDepth:
		return r.refuse(tooDeep, "values are nested too deeply")
	case r.budget < 0:
		return r.refuse(tooLarge, "too many values that take no byte")
	}
	return true
}

// skip goes past a value. It finds fault with all that read would, but for what the values mean.
func (r *reader) skip(t *typ) bool {
	switch t.kind {
	case null:
		return true
	case boolean:
		_, ok := r.boolean()
		return ok
	case integer:
		_, ok := r.integer()
		return ok
	case long:
		_, ok := r.long()
		return ok
	case float:
		_, ok := r.bytes(4)
		return ok
	case double:
		_, ok := r.bytes(8)
		return ok
	case text, octets:
		_, ok := r.counted()
		return ok
	case fixed:
		_, ok := r.bytes(t.size)
		return ok
	case enum:
		_, ok := r.index(len(t.symbols))
		return ok
	case union:
		n, ok := r.index(len(t.branches))
		return ok && r.skip(t.branches[n])
	case record:
		if !r.enter(1 + len(t.fields)) {
			return false
		}
		for i := range t.fields {
			if !r.skip(t.fields[i].typ) {
				return r.in(t.fields[i].name)
			}
		}
	default:
		if !r.enter(1) {
			return false
		}
		for b := (blocks{}); ; {
			more, ok := b.next(r)
			if !ok {
				return false
			}
			if !more {
				break
			}
			if t.kind == mapping {
				if _, ok := r.counted(); !ok {
					return false
				}
			}
			if !r.skip(t.elements) {
				return false
			}
		}
	}
	r.depth--
	return true
}
