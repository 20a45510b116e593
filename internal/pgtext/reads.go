package pgtext

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// jsonDoubt is from how many bytes on JSON is left to PostgreSQL, which limits numbers, and jsonExponent from how many digits of an exponent on.
const jsonDoubt, jsonExponent = 100_000, 5

// Reads reports whether a column takes a text beyond doubt: PostgreSQL reads it as a value of the type, and there is room for it. That of a domain
// may refuse the value. It is no for many texts that are taken, and for all of types that are not known here.
func (c *Type) Reads(text []byte) bool {
	if c.Array || c.Enum || c.Form != formScalar {
		return false
	}
	switch c.Kind {
	case KindText:
		return !c.TooMuch(text)
	case KindJSON:
		return readsJSON(text)
	case KindInt:
		return c.readsInt(text)
	case KindNumeric:
		if c.Typmod >= typmodHeader && !c.hasRoom(text) {
			return false
		}
	case KindTime, KindTimeTZ:
		ts, ok := parseTimestamp(text)
		return ok && ts.valid() && c.isTimestamp()
	}
	form := c.Wire()
	if form == nil {
		return false
	}
	var scratch [64]byte
	_, ok := form(c, scratch[:0], text)
	return ok
}

func (c *Type) readsInt(text []byte) bool {
	bits := 64
	switch c.Base {
	case "smallint":
		bits = 16
	case "integer":
		bits = 32
	}
	if _, ok := plainInt(text, smallintDigits); ok {
		return true
	}
	_, err := strconv.ParseInt(string(text), 10, bits)
	return err == nil
}

// hasRoom reports whether a number has not too many digits for its column, not even when it is rounded.
func (c *Type) hasRoom(text []byte) bool {
	precision, scale := c.numericLimits()
	whole, _, _ := bytes.Cut(text, []byte{'.'})
	if len(text) <= maxNumericDigits && len(whole) < precision-scale && !bytes.ContainsAny(text, "eE") {
		return true // one more is the most that rounding makes of it
	}
	d, ok := parseDecimal(text)
	return ok && (len(d.digits) == 0 || d.exponent < precision-scale || d.exponent == precision-scale && (d.digits[0] < '9' || len(d.digits) <= precision))
}

// readsJSON leaves escapes, of which jsonb refuses some, and what may be too large a number, to PostgreSQL.
func readsJSON(text []byte) bool {
	if len(text) > jsonDoubt || bytes.Contains(text, []byte(`\u`)) || !json.Valid(text) {
		return false
	}
	digits := jsonExponent
	for _, b := range text {
		switch {
		case b == 'e' || b == 'E':
			digits = 0
		case '0' <= b && b <= '9':
			if digits++; digits == jsonExponent {
				return false
			}
		case b != '+' && b != '-':
			digits = jsonExponent
		}
	}
	return true
}
