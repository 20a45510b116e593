package pgtext

import "time"

// timestamp is a date and time as ISO 8601 and RFC 3339 write it.
type timestamp struct {
	year, month, day     int
	hour, minute, second int
	micros               int
	// digits is the length of the fraction without zeros at its end; micros holds the first six.
	digits int
	zoned  bool
	offset int // seconds east of UTC
}

// parseTimestamp reads YYYY-MM-DD, T or a space, HH:MM, and at will :SS, a
// fraction, and a zone: Z, or a sign and HH, HHMM or HH:MM. PostgreSQL reads all of
// these alike, and many more.
func parseTimestamp(b []byte) (ts timestamp, ok bool) {
	if len(b) < 16 || !isISODate(b[:10]) || b[10] != 'T' && b[10] != 't' && b[10] != ' ' || b[13] != ':' {
		return ts, false
	}
	ts.year, ts.month, ts.day = number(b[:4]), number(b[5:7]), number(b[8:10])
	ts.hour, ts.minute = number(b[11:13]), number(b[14:16])
	if ts.hour < 0 || ts.minute < 0 {
		return ts, false
	}
	b = b[16:]
	if len(b) >= 3 && b[0] == ':' {
		if ts.second = number(b[1:3]); ts.second < 0 {
			return ts, false
		}
		b = b[3:]
		if len(b) >= 2 && b[0] == '.' {
			if b, ok = ts.fraction(b[1:]); !ok {
				return ts, false
			}
		}
	}
	if len(b) == 0 {
		return ts, true
	}
	ts.zoned = true
	return ts, ts.zone(b)
}

func (ts *timestamp) fraction(b []byte) (rest []byte, ok bool) {
	n := 0
	for ; n < len(b) && '0' <= b[n] && b[n] <= '9'; n++ {
		if b[n] != '0' {
			ts.digits = n + 1
		}
		if n < 6 {
			ts.micros = 10*ts.micros + int(b[n]-'0')
		}
	}
	for i := n; i < 6; i++ {
		ts.micros *= 10
	}
	return b[n:], n > 0
}

func (ts *timestamp) zone(b []byte) bool {
	if len(b) == 1 && (b[0] == 'Z' || b[0] == 'z') {
		return true
	}
	if b[0] != '+' && b[0] != '-' {
		return false
	}
	var hours, minutes int
	switch d := b[1:]; {
	case len(d) == 2:
		hours = number(d)
	case len(d) == 4:
		hours, minutes = number(d[:2]), number(d[2:])
	case len(d) == 5 && d[2] == ':':
		hours, minutes = number(d[:2]), number(d[3:])
	default:
		return false
	}
	if hours < 0 || minutes < 0 || minutes > 59 {
		return false
	}
	ts.offset = 3600*hours + 60*minutes
	if b[0] == '-' {
		ts.offset = -ts.offset
	}
	return true
}

// valid reports whether there is such a moment. PostgreSQL takes the second 60,
// the hour 24 and offsets up to 15:59, too.
func (ts *timestamp) valid() bool {
	return validDate(ts.year, ts.month, ts.day) && ts.hour <= 23 && ts.minute <= 59 && ts.second <= 59 &&
		-15*3600 < ts.offset && ts.offset < 15*3600
}

func (ts *timestamp) time(zone *time.Location) time.Time {
	return time.Date(ts.year, time.Month(ts.month), ts.day, ts.hour, ts.minute, ts.second, 1000*ts.micros, zone)
}

// isISODate reports whether b is YYYY-MM-DD. There may be no such day.
func isISODate(b []byte) bool {
	return len(b) == 10 && b[4] == '-' && b[7] == '-' && number(b[:4]) >= 0 && number(b[5:7]) >= 0 && number(b[8:]) >= 0
}

func validDate(year, month, day int) bool {
	if year < 1 || month < 1 || month > 12 || day < 1 {
		return false
	}
	return day <= 28 || day <= time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// number reads a few decimal digits, -1 if there is something else.
func number(b []byte) int {
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return -1
		}
		n = 10*n + int(c-'0')
	}
	return n
}
