package fields

import (
	"bytes"
	"iter"

	"github.com/oncesink/oncesink/internal/event"
)

// walker goes through a document that is known to be valid, so that a value's
// first byte says what it is, and its end is found without looking at what is between.
// Its methods take the place where they begin, and return where they end.
type walker struct {
	doc    []byte
	values []event.Value
	name   []byte // of a member, if it has escapes
}

// value reads the value at n.
func (w *walker) value(n *node, i int) int {
	start := w.space(i)
	if len(n.names) == 0 || w.doc[start] != '{' {
		i = w.skip(start)
	} else {
		i = w.members(n, start+1)
	}
	if len(n.wants) > 0 {
		v := w.between(start, i)
		for _, want := range n.wants {
			w.values[want] = v
		}
	}
	return i
}

// members reads the members of the object at n, up to and with its bracket.
func (w *walker) members(n *node, i int) int {
	for {
		switch i = w.space(i); w.doc[i] {
		case '}':
			return i + 1
		case ',':
			i++
			continue
		}
		var name []byte
		name, i = w.memberName(i)
		if member := n.child(name); member != nil {
			i = w.value(member, i)
		} else {
			i = w.skip(w.space(i))
		}
	}
}

// space goes over white space: nothing else from there down stands between tokens.
func (w *walker) space(i int) int {
	for i < len(w.doc) && w.doc[i] <= ' ' {
		i++
	}
	return i
}

// skip goes over the value that begins at i.
func (w *walker) skip(i int) int {
	doc := w.doc
	switch doc[i] {
	case '"':
		i, _ = w.skipString(i)
		return i
	case '{', '[':
		for depth := 0; ; {
			switch doc[i] {
			case '"':
				i, _ = w.skipString(i) // brackets in a string are text
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			i++
			if depth == 0 {
				return i
			}
		}
	}
	for i < len(doc) && doc[i] > ' ' && doc[i] != ',' && doc[i] != '}' && doc[i] != ']' {
		i++
	}
	return i
}

// skipString goes over the string that begins at i, and reports whether it has escapes.
func (w *walker) skipString(i int) (end int, escapes bool) {
	doc := w.doc
	i++
	end = i + bytes.IndexByte(doc[i:], '"')
	if bytes.IndexByte(doc[i:end], '\\') < 0 {
		return end + 1, false
	}
	for ; doc[i] != '"'; i++ {
		if doc[i] == '\\' {
			escapes = true
			i++
		}
	}
	return i + 1, escapes
}

// between is the value that stands from start to end.
func (w *walker) between(start, end int) event.Value {
	v := event.Value{Kind: kindAt(w.doc[start]), Raw: w.doc[start:end:end]}
	if v.Kind == event.Number {
		num, _ := numberAt(v.Raw, 0)
		num.tell(&v)
	}
	return v
}

func kindAt(first byte) event.Kind {
	switch first {
	case 'n':
		return event.Null
	case 't', 'f':
		return event.Bool
	case '"':
		return event.String
	case '{':
		return event.Object
	case '[':
		return event.Array
	}
	return event.Number
}

// Document returns the value that a document is, without the space around it. The document has to be one
// that [Set.Extract] takes.
func Document(doc []byte) event.Value {
	w := walker{doc: doc}
	start := w.space(0)
	end := w.skip(start)
	return w.between(start, end)
}

// Elements returns the elements of an array, in order. Raw is an array as
// [Set.Extract] hands it out.
func Elements(raw []byte) iter.Seq[event.Value] {
	return func(yield func(event.Value) bool) {
		w := walker{doc: raw}
		i := 1
		for {
			switch i = w.space(i); w.doc[i] {
			case ']':
				return
			case ',':
				i++
				continue
			}
			end := w.skip(i)
			if !yield(w.between(i, end)) {
				return
			}
			i = end
		}
	}
}

// Members returns the members of an object, in order, by their names without escapes. Raw is an object as
// [Set.Extract] hands it out. A name is good until the next one.
func Members(raw []byte) iter.Seq2[[]byte, event.Value] {
	return func(yield func([]byte, event.Value) bool) {
		w := walker{doc: raw}
		i := w.space(0) + 1
		for {
			switch i = w.space(i); w.doc[i] {
			case '}':
				return
			case ',':
				i++
				continue
			}
			var name []byte
			name, i = w.memberName(i)
			start := w.space(i)
			i = w.skip(start)
			if !yield(name, w.between(start, i)) {
				return
			}
		}
	}
}

// memberName reads the name that begins at i, and returns where its value may begin.
func (w *walker) memberName(i int) ([]byte, int) {
	end, escapes := w.skipString(i)
	name := w.doc[i+1 : end-1]
	if escapes {
		// A valid string gives no error.
		w.name, _ = AppendString(w.name[:0], w.doc[i:end])
		name = w.name
	}
	return name, w.space(end) + 1 // after the colon
}
