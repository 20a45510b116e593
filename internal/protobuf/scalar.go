package protobuf

import (
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/oncesink/oncesink/internal/event"
)

// scalar is the type of a field that has no fields.
type scalar struct {
	kind protoreflect.Kind
	wire protowire.Type
	// names are those of an enum's numbers up to fewNames, and further ones the others. An enum without a name is google.protobuf's
	// NullValue, of which each value is null.
	names   [][]byte
	further map[int32][]byte
	isNull  bool
}

const fewNames = 256

func scalarOf(fd protoreflect.FieldDescriptor) *scalar {
	s := &scalar{kind: fd.Kind(), wire: wireOf(fd.Kind())}
	if s.kind != protoreflect.EnumKind {
		return s
	}
	s.isNull = fd.Enum().FullName() == "google.protobuf.NullValue"
	values := fd.Enum().Values()
	for i := range values.Len() {
		n, name := int32(values.Get(i).Number()), []byte(values.Get(i).Name())
		switch {
		case s.name(n) != nil: // of two names the first one counts
		case n >= 0 && n < fewNames:
			for int(n) >= len(s.names) {
				s.names = append(s.names, nil)
			}
			s.names[n] = name
		default:
			if s.further == nil {
				s.further = map[int32][]byte{}
			}
			s.further[n] = name
		}
	}
	return s
}

// name is the name of an enum's number, nil if it has none.
func (s *scalar) name(n int32) []byte {
	if uint32(n) < uint32(len(s.names)) {
		return s.names[n]
	}
	return s.further[n]
}

func wireOf(kind protoreflect.Kind) protowire.Type {
	switch kind {
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		return protowire.Fixed32Type
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		return protowire.Fixed64Type
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	case protoreflect.GroupKind:
		return protowire.StartGroupType
	}
	return protowire.VarintType
}

var yes, no = []byte("true"), []byte("false")

// value reads what a token of b says. The token has the wire type of s.
func (s *scalar) value(b []byte, t *token, v *event.Value) error {
	switch s.kind {
	case protoreflect.Int32Kind, protoreflect.Sfixed32Kind:
		*v = event.Value{Kind: event.Int, N: int64(int32(t.n))}
	case protoreflect.Int64Kind, protoreflect.Sfixed64Kind:
		*v = event.Value{Kind: event.Int, N: int64(t.n)}
	case protoreflect.StringKind:
		raw := b[t.lo:t.hi:t.hi]
		if !utf8.Valid(raw) {
			return errEncoding
		}
		*v = event.Value{Kind: event.Text, Raw: raw}
	case protoreflect.BytesKind:
		*v = event.Value{Kind: event.Bytes, Raw: b[t.lo:t.hi:t.hi]}
	case protoreflect.EnumKind:
		switch name := s.name(int32(t.n)); {
		case s.isNull:
			*v = event.Value{Kind: event.Null}
		case name != nil:
			*v = event.Value{Kind: event.Text, Raw: name}
		default:
			*v = event.Value{Kind: event.Int, N: int64(int32(t.n))}
		}
	case protoreflect.DoubleKind:
		*v = event.Value{Kind: event.Float, Scale: 64, N: int64(t.n)}
	case protoreflect.FloatKind:
		*v = event.Value{Kind: event.Float, Scale: 32, N: int64(math.Float64bits(float64(math.Float32frombits(uint32(t.n)))))}
	case protoreflect.BoolKind:
		*v = event.Value{Kind: event.Bool, Raw: no}
		if t.n != 0 {
			v.Raw = yes
		}
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		*v = event.Value{Kind: event.Uint, N: int64(uint32(t.n))}
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		*v = event.Value{Kind: event.Uint, N: int64(t.n)}
	case protoreflect.Sint32Kind:
		*v = event.Value{Kind: event.Int, N: int64(int32(protowire.DecodeZigZag(t.n & math.MaxUint32)))}
	case protoreflect.Sint64Kind:
		*v = event.Value{Kind: event.Int, N: protowire.DecodeZigZag(t.n)}
	}
	return nil
}

// zero is the value of a field that is not there and has no presence.
func (s *scalar) zero() (v event.Value) {
	_ = s.value(nil, &token{}, &v) // nothing is wrong with an empty string
	return v
}

// unpack reads the element that begins at a place of a packed field, and returns where the next one does. The end of
// b is that of the field.
func (s *scalar) unpack(b []byte, at int, t *token) (next int, err error) {
	t.wire = s.wire
	size := 0
	switch s.wire {
	case protowire.VarintType:
		t.n, next, err = varint(b, at)
		return next, err
	case protowire.Fixed32Type:
		v, n := protowire.ConsumeFixed32(b[at:])
		t.n, size = uint64(v), n
	case protowire.Fixed64Type:
		t.n, size = protowire.ConsumeFixed64(b[at:])
	}
	if size <= 0 {
		return at, errShort
	}
	return at + size, nil
}

// mismatch refuses a field whose wire type is not that of its schema: others skip such a field as if it were not known, and
// here this would be a value that is lost.
func mismatch(name protoreflect.Name) error {
	return refuse(badBytes, "field "+string(name)+" is written as another type than its schema says: is it of this schema and message?")
}
