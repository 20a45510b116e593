package pgtext

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"
)

// The binary forms are those of PostgreSQL's send functions, big-endian throughout: see
// https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-FORMAT-CODES and the sources
// of each type (numeric_send in numeric.c, timestamptz_send in timestamp.c).

// Wire appends the binary form of a text that is a value of the column's type. It
// is not ok if only the type's input function can tell what the text is.
type Wire func(c *Type, dst, text []byte) ([]byte, bool)

// Wire is the binary form of the column's type, nil if it is not known here.
func (c *Type) Wire() Wire {
	switch {
	case c.Array:
		return nil
	case c.isTimestamp():
		return wireTimestamp
	case c.Enum:
		return wireText // its label
	case c.Base == "jsonb":
		return wireJSONB
	}
	switch c.Kind {
	case KindInt:
		switch c.Base {
		case "smallint":
			return wireSmallint
		case "integer":
			return wireInteger
		}
		return wireBigint
	case KindNumeric:
		return wireNumeric
	case KindFloat:
		return wireFloat
	case kindBool:
		return wireBool
	case KindText, KindJSON:
		return wireText
	case kindUUID:
		return wireUUID
	case KindDate:
		return wireDate
	case KindBytea:
		return wireBytea
	}
	return nil
}

// Arrays are the OIDs of a type of fixed form and of its arrays. They are those of every server: see pg_type.dat.
type Arrays struct{ Element, Array uint32 }

// elements are the types whose binary form spares the server the reading of texts, by their names. That of numeric takes it as long.
var elements = map[string]Arrays{
	"boolean": {16, 1000}, "smallint": {21, 1005}, "integer": {23, 1007}, "bigint": {20, 1016}, "real": {700, 1021}, "double precision": {701, 1022},
	"date": {1082, 1182}, "timestamp without time zone": {1114, 1115}, "timestamp with time zone": {1184, 1185}, "uuid": {2950, 2951},
}

// Elements are the OIDs of the types whose values may go in arrays of their binary form: those of the elements, by those of the arrays.
func Elements() map[uint32]uint32 {
	out := make(map[uint32]uint32, len(elements))
	for _, a := range elements {
		out[a.Array] = a.Element
	}
	return out
}

// Arrays are the OIDs of the type, if its values may go in an array of their binary form instead of their texts. Of a text that is none:
// it is what goes.
func (c *Type) Arrays() (Arrays, bool) {
	if c.Array || c.Wire() == nil {
		return Arrays{}, false
	}
	a, ok := elements[c.Base]
	return a, ok
}

func wireText(_ *Type, dst, text []byte) ([]byte, bool) { return append(dst, text...), true }

// jsonbVersion is the only version of jsonb's binary form.
const jsonbVersion = 1

func wireJSONB(_ *Type, dst, text []byte) ([]byte, bool) {
	return append(append(dst, jsonbVersion), text...), true
}

func wireBool(_ *Type, dst, text []byte) ([]byte, bool) {
	switch string(text) {
	case "true":
		return append(dst, 1), true
	case "false":
		return append(dst, 0), true
	}
	return dst, false
}

func wireSmallint(_ *Type, dst, text []byte) ([]byte, bool) {
	n, ok := plainInt(text, smallintDigits)
	return binary.BigEndian.AppendUint16(dst, uint16(n)), ok
}

func wireInteger(_ *Type, dst, text []byte) ([]byte, bool) {
	n, ok := plainInt(text, integerDigits)
	return binary.BigEndian.AppendUint32(dst, uint32(n)), ok
}

func wireBigint(_ *Type, dst, text []byte) ([]byte, bool) {
	n, ok := plainInt(text, bigintDigits)
	return binary.BigEndian.AppendUint64(dst, uint64(n)), ok
}

// Bounds of floating-point numbers within which reading rounds, and neither overflows nor loses bits
// at the small end: beyond them PostgreSQL decides what to take.
const (
	smallestFloat, largestFloat = 1e-300, 1e300
	smallestReal, largestReal   = 1e-30, 1e30
)

func wireFloat(c *Type, dst, text []byte) ([]byte, bool) {
	zero := true
	for _, b := range text {
		switch {
		case '1' <= b && b <= '9':
			zero = false
		case b == '0', b == '.', b == '-', b == '+', b|0x20 == 'e':
		default:
			return dst, false
		}
	}
	bits, least, most := 64, smallestFloat, largestFloat
	if c.Base == "real" {
		bits, least, most = 32, smallestReal, largestReal
	}
	f, err := strconv.ParseFloat(string(text), bits)
	if size := math.Abs(f); err != nil || !zero && size < least || size > most {
		return dst, false
	}
	if bits == 32 {
		return binary.BigEndian.AppendUint32(dst, math.Float32bits(float32(f))), true
	}
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(f)), true
}

// Of numeric's binary form.
const (
	numericBase      = 10_000
	numericDigits    = 4 // decimal digits of one of numericBase
	numericNegative  = 0x4000
	maxNumericDigits = 200 // more are left to PostgreSQL
)

// wireNumeric reads a sign, digits, and at will a point and more digits. The form is: the number of digits
// to the base of 10,000, the power of the first one, the sign, the decimal digits
// after the point, the digits.
func wireNumeric(_ *Type, dst, text []byte) ([]byte, bool) {
	sign := uint16(0)
	if len(text) > 0 && text[0] == '-' {
		sign, text = numericNegative, text[1:]
	}
	if d, ok := parseShort(text); ok {
		return appendShort(dst, d, sign), true
	}
	if len(text) == 0 || len(text) > maxNumericDigits {
		return dst, false
	}
	whole := len(text)
	for i, b := range text {
		switch {
		case '0' <= b && b <= '9':
		case b == '.' && whole == len(text) && 0 < i && i < len(text)-1:
			whole = i
		default:
			return dst, false
		}
	}
	scale := max(0, len(text)-whole-1)
	head := len(dst)
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
	// Digits of the base are cut from the point on, to the left and to the right.
	groups := (whole + numericDigits - 1) / numericDigits
	weight := groups - 1
	first := whole - groups*numericDigits // of the leftmost group; may be negative
	count, last := 0, 0                   // digits that were written, and without zeros at their end
	for at := first; at < whole || at < whole+scale; at += numericDigits {
		digit := uint16(0)
		for k := at; k < at+numericDigits; k++ {
			digit *= 10
			i := k
			if k >= whole {
				i++ // behind the point
			}
			if k >= 0 && i < len(text) {
				digit += uint16(text[i] - '0')
			}
		}
		if digit == 0 && count == 0 {
			weight-- // zeros in front
			continue
		}
		dst = binary.BigEndian.AppendUint16(dst, digit)
		if count++; digit != 0 {
			last = count
		}
	}
	if last == 0 {
		weight, sign = 0, 0
	}
	dst = dst[:head+8+2*last]
	binary.BigEndian.PutUint16(dst[head:], uint16(last))
	binary.BigEndian.PutUint16(dst[head+2:], uint16(weight))
	binary.BigEndian.PutUint16(dst[head+4:], sign)
	binary.BigEndian.PutUint16(dst[head+6:], uint16(scale))
	return dst, true
}

// thousands are what makes the digits behind the point, by how many there are, digits of numericBase.
var thousands = [numericDigits]uint64{1, 1000, 100, 10}

// appendShort is the rest of wireNumeric for a number that fits an integer.
func appendShort(dst []byte, d shortDecimal, sign uint16) []byte {
	var digits [5]uint16 // the last ones are set
	first, last := len(digits), len(digits)
	for n := d.n * thousands[d.scale%numericDigits]; n > 0; n /= numericBase {
		first--
		digits[first] = uint16(n % numericBase)
	}
	weight := last - first - 1 - (d.scale+numericDigits-1)/numericDigits
	for last > first && digits[last-1] == 0 {
		last--
	}
	if last == first {
		weight, sign = 0, 0
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(last-first))
	dst = binary.BigEndian.AppendUint16(dst, uint16(weight))
	dst = binary.BigEndian.AppendUint16(dst, sign)
	dst = binary.BigEndian.AppendUint16(dst, uint16(d.scale))
	for _, digit := range digits[first:last] {
		dst = binary.BigEndian.AppendUint16(dst, digit)
	}
	return dst
}

func wireUUID(_ *Type, dst, text []byte) ([]byte, bool) {
	if _, ok := canonicalUUID(text); !ok {
		return dst, false
	}
	for _, digits := range [][]byte{text[:8], text[9:13], text[14:18], text[19:23], text[24:]} {
		dst, _ = hex.AppendDecode(dst, digits)
	}
	return dst, true
}

func wireBytea(_ *Type, dst, text []byte) ([]byte, bool) {
	digits, ok := bytes.CutPrefix(text, []byte(`\x`))
	if !ok {
		return dst, false
	}
	dst, err := hex.AppendDecode(dst, digits)
	return dst, err == nil
}

// postgresEpoch is the day, in days since 1970, from which PostgreSQL counts.
const postgresEpoch = 10957 // 2000-01-01

func wireDate(_ *Type, dst, text []byte) ([]byte, bool) {
	days, ok := daysOf(text)
	return binary.BigEndian.AppendUint32(dst, uint32(days-postgresEpoch)), ok
}

func wireTimestamp(c *Type, dst, text []byte) ([]byte, bool) {
	micros, ok := c.microsOf(text)
	return binary.BigEndian.AppendUint64(dst, uint64(micros-postgresEpoch*secondsPerDay*1_000_000)), ok
}
