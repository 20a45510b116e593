package pgtext

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/oncesink/oncesink/internal/event"
)

// Formats with a schema say what a value is, and need no unit and no encoding for it. Its text is refused for the same
// reasons as that of a JSON value (rules 15, 27 and 28). What is of another nature than the column is refused here, too.

// appendTyped is AppendValue for a scalar whose type the format knows.
func (c *Type) appendTyped(dst []byte, v *event.Value) ([]byte, *Refusal) {
	if r := c.misfit(v); r != nil {
		return dst, r
	}
	start := len(dst)
	var err error
	switch {
	case c.Kind == KindJSON && c.Encoding == EncodingJSON && v.Kind == event.Text:
		return c.AppendBytes(dst, v.Raw)
	case c.Kind == KindJSON && !c.Array:
		if dst, err = v.AppendJSON(dst); err == nil && hasNUL(dst[start:]) {
			return dst, Refuse(badEscape, `\u0000 in a JSON value`)
		}
		return dst, RefusalOf(err)
	case v.Kind == event.Bytes && c.Scaled:
		return c.appendScaled(dst, v.Raw)
	case v.Kind == event.Bytes:
		return appendBytea(dst, v.Raw), nil
	}
	if dst, err = v.AppendText(dst); err != nil {
		return dst, RefusalOf(err)
	}
	switch v.Kind {
	case event.Bits:
		if missing := int(c.Typmod) - (len(dst) - start); missing > 0 && strings.HasPrefix(c.Declared, "bit(") {
			dst = append(dst, make([]byte, missing)...)
			copy(dst[start+missing:], dst[start:])
			for i := range missing {
				dst[start+i] = '0'
			}
		}
	case event.Text:
		switch {
		case !utf8.Valid(v.Raw):
			return dst, Refuse(BadCharacter, "invalid UTF-8")
		case bytes.IndexByte(v.Raw, 0) >= 0:
			return dst, Refuse(BadCharacter, "a byte 0x00 in a text")
		case c.Array:
			return dst, c.checkArrayText(dst[start:])
		}
	case event.Float, event.Decimal:
		if c.Kind == KindInt && !isInteger(dst[start:]) {
			return dst, Refuse(badText, "a fraction or an exponent for an integer column")
		}
	}
	return c.fit(dst, start)
}

// misfit refuses what is of another nature than the column: PostgreSQL would refuse its text, or make something
// else of it.
func (c *Type) misfit(v *event.Value) *Refusal {
	if c.Array {
		if v.Kind == event.Text {
			return nil
		}
		return Refuse(badText, "not an array, where the column is one")
	}
	what := ""
	switch v.Kind {
	case event.Bytes:
		if c.Kind != KindBytea && c.Kind != KindJSON && !c.Scaled {
			what = "bytes"
		}
	case event.Int, event.Uint, event.Float, event.Decimal:
		switch {
		case c.Kind == KindBytea || c.Kind == kindUUID || c.Kind == kindNested:
			what = "a number"
		case c.isTemporal() && c.Unit == "":
			return Refuse(badTime, "a number for a column of type "+c.Base+unitMessage)
		}
	case event.Date:
		if c.Kind != KindDate && !c.isTimestamp() && !c.takesText() {
			what = "a date"
		}
	case event.Time:
		if (!c.isTemporal() || c.Kind == KindDate || c.isTimestamp()) && !c.takesText() {
			what = "a time of day"
		}
	case event.Timestamp, event.TimestampTZ:
		// A time of day would lose the date.
		if c.Kind != KindDate && !c.isTimestamp() && !c.takesText() {
			what = "a date and time"
		}
	case event.Bits:
		if !c.takesText() {
			what = "a string of bits"
		}
	case event.Infinity:
		if c.Kind != KindDate && !c.isTimestamp() && !c.takesText() {
			what = "an infinite time"
		}
	}
	if what == "" {
		return nil
	}
	return Refuse(badText, what+" for a column of type "+c.Base)
}

// isInteger reports whether a number's text is digits alone, and a sign.
func isInteger(text []byte) bool {
	for _, b := range bytes.TrimPrefix(text, []byte("-")) {
		if b < '0' || b > '9' {
			return false
		}
	}
	return true
}

// takesText reports whether any text may be a value of the type.
func (c *Type) takesText() bool {
	return c.Kind == KindText || c.Kind == KindOther || c.Kind == KindJSON
}
