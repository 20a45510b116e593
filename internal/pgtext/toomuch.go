package pgtext

import (
	"bytes"
	"unicode/utf8"
)

// TooMuch reports whether a text has more characters than a column of limited length takes, or a number more digits before
// the point than the column has room for: PostgreSQL refuses these (22001, 22003), and cuts off nothing but spaces. It knows not all
// that is refused: what rounding makes too large, for one.
func (c *Type) TooMuch(text []byte) bool {
	if c.Form != formScalar || c.Typmod < typmodHeader {
		return false
	}
	switch c.Kind {
	case KindText:
		limit := c.limit()
		return limit > 0 && len(text) > limit && utf8.RuneCount(bytes.TrimRight(text, " ")) > limit
	case KindNumeric:
		precision, scale := c.numericLimits()
		d, ok := parseDecimal(text)
		return ok && len(d.digits) > 0 && d.exponent > precision-scale
	}
	return false
}
