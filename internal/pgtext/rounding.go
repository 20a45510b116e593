package pgtext

import (
	"bytes"
	"fmt"
)

// A column rounds what has more digits than it keeps, as PostgreSQL's assignment does: 19.999 is 20.00 in
// numeric(12,2). Where the column or the configuration says `rounding: refuse`, that is refused (rule 27). What Go
// can't count the digits of is refused then, too.

const (
	RoundingAllow  = "allow"
	RoundingRefuse = "refuse"
)

const numberTooFine = "22003" // numeric_value_out_of_range

// Rounds reports whether values of the column, or what these are made of, may be rounded and
// can be refused for it.
func (c *Type) Rounds() bool {
	for i := range c.Parts {
		if c.Parts[i].Rounds() {
			return true
		}
	}
	return c.Form == formScalar && (c.Kind == KindNumeric || c.Kind == KindTime || c.Kind == KindTimeTZ)
}

// keeps reports whether a numeric column takes a number of so many digits after the point.
func (c *Type) keeps(digits int) bool {
	if !c.Strict || c.Typmod < 0 {
		return true
	}
	_, scale := c.numericLimits()
	return digits <= scale
}

// checkScale refuses a number with digits beyond the scale.
func (c *Type) checkScale(text []byte) *Refusal {
	if !c.Strict || c.Typmod < 0 {
		return nil
	}
	_, scale := c.numericLimits()
	d, ok := parseDecimal(text)
	switch {
	case !ok && isNumber(text): // of hundreds of digits
		return Refuse(numberTooFine, "a number of more digits than are counted (rounding: refuse)")
	case !ok && isSpecialNumber(text):
		return nil
	case !ok:
		return Refuse(badText, "no plain decimal number, whose digits can be counted (rounding: refuse)")
	case len(d.digits)-d.exponent <= scale:
		return nil
	case scale < 0:
		return Refuse(numberTooFine, fmt.Sprintf("the column keeps multiples of 10 to the power of %d, and would round the number (rounding: refuse)", -scale))
	}
	return Refuse(numberTooFine, fmt.Sprintf("the column keeps %d digits after the point, and would round the number (rounding: refuse)", scale))
}

// isSpecialNumber reports whether a text is NaN or an infinity, in numeric's spellings.
func isSpecialNumber(text []byte) bool {
	text = bytes.ToLower(trimSpace(text))
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		text = text[1:]
	}
	switch string(text) {
	case "nan", "inf", "infinity":
		return true
	}
	return false
}

// checkSecond refuses a time with more digits of a second than the column keeps. In a spelling that only
// PostgreSQL reads, any digits after a point count.
func (c *Type) checkSecond(text []byte) *Refusal {
	if !c.Strict {
		return nil
	}
	digits := 0
	if ts, ok := parseTimestamp(text); ok {
		digits = ts.digits
	} else {
		for i := 0; i < len(text); i++ {
			if text[i] != '.' {
				continue
			}
			for n := 1; i+n < len(text) && '0' <= text[i+n] && text[i+n] <= '9'; n++ {
				if text[i+n] != '0' {
					digits = max(digits, n)
				}
			}
		}
	}
	return c.checkFraction(digits)
}

// checkFraction refuses more digits of a second than the column keeps; an interval is taken to keep six.
func (c *Type) checkFraction(digits int) *Refusal {
	keeps := 6
	if c.Kind != kindInterval {
		keeps = c.fractionDigits()
	}
	if !c.Strict || digits <= keeps {
		return nil
	}
	return Refuse(badRange, fmt.Sprintf("the column keeps %d digits of a second, and would round the time (rounding: refuse)", keeps))
}
