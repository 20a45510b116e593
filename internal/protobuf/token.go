package protobuf

import (
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/oncesink/oncesink/internal/event"
)

// Codes of refusals, where PostgreSQL has none.
const (
	badBytes = "ONS22" // the bytes are no message of the schema
	badIndex = "ONS23" // the message that they name is not in the schema
)

// SQLSTATEs of refusals.
const (
	badCharacter = "22021" // character_not_in_repertoire
	badRange     = "22008" // datetime_field_overflow
	tooLarge     = "54000" // program_limit_exceeded
	tooDeep      = "54001" // statement_too_complex
)

// What a record may make of itself. Other libraries stop at 100 messages within each other.
const (
	maxDepth  = 1000
	maxGroups = 100      // within each other: what is in a group is read once for each of them
	maxJSON   = 64 << 20 // bytes
)

// refuse refuses a record, in words that quote nothing of it.
func refuse(code, message string) error {
	return &event.Refusal{Code: code, Message: message, Plain: true}
}

var (
	errShort    = refuse(badBytes, "a Protobuf message that ends too early")
	errVarint   = refuse(badBytes, "no Protobuf message: a number of more than 64 bits")
	errTag      = refuse(badBytes, "no Protobuf message: a field with a number or a wire type that there is not")
	errGroup    = refuse(badBytes, "no Protobuf message: a group that ends where none began, or never")
	errDepth    = refuse(tooDeep, "nested too deeply")
	errLarge    = refuse(tooLarge, "more than 64 MB as JSON")
	errEncoding = refuse(badCharacter, "invalid UTF-8")
)

// token is a field of a message as it stands on the wire.
type token struct {
	num    protowire.Number
	wire   protowire.Type
	n      uint64 // of a varint, or of four or eight bytes
	lo, hi int    // where the contents of bytes or of a group are
}

// next reads the field that begins at a place of b, and returns where the next one does.
func (t *token) next(b []byte, at int) (int, error) {
	tag := uint64(b[at])
	if tag < 0x80 {
		at++
	} else {
		var err error
		if tag, at, err = varint(b, at); err != nil {
			return at, err
		}
	}
	if tag>>3 == 0 || tag>>3 > uint64(protowire.MaxValidNumber) {
		return at, errTag
	}
	t.num, t.wire = protowire.Number(tag>>3), protowire.Type(tag&7)
	switch t.wire {
	case protowire.VarintType:
		if at < len(b) && b[at] < 0x80 {
			t.n = uint64(b[at])
			return at + 1, nil
		}
		var err error
		t.n, at, err = varint(b, at)
		return at, err
	case protowire.BytesType:
		n := uint64(0)
		if at < len(b) && b[at] < 0x80 {
			n = uint64(b[at])
			at++
		} else {
			var err error
			if n, at, err = varint(b, at); err != nil {
				return at, err
			}
		}
		if n > uint64(len(b)-at) {
			return at, errShort
		}
		t.lo, t.hi = at, at+int(n)
		return t.hi, nil
	case protowire.Fixed64Type:
		if len(b)-at < 8 {
			return at, errShort
		}
		t.n = binary.LittleEndian.Uint64(b[at:])
		return at + 8, nil
	case protowire.Fixed32Type:
		if len(b)-at < 4 {
			return at, errShort
		}
		t.n = uint64(binary.LittleEndian.Uint32(b[at:]))
		return at + 4, nil
	case protowire.StartGroupType:
		end, next, err := groupEnd(b, at, t.num, maxGroups)
		t.lo, t.hi = at, end
		return next, err
	case protowire.EndGroupType:
		return at, errGroup
	}
	return at, errTag
}

func varint(b []byte, at int) (uint64, int, error) {
	v, n := protowire.ConsumeVarint(b[at:])
	if n < 0 {
		if len(b)-at < 10 {
			return 0, at, errShort
		}
		return 0, at, errVarint
	}
	return v, at + n, nil
}

// groupEnd returns where the contents of a group end, and where what follows the group begins.
func groupEnd(b []byte, at int, num protowire.Number, depth int) (end, next int, err error) {
	if depth == 0 {
		return at, at, errDepth
	}
	var t token
	for at < len(b) {
		tag, after, err := varint(b, at)
		if err != nil {
			return at, at, err
		}
		switch wire := protowire.Type(tag & 7); {
		case wire == protowire.EndGroupType && tag>>3 == uint64(num):
			return at, after, nil
		case wire == protowire.StartGroupType && tag>>3 > 0 && tag>>3 <= uint64(protowire.MaxValidNumber):
			if _, at, err = groupEnd(b, after, protowire.Number(tag>>3), depth-1); err != nil {
				return at, at, err
			}
		default:
			if at, err = t.next(b, at); err != nil {
				return at, at, err
			}
		}
	}
	return at, at, errGroup
}
