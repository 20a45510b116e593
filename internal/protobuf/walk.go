package protobuf

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
)

// message is a type of messages at a place that paths name or lead through: what becomes of its fields.
type message struct {
	fields []field
	byNum  numbers
	chains int // of fields that are read at the message's end
	oneofs int
	// set are the values of a message without any field, and unset those of one that is not there.
	set, unset []preset
}

// preset is the value that a path has where nothing was read.
type preset struct {
	path  int32
	value event.Value
}

// field is a field that a path names or leads through, or that takes the place of such a one in a oneof.
type field struct {
	shape    shape
	wire     protowire.Type
	scalar   *scalar // nil for messages and maps
	chain    int     // its number, -1 for one that is read at once
	oneof    int     // its number in the message, -1
	wants    []int32 // paths that end here
	through  *message
	whole    *jsonField // for wants that are no scalar, and for inner
	inner    *fields.Set
	inWants  [][]int32 // paths by the paths of inner
	mismatch error
}

// read reads a message: that of b from a place on. Its paths have their presets.
func (s *scratch) read(m *message, b []byte, at, depth int) (err error) {
	if depth > maxDepth { // paths are finite, and this would be a long one
		return errDepth
	}
	f := s.push(m.chains, m.oneofs)
	var t token
	for at < len(b) {
		if at, err = t.next(b, at); err != nil {
			return err
		}
		i := m.byNum.find(t.num)
		if i < 0 {
			continue
		}
		field := &m.fields[i]
		packed := t.wire != field.wire
		if packed && (field.shape != repeated || !packable(field.scalar) || t.wire != protowire.BytesType) {
			return field.mismatch
		}
		if field.oneof >= 0 {
			if before := s.choose(f, field.oneof, i); before >= 0 {
				s.unchoose(&m.fields[before], f)
			}
		}
		switch {
		case field.chain >= 0:
			s.add(f, field.chain, &t, false, packed)
		case len(field.wants) > 0:
			v := &s.values[field.wants[0]]
			if err = field.scalar.value(b, &t, v); err != nil {
				return err
			}
			for _, path := range field.wants[1:] {
				s.values[path] = *v
			}
		}
	}
	if m.chains > 0 {
		for i := range m.fields {
			field := &m.fields[i]
			if field.chain < 0 {
				continue
			}
			if first := s.first(f, field.chain); first >= 0 {
				if err = s.finish(field, b, first, depth); err != nil {
					return err
				}
			}
		}
	}
	s.pop(f)
	return nil
}

// unchoose takes back what was read of a member of a oneof.
func (s *scratch) unchoose(field *field, f frame) {
	if field.chain >= 0 {
		s.forget(f, field.chain)
		return
	}
	for _, path := range field.wants {
		s.values[path] = event.Value{Kind: event.Null}
	}
}

// finish reads a field that is no scalar, and has a chain.
func (s *scratch) finish(field *field, b []byte, first int32, depth int) error {
	if field.shape == single {
		var at int
		var err error
		if b, at, err = s.message(b, first); err != nil {
			return err
		}
		if field.through != nil {
			s.preset(field.through.set)
			if err = s.read(field.through, b, at, depth+1); err != nil {
				return err
			}
		}
		if m := field.whole; m != nil {
			return s.want(field, m.message, b, at, depth)
		}
		return nil
	}
	start := len(*s.arena)
	if err := s.jsonField(field.whole, b, first, depth); err != nil {
		return err
	}
	v := event.Value{Kind: event.Array, Raw: (*s.arena)[start:len(*s.arena):len(*s.arena)]}
	if field.shape == mapped {
		v.Kind = event.Object
	}
	return s.give(field, v)
}

// want reads a single message as a whole.
func (s *scratch) want(field *field, m *jsonMessage, b []byte, at, depth int) error {
	var v event.Value
	if m.is.isScalar() {
		if err := m.wellKnownValue(b, at, &v, s.arena); err != nil {
			return err
		}
		return s.give(field, v)
	}
	start := len(*s.arena)
	if err := s.json(m, b, at, depth+1); err != nil {
		return err
	}
	v = event.Value{Kind: event.Object, Raw: (*s.arena)[start:len(*s.arena):len(*s.arena)]}
	switch m.is {
	case anyValue:
		v = fields.Document(v.Raw)
	case list:
		v.Kind = event.Array
	}
	return s.give(field, v)
}

// give hands out a value, and what it has at paths into it.
func (s *scratch) give(field *field, v event.Value) error {
	for _, path := range field.wants {
		s.values[path] = v
	}
	if field.inner == nil {
		return nil
	}
	for len(s.inner) < field.inner.Len() {
		s.inner = append(s.inner, event.Value{})
	}
	inner := s.inner[:field.inner.Len()]
	if err := field.inner.Extract(v.Raw, inner); err != nil {
		return refuse(badBytes, "a message that is no JSON: "+err.Error()) // of names that are texts alone: it is
	}
	for i, paths := range field.inWants {
		for _, path := range paths {
			s.values[path] = inner[i]
		}
	}
	return nil
}

func (s *scratch) preset(values []preset) {
	for i := range values {
		s.values[values[i].path] = values[i].value
	}
}
