package connect

import (
	"strconv"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
)

// parts are the members of a structured date, time or length of time. Those that are null or not there are 0.
type parts struct {
	year, month, day, hour, minute, second, picos, offset int64
	dated, clocked                                        bool
	infinity                                              int64
}

// picosPerSecond is a second.
const picosPerSecond = 1_000_000_000_000

func read(v *event.Value) (p parts, err error) {
	for name, m := range fields.Members(v.Raw) {
		if m.Kind == event.Null {
			continue
		}
		var to *int64
		switch string(name) {
		case "year", "years":
			to, p.dated = &p.year, true
		case "month", "months":
			to, p.dated = &p.month, true
		case "day", "days":
			to, p.dated = &p.day, true
		case "hour", "hours":
			to, p.clocked = &p.hour, true
		case "minute", "minutes":
			to, p.clocked = &p.minute, true
		case "second", "seconds":
			to, p.clocked = &p.second, true
		case "picoseconds", "nanos":
			to = &p.picos
		case "offsetSeconds":
			to = &p.offset
		case "specialValue":
			switch string(m.Raw) {
			case `"POSITIVE_INFINITY"`:
				p.infinity = 1
			case `"NEGATIVE_INFINITY"`:
				p.infinity = -1
			default:
				return p, refuse(badTime, "a special time that is neither POSITIVE_INFINITY nor NEGATIVE_INFINITY")
			}
			continue
		default:
			continue
		}
		n, ok := whole(&m)
		if !ok {
			return p, misfit("a whole number", &m)
		}
		if *to = n; string(name) == "nanos" && n > -1e9 && n < 1e9 {
			*to *= 1000
		}
	}
	if p.picos <= -picosPerSecond || p.picos >= picosPerSecond {
		return p, refuse(badTime, "more picoseconds than a second has")
	}
	return p, nil
}

// calendar writes a date, a time, or both, as they came: whether there is such a day PostgreSQL says.
func (t Type) calendar(v *event.Value, arena *[]byte) error {
	p, err := read(v)
	if err != nil {
		return err
	}
	if p.infinity != 0 {
		*v = event.Value{Kind: event.Infinity, N: p.infinity}
		return nil
	}
	if !p.dated && !p.clocked {
		return refuse(badTime, "a time without any part of one")
	}
	for _, n := range []int64{p.month, p.day, p.hour, p.minute, p.second, p.picos} {
		if n < 0 || n > 99 && n != p.picos {
			return refuse(badTime, "a part of a time that is negative, or too large")
		}
	}
	start := len(*arena)
	dst := *arena
	year, before := p.year, false
	if p.dated {
		if year <= 0 && p.month > 0 { // the year 0 is 1 BC; 0000-00-00 is no date at all
			year, before = 1-year, true
		}
		dst = append(appendPadded(dst, year, 4), '-')
		dst = append(appendPadded(dst, p.month, 2), '-')
		dst = appendPadded(dst, p.day, 2)
		if p.clocked {
			dst = append(dst, ' ')
		}
	}
	if p.clocked {
		dst = append(appendPadded(dst, p.hour, 2), ':')
		dst = append(appendPadded(dst, p.minute, 2), ':')
		dst = appendFraction(appendPadded(dst, p.second, 2), p.picos)
		if t.scale == zoned {
			dst = appendOffset(dst, p.offset)
		}
	}
	if before {
		dst = append(dst, " BC"...)
	}
	*arena = dst
	made(v, arena, start)
	return nil
}

// span writes a length of time by its parts, as PostgreSQL's interval reads it.
func span(v *event.Value, arena *[]byte) error {
	p, err := read(v)
	if err != nil {
		return err
	}
	start := len(*arena)
	dst := *arena
	for _, part := range []struct {
		n    int64
		name string
	}{{p.year, " years "}, {p.month, " months "}, {p.day, " days "}, {p.hour, " hours "}, {p.minute, " minutes "}} {
		if part.n != 0 {
			dst = append(strconv.AppendInt(dst, part.n, 10), part.name...)
		}
	}
	// Of seconds and what is less than one both have one sign.
	seconds, picos := p.second, p.picos
	if seconds > 0 && picos < 0 {
		seconds, picos = seconds-1, picos+picosPerSecond
	} else if seconds < 0 && picos > 0 {
		seconds, picos = seconds+1, picos-picosPerSecond
	}
	if picos < 0 {
		if picos = -picos; seconds == 0 {
			dst = append(dst, '-')
		}
	}
	dst = appendFraction(strconv.AppendInt(dst, seconds, 10), picos)
	*arena = append(dst, " seconds"...)
	made(v, arena, start)
	return nil
}

func appendPadded(dst []byte, n int64, width int) []byte {
	for limit := int64(10); width > 1; width-- {
		if n < limit {
			dst = append(dst, '0')
		}
		limit *= 10
	}
	return strconv.AppendInt(dst, n, 10)
}

// appendFraction appends what is less than a second, without zeros at its end.
func appendFraction(dst []byte, picos int64) []byte {
	if picos == 0 {
		return dst
	}
	width := 12
	for ; picos%10 == 0; width-- {
		picos /= 10
	}
	dst = append(dst, '.')
	return appendPadded(dst, picos, width)
}

func appendOffset(dst []byte, seconds int64) []byte {
	sign := byte('+')
	if seconds < 0 {
		sign, seconds = '-', -seconds
	}
	dst = appendPadded(append(dst, sign), seconds/3600, 2)
	dst = appendPadded(append(dst, ':'), seconds/60%60, 2)
	if seconds %= 60; seconds != 0 {
		dst = appendPadded(append(dst, ':'), seconds, 2)
	}
	return dst
}
