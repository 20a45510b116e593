// Package connect knows the types that Kafka Connect and Debezium have beyond those of their formats, which they tell by the
// names of schemas, and reads the JSON that Connect writes with these schemas in each record. It knows no type of PostgreSQL,
// and no envelope.
package connect

import (
	"strconv"
	"strings"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
)

// Type is what the values of a schema mean. The zero type means nothing more than they say.
type Type struct {
	means meaning
	// scale is how many digits stand behind the point: of a decimal, or of a second that times are counted in.
	scale  int32
	length int // in bits
	check  *fields.Set
}

type meaning uint8

const (
	itself       meaning = iota // what it says: PostgreSQL reads the text, or the number
	jsonText                    // a text that has JSON in it
	decimal                     // bytes in two's complement
	anyDecimal                  // {scale, value}
	date                        // days
	timeOfDay                   // since midnight
	wallTime                    // since 1970 on a wall
	moment                      // since 1970 in UTC
	duration                    // so many
	wallText                    // a text with a Z that says nothing
	bits                        // bytes, the lowest first
	point                       // {x, y}
	geometry                    // {wkb, srid}
	sparse                      // {dimensions, vector}
	calendar                    // {year, month, day, hour, minute, second, picoseconds, offsetSeconds, specialValue}
	calendarSpan                // {years, months, days, hours, minutes, seconds, picoseconds}
)

// types are by their names, but for io.debezium and org.apache.kafka.connect before them.
var types = map[string]Type{ // it never changes
	"kafka.data.Decimal":   {means: decimal},
	"kafka.data.Date":      {means: date},
	"kafka.data.Time":      {means: timeOfDay, scale: 3},
	"kafka.data.Timestamp": {means: moment, scale: 3},

	"data.VariableScaleDecimal": {means: anyDecimal},
	"data.Json":                 {means: jsonText},
	"data.Bits":                 {means: bits},
	"data.Uuid":                 {}, "data.Enum": {}, "data.EnumSet": {}, "data.Xml": {}, "data.Ltree": {}, "data.Tsvector": {}, "data.TsVector": {}, "data.Tsvectors": {},
	"data.FloatVector": {}, "data.DoubleVector": {}, "data.SparseVector": {means: sparse},
	"data.geometry.Point": {means: point}, "data.geometry.Geometry": {means: geometry}, "data.geometry.Geography": {means: geometry},

	"time.Date": {means: date}, "time.Year": {},
	"time.Time": {means: timeOfDay, scale: 3}, "time.MicroTime": {means: timeOfDay, scale: 6}, "time.NanoTime": {means: timeOfDay, scale: 9},
	"time.Timestamp": {means: wallTime, scale: 3}, "time.MicroTimestamp": {means: wallTime, scale: 6}, "time.NanoTimestamp": {means: wallTime, scale: 9},
	"time.ZonedTimestamp": {}, "time.ZonedTime": {}, "time.Interval": {},
	"time.IsoDate": {means: wallText}, "time.IsoTime": {means: wallText}, "time.IsoTimestamp": {means: wallText},
	"data.IsoDate": {means: wallText}, "data.IsoTime": {means: wallText}, "data.IsoTimestamp": {means: wallText},
	"time.MicroDuration": {means: duration, scale: 6}, "time.NanoDuration": {means: duration, scale: 9},
	"time.StructuredDate": {means: calendar}, "time.StructuredTime": {means: calendar}, "time.StructuredTimestamp": {means: calendar},
	"time.StructuredZonedTime": {means: calendar, scale: zoned}, "time.StructuredZonedTimestamp": {means: calendar, scale: zoned},
	"time.StructuredDuration": {means: calendarSpan},
}

// zoned is the scale of a calendar's type that has a zone.
const zoned = 1

// TypeOf returns the type that a schema's name and parameters mean. It is not ok if nothing is known of the name,
// or if a parameter is missing without which values say nothing.
func TypeOf(name string, parameters map[string]string) (t Type, ok bool) {
	short, ok := shortOf(name)
	if !ok {
		return t, false
	}
	if t, ok = types[short]; !ok {
		return t, false
	}
	switch t.means {
	case decimal:
		scale, err := strconv.ParseInt(parameters["scale"], 10, 32)
		if err != nil {
			return Type{}, false
		}
		t.scale = int32(scale)
	case bits:
		length, err := strconv.Atoi(parameters["length"])
		if err != nil || length < 1 {
			return Type{}, false
		}
		t.length = length
	case jsonText:
		t.check, _ = fields.New(nil) // no path can be wrong
	}
	return t, true
}

// shortOf is a name as [types] has it. It is not ok if the name is neither Debezium's nor Kafka Connect's.
func shortOf(name string) (short string, ok bool) {
	short, debezium := strings.CutPrefix(name, "io.debezium.")
	if !debezium {
		if short, ok = strings.CutPrefix(name, "org.apache.kafka.connect."); !ok {
			return "", false
		}
		short = "kafka." + short
	}
	if strings.HasPrefix(short, "time.Structured") {
		// Two columns of one type have schemas of two names: see io.debezium.time.StructuredTemporal.
		short, _, _ = strings.Cut(short, "SourceColumn")
		short = strings.TrimRight(short, "0123456789")
		short = strings.TrimSuffix(short, "Precision")
	}
	return short, true
}

// Same reports whether values of the type are what they say, and [Type.Value] leaves them as they are.
func (t Type) Same() bool { return t.means == itself }

// Value makes of *v, a value as its format reads it, what it means by its schema. Bytes may be a JSON string in base64, and
// structs and maps are JSON. What it makes itself it appends to *arena, as [event.Plan] says. An error is a *[event.Refusal].
//
// A placeholder, see [Placeholder], is no value of the type: who expects one has to look for it before.
func (t Type) Value(v *event.Value, arena *[]byte) error {
	if v.Kind == event.Absent || v.Kind == event.Null || v.Kind == event.Unavailable {
		return nil
	}
	switch t.means {
	case itself:
		return nil
	case jsonText:
		return t.document(v, arena)
	case decimal:
		return t.decimal(v, arena)
	case date, timeOfDay, wallTime, moment, duration:
		return t.counted(v, arena)
	case wallText:
		return wall(v, arena)
	case bits:
		return t.bits(v, arena)
	}
	if v.Kind != event.Object {
		return misfit("a struct", v)
	}
	switch t.means {
	case anyDecimal:
		return variable(v, arena)
	case point:
		return pointOf(v, arena)
	case geometry:
		return ewkb(v, arena)
	case sparse:
		return sparseVector(v, arena)
	case calendarSpan:
		return span(v, arena)
	}
	return t.calendar(v, arena)
}

// SQLSTATEs of what this package refuses.
const (
	badText   = "22P02" // invalid_text_representation
	badTime   = "22007" // invalid_datetime_format
	badNumber = "22003" // numeric_value_out_of_range
)

func refuse(code, message string) *event.Refusal {
	return &event.Refusal{Code: code, Message: message, Plain: true}
}

// misfit refuses a value of another kind than its schema has.
func misfit(want string, v *event.Value) error {
	got := "another"
	switch v.Kind {
	case event.String, event.Text:
		got = "a text"
	case event.Number, event.Int, event.Uint, event.Float, event.Decimal:
		got = "a number"
	case event.Object:
		got = "an object"
	case event.Array:
		got = "an array"
	case event.Bool:
		got = "a boolean"
	}
	return refuse(badText, got+" where the schema has "+want)
}
