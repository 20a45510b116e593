package sink

import (
	"strconv"
	"time"
)

const secondsPerDay = 24 * 60 * 60

func canonicalDate(text []byte) ([]byte, bool) {
	if !isISODate(text) {
		return nil, false
	}
	year, month, day := number(text[:4]), number(text[5:7]), number(text[8:])
	if !validDate(year, month, day) {
		return nil, false
	}
	days := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Unix() / secondsPerDay
	return strconv.AppendInt(nil, days, 10), true
}

// canonicalTimestamp leaves rounding, and times in a session's zone that isn't
// UTC, to PostgreSQL.
func (c *column) canonicalTimestamp(text []byte) ([]byte, bool) {
	ts, ok := parseTimestamp(text)
	if !ok || !ts.valid() || ts.digits > c.fractionDigits() {
		return nil, false
	}
	switch {
	case c.kind == kindTime:
		ts.offset = 0 // a timestamp without time zone ignores the one in its text
	case !ts.zoned && c.session != time.UTC:
		return nil, false
	}
	t := ts.time(time.UTC).Add(-time.Duration(ts.offset) * time.Second)
	return strconv.AppendInt(nil, t.UnixMicro(), 10), true
}

// fractionDigits is the precision of a timestamp column.
func (c *column) fractionDigits() int {
	if c.typmod < 0 {
		return 6
	}
	return int(c.typmod)
}
