package pgtext

import (
	"strconv"
	"time"
)

const secondsPerDay = 24 * 60 * 60

func canonicalDate(text []byte) ([]byte, bool) {
	days, ok := daysOf(text)
	if !ok {
		return nil, false
	}
	return strconv.AppendInt(nil, days, 10), true
}

// daysOf counts the days since 1970 of a date in ISO 8601.
func daysOf(text []byte) (days int64, ok bool) {
	if !isISODate(text) {
		return 0, false
	}
	year, month, day := number(text[:4]), number(text[5:7]), number(text[8:])
	return daysSince1970(year, month, day), validDate(year, month, day)
}

func (c *Type) canonicalTimestamp(text []byte) ([]byte, bool) {
	micros, ok := c.microsOf(text)
	if !ok {
		return nil, false
	}
	return strconv.AppendInt(nil, micros, 10), true
}

// microsOf counts the microseconds since 1970 of a timestamp. It leaves rounding, and times in
// a session's zone that isn't UTC, to PostgreSQL.
func (c *Type) microsOf(text []byte) (micros int64, ok bool) {
	ts, ok := parseTimestamp(text)
	if !ok || !ts.valid() || ts.digits > c.fractionDigits() {
		return 0, false
	}
	switch {
	case c.Kind == KindTime:
		ts.offset = 0 // a timestamp without time zone ignores the one in its text
	case !ts.zoned && c.Session != time.UTC:
		return 0, false
	}
	seconds := daysSince1970(ts.year, ts.month, ts.day)*secondsPerDay + int64(3600*ts.hour+60*ts.minute+ts.second-ts.offset)
	return 1_000_000*seconds + int64(ts.micros), true
}

// daysSince1970 counts days of the Gregorian calendar from the first of March on: a leap day
// is then the last one of its year (H. Hinnant, chrono-Compatible Low-Level Date Algorithms,
// days_from_civil). The year is positive.
func daysSince1970(year, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	return int64(365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - 719469)
}

// fractionDigits is the precision of a timestamp column.
func (c *Type) fractionDigits() int {
	if c.Typmod < 0 {
		return 6
	}
	return int(c.Typmod)
}
