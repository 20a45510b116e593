package pgtext

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// A key and a version have one canonical text per value (rule 14): two texts are
// equal for PostgreSQL if and only if their canonical texts are the same bytes.
//
//	smallint, integer, bigint   decimal digits, a minus sign, no zero in front
//	numeric                     decimal digits, rounded to the column's scale, no zeros at the end
//	text, varchar               as it is; what varchar(n) drops at the end is dropped
//	char(n)                     without spaces at its end
//	uuid                        lower case, with hyphens
//	date                        days since 1970, Infinity, -Infinity
//	timestamp, timestamptz      microseconds since 1970, rounded to the column's precision; Infinity, -Infinity
//	boolean                     true, false
//	bytea                       \x and hexadecimal digits in lower case
//
// Go reads the spellings that events have. For all others canonicalKey is not ok,
// and PostgreSQL itself says what they are by canonicalSQL.

// CanonicalKey returns the canonical text of a column's text. It may be the text
// itself. It is not ok if only PostgreSQL can tell what the text is, or that it is
// nothing: see canonicalSQL.
func (c *Type) CanonicalKey(text []byte) (canon []byte, ok bool) {
	switch c.Kind {
	case KindInt:
		return c.canonicalInt(text)
	case KindNumeric:
		return c.canonicalNumeric(text)
	case KindText:
		return c.canonicalText(text), true
	case kindUUID:
		return canonicalUUID(text)
	case KindDate:
		return canonicalDate(text)
	case KindTime, KindTimeTZ:
		return c.canonicalTimestamp(text)
	case kindBool:
		switch string(text) {
		case "true", "false":
			return text, true
		}
	case KindBytea:
		if isBytea(text) {
			return text, true
		}
	}
	return nil, false
}

// CanonicalSQL is the expression for the canonical text of the text "x". It fails
// for a text that is no value of the type, with an error of class 22. The session
// has the settings of a transaction of the sink.
func (c *Type) CanonicalSQL() string {
	switch c.Kind {
	case KindInt:
		return "x::" + c.Base + "::text"
	case KindNumeric:
		return "trim_scale(x::" + c.modified("numeric") + ")::text"
	case KindText:
		switch {
		case c.IsChar():
			return "x::bpchar::text"
		case c.limit() > 0:
			return "x::" + c.modified("varchar") + "::text"
		}
		return "x"
	case KindDate:
		return "trim_scale(extract(epoch from x::date) / 86400)::text"
	case KindTime:
		return "trim_scale(extract(epoch from x::" + c.modified("timestamp") + ") * 1000000)::text"
	case KindTimeTZ:
		return "trim_scale(extract(epoch from x::" + c.modified("timestamptz") + ") * 1000000)::text"
	case KindBytea:
		return `'\x' || encode(x::bytea, 'hex')`
	}
	return "x::" + c.Base + "::text"
}

// modified is a type with the column's length, precision or scale.
func (c *Type) modified(name string) string {
	if c.Typmod < 0 {
		return name
	}
	switch c.Kind {
	case KindNumeric:
		precision, scale := c.numericLimits()
		return fmt.Sprintf("%s(%d,%d)", name, precision, scale)
	case KindText:
		return fmt.Sprintf("%s(%d)", name, c.limit())
	}
	return fmt.Sprintf("%s(%d)", name, c.Typmod)
}

// typmodHeader is what PostgreSQL adds to a length in a type modifier.
const typmodHeader = 4

// limit is the length in characters that the column's type has; 0 without one.
func (c *Type) limit() int { return max(0, int(c.Typmod)-typmodHeader) }

// numericLimits are a numeric column's precision and scale, which may be negative.
func (c *Type) numericLimits() (precision, scale int) {
	m := int(c.Typmod) - typmodHeader
	return m >> 16 & 0xffff, (m&0x7ff ^ 1024) - 1024
}

func (c *Type) IsChar() bool { return c.Base == "bpchar" || c.Base == "character" }

// Compare compares two canonical texts as PostgreSQL compares the values.
func (c *Type) Compare(a, b []byte) int {
	if c.Kind == KindText {
		return bytes.Compare(a, b) // collation C
	}
	return compareDecimals(a, b)
}

// CanBeKey reports whether the column's values have canonical texts. A
// collation must be deterministic beside that.
func (c *Type) CanBeKey() bool {
	if c.Array {
		return false
	}
	switch c.Kind {
	case KindInt, KindNumeric, kindUUID, KindDate, kindBool, KindBytea:
		return true
	}
	return c.isText() || c.isTimestamp()
}

// CanBeVersion reports whether canonical texts can be compared as the
// column's values. A text needs collation C beside that.
func (c *Type) CanBeVersion() bool {
	if c.Array {
		return false
	}
	switch c.Kind {
	case KindInt, KindNumeric, KindDate:
		return true
	}
	return c.isText() || c.isTimestamp()
}

// isText leaves out citext, whose equality is not that of its bytes, and name.
func (c *Type) isText() bool {
	return c.Kind == KindText && (c.IsChar() || c.Base == "text" || c.Base == "character varying")
}

// EqualsBytewise reports whether values of the column are equal only if their bytes are; not
// so numbers with a scale or two zeros, char(n), and text under some collations.
func (c *Type) EqualsBytewise() bool {
	if c.Array {
		return false
	}
	switch c.Kind {
	case KindInt, kindBool, kindUUID, KindDate, KindBytea:
		return true
	case KindText:
		return c.Deterministic && (c.Base == "text" || c.Base == "character varying")
	}
	return c.Enum || c.isTimestamp()
}

func (c *Type) isTimestamp() bool {
	return (c.Kind == KindTime || c.Kind == KindTimeTZ) && strings.HasPrefix(c.Base, "timestamp")
}

func (c *Type) canonicalText(text []byte) []byte {
	if c.IsChar() {
		return bytes.TrimRight(text, " ")
	}
	if n := c.limit(); n > 0 && len(text) > n {
		// Spaces beyond the length are dropped by the assignment; anything else it refuses.
		cut := 0
		for i := 0; i < n && cut < len(text); i++ {
			for cut++; cut < len(text) && text[cut]&0xc0 == 0x80; cut++ {
			}
		}
		if len(bytes.TrimRight(text[cut:], " ")) == 0 {
			return text[:cut]
		}
	}
	return text
}

const hexDigits = "0123456789abcdef"

func canonicalUUID(text []byte) ([]byte, bool) {
	if len(text) != 36 {
		return nil, false
	}
	upper := false
	for i, b := range text {
		switch i {
		case 8, 13, 18, 23:
			if b != '-' {
				return nil, false
			}
		default:
			if strings.IndexByte(hexDigits, b|0x20) < 0 {
				return nil, false
			}
			upper = upper || 'A' <= b && b <= 'F'
		}
	}
	if upper {
		return bytes.ToLower(text), true
	}
	return text, true
}

// isBytea reports whether a text is the canonical one of a bytea.
func isBytea(text []byte) bool {
	digits, ok := bytes.CutPrefix(text, []byte(`\x`))
	return ok && len(digits)%2 == 0 && !slices.ContainsFunc(digits, func(b byte) bool {
		return strings.IndexByte(hexDigits, b) < 0
	})
}
