package fields

import "unicode/utf8"

// plain reads documents of the plain kind that most events are, in one pass: an object
// without escapes in its strings, not deeply nested. It accepts nothing that the JSON
// library would refuse; what it is not sure of, it leaves to the library.
type plain struct {
	doc    []byte
	values []Value
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
	switch c := p.doc[i]; {
	case c == '"':
		i = p.text(i)
	case c == '{':
		i = p.members(n, i+1, depth+1)
	case c == '[':
		i = p.elements(i+1, depth+1)
	case c == '-' || c >= '0' && c <= '9':
		i = p.number(i)
	case c == 't':
		i = p.word(i, "true")
	case c == 'f':
		i = p.word(i, "false")
	case c == 'n':
		i = p.word(i, "null")
	default:
		return unsure
	}
	if i != unsure && len(n.wants) > 0 {
		v := Value{kindAt(p.doc[start]), p.doc[start:i:i]}
		for _, want := range n.wants {
			p.values[want] = v
		}
	}
	return i
}

// text goes over the string that begins at i.
func (p *plain) text(i int) int {
	start, all := i+1, byte(0)
	for i = start; i < len(p.doc); i++ {
		c := p.doc[i]
		if c == '"' {
			if all >= utf8.RuneSelf && !utf8.Valid(p.doc[start:i]) {
				return unsure
			}
			return i + 1
		}
		if c == '\\' || c < ' ' {
			return unsure
		}
		all |= c
	}
	return unsure
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
		name := p.doc[i+1 : end-1]
		if !names.add(p.doc, i+1, end-1) {
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

// number goes over a number of RFC 8259.
func (p *plain) number(i int) int {
	if p.doc[i] == '-' {
		i++
	}
	first := i
	if i = p.digits(i); i == first || p.doc[first] == '0' && i > first+1 {
		return unsure
	}
	if i < len(p.doc) && p.doc[i] == '.' {
		first = i + 1
		if i = p.digits(first); i == first {
			return unsure
		}
	}
	if i < len(p.doc) && (p.doc[i] == 'e' || p.doc[i] == 'E') {
		if i++; i < len(p.doc) && (p.doc[i] == '+' || p.doc[i] == '-') {
			i++
		}
		first = i
		if i = p.digits(first); i == first {
			return unsure
		}
	}
	return i
}

func (p *plain) digits(i int) int {
	for i < len(p.doc) && p.doc[i] >= '0' && p.doc[i] <= '9' {
		i++
	}
	return i
}

func (p *plain) word(i int, word string) int {
	if len(p.doc)-i < len(word) || string(p.doc[i:i+len(word)]) != word {
		return unsure
	}
	return i + len(word)
}

// names finds out whether a name of an object is repeated: by a bit for each, and where two
// names have one bit, by comparing.
type names struct {
	bits [4]uint64
	list [64]struct{ from, to int32 }
	n    int
}

// add notes a name and reports whether it is certainly a new one. The hash is FNV-1a's.
func (n *names) add(doc []byte, from, to int) bool {
	name := doc[from:to]
	if n.n == len(n.list) {
		return false
	}
	h := uint64(14695981039346656037)
	for _, c := range name {
		h = (h ^ uint64(c)) * 1099511628211
	}
	h ^= h >> 32
	word, bit := h>>6&3, uint64(1)<<(h&63)
	if n.bits[word]&bit != 0 {
		for _, other := range n.list[:n.n] {
			if string(doc[other.from:other.to]) == string(name) {
				return false
			}
		}
	}
	n.bits[word] |= bit
	n.list[n.n].from, n.list[n.n].to = int32(from), int32(to)
	n.n++
	return true
}
