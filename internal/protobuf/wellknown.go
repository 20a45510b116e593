package protobuf

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/oncesink/oncesink/internal/event"
)

// wellKnown is a message that means something else than its fields.
type wellKnown uint8

const (
	ordinary wellKnown = iota
	// These are scalars.
	timestamp
	duration
	wrapper
	fieldMask
	day
	timeOfDay
	decimalText
	decimal
	oldDecimal // without a precision
	// These are JSON, of any kind.
	object
	list
	anyValue
	anyMessage
)

func (w wellKnown) isScalar() bool { return w > ordinary && w < object }
func (w wellKnown) isJSON() bool   { return w >= object }

// wellKnowns are messages by their names and fields. Who has a message of the name with other fields has another message.
var wellKnowns = map[string]wellKnown{
	"google.protobuf.Timestamp: 1 int64, 2 int32":                                     timestamp,
	"google.protobuf.Duration: 1 int64, 2 int32":                                      duration,
	"google.protobuf.FieldMask: 1 string":                                             fieldMask,
	"google.protobuf.Struct: 1 message":                                               object,
	"google.protobuf.ListValue: 1 message":                                            list,
	"google.protobuf.Value: 1 enum, 2 double, 3 string, 4 bool, 5 message, 6 message": anyValue,
	"google.protobuf.Any: 1 string, 2 bytes":                                          anyMessage,
	"google.protobuf.DoubleValue: 1 double":                                           wrapper,
	"google.protobuf.FloatValue: 1 float":                                             wrapper,
	"google.protobuf.Int64Value: 1 int64":                                             wrapper,
	"google.protobuf.UInt64Value: 1 uint64":                                           wrapper,
	"google.protobuf.Int32Value: 1 int32":                                             wrapper,
	"google.protobuf.UInt32Value: 1 uint32":                                           wrapper,
	"google.protobuf.BoolValue: 1 bool":                                               wrapper,
	"google.protobuf.StringValue: 1 string":                                           wrapper,
	"google.protobuf.BytesValue: 1 bytes":                                             wrapper,
	"google.type.Date: 1 int32, 2 int32, 3 int32":                                     day,
	"google.type.TimeOfDay: 1 int32, 2 int32, 3 int32, 4 int32":                       timeOfDay,
	"google.type.Decimal: 1 string":                                                   decimalText,
	"confluent.type.Decimal: 1 bytes, 2 uint32, 3 int32":                              decimal,
	"confluent.type.Decimal: 1 bytes, 2 int32":                                        oldDecimal,
}

func wellKnownOf(md protoreflect.MessageDescriptor) wellKnown {
	var fields []string
	for i := range md.Fields().Len() {
		fields = append(fields, fmt.Sprintf("%d %v", md.Fields().Get(i).Number(), md.Fields().Get(i).Kind()))
	}
	return wellKnowns[string(md.FullName())+": "+strings.Join(fields, ", ")]
}

// few are the fields of a message that has numbers, and maybe bytes, the first of its fields.
type few struct {
	n      [5]int64 // by field number
	lo, hi int      // of the bytes
}

var errWellKnown = refuse(badBytes, "a message of google.protobuf, google.type or confluent.type with other fields than it has")

func (f *few) read(b []byte, at int, first protowire.Type) (err error) {
	var t token
	for at < len(b) {
		if at, err = t.next(b, at); err != nil {
			return err
		}
		if int(t.num) >= len(f.n) {
			continue
		}
		want := protowire.VarintType
		if t.num == 1 {
			want = first
		}
		switch {
		case t.wire != want:
			return errWellKnown
		case want == protowire.BytesType:
			f.lo, f.hi = t.lo, t.hi
		default:
			f.n[t.num] = int64(t.n)
		}
	}
	return nil
}

// wellKnownValue reads a message that is a scalar: that of b from a place on.
func (m *jsonMessage) wellKnownValue(b []byte, at int, v *event.Value, arena *[]byte) error {
	var f few
	first := protowire.VarintType
	switch m.is {
	case wrapper:
		return m.wrapped(b, at, v)
	case fieldMask:
		return mask(b, at, v, arena)
	case decimalText, decimal, oldDecimal:
		first = protowire.BytesType
	}
	if err := f.read(b, at, first); err != nil {
		return err
	}
	switch m.is {
	case timestamp:
		return moment(f.n[1], int64(int32(f.n[2])), v, arena)
	case duration:
		return span(f.n[1], int64(int32(f.n[2])), v, arena)
	case day:
		return date(int32(f.n[1]), int32(f.n[2]), int32(f.n[3]), v)
	case timeOfDay:
		return clock(int32(f.n[1]), int32(f.n[2]), int32(f.n[3]), int32(f.n[4]), v)
	case decimalText:
		if !utf8.Valid(b[f.lo:f.hi]) {
			return errEncoding
		}
		*v = event.Value{Kind: event.Text, Raw: b[f.lo:f.hi:f.hi]}
	case decimal:
		*v = event.Value{Kind: event.Decimal, Raw: b[f.lo:f.hi:f.hi], Scale: int32(f.n[3])}
	case oldDecimal:
		*v = event.Value{Kind: event.Decimal, Raw: b[f.lo:f.hi:f.hi], Scale: int32(f.n[2])}
	}
	return nil
}

func (m *jsonMessage) wrapped(b []byte, at int, v *event.Value) (err error) {
	f, t := &m.fields[0], token{}
	*v = f.scalar.zero()
	for at < len(b) {
		if at, err = t.next(b, at); err != nil {
			return err
		}
		if t.num != 1 {
			continue
		}
		if t.wire != f.scalar.wire {
			return f.mismatch
		}
		if err = f.scalar.value(b, &t, v); err != nil {
			return err
		}
	}
	return nil
}

// The years 1 to 9999, in seconds from 1970 on.
const firstSecond, endSecond = -62135596800, 253402300800

var (
	errMoment   = refuse(badRange, "a google.protobuf.Timestamp beyond the years 1 to 9999, or with a second in pieces that there are not")
	errDuration = refuse(badRange, "a google.protobuf.Duration of more than 10,000 years, or with seconds and nanoseconds of which only one is negative")
	errDate     = refuse(badRange, "a google.type.Date without its year, its month or its day, or that is not in the calendar")
	errClock    = refuse(badRange, "a google.type.TimeOfDay that is not of a day")
)

const second = 1_000_000_000 // in nanoseconds

func moment(seconds, nanos int64, v *event.Value, arena *[]byte) error {
	if seconds < firstSecond || seconds >= endSecond || nanos < 0 || nanos >= 1e9 {
		return errMoment
	}
	switch {
	case nanos%1000 == 0:
		*v = event.Value{Kind: event.TimestampTZ, Scale: 6, N: seconds*1e6 + nanos/1000}
	case seconds > math.MinInt64/second && seconds < math.MaxInt64/second:
		*v = event.Value{Kind: event.TimestampTZ, Scale: 9, N: seconds*1e9 + nanos}
	default: // no number has nanoseconds of that year
		start := len(*arena)
		*arena = time.Unix(seconds, nanos).UTC().AppendFormat(*arena, "2006-01-02T15:04:05.999999999Z")
		*v = event.Value{Kind: event.Text, Raw: (*arena)[start:len(*arena):len(*arena)]}
	}
	return nil
}

// mostSeconds are 10,000 years, the most that a Duration may be.
const mostSeconds = 315_576_000_000

// span writes a duration as JSON has it, 1.5s, which is an interval for PostgreSQL as well.
func span(seconds, nanos int64, v *event.Value, arena *[]byte) error {
	if seconds < -mostSeconds || seconds > mostSeconds || nanos <= -1e9 || nanos >= 1e9 || seconds < 0 && nanos > 0 || seconds > 0 && nanos < 0 {
		return errDuration
	}
	start := len(*arena)
	dst := *arena
	if seconds < 0 || nanos < 0 {
		seconds, nanos, dst = -seconds, -nanos, append(dst, '-')
	}
	dst = strconv.AppendInt(dst, seconds, 10)
	if nanos != 0 {
		point := len(dst)
		dst = strconv.AppendInt(dst, 1e9+nanos, 10)
		dst[point] = '.'
		for dst[len(dst)-1] == '0' {
			dst = dst[:len(dst)-1]
		}
	}
	*arena = append(dst, 's')
	*v = event.Value{Kind: event.Text, Raw: (*arena)[start:len(*arena):len(*arena)]}
	return nil
}

func date(year, month, ofMonth int32, v *event.Value) error {
	if year < 1 || year > 9999 || month < 1 || month > 12 || ofMonth < 1 || ofMonth > 31 {
		return errDate
	}
	t := time.Date(int(year), time.Month(month), int(ofMonth), 0, 0, 0, 0, time.UTC)
	if t.Day() != int(ofMonth) {
		return errDate
	}
	*v = event.Value{Kind: event.Date, N: t.Unix() / (24 * 60 * 60)}
	return nil
}

func clock(hours, minutes, seconds, nanos int32, v *event.Value) error {
	if hours < 0 || hours > 24 || minutes < 0 || minutes > 59 || seconds < 0 || seconds > 59 || nanos < 0 || nanos >= 1e9 || hours == 24 && (minutes|seconds|nanos) != 0 {
		return errClock
	}
	*v = event.Value{Kind: event.Time, Scale: 9, N: (int64(hours)*3600+int64(minutes)*60+int64(seconds))*1e9 + int64(nanos)}
	return nil
}

// mask writes a field mask as JSON has it, but with the names as they came.
func mask(b []byte, at int, v *event.Value, arena *[]byte) (err error) {
	start, first, t := len(*arena), true, token{}
	for at < len(b) {
		if at, err = t.next(b, at); err != nil {
			return err
		}
		switch {
		case t.num != 1:
			continue
		case t.wire != protowire.BytesType:
			return errWellKnown
		case !first:
			*arena = append(*arena, ',')
		}
		first = false
		*arena = append(*arena, b[t.lo:t.hi]...)
	}
	raw := (*arena)[start:len(*arena):len(*arena)]
	if !utf8.Valid(raw) {
		return errEncoding
	}
	*v = event.Value{Kind: event.Text, Raw: raw}
	return nil
}
