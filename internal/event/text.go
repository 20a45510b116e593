package event

import (
	"encoding/base64"
	"errors"
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

var errKind = errors.New("a value of this kind has no text") // a mistake of the program

// AppendText appends a scalar as PostgreSQL's input functions read it, and people, too: a time as
// 2026-01-02T03:04:05.678901, with a Z if it is a moment. Times keep all their digits; dates and times beyond the years 1 to
// 9999, times beyond the day, and decimals that no numeric has are refused, by a *[Refusal]. Text is appended unseen.
// There is no text for bytes, for what is JSON's alone, and where there is no value.
func (v Value) AppendText(dst []byte) ([]byte, error) {
	switch v.Kind {
	case Bool, Number, Text, Bits:
		return append(dst, v.Raw...), nil
	case Int:
		return strconv.AppendInt(dst, v.N, 10), nil
	case Uint:
		return strconv.AppendUint(dst, uint64(v.N), 10), nil
	case Float:
		return v.appendFloat(dst), nil
	case Decimal:
		return v.appendDecimal(dst)
	case Date:
		return appendDate(dst, v.N)
	case Time:
		return v.appendTime(dst)
	case Timestamp, TimestampTZ:
		return v.appendTimestamp(dst)
	case Infinity:
		if v.N < 0 {
			dst = append(dst, '-')
		}
		return append(dst, "infinity"...), nil
	}
	return dst, errKind
}

// AppendJSON appends a value as JSON: numbers as numbers, but for NaN and infinities, dates and times as [Value.AppendText] writes
// them, bytes in base64. A text that is no UTF-8 is refused. Absent and Unavailable values have no JSON.
func (v Value) AppendJSON(dst []byte) ([]byte, error) {
	switch v.Kind {
	case Null:
		return append(dst, "null"...), nil
	case String, Object, Array:
		return append(dst, v.Raw...), nil
	case Text:
		start := len(dst)
		dst, err := jsontext.AppendQuote(dst, v.Raw)
		if err != nil {
			return dst[:start], refuse(badCharacter, "invalid UTF-8")
		}
		return dst, nil
	case Bytes:
		dst = base64.StdEncoding.AppendEncode(append(dst, '"'), v.Raw)
		return append(dst, '"'), nil
	case Bool, Number, Int, Uint, Decimal:
		return v.AppendText(dst)
	case Float:
		if f := math.Float64frombits(uint64(v.N)); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return v.appendFloat(dst), nil
		}
	}
	dst, err := v.AppendText(append(dst, '"'))
	return append(dst, '"'), err
}

// appendFloat appends the shortest text that is read as the same float of its width: 0.1 is 0.1 in either. As in JSON it has
// an exponent where it is very long without one.
func (v Value) appendFloat(dst []byte) []byte {
	f := math.Float64frombits(uint64(v.N))
	if math.IsInf(f, 0) {
		if f < 0 {
			dst = append(dst, '-')
		}
		return append(dst, "Infinity"...)
	}
	bits := 64
	if v.Scale == 32 {
		bits = 32
	}
	if size := math.Abs(f); size != 0 && size < 1e-6 || size >= 1e21 {
		return strconv.AppendFloat(dst, f, 'e', -1, bits)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, bits)
}

const (
	secondsPerDay = 24 * 60 * 60
	// firstDay and lastDay are 0001-01-01 and 9999-12-31.
	firstDay, lastDay = -719162, 2932896
)

var powersOfTen = [...]int64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

func appendDate(dst []byte, day int64) ([]byte, error) {
	if day < firstDay || day > lastDay {
		return dst, refuse(badRange, "a date beyond the years 1 to 9999")
	}
	// Years begin in March, so that the leap day is the last one, and are counted in rounds of 400.
	day += 719468
	round, inRound := day/146097, day%146097
	yearOfRound := (inRound - inRound/1460 + inRound/36524 - inRound/146096) / 365
	dayOfYear := inRound - (365*yearOfRound + yearOfRound/4 - yearOfRound/100)
	month := (5*dayOfYear + 2) / 153
	year, date := 400*round+yearOfRound, dayOfYear-(153*month+2)/5+1
	if month += 3; month > 12 {
		month -= 12
		year++
	}
	dst = appendDigits(dst, year, 4)
	dst = appendDigits(append(dst, '-'), month, 2)
	return appendDigits(append(dst, '-'), date, 2), nil
}

// seconds takes N apart: whole seconds, rounded down, and the rest in units of Scale.
func (v Value) seconds() (whole, rest int64, err error) {
	if v.Scale < 0 || int(v.Scale) >= len(powersOfTen) {
		return 0, 0, refuse(badRange, "a time in no unit that is known")
	}
	power := powersOfTen[v.Scale]
	whole = v.N / power
	if rest = v.N - whole*power; rest < 0 {
		whole, rest = whole-1, rest+power
	}
	return whole, rest, nil
}

func (v Value) appendTime(dst []byte) ([]byte, error) {
	second, rest, err := v.seconds()
	if err == nil && (second < 0 || second > secondsPerDay || second == secondsPerDay && rest > 0) {
		err = refuse(badRange, "a time beyond the day")
	}
	if err != nil {
		return dst, err
	}
	return v.appendClock(dst, second, rest), nil
}

func (v Value) appendTimestamp(dst []byte) ([]byte, error) {
	second, rest, err := v.seconds()
	if err != nil {
		return dst, err
	}
	day := second / secondsPerDay
	if second %= secondsPerDay; second < 0 {
		day, second = day-1, second+secondsPerDay
	}
	if dst, err = appendDate(dst, day); err != nil {
		return dst, err
	}
	dst = v.appendClock(append(dst, 'T'), second, rest)
	if v.Kind == TimestampTZ {
		dst = append(dst, 'Z')
	}
	return dst, nil
}

// appendClock appends a time of day, without zeros at the end of the fraction.
func (v Value) appendClock(dst []byte, second, rest int64) []byte {
	dst = appendDigits(dst, second/3600, 2)
	dst = appendDigits(append(dst, ':'), second/60%60, 2)
	dst = appendDigits(append(dst, ':'), second%60, 2)
	if rest == 0 {
		return dst
	}
	width := int(v.Scale)
	for rest%10 == 0 {
		rest /= 10
		width--
	}
	return appendDigits(append(dst, '.'), rest, width)
}

// appendDigits appends a number that is not negative with zeros before it.
func appendDigits(dst []byte, n int64, width int) []byte {
	var digits [9]byte
	for i := width - 1; i >= 0; i-- {
		digits[i] = byte('0' + n%10)
		n /= 10
	}
	return append(dst, digits[:width]...)
}
