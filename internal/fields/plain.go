package fields

import (
	"unicode/utf8"

	"github.com/oncesink/oncesink/internal/event"
)

// plain reads documents of the plain kind that nearly all events are, in one pass: an object
// of not too many members, not deeply nested. It accepts nothing that the JSON
// library would refuse; what it is not sure of, it leaves to the library.
type plain struct {
	doc    []byte
	values []event.Value
	// escapes: the string that was read last has some.
	escapes bool
	number  number // the last one
	// resolved holds the names that have escapes, without them, one behind the other.
	resolved []byte
}

// unsure is the place that means: let the library decide.
const unsure = -1

// maxPlainDepth is how deep the plain kind goes.
const maxPlainDepth = 32

// extract fills the values and reports whether the document is plain.
func (p *plain) extract(root *node) bool {
	i := p.space(0)
	if i == len(p.doc) || p.doc[i] != '{' {
		return false
	}
	i = p.value(root, i, 0)
	return i != unsure && p.space(i) == len(p.doc)
}

// nowhere is the node of values that no path names.
var nowhere = &node{}

func (p *plain) space(i int) int {
	for i < len(p.doc) && (p.doc[i] == ' ' || p.doc[i] == '\n' || p.doc[i] == '\t' || p.doc[i] == '\r') {
		i++
	}
	return i
}

// value reads the value at n that begins at i, and returns where it ends.
func (p *plain) value(n *node, i, depth int) int {
	if i >= len(p.doc) || depth > maxPlainDepth {
		return unsure
	}
	start := i
	var kind event.Kind
	switch c := p.doc[i]; {
	case c == '"':
		kind, i = event.String, p.text(i)
	case c == '{':
		kind, i = event.Object, p.members(n, i+1, depth+1)
	case c == '[':
		kind, i = event.Array, p.elements(i+1, depth+1)
	case c == '-' || c >= '0' && c <= '9':
		kind = event.Number
		p.number, i = numberAt(p.doc, i)
	case c == 't':
		kind, i = event.Bool, p.word(i, "true")
	case c == 'f':
		kind, i = event.Bool, p.word(i, "false")
	case c == 'n':
		kind, i = event.Null, p.word(i, "null")
	default:
		return unsure
	}
	if i == unsure {
		return unsure
	}
	for _, want := range n.wants {
		v := &p.values[want] // field by field: a copy of the whole takes longer
		v.Kind, v.Raw = kind, p.doc[start:i:i]
		if kind == event.Number {
			p.number.tell(v)
		}
	}
	return i
}

// text goes over the string that begins at i.
func (p *plain) text(i int) int {
	start, all := i+1, byte(0)
	p.escapes = false
	doc := p.doc
	for i = start; i < len(doc); i++ {
		c := doc[i]
		if !ends[c] {
			all |= c
			continue
		}
		switch c {
		case '"':
			// Escapes are ASCII, and stand between whole characters if what is left is valid.
			if all >= utf8.RuneSelf && !utf8.Valid(doc[start:i]) {
				return unsure
			}
			return i + 1
		case '\\':
			p.escapes = true
			if i = p.escape(i); i == unsure {
				return unsure
			}
			i--
		default:
			return unsure
		}
	}
	return unsure
}

// ends are the bytes at which a run of plain characters of a string ends. It never changes.
var ends = func() (b [256]bool) {
	for c := range 0x20 {
		b[c] = true
	}
	b['"'], b['\\'] = true, true
	return b
}()

// escape goes over the escape that begins at i. A surrogate has to be the first half of a pair.
func (p *plain) escape(i int) int {
	if i+1 >= len(p.doc) {
		return unsure
	}
	switch p.doc[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		r := p.hex(i + 2)
		if r&^0x7ff != 0xd800 { // no surrogate
			if r < 0 {
				return unsure
			}
			return i + 6
		}
		if r >= 0xdc00 || i+12 > len(p.doc) || p.doc[i+6] != '\\' || p.doc[i+7] != 'u' || p.hex(i+8)&^0x3ff != 0xdc00 {
			return unsure
		}
		return i + 12
	}
	return unsure
}

// hex reads the four digits of an escape, -1 if there is something else.
func (p *plain) hex(i int) (r int) {
	if i+4 > len(p.doc) {
		return -1
	}
	for _, c := range p.doc[i : i+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return -1
		}
		r = r<<4 | int(c)
	}
	return r
}

// members reads the members of the object at n.
func (p *plain) members(n *node, i, depth int) int {
	var names names
	if i = p.space(i); i < len(p.doc) && p.doc[i] == '}' {
		return i + 1
	}
	for {
		if i >= len(p.doc) || p.doc[i] != '"' {
			return unsure
		}
		end := p.text(i)
		if end == unsure {
			return unsure
		}
		name, at := p.doc[i+1:end-1], place{int32(i + 1), int32(end - 1)}
		if p.escapes {
			if name, at = p.resolve(i, end); name == nil {
				return unsure
			}
		}
		if !names.add(p, name, at) {
			return unsure
		}
		if i = p.space(end); i >= len(p.doc) || p.doc[i] != ':' {
			return unsure
		}
		member := n.child(name)
		if member == nil {
			member = nowhere
		}
		if i = p.value(member, p.space(i+1), depth); i == unsure {
			return unsure
		}
		if i = p.space(i); i >= len(p.doc) {
			return unsure
		}
		switch p.doc[i] {
		case '}':
			return i + 1
		case ',':
			i = p.space(i + 1)
		default:
			return unsure
		}
	}
}

func (p *plain) elements(i, depth int) int {
	if i = p.space(i); i < len(p.doc) && p.doc[i] == ']' {
		return i + 1
	}
	for {
		if i = p.value(nowhere, i, depth); i == unsure {
			return unsure
		}
		if i = p.space(i); i >= len(p.doc) {
			return unsure
		}
		switch p.doc[i] {
		case ']':
			return i + 1
		case ',':
			i = p.space(i + 1)
		default:
			return unsure
		}
	}
}

func (p *plain) word(i int, word string) int {
	if len(p.doc)-i < len(word) || string(p.doc[i:i+len(word)]) != word {
		return unsure
	}
	return i + len(word)
}

// resolve reads the name with escapes that stands from i to end.
func (p *plain) resolve(i, end int) ([]byte, place) {
	from := len(p.resolved)
	var err error
	if p.resolved, err = AppendString(p.resolved, p.doc[i:end]); err != nil {
		return nil, place{}
	}
	return p.resolved[from:], place{^int32(from), int32(len(p.resolved))}
}

// place is where a name stands: in the document, or, if from is negative, in resolved, from ^from on.
type place struct{ from, to int32 }

func (p *plain) at(at place) []byte {
	if at.from < 0 {
		return p.resolved[^at.from:at.to]
	}
	return p.doc[at.from:at.to]
}

// names finds out whether a name of an object is repeated: by a bit for each, and where two
// names have one bit, by comparing.
type names struct {
	bits [4]uint64
	list [64]place
	n    int
	many *manyNames // behind list
}

// manyNames are those of an object that has more than most.
type manyNames struct {
	bits [64]uint64
	list []place
}

// maxPlainNames is how many members an object of the plain kind has: comparing takes ever longer.
const maxPlainNames = 512

// add notes a name and reports whether it is certainly a new one.
func (n *names) add(p *plain, name []byte, at place) bool {
	h := hash(name)
	if n.n == len(n.list) {
		return n.addMany(p, name, at, h)
	}
	word, bit := h>>6%uint64(len(n.bits)), uint64(1)<<(h&63)
	if n.bits[word]&bit != 0 && p.among(n.list[:n.n], name) {
		return false
	}
	n.bits[word] |= bit
	n.list[n.n] = at
	n.n++
	return true
}

func (n *names) addMany(p *plain, name []byte, at place, h uint64) bool {
	if n.many == nil {
		n.many = &manyNames{list: make([]place, 0, 2*len(n.list))}
		for _, other := range n.list {
			n.many.add(other, hash(p.at(other)))
		}
	}
	if n.many.has(h) && p.among(n.many.list, name) || len(n.many.list) == maxPlainNames {
		return false
	}
	n.many.add(at, h)
	return true
}

func (m *manyNames) has(h uint64) bool { return m.bits[h>>6%uint64(len(m.bits))]&(1<<(h&63)) != 0 }

func (m *manyNames) add(at place, h uint64) {
	m.bits[h>>6%uint64(len(m.bits))] |= 1 << (h & 63)
	m.list = append(m.list, at)
}

// hash is FNV-1a.
func hash(name []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range name {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h ^ h>>32
}

// among reports whether a name is one of those at places.
func (p *plain) among(places []place, name []byte) bool {
	for _, at := range places {
		if string(p.at(at)) == string(name) {
			return true
		}
	}
	return false
}
