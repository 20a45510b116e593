package pgtext

import (
	"bytes"
	"strings"
	"time"
)

// clockWords are what PostgreSQL's date and time types read as the day, or the
// moment, of the reading: in any case, between punctuation, and next to digits.
var clockWords = [...]string{"now", "today", "tomorrow", "yesterday"}

const clockMessage = "now, today, tomorrow and yesterday would be the wall clock of the day they are read"

// checkTime refuses texts whose value depends on when they are read.
func (c *Type) checkTime(text []byte) *Refusal {
	switch {
	case c.isDigits(text):
		return Refuse(badTime, digitsMessage(c.Base))
	case readsClock(text):
		return Refuse(badTime, clockMessage)
	case strings.HasPrefix(c.Base, "time with time zone") && !c.fixedOffset(text):
		return Refuse(badTime, "a time with time zone needs an offset such as +01:00: what a zone's name says depends on the day it is read")
	}
	return nil
}

// readsClock reports whether a text contains a clock word. No month, day or zone
// of PostgreSQL's has one within its name. Quotes and backslashes are looked
// through.
func readsClock(text []byte) bool {
	// Most texts have no letters but T and Z.
	letters := 0
	for _, b := range text {
		if b |= 0x20; 'a' <= b && b <= 'z' {
			letters++
		}
	}
	if letters < len("now") {
		return false
	}
	plain := make([]byte, 0, 64)
	for _, b := range text {
		switch {
		case b == '"' || b == '\\':
			continue
		case 'A' <= b && b <= 'Z':
			b |= 0x20
		}
		plain = append(plain, b)
	}
	for _, word := range clockWords {
		if bytes.Contains(plain, []byte(word)) {
			return true
		}
	}
	return false
}

// fixedOffset reports whether a text for timetz says its offset in numbers, or
// needs none because the session's zone is UTC all year.
func (c *Type) fixedOffset(text []byte) bool {
	signed := false
	for i := 0; i < len(text); {
		switch b := text[i]; {
		case b == '+' || b == '-':
			signed = true
			i++
		case isLetter(b):
			end := i + 1
			for end < len(text) && isLetter(text[end]) {
				end++
			}
			switch strings.ToLower(string(text[i:end])) {
			case "t", "am", "pm", "null": // null: an element of an array
			case "z", "utc", "gmt", "zulu", "allballs":
				signed = true
			default:
				return false
			}
			i = end
		default:
			i++
		}
	}
	return signed || c.Session == time.UTC
}

func isLetter(b byte) bool {
	b |= 0x20
	return 'a' <= b && b <= 'z' || b >= 0x80
}

// fitDate lets dst[start:] pass if it is a date. A date and time is brought to
// the date in the column's zone, if it names one (rule 28): PostgreSQL would cut
// the time off, and the zone with it.
func (c *Type) fitDate(dst []byte, start int) ([]byte, *Refusal) {
	text := dst[start:]
	if isISODate(text) {
		return dst, nil
	}
	if c.isDigits(text) {
		return dst, Refuse(badTime, digitsMessage(c.Base))
	}
	if readsClock(text) {
		return dst, Refuse(badTime, clockMessage)
	}
	if plainDate(text) {
		return dst, nil
	}
	if c.Location == nil {
		return dst, Refuse(badTime, "no date alone: for a time name the column's zone")
	}
	ts, ok := parseTimestamp(text)
	if !ok {
		return dst, Refuse(badTime, "neither a date nor a time such as 2026-01-02T03:04:05Z")
	}
	if !ts.valid() {
		return dst, Refuse(badRange, "no such date or time")
	}
	in := time.FixedZone("", ts.offset)
	if !ts.zoned {
		if c.Session == nil {
			return dst, Refuse(badTime, "a time without a zone")
		}
		in = c.Session
	}
	return ts.time(in).In(c.Location).AppendFormat(dst[:start], time.DateOnly), nil
}

// plainDate reports whether a text that is no ISO date may still be a date and no
// more, in one of the forms that PostgreSQL knows, such as "Jan 2, 2026". What it
// lets pass PostgreSQL reads or refuses.
func plainDate(text []byte) bool {
	parts, compact, ordinal := 0, false, false
	for i := 0; i < len(text); {
		end := i
		switch b := text[i]; {
		case '0' <= b && b <= '9':
			for end < len(text) && '0' <= text[end] && text[end] <= '9' {
				end++
			}
			parts++
			compact = compact || end-i >= 6
			ordinal = ordinal || end-i == 3 // the day of a year
		case isLetter(b):
			for end < len(text) && isLetter(text[end]) {
				end++
			}
			month, ok := dateWord(text[i:end])
			if !ok {
				return false
			}
			if month {
				parts++
			}
		case b == ':' || b == '+':
			return false
		default:
			end++
		}
		i = end
	}
	return parts <= 3 && (!compact || parts == 1) && (!ordinal || parts == 2)
}

// dateWord reports whether a word may stand in a date, and whether it is a month.
func dateWord(word []byte) (month, ok bool) {
	if len(word) > len("-infinity") {
		return false, false
	}
	switch w := strings.ToLower(string(word)); w {
	case "j", "jd", "ad", "bc", "infinity", "epoch":
		return false, true
	default:
		for m := time.January; m <= time.December; m++ {
			if name := strings.ToLower(m.String()); w == name || w == name[:3] || w == "sept" && m == time.September {
				return true, true
			}
		}
		for d := time.Sunday; d <= time.Saturday; d++ {
			if name := strings.ToLower(d.String()); len(w) >= 3 && strings.HasPrefix(name, w) {
				return false, true
			}
		}
	}
	return false, false
}
