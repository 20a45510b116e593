package connect

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
)

// member returns a member of a struct, which is null if there is none.
func member(v *event.Value, name string) event.Value {
	for n, m := range fields.Members(v.Raw) {
		if string(n) == name {
			return m
		}
	}
	return event.Value{Kind: event.Null}
}

// variable reads a decimal that comes with its scale.
func variable(v *event.Value, arena *[]byte) error {
	scaleOf, value := member(v, "scale"), member(v, "value")
	scale, ok := whole(&scaleOf)
	if !ok || value.Kind != event.String {
		return refuse(badText, "a decimal without a scale or a value")
	}
	if scale < math.MinInt32 || scale > math.MaxInt32 {
		return refuse(badNumber, "a decimal with more digits than a numeric has")
	}
	b, err := bytesOf(&value, arena)
	if err != nil {
		return err
	}
	*v = event.Value{Kind: event.Decimal, Scale: int32(scale), Raw: b}
	return nil
}

// coordinate is a number, or NaN or an infinity in quotes.
func coordinate(v event.Value) ([]byte, bool) {
	switch {
	case v.Kind == event.Number:
		return v.Raw, true
	case v.Kind == event.String && len(v.Raw) <= len(`"-Infinity"`) && bytes.IndexByte(v.Raw, '\\') < 0:
		return v.Raw[1 : len(v.Raw)-1], true
	}
	return nil, false
}

func pointOf(v *event.Value, arena *[]byte) error {
	x, okX := coordinate(member(v, "x"))
	y, okY := coordinate(member(v, "y"))
	if !okX || !okY {
		return refuse(badText, "a point without x or y")
	}
	start := len(*arena)
	*arena = append(append(*arena, '('), x...)
	*arena = append(append(*arena, ','), y...)
	*arena = append(*arena, ')')
	made(v, arena, start)
	return nil
}

// withSRID is the bit of a geometry's type that says an SRID follows.
const withSRID = 0x20000000

// ewkb puts the SRID into the geometry, as PostGIS reads it.
func ewkb(v *event.Value, arena *[]byte) error {
	value, sridOf := member(v, "wkb"), member(v, "srid")
	srid, ok := whole(&sridOf)
	if value.Kind == event.Null || !ok && sridOf.Kind != event.Null {
		return refuse(badText, "a geometry without its bytes, or with an SRID that is no number")
	}
	wkb, err := bytesOf(&value, arena)
	if err != nil {
		return err
	}
	if len(wkb) < 5 || wkb[0] > 1 {
		return refuse(badText, "bytes that are no geometry (WKB)")
	}
	var order interface {
		binary.ByteOrder
		binary.AppendByteOrder
	} = binary.BigEndian
	if wkb[0] == 1 {
		order = binary.LittleEndian
	}
	kind := order.Uint32(wkb[1:5])
	start := len(*arena)
	if srid == 0 || kind&withSRID != 0 {
		*arena = hex.AppendEncode(*arena, wkb)
		made(v, arena, start)
		return nil
	}
	if srid < 0 || srid > math.MaxInt32 {
		return refuse(badNumber, "no SRID is negative, or as large")
	}
	head := order.AppendUint32(append(make([]byte, 0, 9), wkb[0]), kind|withSRID)
	head = order.AppendUint32(head, uint32(srid))
	*arena = hex.AppendEncode(hex.AppendEncode(*arena, head), wkb[5:])
	made(v, arena, start)
	return nil
}

// sparseVector writes {1:1.5,3:2}/5. The map, whose keys are numbers, may be an array of pairs, or of objects of key and value.
func sparseVector(v *event.Value, arena *[]byte) error {
	dimensions, vector := member(v, "dimensions"), member(v, "vector")
	bad := refuse(badText, "a vector without its dimensions, or with elements that are no numbers")
	if _, ok := whole(&dimensions); !ok {
		return bad
	}
	start := len(*arena)
	*arena = append(*arena, '{')
	pair := func(index []byte, value event.Value) bool {
		if len(*arena) > start+1 {
			*arena = append(*arena, ',')
		}
		*arena = append(append(append(*arena, index...), ':'), value.Raw...)
		return value.Kind == event.Number
	}
	switch vector.Kind {
	case event.Object:
		for name, value := range fields.Members(vector.Raw) {
			if !pair(name, value) {
				return bad
			}
		}
	case event.Array:
		for element := range fields.Elements(vector.Raw) {
			var key, value event.Value
			switch element.Kind {
			case event.Object:
				key, value = member(&element, "key"), member(&element, "value")
			case event.Array:
				for e := range fields.Elements(element.Raw) {
					key, value = value, e
				}
			}
			if key.Kind != event.Number || !pair(key.Raw, value) {
				return bad
			}
		}
	default:
		return bad
	}
	*arena = append(append(*arena, '}', '/'), dimensions.Raw...)
	made(v, arena, start)
	return nil
}
