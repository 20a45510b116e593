package protobuf

import (
	"maps"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/oncesink/oncesink/internal/event"
)

// A schema is a file of messages, and records say which one they are. Confluent's serializers write the message's indexes, behind the
// id of the schema: how many they are and they themselves, zigzag, and 0 alone for the first message. Apicurio's write its name:
// in a header, or in a message of its own before it.

var (
	errIndexes = refuse(badBytes, "what follows the id of the schema is not the indexes of a Protobuf message: is it Protobuf?")
	errMessage = refuse(badIndex, "the schema doesn't have the message that the record names")
	errNoName  = refuse(badIndex, "the record doesn't say which message of its schema it is: name the message for the topic")
)

const (
	mostIndexes = 32   // messages within each other
	mostKept    = 1000 // ways to name messages that are kept, for each schema: there is no end of ways to write a number
)

// inHeader finds the message of a record whose schema is named in a header. rest is what follows the id there, nil in a header of
// Apicurio's.
func (p *plan) inHeader(s *schema, rest []byte, headers event.Headers) (*top, error) {
	if s.pinned != nil {
		return s.pinned, nil
	}
	if rest != nil {
		n, ok := indexesEnd(rest)
		if !ok || n != len(rest) {
			return nil, errIndexes
		}
		return p.byIndexes(s, rest)
	}
	header := "apicurio.protobuf.type"
	if p.options.Key {
		header += ".key"
	}
	name, ok := headers.Header(header)
	if !ok {
		return nil, errNoName
	}
	return p.byName(s, name)
}

// before finds the message of a record that says itself which one it is, and where it begins.
func (p *plan) before(s *schema, b []byte) (*top, []byte, error) {
	n, ok := indexesEnd(b)
	if ok {
		if m, err := p.byIndexes(s, b[:n]); err == nil {
			if s.pinned != nil {
				m = s.pinned
			}
			return m, b[n:], nil
		}
	}
	if name := apicurioName(b); name != nil {
		m, err := s.pinned, error(nil)
		if m == nil {
			m, err = p.byName(s, name)
		}
		return m, b[1+b[0]:], err
	}
	switch {
	case !ok:
		return nil, nil, errIndexes
	case s.pinned == nil:
		return nil, nil, errMessage
	}
	return s.pinned, b[n:], nil
}

// indexesEnd returns where the indexes of a message end that b begins with.
func indexesEnd(b []byte) (int, bool) {
	if len(b) == 0 {
		return 0, false
	}
	if b[0] == 0 {
		return 1, true
	}
	n, at, err := zigzag(b, 0)
	if err != nil || n < 0 || n > mostIndexes {
		return 0, false
	}
	for ; n > 0; n-- {
		if _, at, err = zigzag(b, at); err != nil {
			return 0, false
		}
	}
	return at, true
}

// apicurioName returns the name in Apicurio's reference that b begins with, a message with the name as its first field, behind its
// length; nil if there is none.
func apicurioName(b []byte) []byte {
	const field = 1<<3 | byte(protowire.BytesType)
	if len(b) < 4 || b[1] != field || b[0] < 3 || b[0] > 0x7f || b[2] != b[0]-2 || len(b) < 1+int(b[0]) {
		return nil
	}
	return b[3 : 1+b[0]]
}

func (p *plan) byIndexes(s *schema, written []byte) (*top, error) {
	if m := (*s.messages.Load())[string(written)]; m != nil {
		return m, nil
	}
	var indexes []int
	_, at, _ := zigzag(written, 0)
	for at < len(written) {
		var n int64
		n, at, _ = zigzag(written, at)
		if n < 0 || n > 1<<20 {
			return nil, errMessage
		}
		indexes = append(indexes, int(n))
	}
	if len(indexes) == 0 {
		indexes = []int{0}
	}
	return p.learnt(s, string(written), byIndexes(s.types.file, indexes))
}

func (p *plan) byName(s *schema, name []byte) (*top, error) {
	if m := (*s.messages.Load())[string(name)]; m != nil {
		return m, nil
	}
	md, err := byName(s.types.file, string(name))
	if err != nil {
		return nil, errMessage
	}
	return p.learnt(s, string(name), md)
}

// learnt compiles a message and keeps it under what it was named with. No name can be taken for indexes: a letter would be more of
// them than there may be, or less than none.
func (p *plan) learnt(s *schema, named string, md protoreflect.MessageDescriptor) (*top, error) {
	if md == nil {
		return nil, errMessage
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	known := *s.messages.Load()
	if m := known[named]; m != nil {
		return m, nil
	}
	m, err := p.top(s, md)
	if err == nil && len(known) < mostKept {
		known = maps.Clone(known)
		known[named] = m
		s.messages.Store(&known)
	}
	return m, err
}

// top compiles the paths in a message.
func (p *plan) top(s *schema, md protoreflect.MessageDescriptor) (*top, error) {
	m, err := s.types.message(md, &p.root)
	if err != nil {
		return nil, err
	}
	t := &top{message: m, name: string(md.FullName()), wants: p.root.wants, initial: make([]event.Value, p.n)}
	for _, v := range m.set {
		t.initial[v.path] = v.value
	}
	for _, path := range p.named {
		t.initial[path] = event.Value{Kind: event.Text, Raw: []byte(t.name)}
	}
	if p.judge != nil {
		verdict := p.judge(shaper{}.message(md))
		for _, path := range p.judged {
			t.initial[path] = event.Value{Kind: event.Int, N: verdict}
		}
	}
	if len(p.root.wants) > 0 {
		t.whole = s.types.json(md)
	}
	return t, nil
}

func zigzag(b []byte, at int) (int64, int, error) {
	n, at, err := varint(b, at)
	return int64(n>>1) ^ -int64(n&1), at, err
}
