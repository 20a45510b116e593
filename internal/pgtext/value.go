package pgtext

import (
	"bytes"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
)

// A value's text is what PostgreSQL's own input function gets to read (rule 27).
// What is refused here is what that function would take and change: cut off,
// round, replace, or read the clock for.

// Refusal says why a value can't become a column's text, with the SQLSTATE that
// PostgreSQL has for it.
type Refusal = event.Refusal

// Refuse makes a refusal.
func Refuse(code, message string) *Refusal {
	return &Refusal{Code: code, Message: message, Plain: true}
}

// SQLSTATEs of values.
const (
	badText      = "22P02" // invalid_text_representation
	BadCharacter = "22021" // character_not_in_repertoire
	badEscape    = "22P05" // untranslatable_character
	badTime      = "22007" // invalid_datetime_format
	badRange     = "22008" // datetime_field_overflow
	tooLong      = "22001" // string_data_right_truncation
	NoValue      = "23502" // not_null_violation
	TooMuch      = "54000" // program_limit_exceeded
)

// AppendValue appends the text of a value that is there and not null, and leaves the value as it is: it is passed by
// its place because a copy of each takes as long as what is done with it.
func (c *Type) AppendValue(dst []byte, v *event.Value) ([]byte, *Refusal) {
	if v.Kind.Typed() {
		return c.appendTyped(dst, v)
	}
	if !c.Array {
		return c.appendScalar(dst, v)
	}
	switch v.Kind {
	case event.Array:
		return c.appendArray(dst, v.Raw)
	case event.String:
		start := len(dst)
		dst, r := appendString(dst, v.Raw)
		if r != nil {
			return dst, r
		}
		return dst, c.checkArrayText(dst[start:])
	}
	return dst, Refuse(badText, "not an array, where the column is one")
}

// appendScalar is appendValue for a column that is not an array, or for the
// elements of one that is.
func (c *Type) appendScalar(dst []byte, v *event.Value) ([]byte, *Refusal) {
	if c.Kind == KindJSON {
		if c.Encoding == EncodingJSON && v.Kind == event.String {
			return c.appendEncoded(dst, v.Raw)
		}
		if hasNUL(v.Raw) {
			return dst, Refuse(badEscape, `\u0000 in a JSON value`)
		}
		return append(dst, v.Raw...), nil
	}
	start := len(dst)
	var r *Refusal
	switch v.Kind {
	case event.String:
		if dst, r = appendString(dst, v.Raw); r != nil {
			return dst, r
		}
		if c.Scaled {
			return c.fitScaled(dst, start)
		}
	case event.Number:
		switch {
		case c.Kind == KindBytea:
			return dst, Refuse(badText, "a number for a bytea column")
		case c.Kind == KindInt && !isWhole(v):
			return dst, Refuse(badText, "a fraction or an exponent for an integer column")
		case c.Kind == KindNumeric && v.Short && c.keeps(int(v.Scale)):
			return append(dst, v.Raw...), nil
		case c.isTemporal() && c.Unit == "":
			return dst, Refuse(badTime, "a number for a column of type "+c.Base+unitMessage)
		case c.Kind == kindNested:
			return dst, Refuse(badText, "a number for a column of type "+c.Base)
		}
		dst = append(dst, v.Raw...)
		if c.Unit != "" {
			if m, ok := shortMoment(v, c.Unit); ok {
				return c.fitMoment(dst, start, m)
			}
		}
	case event.Bool:
		switch c.Kind {
		case kindBool, KindText, KindOther:
			dst = append(dst, v.Raw...)
		default:
			return dst, Refuse(badText, "a boolean for a column of type "+c.Base)
		}
	default:
		switch c.Kind {
		case KindText, KindOther:
			dst = append(dst, v.Raw...)
		default:
			return dst, Refuse(badText, "an object or array for a column of type "+c.Base)
		}
	}
	return c.fit(dst, start)
}

// EncodingJSON is of a JSON column whose values may be texts that have JSON in them.
const EncodingJSON = "json"

// appendEncoded appends the JSON that a JSON string has in it.
func (c *Type) appendEncoded(dst, raw []byte) ([]byte, *Refusal) {
	start := len(dst)
	dst, r := appendString(dst, raw)
	if r != nil {
		return dst, r
	}
	if hasNUL(dst[start:]) {
		return dst, Refuse(badEscape, `\u0000 in a JSON value`)
	}
	return dst, RefusalOf(c.json.Read(dst[start:], nil, nil, nil))
}

// isWhole reports whether a JSON number has neither a fraction nor an exponent.
func isWhole(number *event.Value) bool {
	if number.Short {
		return number.Scale == 0
	}
	for _, b := range number.Raw {
		if b == '.' || b|0x20 == 'e' {
			return false
		}
	}
	return true
}

// appendString appends a JSON string's text. PostgreSQL has no text with a NUL in
// it; without an escape there can't be one.
func appendString(dst, raw []byte) ([]byte, *Refusal) {
	if bytes.IndexByte(raw, '\\') < 0 {
		return append(dst, raw[1:len(raw)-1]...), nil
	}
	start := len(dst)
	dst, err := fields.AppendString(dst, raw)
	if err != nil {
		return dst, &Refusal{Code: BadCharacter, Message: err.Error()}
	}
	if bytes.IndexByte(dst[start:], 0) >= 0 {
		return dst, Refuse(badEscape, `\u0000 in a text`)
	}
	return dst, nil
}

// fit checks dst[start:], a text that the column is going to read, and brings it
// into the form that PostgreSQL reads.
func (c *Type) fit(dst []byte, start int) ([]byte, *Refusal) {
	if c.plain {
		return dst, nil
	}
	text := dst[start:]
	switch {
	case c.Kind == KindBytea:
		return c.decodeBytes(dst, start)
	case c.Form != formScalar:
		return dst, c.look(text)
	case c.Unit != "" && isNumber(text):
		return c.fitUnit(dst, start)
	case c.Kind == KindDate:
		return c.fitDate(dst, start)
	}
	return dst, c.CheckText(text)
}

// CheckText checks a text that is for a type that is made of no others, and that needs no other form.
func (c *Type) CheckText(text []byte) *Refusal {
	switch c.Kind {
	case KindText, KindOther:
		return c.fitName(text)
	case KindDate:
		_, r := c.fitDate(text, 0) // without a zone, which only columns have
		return r
	case KindNumeric:
		return c.checkScale(text)
	case KindTime, KindTimeTZ:
		if r := c.checkTime(text); r != nil {
			return r
		}
		return c.checkSecond(text)
	case kindInterval:
		if isNumber(text) {
			return Refuse(badTime, "a number for type "+c.Base+unitMessage)
		}
	}
	return nil
}

// maxNameBytes is what fits into PostgreSQL's type name; the type's input cuts off the rest.
const maxNameBytes = 63

func (c *Type) fitName(text []byte) *Refusal {
	switch c.Base {
	case "name":
		if len(text) > maxNameBytes {
			return Refuse(tooLong, "longer than the 63 bytes of type name")
		}
	case `"char"`:
		if len(text) > 1 {
			return Refuse(tooLong, `longer than the one byte of type "char"`)
		}
	}
	return nil
}

// hasNUL reports whether a JSON text has the escape \u0000. As jsonb it can't be
// stored, and as json it can't be read.
func hasNUL(raw []byte) bool {
	if !bytes.Contains(raw, []byte(`\u0000`)) {
		return false
	}
	for i := 0; i+6 <= len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		if string(raw[i:i+6]) == `\u0000` {
			return true
		}
		i++ // an escaped backslash escapes nothing
	}
	return false
}
