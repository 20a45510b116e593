package pgtext

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oncesink/oncesink/internal/event"
)

// PostgreSQL reads a number for a date or a time: 1705310101 as the first of October of the year
// 170531, 123456 as 12:34:56, 5 as an interval of five seconds. Who sends numbers means something else by them
// nearly always, so a column has to say what: its unit.

const unitMessage = ": a number says nothing without the column's `unit:` (s, ms, us, ns or days)"

func digitsMessage(typ string) string {
	return "digits alone for a column of type " + typ + unitMessage + "; a date of digits alone is YYYYMMDD"
}

// isTemporal reports whether the column's values are dates, times or lengths of time.
func (c *Type) isTemporal() bool {
	return c.Kind == KindDate || c.Kind == KindTime || c.Kind == KindTimeTZ || c.Kind == kindInterval
}

// isDigits reports whether a text for a date or time is digits alone, and not in one of the forms that say
// what they mean: YYYYMMDD, and of a time of day HHMM and HHMMSS. Nine digits and more are none where a zone
// follows them, either.
func (c *Type) isDigits(text []byte) bool {
	if len(text) > 10 && isISODate(text[:10]) {
		return false // as nearly all are
	}
	if isNumber(text) {
		digits := trimSpace(text)
		if c.isTimestamp() || c.Kind == KindDate {
			return len(digits) != 8 || !allDigits(digits)
		}
		return len(digits) != 4 && len(digits) != 6 || !allDigits(digits)
	}
	run, fraction := 0, false
	for i := 0; i <= len(text); i++ {
		if i < len(text) && '0' <= text[i] && text[i] <= '9' {
			run++
			continue
		}
		if run > 8 && !fraction {
			return true
		}
		run = 0
		fraction = i < len(text) && (text[i] == '.' || text[i] == ',')
	}
	return false
}

func allDigits(text []byte) bool { return number(text) >= 0 }

// isNumber reports whether a text is a number and nothing else, as parseDecimal reads one.
func isNumber(text []byte) bool {
	text = trimSpace(text)
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		text = text[1:]
	}
	digits, point, exponent := 0, false, -1
	for i, b := range text {
		switch {
		case '0' <= b && b <= '9':
			digits++
		case b == '.' && !point && exponent < 0:
			point = true
		case b|0x20 == 'e' && digits > 0 && exponent < 0:
			exponent = i
		case (b == '-' || b == '+') && exponent == i-1 && i > 0:
		default:
			return false
		}
	}
	return digits > 0 && (exponent < 0 || '0' <= text[len(text)-1] && text[len(text)-1] <= '9')
}

// Units are those of numbers, from the longest: how many make a second, as a power of ten.
var Units = []string{"days", "s", "ms", "us", "ns"}

var unitDigits = map[string]int{"days": 0, "s": 0, "ms": 3, "us": 6, "ns": 9}

// moment is a number of units: whole seconds, and the digits of the rest of one, without zeros at their end.
type moment struct {
	seconds  int64
	fraction string
}

// largestMoment bounds moments in seconds: PostgreSQL has nothing beyond.
const largestMoment = 1 << 43

// momentOf reads a number of units, exactly. It is not ok if it is too large for anything.
func momentOf(text []byte, unit string) (m moment, ok bool) {
	d, ok := parseDecimal(text)
	if !ok {
		return m, false
	}
	// The number is digits times ten to the power of shift, in seconds or days.
	shift := d.exponent - len(d.digits) - unitDigits[unit]
	if d.exponent-unitDigits[unit] > 14 {
		return m, false
	}
	if len(d.digits)+max(shift, 0) <= 13 && shift >= -18 { // what events have
		n, _ := strconv.ParseInt("0"+string(d.digits), 10, 64)
		if d.negative {
			n = -n
		}
		if unit == "days" {
			n *= secondsPerDay
		}
		return divide(n*int64(math.Pow10(max(shift, 0))), max(-shift, 0)), true
	}
	n, _ := new(big.Int).SetString("0"+string(d.digits), 10)
	if d.negative {
		n.Neg(n)
	}
	if unit == "days" {
		n.Mul(n, big.NewInt(secondsPerDay))
	}
	ten := func(k int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(k)), nil) }
	if shift > 0 {
		n.Mul(n, ten(shift))
		shift = 0
	}
	whole, rest := n.DivMod(n, ten(-shift), new(big.Int)) // rounds down: the rest is not negative
	if !whole.IsInt64() || whole.Int64() > largestMoment || whole.Int64() < -largestMoment {
		return m, false
	}
	m.seconds = whole.Int64()
	if rest.Sign() > 0 {
		m.fraction = strings.TrimRight(fmt.Sprintf("%0*s", -shift, rest), "0")
	}
	return m, true
}

// shortMoment is momentOf for a number that its format has read. Where it is not ok, momentOf is.
func shortMoment(number *event.Value, unit string) (m moment, ok bool) {
	const most = 1e13 // in days it is an int64, too
	digits := int(number.Scale) + unitDigits[unit]
	if !number.Short || number.N <= -most || number.N >= most || digits > 18 {
		return m, false
	}
	n := number.N
	if unit == "days" {
		n *= secondsPerDay
	}
	return divide(n, digits), true
}

// divide is n divided by a power of ten, rounded down, and the rest.
func divide(n int64, digits int) (m moment) {
	power := int64(math.Pow10(digits))
	m.seconds = n / power
	rest := n % power
	if rest < 0 {
		m.seconds--
		rest += power
	}
	if rest > 0 {
		text := strconv.FormatInt(rest, 10)
		m.fraction = strings.TrimRight(strings.Repeat("0", digits-len(text))+text, "0")
	}
	return m
}

// micros is the fraction in microseconds, rounded as PostgreSQL rounds a text with more digits than six:
// a whole second at most.
func (m moment) micros() int64 {
	if len(m.fraction) <= 6 {
		n, _ := strconv.ParseInt(m.fraction+"000000"[len(m.fraction):], 10, 64)
		return n
	}
	f, _ := strconv.ParseFloat("0."+m.fraction, 64)
	return int64(math.RoundToEven(f * 1e6))
}

// The years of which every type and program knows the texts.
var (
	firstSecond = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	lastSecond  = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).Unix()
)

// fitUnit replaces dst[start:], a number, by the text of the date, time or length that it is so
// many units of: from 1970 in UTC, from midnight, or of themselves.
func (c *Type) fitUnit(dst []byte, start int) ([]byte, *Refusal) {
	m, ok := momentOf(dst[start:], c.Unit)
	if !ok {
		return dst, c.noTime(dst[start:])
	}
	return c.fitMoment(dst, start, m)
}

// fitMoment is fitUnit for a number that was read.
func (c *Type) fitMoment(dst []byte, start int, m moment) ([]byte, *Refusal) {
	if c.Strict && c.Kind != KindDate {
		if r := c.checkFraction(len(m.fraction)); r != nil {
			return dst, r
		}
	}
	var room [64]byte
	text, ok := c.appendMoment(room[:0], m, c.Unit)
	if !ok {
		return dst, c.noTime(dst[start:])
	}
	return append(dst[:start], text...), nil
}

// appendMoment appends the text of a number of units. It is not ok if the type has no such value.
func (c *Type) appendMoment(dst []byte, m moment, unit string) (text []byte, ok bool) {
	micros := m.micros()
	if c.Kind == kindInterval {
		return appendInterval(dst, m.seconds, micros, unit), true
	}
	at := time.Unix(m.seconds, 1000*micros).UTC()
	if c.Kind == KindTime && !c.isTimestamp() {
		return at.AppendFormat(dst, "15:04:05.999999"), 0 <= at.Unix() && at.Unix() < secondsPerDay
	}
	if at.Unix() < firstSecond || at.Unix() > lastSecond {
		return dst, false
	}
	switch {
	case c.Kind == KindDate && unit == "days":
		return at.AppendFormat(dst, time.DateOnly), m.fraction == "" && m.seconds%secondsPerDay == 0
	case c.Kind == KindDate:
		at = at.In(c.Location)
		return at.AppendFormat(dst, time.DateOnly), 1 <= at.Year() && at.Year() <= 9999
	}
	dst = at.AppendFormat(dst, "2006-01-02 15:04:05.999999")
	if c.Kind == KindTimeTZ {
		dst = append(dst, 'Z')
	}
	return dst, true
}

// appendInterval appends days where they are meant: one of a calendar need not have 24 hours.
func appendInterval(dst []byte, seconds, micros int64, unit string) []byte {
	const day = secondsPerDay * 1_000_000
	total := seconds*1_000_000 + micros
	if unit == "days" {
		dst = append(strconv.AppendInt(dst, total/day, 10), " days "...)
		total %= day
	}
	return append(strconv.AppendInt(dst, total, 10), " microseconds"...)
}

// UnitProblem says why numbers for the type can't have a unit, one of [Units]; "" if they can.
func (c *Type) UnitProblem(unit string) string {
	e := c
	if c.Array {
		e = c.element()
	}
	switch {
	case !e.isTemporal() || e.Base == "time with time zone" || e.Array:
		return fmt.Sprintf("unit is for numbers of date, time, timestamp and interval, and the column's type is %s", c.Declared)
	case e.Kind == KindDate && unit != "days" && c.Location == nil:
		return fmt.Sprintf("a date from a number of %s names its zone, as in zone: UTC", unit)
	case e.Base == "time without time zone" && unit == "days":
		return "a time of day is counted in s, ms, us or ns, not in days"
	}
	return ""
}

// noTime refuses a number, and names a unit by which it would be a value of the type.
func (c *Type) noTime(number []byte) *Refusal {
	message := "in the column's unit the number lies beyond the years 1 to 9999"
	switch {
	case c.Kind == KindDate && c.Unit == "days" && bytes.IndexByte(number, '.') >= 0:
		message = "a fraction of a day for a date"
	case c.Kind == kindInterval:
		message = "in the column's unit the number is longer than an interval"
	case c.Kind == KindTime && !c.isTimestamp():
		message = "in the column's unit the number lies beyond the day"
	}
	for _, other := range Units[slices.Index(Units, c.Unit)+1:] {
		if c.UnitProblem(other) != "" {
			continue
		}
		if m, ok := momentOf(number, other); ok {
			if _, ok = c.appendMoment(nil, m, other); ok {
				message += ": it would not in `unit: " + other + "`"
				break
			}
		}
	}
	return Refuse(badRange, message)
}
