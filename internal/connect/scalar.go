package connect

import (
	"bytes"
	"encoding/base64"
	"math"
	"strconv"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
)

// strict refuses bits that no byte has.
var strict = base64.StdEncoding.Strict() // it never changes

// whole returns a whole number.
func whole(v *event.Value) (n int64, ok bool) {
	switch v.Kind {
	case event.Int:
		return v.N, true
	case event.Uint:
		return v.N, v.N >= 0
	case event.Number:
		if v.Short {
			return v.N, v.Scale == 0
		}
		n, err := strconv.ParseInt(string(v.Raw), 10, 64)
		return n, err == nil
	}
	return 0, false
}

// text returns a text without quotes and escapes.
func text(v *event.Value, arena *[]byte) (b []byte, ok bool) {
	switch v.Kind {
	case event.Text:
		return v.Raw, true
	case event.String:
		if bytes.IndexByte(v.Raw, '\\') < 0 {
			return v.Raw[1 : len(v.Raw)-1 : len(v.Raw)-1], true
		}
		start := len(*arena)
		var err error
		if *arena, err = fields.AppendString(*arena, v.Raw); err != nil {
			return nil, false
		}
		return (*arena)[start:len(*arena):len(*arena)], true
	}
	return nil, false
}

// bytesOf returns bytes, which JSON has in base64.
func bytesOf(v *event.Value, arena *[]byte) ([]byte, error) {
	if v.Kind == event.Bytes {
		return v.Raw, nil
	}
	if v.Kind != event.String {
		return nil, misfit("bytes", v)
	}
	encoded, ok := text(v, arena) // some escape the slash
	start := len(*arena)
	b, err := strict.AppendDecode(*arena, encoded)
	if !ok || err != nil || bytes.ContainsAny(encoded, "\r\n") {
		return nil, refuse(badText, "not base64, where the schema has bytes")
	}
	*arena = b
	return b[start:len(b):len(b)], nil
}

// made is the text that was appended to the arena from start on.
func made(v *event.Value, arena *[]byte, start int) {
	*v = event.Value{Kind: event.Text, Raw: (*arena)[start:len(*arena):len(*arena)]}
}

// decimal reads bytes in two's complement. JSON may have a number instead: decimal.format=NUMERIC.
func (t Type) decimal(v *event.Value, arena *[]byte) error {
	switch v.Kind {
	case event.Number, event.Decimal, event.Int:
		return nil
	}
	b, err := bytesOf(v, arena)
	if err != nil {
		return err
	}
	*v = event.Value{Kind: event.Decimal, Scale: t.scale, Raw: b}
	return nil
}

// What Debezium has for PostgreSQL's infinities, beside the ends of an int64: those of PostgreSQL's JDBC driver, which it takes for
// milliseconds or for microseconds, and days as far away. All are beyond what PostgreSQL has, as what they seem to be.
const (
	latest, earliest           = 9223372036825200000, -9223372036832400000
	latestMillis, earliestMill = 9223372036825200, -9223372036832400
)

func (t Type) infinite(n int64) (sign int64) {
	switch t.means {
	case date:
		switch n {
		case 2146033979, -2147472692, math.MaxInt32: // the 5877611-06-21, and with a minus before it, as Debezium 3.5 has it
			return 1
		case -2147472691, math.MinInt32: // the -5877611-06-22
			return -1
		}
	case wallTime, moment:
		switch {
		case n == math.MaxInt64, t.scale < 9 && n == latest, t.scale == 3 && n == latestMillis:
			return 1
		case n == math.MinInt64, t.scale < 9 && n == earliest, t.scale == 3 && n == earliestMill:
			return -1
		}
	}
	return 0
}

// counted reads days, or parts of a second.
func (t Type) counted(v *event.Value, arena *[]byte) error {
	switch v.Kind {
	case event.Date, event.Time, event.Timestamp, event.TimestampTZ, event.Infinity:
		return nil // the format has read it
	}
	n, ok := whole(v)
	if !ok {
		return misfit("a whole number", v)
	}
	if sign := t.infinite(n); sign != 0 {
		*v = event.Value{Kind: event.Infinity, N: sign}
		return nil
	}
	*v = event.Value{N: n, Scale: t.scale}
	switch t.means {
	case date:
		v.Kind = event.Date
	case timeOfDay:
		v.Kind = event.Time
	case wallTime:
		v.Kind = event.Timestamp
	case moment:
		v.Kind = event.TimestampTZ
	case duration:
		start := len(*arena)
		*arena = appendDuration(*arena, n, t.scale)
		made(v, arena, start)
	}
	return nil
}

// appendDuration appends a length of time as PostgreSQL's interval reads it exactly.
func appendDuration(dst []byte, n int64, scale int32) []byte {
	if scale == 9 {
		rest := n % 1000
		if n /= 1000; rest != 0 {
			if rest < 0 {
				rest = -rest
				if n == 0 {
					dst = append(dst, '-')
				}
			}
			dst = append(strconv.AppendInt(dst, n, 10), '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
			return append(dst, " microseconds"...)
		}
	}
	return append(strconv.AppendInt(dst, n, 10), " microseconds"...)
}

// wall reads a date or time that Debezium writes with a Z although it is one on a wall.
func wall(v *event.Value, arena *[]byte) error {
	b, ok := text(v, arena)
	if !ok {
		return misfit("a text", v)
	}
	*v = event.Value{Kind: event.Text, Raw: bytes.TrimSuffix(b, []byte("Z"))}
	return nil
}

// document reads a text that has JSON in it.
func (t Type) document(v *event.Value, arena *[]byte) error {
	b, ok := text(v, arena)
	if !ok {
		return misfit("a text", v)
	}
	if err := t.check.Read(b, nil, nil, nil); err != nil {
		refusal := *err.(*event.Refusal)
		refusal.Message = "a text that is no JSON, where the schema says it is: " + refusal.Message
		return &refusal
	}
	*v = fields.Document(b)
	if v.Kind == event.Null {
		v.Kind = event.Object // the JSON null, which is a value in the database that it comes from
	}
	return nil
}

// bits reads a string of bits from bytes of which the first has the last eight bits. Of more bits than there are bytes for those that are 0 before
// the first 1 are not told: a column of so many bits knows that they are there, and one of bit varying does not.
func (t Type) bits(v *event.Value, arena *[]byte) error {
	b, err := bytesOf(v, arena)
	if err != nil {
		return err
	}
	n := t.length
	if n > 8*len(b) {
		for n = 8 * len(b); n > 1 && b[(n-1)/8]>>((n-1)%8)&1 == 0; {
			n--
		}
	}
	for i := n; i < 8*len(b); i++ {
		if b[i/8]>>(i%8)&1 != 0 {
			return refuse(badText, "more bits than the schema has")
		}
	}
	start := len(*arena)
	for i := n - 1; i >= 0; i-- {
		*arena = append(*arena, '0'+b[i/8]>>(i%8)&1)
	}
	made(v, arena, start)
	v.Kind = event.Bits
	return nil
}
