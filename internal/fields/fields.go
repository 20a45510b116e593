// Package fields finds the values at a fixed set of paths in one pass over a JSON document.
//
// It is strict, because what it lets pass becomes rows (rule 27): names match
// byte for byte after their escapes are resolved; a document with a repeated name,
// invalid UTF-8, half a surrogate pair, or anything after its end is refused, also where
// no path goes; numbers and nested values are handed out as they came.
package fields

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/oncesink/oncesink/internal/event"
)

// Set is a compiled set of paths. It is immutable and safe for concurrent use. It is a [event.Plan].
type Set struct {
	n          int
	root       node
	validators sync.Pool // of *validator
}

// node is a place in a document that a path names or leads through.
type node struct {
	wants    []int // paths that end here
	names    []string
	children []*node        // by names
	index    map[string]int // of names, once they are many
}

// fewNames is up to how many names it is quicker to compare than to hash.
const fewNames = 16

// child returns where a name leads, nil if nowhere.
func (n *node) child(name []byte) *node {
	if n.index != nil {
		if i, ok := n.index[string(name)]; ok {
			return n.children[i]
		}
		return nil
	}
	for i, s := range n.names {
		if s == string(name) {
			return n.children[i]
		}
	}
	return nil
}

func (n *node) add(name string) *node {
	child := &node{}
	n.names, n.children = append(n.names, name), append(n.children, child)
	if len(n.names) > fewNames {
		n.index = make(map[string]int)
		for i, s := range n.names {
			n.index[s] = i
		}
	}
	return child
}

// New compiles paths: field names separated by dots; a dot within a name is written \. and a backslash \\.
// Paths may repeat, and one may lead through another. An empty name is an error.
func New(paths []string) (*Set, error) { return compile(paths, Split) }

func compile(paths []string, split func(path string) ([]string, error)) (*Set, error) {
	s := &Set{n: len(paths)}
	for i, path := range paths {
		names, err := split(path)
		if err != nil {
			return nil, fmt.Errorf("parse path %q: %w", path, err)
		}
		at := &s.root
		for _, name := range names {
			next := at.child([]byte(name))
			if next == nil {
				next = at.add(name)
			}
			at = next
		}
		at.wants = append(at.wants, i)
	}
	s.validators.New = func() any { return new(validator) }
	return s, nil
}

// Escape writes a field name as a path of one element.
func Escape(name string) string {
	return strings.NewReplacer(`\`, `\\`, `.`, `\.`).Replace(name)
}

// Split takes a path apart into the names of its fields.
func Split(path string) ([]string, error) {
	var (
		names []string
		name  []byte
	)
	end := func() error {
		if len(name) == 0 {
			return errors.New("empty field name")
		}
		names, name = append(names, string(name)), nil
		return nil
	}
	for i := 0; i < len(path); i++ {
		switch c := path[i]; c {
		case '.':
			if err := end(); err != nil {
				return nil, err
			}
		case '\\':
			i++
			if i == len(path) || path[i] != '.' && path[i] != '\\' {
				return nil, errors.New(`a backslash stands before a dot or a backslash`)
			}
			name = append(name, path[i])
		default:
			name = append(name, c)
		}
	}
	return names, end()
}

// Len is the number of paths.
func (s *Set) Len() int { return s.n }

// Extract scans doc, which must be one JSON value and nothing else, and fills
// values[i] for path i; len(values) must be s.Len(). A path through something that is not
// an object is Absent. The error is an *Error; values are then undefined.
func (s *Set) Extract(doc []byte, values []event.Value) error {
	clear(values)
	if p := (plain{doc: doc, values: values}); p.extract(&s.root) {
		return nil
	}
	clear(values)
	return s.extract(doc, values)
}

// extract does what Extract does for any document.
func (s *Set) extract(doc []byte, values []event.Value) error {
	v := s.validators.Get().(*validator)
	err := v.validate(doc)
	s.validators.Put(v)
	if err != nil {
		return err
	}
	w := walker{doc: doc, values: values}
	w.value(&s.root, 0)
	return nil
}

// validator checks that a document is one value. It is kept for the memory of its decoder.
type validator struct {
	reader bytes.Buffer // over the document: the decoder reads it in place and never writes to it
	dec    jsontext.Decoder
}

func (v *validator) validate(doc []byte) error {
	v.reader = *bytes.NewBuffer(doc)
	v.dec.Reset(&v.reader)
	_, err := v.dec.ReadValue()
	if err == nil {
		if _, err = v.dec.ReadToken(); err == nil {
			err = errTrailing
		} else if err == io.EOF {
			return nil
		}
	}
	return explain(doc, err, v.dec.InputOffset())
}

// AppendString appends what a JSON string says, without quotes and escapes. Raw
// is a string as [Set.Extract] hands it out; another one may give an error.
func AppendString(dst, raw []byte) ([]byte, error) {
	if len(raw) >= 2 && bytes.IndexByte(raw, '\\') < 0 {
		return append(dst, raw[1:len(raw)-1]...), nil
	}
	return jsontext.AppendUnquote(dst, raw)
}
