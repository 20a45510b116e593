package pgtext

import (
	"bytes"
	"cmp"
	"strconv"
)

// trimSpace removes what PostgreSQL's number types skip around a number.
func trimSpace(text []byte) []byte { return bytes.Trim(text, " \t\n\v\f\r") }

func (c *Type) canonicalInt(text []byte) ([]byte, bool) {
	bits, digits := 64, bigintDigits
	switch c.Base {
	case "smallint":
		bits, digits = 16, smallintDigits
	case "integer":
		bits, digits = 32, integerDigits
	}
	if _, ok := plainInt(text, digits); ok {
		return text, true
	}
	n, err := strconv.ParseInt(string(trimSpace(text)), 10, bits)
	if err != nil {
		return nil, false
	}
	return strconv.AppendInt(nil, n, 10), true
}

// How many digits the types of integers certainly hold.
const smallintDigits, integerDigits, bigintDigits = 4, 9, 18

// plainInt reads a text that is canonical, and has no more than so many digits.
func plainInt(text []byte, most int) (n int64, ok bool) {
	digits := text
	if len(digits) > 1 && digits[0] == '-' {
		digits = digits[1:]
	}
	if len(digits) == 0 || len(digits) > most || digits[0] == '0' && len(text) > 1 {
		return 0, false
	}
	for _, b := range digits {
		digit := b - '0'
		if digit > 9 {
			return 0, false
		}
		n = 10*n + int64(digit)
	}
	if len(digits) < len(text) {
		n = -n
	}
	return n, true
}

// shortDecimal is a number without its sign that is small enough for an integer: n, with scale of its digits behind the point.
type shortDecimal struct {
	n     uint64
	scale int
}

// maxShort bounds what is read as a shortDecimal, in bytes: n times a thousand fits, see wireNumeric.
const maxShort = 16

// parseShort reads digits, with a point between them or none.
func parseShort(text []byte) (d shortDecimal, ok bool) {
	if len(text) == 0 || len(text) > maxShort {
		return d, false
	}
	for i, b := range text {
		switch digit := b - '0'; {
		case digit <= 9:
			d.n = 10*d.n + uint64(digit)
		case b != '.' || d.scale != 0 || i == 0 || i == len(text)-1:
			return d, false
		default:
			d.scale = len(text) - 1 - i
		}
	}
	return d, true
}

// decimal is a number as digits: 0.DIGITS times ten to the power of exponent.
type decimal struct {
	negative bool
	digits   []byte // without zeros at either end; empty for zero
	exponent int
}

// maxExponent bounds what is written out as digits here; PostgreSQL does the rest.
const maxExponent = 400

// parseDecimal reads a sign, digits with a point, and an exponent.
func parseDecimal(text []byte) (d decimal, ok bool) {
	text = trimSpace(text)
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		d.negative = text[0] == '-'
		text = text[1:]
	}
	exponent := 0
	if i := bytes.IndexAny(text, "eE"); i >= 0 {
		var err error
		if exponent, err = strconv.Atoi(string(text[i+1:])); err != nil {
			return d, false
		}
		text = text[:i]
	}
	whole, fraction, _ := bytes.Cut(text, []byte{'.'})
	if len(whole)+len(fraction) == 0 || len(text) > maxExponent || exponent < -maxExponent || exponent > maxExponent {
		return d, false
	}
	for _, part := range [2][]byte{whole, fraction} {
		for _, b := range part {
			if b < '0' || b > '9' {
				return d, false
			}
		}
	}
	switch {
	case len(fraction) == 0:
		d.digits = whole
	case len(whole) == 0:
		d.digits = fraction
	default:
		d.digits = append(append(make([]byte, 0, len(text)), whole...), fraction...)
	}
	d.exponent = len(whole) + exponent
	n := len(d.digits)
	d.digits = bytes.TrimLeft(d.digits, "0")
	d.exponent -= n - len(d.digits)
	d.digits = bytes.TrimRight(d.digits, "0")
	if len(d.digits) == 0 {
		return decimal{}, true
	}
	return d, true
}

// canonicalNumeric leaves rounding, and what is too large, to PostgreSQL.
func (c *Type) canonicalNumeric(text []byte) ([]byte, bool) {
	if c.plainNumeric(text) {
		return text, true
	}
	d, ok := parseDecimal(text)
	if !ok {
		return nil, false
	}
	if c.Typmod >= 0 && len(d.digits) > 0 {
		precision, scale := c.numericLimits()
		if len(d.digits)-d.exponent > scale || d.exponent > precision-scale {
			return nil, false
		}
	}
	if isCanonicalDecimal(text) {
		return text, true
	}
	return d.appendText(nil), true
}

// plainNumeric reports whether a text is short, canonical, and surely within the column's limits.
func (c *Type) plainNumeric(text []byte) bool {
	digits := text
	if len(digits) > 0 && digits[0] == '-' {
		digits = digits[1:]
	}
	d, ok := parseShort(digits)
	if !ok || d.scale > 0 && d.n%10 == 0 || d.n == 0 && len(text) > 1 {
		return false
	}
	whole := len(digits)
	if d.scale > 0 {
		whole -= 1 + d.scale
	}
	if digits[0] == '0' {
		if whole > 1 {
			return false
		}
		whole = 0
	}
	if c.Typmod < 0 {
		return true
	}
	precision, scale := c.numericLimits()
	return d.scale <= scale && whole <= precision-scale
}

// isCanonicalDecimal reports whether a valid number is written in the canonical way.
func isCanonicalDecimal(text []byte) bool {
	digits := bytes.TrimPrefix(text, []byte{'-'})
	if digits[0] == '0' && len(digits) > 1 && digits[1] != '.' || digits[0] < '0' || digits[0] > '9' {
		return false
	}
	if bytes.IndexByte(digits, '.') >= 0 {
		if last := digits[len(digits)-1]; last < '1' || last > '9' {
			return false
		}
	}
	return !bytes.ContainsAny(digits, "eE \t\n\v\f\r") && string(text) != "-0"
}

func (d *decimal) appendText(dst []byte) []byte {
	if len(d.digits) == 0 {
		return append(dst, '0')
	}
	if d.negative {
		dst = append(dst, '-')
	}
	switch n := len(d.digits); {
	case d.exponent <= 0:
		dst = append(dst, "0."...)
		dst = appendZeros(dst, -d.exponent)
		return append(dst, d.digits...)
	case d.exponent >= n:
		return appendZeros(append(dst, d.digits...), d.exponent-n)
	default:
		dst = append(append(dst, d.digits[:d.exponent]...), '.')
		return append(dst, d.digits[d.exponent:]...)
	}
}

func appendZeros(dst []byte, n int) []byte {
	for range n {
		dst = append(dst, '0')
	}
	return dst
}

// compareDecimals compares canonical numbers: -Infinity, the finite ones,
// Infinity, NaN.
func compareDecimals(a, b []byte) int {
	if c := cmp.Compare(decimalClass(a), decimalClass(b)); c != 0 {
		return c
	}
	switch decimalClass(a) {
	case positive:
		return compareDigits(a, b)
	case negative:
		return compareDigits(b[1:], a[1:])
	}
	return 0
}

const (
	negativeInfinity = iota
	negative
	positive
	infinity
	notANumber
)

func decimalClass(text []byte) int {
	switch {
	case len(text) == 0:
		return negativeInfinity
	case text[0] == 'N':
		return notANumber
	case text[0] == 'I':
		return infinity
	case text[0] == '-' && len(text) > 1 && text[1] == 'I':
		return negativeInfinity
	case text[0] == '-':
		return negative
	}
	return positive
}

// compareDigits compares canonical numbers without their signs: the one with more
// digits before the point is larger, and of as many, the later one in a dictionary.
func compareDigits(a, b []byte) int {
	return cmp.Or(cmp.Compare(wholeDigits(a), wholeDigits(b)), bytes.Compare(a, b))
}

func wholeDigits(text []byte) int {
	if i := bytes.IndexByte(text, '.'); i >= 0 {
		return i
	}
	return len(text)
}
