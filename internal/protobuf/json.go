package protobuf

import (
	"bytes"
	"cmp"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/oncesink/oncesink/internal/event"
)

// jsonMessage is a type of messages as JSON: an object with all its fields, of which those that are not there have their default, or
// null if they have presence. So a path into the JSON finds what a path into the message finds.
type jsonMessage struct {
	is     wellKnown
	fields []jsonField // in the order of the schema
	byNum  numbers
	oneofs int
	types  map[protoreflect.FullName]*jsonMessage // of an Any: those that are known
}

type jsonField struct {
	shape    shape
	scalar   *scalar      // nil for messages and maps
	message  *jsonMessage // of the field, or of its elements
	key      *scalar      // of a map
	wire     protowire.Type
	oneof    int
	name     []byte // with quotes and colon
	unset    []byte
	mismatch error
}

// shape is how often a field may be there.
type shape uint8

const (
	single shape = iota
	repeated
	mapped
)

// message appends a message as JSON: that of b from a place on.
func (s *scratch) json(m *jsonMessage, b []byte, at, depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	dst := s.arena
	switch {
	case m.is.isScalar():
		var v event.Value
		s.text = s.text[:0]
		err := m.wellKnownValue(b, at, &v, &s.text)
		if err == nil {
			*dst, err = v.AppendJSON(*dst)
		}
		return err
	case m.is == anyMessage:
		return s.any(m, b, at, depth)
	case m.is == ordinary:
		*dst = append(*dst, '{')
		err := s.jsonFields(m, b, at, depth)
		*dst = append(*dst, '}')
		return err
	}
	f := s.push(len(m.fields), m.oneofs)
	err := s.scan(m, f, b, at)
	if err == nil {
		field := 0
		if m.is == anyValue {
			if field = int(s.slots[f.slots+2*f.fields]); field < 0 { // which member it is
				*dst = append(*dst, "null"...)
				s.pop(f)
				return nil
			}
		}
		err = s.jsonField(&m.fields[field], b, s.first(f, field), depth)
	}
	s.pop(f)
	return err
}

// jsonFields appends the members of a message's object.
func (s *scratch) jsonFields(m *jsonMessage, b []byte, at, depth int) error {
	f := s.push(len(m.fields), m.oneofs)
	err := s.scan(m, f, b, at)
	for i := range m.fields {
		if err != nil {
			break
		}
		if i > 0 {
			*s.arena = append(*s.arena, ',')
		}
		*s.arena = append(*s.arena, m.fields[i].name...)
		err = s.jsonField(&m.fields[i], b, s.first(f, i), depth)
	}
	s.pop(f)
	return err
}

// scan finds the fields of a message.
func (s *scratch) scan(m *jsonMessage, f frame, b []byte, at int) (err error) {
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
				s.forget(f, before)
			}
		}
		s.add(f, i, &t, field.shape == single && field.scalar != nil, packed)
	}
	return nil
}

// packable reports whether elements of the type may stand in one field.
func packable(s *scalar) bool { return s != nil && s.wire != protowire.BytesType }

// jsonField appends what the chain of a field says.
func (s *scratch) jsonField(field *jsonField, b []byte, first int32, depth int) (err error) {
	switch {
	case first < 0:
		*s.arena = append(*s.arena, field.unset...)
		return nil
	case field.shape == repeated:
		return s.jsonList(field, b, first, depth)
	case field.shape == mapped:
		return s.jsonMap(field, b, first, depth)
	case field.scalar != nil:
		return s.jsonScalar(field.scalar, b, &s.seen[first])
	}
	b, at, err := s.message(b, first)
	if err != nil {
		return err
	}
	return s.json(field.message, b, at, depth+1)
}

func (s *scratch) jsonScalar(kind *scalar, b []byte, it *seen) error {
	var v event.Value
	t := token{n: it.n, lo: it.lo, hi: it.hi}
	err := kind.value(b, &t, &v)
	if err == nil {
		*s.arena, err = v.AppendJSON(*s.arena)
	}
	return err
}

func (s *scratch) jsonList(field *jsonField, b []byte, first int32, depth int) (err error) {
	dst := s.arena
	*dst = append(*dst, '[')
	open := len(*dst)
	for at := first; at >= 0; at = s.seen[at].next {
		if len(*dst)-s.start > s.limit {
			return errLarge
		}
		it := s.seen[at]
		if it.packed {
			var t token
			for i := it.lo; i < it.hi; {
				if i, err = field.scalar.unpack(b[:it.hi], i, &t); err != nil {
					return err
				}
				if len(*dst)-s.start > s.limit {
					return errLarge
				}
				if len(*dst) > open {
					*dst = append(*dst, ',')
				}
				if err = s.jsonScalar(field.scalar, b, &seen{n: t.n}); err != nil {
					return err
				}
			}
			continue
		}
		if len(*dst) > open {
			*dst = append(*dst, ',')
		}
		if field.scalar != nil {
			err = s.jsonScalar(field.scalar, b, &it)
		} else {
			err = s.json(field.message, b[:it.hi], it.lo, depth+1)
		}
		if err != nil {
			return err
		}
	}
	*dst = append(*dst, ']')
	return nil
}

// entry is one of a map: its key, and where it is.
type entry struct {
	key    event.Value
	lo, hi int
}

// jsonMap appends a map as an object, by the order of its keys. Of two entries with one key the last one counts.
func (s *scratch) jsonMap(field *jsonField, b []byte, first int32, depth int) error {
	base := len(s.entries)
	for at := first; at >= 0; at = s.seen[at].next {
		e := entry{lo: s.seen[at].lo, hi: s.seen[at].hi, key: field.key.zero()}
		var t token
		for i := e.lo; i < e.hi; {
			var err error
			if i, err = t.next(b[:e.hi], i); err != nil {
				return err
			}
			if t.num != 1 {
				continue
			}
			if t.wire != field.key.wire {
				return field.mismatch
			}
			if err = field.key.value(b, &t, &e.key); err != nil {
				return err
			}
		}
		s.entries = append(s.entries, e)
	}
	end := len(s.entries)
	slices.SortFunc(s.entries[base:end], compareEntries)
	dst := s.arena
	*dst = append(*dst, '{')
	open := len(*dst)
	for i := base; i < end; i++ {
		if i+1 < end && compareKeys(&s.entries[i].key, &s.entries[i+1].key) == 0 {
			continue
		}
		if len(*dst)-s.start > s.limit {
			return errLarge
		}
		if len(*dst) > open {
			*dst = append(*dst, ',')
		}
		e := s.entries[i]
		var err error
		if e.key.Kind == event.Text {
			*dst, err = e.key.AppendJSON(*dst)
		} else {
			*dst, err = e.key.AppendText(append(*dst, '"'))
			*dst = append(*dst, '"')
		}
		if err != nil {
			return err
		}
		*dst = append(*dst, ':')
		if err = s.jsonEntry(field, b[:e.hi], e.lo, depth); err != nil {
			return err
		}
	}
	*dst = append(*dst, '}')
	s.entries = s.entries[:base]
	return nil
}

// jsonEntry appends the value of an entry, which is a message with the value as its second field.
func (s *scratch) jsonEntry(field *jsonField, b []byte, at, depth int) (err error) {
	f := s.push(1, 0)
	var t token
	for at < len(b) {
		if at, err = t.next(b, at); err != nil {
			return err
		}
		if t.num != 2 {
			continue
		}
		wire := protowire.BytesType
		if field.scalar != nil {
			wire = field.scalar.wire
		}
		if t.wire != wire {
			return field.mismatch
		}
		s.add(f, 0, &t, field.scalar != nil, false)
	}
	switch first := s.first(f, 0); {
	case field.scalar == nil && first < 0:
		err = s.json(field.message, nil, 0, depth+1)
	case field.scalar == nil:
		if b, at, err = s.message(b, first); err == nil {
			err = s.json(field.message, b, at, depth+1)
		}
	case first < 0:
		err = s.jsonScalar(field.scalar, nil, &seen{})
	default:
		err = s.jsonScalar(field.scalar, b, &s.seen[first])
	}
	s.pop(f)
	return err
}

func compareEntries(x, y entry) int {
	return cmp.Or(compareKeys(&x.key, &y.key), cmp.Compare(x.lo, y.lo))
}

func compareKeys(x, y *event.Value) int {
	switch x.Kind {
	case event.Text, event.Bool:
		return bytes.Compare(x.Raw, y.Raw)
	case event.Uint:
		return cmp.Compare(uint64(x.N), uint64(y.N))
	}
	return cmp.Compare(x.N, y.N)
}

// any appends a google.protobuf.Any: an object that has the message's fields where its type is known, else its bytes.
func (s *scratch) any(m *jsonMessage, b []byte, at, depth int) error {
	var url, value token
	var t token
	for at < len(b) {
		var err error
		if at, err = t.next(b, at); err != nil {
			return err
		}
		switch {
		case t.num > 2:
		case t.wire != protowire.BytesType:
			return errWellKnown
		case t.num == 1:
			url = t
		case t.num == 2:
			value = t
		}
	}
	dst := s.arena
	if url.lo == url.hi && value.lo == value.hi {
		*dst = append(*dst, "{}"...)
		return nil
	}
	name := b[url.lo:url.hi]
	of := m.types[protoreflect.FullName(name[bytes.LastIndexByte(name, '/')+1:])]
	var err error
	*dst = append(*dst, `{"@type":`...)
	if *dst, err = (event.Value{Kind: event.Text, Raw: name}).AppendJSON(*dst); err != nil {
		return err
	}
	switch {
	case of == nil:
		*dst = append(*dst, `,"value":`...)
		*dst, err = event.Value{Kind: event.Bytes, Raw: b[value.lo:value.hi]}.AppendJSON(*dst)
	case of.is != ordinary:
		*dst = append(*dst, `,"value":`...)
		err = s.json(of, b[:value.hi], value.lo, depth+1)
	default:
		if len(of.fields) > 0 {
			*dst = append(*dst, ',')
		}
		err = s.jsonFields(of, b[:value.hi], value.lo, depth+1)
	}
	*dst = append(*dst, '}')
	return err
}
