package connect

import (
	"errors"
	"fmt"
	"testing"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
)

// valueOf is a JSON value as its format reads it.
func valueOf(t testing.TB, doc string) event.Value {
	p := plans(t, fields.JSON{}, "")
	values := make([]event.Value, 1)
	if err := p.Read([]byte(doc), none{}, values, nil); err != nil {
		t.Fatalf("%s: %v", doc, err)
	}
	return values[0]
}

// TestTypes: every type by its name, of a JSON value: what it says, or ! and the code that it is refused with.
func TestTypes(t *testing.T) {
	for _, tt := range []struct {
		name, parameter string // the parameter is scale or length
		doc, want       string
	}{
		{"org.apache.kafka.connect.data.Decimal", "2", `"BNI="`, "decimal 12.34"},
		{"org.apache.kafka.connect.data.Decimal", "2", `"/w=="`, "decimal -0.01"},
		{"org.apache.kafka.connect.data.Decimal", "-2", `"AQ=="`, "decimal 100"},
		{"org.apache.kafka.connect.data.Decimal", "0", `"EjRWeJCrze8SNFZ4kKvN7xI="`, "decimal 6194651443238720698616183149936654544658"},
		{"org.apache.kafka.connect.data.Decimal", "2", `12.345`, "12.345"},
		{"org.apache.kafka.connect.data.Decimal", "2", `""`, "!a decimal without a byte"},
		{"org.apache.kafka.connect.data.Decimal", "2", `"BN"`, "!22P02"},
		{"org.apache.kafka.connect.data.Decimal", "2", `"BN\nI="`, "!22P02"},
		{"org.apache.kafka.connect.data.Decimal", "2", `"\/w=="`, "decimal -0.01"},
		{"org.apache.kafka.connect.data.Decimal", "2", `"BNJ="`, "!22P02"},
		{"org.apache.kafka.connect.data.Decimal", "2", `true`, "!22P02"},
		{"org.apache.kafka.connect.data.Date", "", `20455`, "date 2026-01-02"},
		{"org.apache.kafka.connect.data.Time", "", `11045678`, "time 03:04:05.678"},
		{"org.apache.kafka.connect.data.Timestamp", "", `1767323045678`, "timestamptz 2026-01-02T03:04:05.678Z"},
		{"org.apache.kafka.connect.data.Timestamp", "", `9223372036825200`, "infinite infinity"},
		{"org.apache.kafka.connect.data.Odd", "", `1`, "none"}, {"io.debezium.data.Odd", "", `1`, "none"}, {"Decimal", "2", `1`, "none"}, {"", "", `1`, "none"},
		{"org.apache.kafka.connect.data.Decimal", "", `"BNI="`, "none"}, {"org.apache.kafka.connect.data.Decimal", "x", `"BNI="`, "none"}, {"io.debezium.data.Bits", "0", `""`, "none"},

		{"io.debezium.data.VariableScaleDecimal", "", `{"scale":3,"value":"BNI="}`, "decimal 1.234"},
		{"io.debezium.data.VariableScaleDecimal", "", `{"value":"BNI=","scale":-1}`, "decimal 12340"},
		{"io.debezium.data.VariableScaleDecimal", "", `{"value":"BNI="}`, "!22P02"},
		{"io.debezium.data.VariableScaleDecimal", "", `{"scale":3}`, "!22P02"},
		{"io.debezium.data.VariableScaleDecimal", "", `{"scale":1.5,"value":"BNI="}`, "!22P02"},
		{"io.debezium.data.VariableScaleDecimal", "", `{"scale":3000000000,"value":"BNI="}`, "!22003"},
		{"io.debezium.data.VariableScaleDecimal", "", `"BNI="`, "!22P02"},

		{"io.debezium.time.Date", "", `20455`, "date 2026-01-02"}, {"io.debezium.time.Date", "", `-719162`, "date 0001-01-01"},
		{"io.debezium.time.Date", "", `2147483647`, "infinite infinity"}, {"io.debezium.time.Date", "", `-2147483648`, "infinite -infinity"},
		{"io.debezium.time.Date", "", `-2147472692`, "infinite infinity"}, {"io.debezium.time.Date", "", `2146033979`, "infinite infinity"}, {"io.debezium.time.Date", "", `-2147472691`, "infinite -infinity"},
		{"io.debezium.time.Date", "", `1.5`, "!22P02"}, {"io.debezium.time.Date", "", `1e3`, "!22P02"}, {"io.debezium.time.Date", "", `"2026-01-02"`, "!22P02"},
		{"io.debezium.time.Time", "", `86400000`, "time 24:00:00"}, {"io.debezium.time.MicroTime", "", `11045678901`, "time 03:04:05.678901"}, {"io.debezium.time.NanoTime", "", `11045678901234`, "time 03:04:05.678901234"},
		{"io.debezium.time.Timestamp", "", `1767323045678`, "timestamp 2026-01-02T03:04:05.678"}, {"io.debezium.time.MicroTimestamp", "", `1767323045678901`, "timestamp 2026-01-02T03:04:05.678901"}, {"io.debezium.time.NanoTimestamp", "", `1767323045678901234`, "timestamp 2026-01-02T03:04:05.678901234"},
		{"io.debezium.time.MicroTimestamp", "", `-1`, "timestamp 1969-12-31T23:59:59.999999"},
		{"io.debezium.time.MicroTimestamp", "", `9223372036825200000`, "infinite infinity"}, {"io.debezium.time.MicroTimestamp", "", `-9223372036832400000`, "infinite -infinity"},
		{"io.debezium.time.NanoTimestamp", "", `9223372036854775807`, "infinite infinity"}, {"io.debezium.time.NanoTimestamp", "", `-9223372036854775808`, "infinite -infinity"},
		{"io.debezium.time.NanoTimestamp", "", `9223372036825200000`, "timestamp 2262-04-11T23:47:16.8252"},
		{"io.debezium.time.Timestamp", "", `9223372036825200`, "infinite infinity"}, {"io.debezium.time.Timestamp", "", `-9223372036832400`, "infinite -infinity"},
		{"io.debezium.time.MicroTimestamp", "", `9223372036825200`, "timestamp 2262-04-11T23:47:16.8252"},
		{"io.debezium.time.MicroTimestamp", "", `92233720368252000000`, "!22P02"},
		{"io.debezium.time.Year", "", `2026`, "2026"},
		{"io.debezium.time.ZonedTimestamp", "", `"2026-01-02T01:04:05.678901Z"`, `"2026-01-02T01:04:05.678901Z"`}, {"io.debezium.time.ZonedTime", "", `"01:04:05Z"`, `"01:04:05Z"`},
		{"io.debezium.time.IsoDate", "", `"2017-09-15Z"`, "text 2017-09-15"}, {"io.debezium.time.IsoTime", "", `"03:04:05.678Z"`, "text 03:04:05.678"}, {"io.debezium.time.IsoTimestamp", "", `"2026-01-02T03:04:05Z"`, "text 2026-01-02T03:04:05"}, {"io.debezium.time.IsoDate", "", `1`, "!22P02"},
		{"io.debezium.time.MicroDuration", "", `37091106700000`, "text 37091106700000 microseconds"}, {"io.debezium.time.MicroDuration", "", `-1`, "text -1 microseconds"},
		{"io.debezium.time.NanoDuration", "", `-1`, "text -0.001 microseconds"}, {"io.debezium.time.NanoDuration", "", `1234567`, "text 1234.567 microseconds"}, {"io.debezium.time.NanoDuration", "", `-1000`, "text -1 microseconds"}, {"io.debezium.time.NanoDuration", "", `-1020`, "text -1.020 microseconds"},
		{"io.debezium.time.Interval", "", `"P1Y2M3DT4H5M6.7S"`, `"P1Y2M3DT4H5M6.7S"`},

		{"io.debezium.data.Json", "", `"{\"a\": [1, 2.50]}"`, `{"a": [1, 2.50]}`}, {"io.debezium.data.Json", "", `"1.50"`, `1.50`}, {"io.debezium.data.Json", "", `"null"`, `null (5)`}, {"io.debezium.data.Json", "", `"{"`, "!22P02"}, {"io.debezium.data.Json", "", `"{\"a\":1,\"a\":2}"`, "!22030"},
		{"io.debezium.data.Uuid", "", `"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"`, `"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"`}, {"io.debezium.data.Enum", "", `"ok"`, `"ok"`}, {"io.debezium.data.EnumSet", "", `"a,b"`, `"a,b"`}, {"io.debezium.data.Xml", "", `"<a/>"`, `"<a/>"`}, {"io.debezium.data.Ltree", "", `"a.b"`, `"a.b"`}, {"io.debezium.data.Tsvector", "", `"'a':1"`, `"'a':1"`},
		{"io.debezium.data.Bits", "5", `"FQ=="`, "text 10101"}, {"io.debezium.data.Bits", "5", `"Aw=="`, "text 00011"}, {"io.debezium.data.Bits", "12", `"AQg="`, "text 100000000001"}, {"io.debezium.data.Bits", "3", `"/w=="`, "!22P02"}, {"io.debezium.data.Bits", "2147483647", `"BQ=="`, "text 101"}, {"io.debezium.data.Bits", "64", `"AA=="`, "text 0"}, {"io.debezium.data.Bits", "64", `""`, "text "},
		{"io.debezium.data.geometry.Point", "", `{"x":1.5,"y":2.0,"wkb":"AQEAAAAAAAAAAAD4PwAAAAAAAABA","srid":null}`, "text (1.5,2.0)"}, {"io.debezium.data.geometry.Point", "", `{"x":"NaN","y":"-Infinity"}`, "text (NaN,-Infinity)"}, {"io.debezium.data.geometry.Point", "", `{"x":1}`, "!22P02"},
		{"io.debezium.data.geometry.Geometry", "", `{"wkb":"AQEAAAAAAAAAAAD4PwAAAAAAAABA","srid":4326}`, "text 0101000020e6100000000000000000f83f0000000000000040"}, {"io.debezium.data.geometry.Geometry", "", `{"wkb":"AAAAAAE/+AAAAAAAAEAAAAAAAAAA","srid":4326}`, "text 0020000001000010e63ff80000000000004000000000000000"},
		{"io.debezium.data.geometry.Geography", "", `{"wkb":"AQEAAAAAAAAAAAD4PwAAAAAAAABA","srid":null}`, "text 0101000000000000000000f83f0000000000000040"}, {"io.debezium.data.geometry.Geography", "", `{"wkb":"AQEAACDmEAAAAAAAAAAA+D8AAAAAAAAAQA==","srid":4326}`, "text 0101000020e6100000000000000000f83f0000000000000040"},
		{"io.debezium.data.geometry.Geometry", "", `{"wkb":"AQ=="}`, "!22P02"}, {"io.debezium.data.geometry.Geometry", "", `{"srid":1}`, "!22P02"},
		{"io.debezium.data.FloatVector", "", `[1.0,2.5]`, "[1.0,2.5]"}, {"io.debezium.data.DoubleVector", "", `[1.0,2.5]`, "[1.0,2.5]"},
		{"io.debezium.data.SparseVector", "", `{"dimensions":5,"vector":[[1,1.5],[3,2.0]]}`, "text {1:1.5,3:2.0}/5"}, {"io.debezium.data.SparseVector", "", `{"dimensions":5,"vector":{"1":1.5}}`, "text {1:1.5}/5"}, {"io.debezium.data.SparseVector", "", `{"dimensions":5,"vector":[{"key":1,"value":1.5}]}`, "text {1:1.5}/5"}, {"io.debezium.data.SparseVector", "", `{"dimensions":5,"vector":[]}`, "text {}/5"}, {"io.debezium.data.SparseVector", "", `{"dimensions":5}`, "!22P02"}, {"io.debezium.data.SparseVector", "", `{"dimensions":5,"vector":[[1]]}`, "!22P02"},

		{"io.debezium.time.StructuredDate", "", `{"year":2026,"month":1,"day":2}`, "text 2026-01-02"}, {"io.debezium.time.StructuredDate", "", `{"year":-43,"month":3,"day":15}`, "text 0044-03-15 BC"}, {"io.debezium.time.StructuredDate", "", `{"year":0,"month":0,"day":0}`, "text 0000-00-00"}, {"io.debezium.time.StructuredDate", "", `{"specialValue":"POSITIVE_INFINITY"}`, "infinite infinity"}, {"io.debezium.time.StructuredDate", "", `{"year":null,"specialValue":"NEGATIVE_INFINITY"}`, "infinite -infinity"}, {"io.debezium.time.StructuredDate", "", `{"specialValue":"NOW"}`, "!22007"}, {"io.debezium.time.StructuredDate", "", `{}`, "!22007"}, {"io.debezium.time.StructuredDate", "", `{"year":2026,"month":-1,"day":2}`, "!22007"},
		{"io.debezium.time.StructuredTime", "", `{"hour":24,"minute":0,"second":0,"picoseconds":0}`, "text 24:00:00"}, {"io.debezium.time.StructuredTimePrecision6", "", `{"hour":3,"minute":4,"second":5,"picoseconds":678901000000}`, "text 03:04:05.678901"}, {"io.debezium.time.StructuredTime", "", `{"hour":3,"minute":4,"second":5,"nanos":1}`, "text 03:04:05.000000001"}, {"io.debezium.time.StructuredTime", "", `{"hour":3,"picoseconds":1000000000000}`, "!22007"},
		{"io.debezium.time.StructuredZonedTime", "", `{"hour":3,"minute":4,"second":5,"offsetSeconds":-19830}`, "text 03:04:05-05:30:30"}, {"io.debezium.time.StructuredZonedTime", "", `{"hour":3,"minute":4,"second":5}`, "text 03:04:05+00:00"},
		{"io.debezium.time.StructuredTimestampPrecision3SourceColumn7473", "", `{"year":2026,"month":1,"day":2,"hour":3,"minute":4,"second":5,"picoseconds":678000000000,"specialValue":null}`, "text 2026-01-02 03:04:05.678"}, {"io.debezium.time.StructuredTimestamp", "", `{"year":0,"month":1,"day":2,"hour":3,"minute":4,"second":5}`, "text 0001-01-02 03:04:05 BC"},
		{"io.debezium.time.StructuredZonedTimestamp", "", `{"year":2026,"month":1,"day":2,"hour":3,"minute":4,"second":5,"picoseconds":1,"offsetSeconds":7200,"zoneId":"Europe/Berlin"}`, "text 2026-01-02 03:04:05.000000000001+02:00"},
		{"io.debezium.time.StructuredDuration", "", `{"years":1,"months":2,"days":3,"hours":4,"minutes":5,"seconds":6,"picoseconds":700000000000}`, "text 1 years 2 months 3 days 4 hours 5 minutes 6.7 seconds"}, {"io.debezium.time.StructuredDuration", "", `{"seconds":0,"picoseconds":-1}`, "text -0.000000000001 seconds"}, {"io.debezium.time.StructuredDuration", "", `{"seconds":1,"picoseconds":-400000000000}`, "text 0.6 seconds"}, {"io.debezium.time.StructuredDuration", "", `{"seconds":-1,"picoseconds":400000000000}`, "text -0.6 seconds"}, {"io.debezium.time.StructuredDuration", "", `{"days":-3}`, "text -3 days 0 seconds"}, {"io.debezium.time.StructuredDuration", "", `{"days":"x"}`, "!22P02"},
	} {
		typ, ok := TypeOf(tt.name, map[string]string{"scale": tt.parameter, "length": tt.parameter})
		if !ok {
			if tt.want != "none" {
				t.Errorf("%s %s is no type", tt.name, tt.parameter)
			}
			continue
		}
		v, arena := valueOf(t, tt.doc), []byte("kept")
		err := typ.Value(&v, &arena)
		got := say(v)
		var r *event.Refusal
		switch {
		case errors.As(err, &r):
			got = "!" + r.Code
		case err != nil:
			got = "error"
		case got == "null":
			got = fmt.Sprintf("null (%d)", v.Kind)
		}
		if got != tt.want || string(arena[:4]) != "kept" {
			t.Errorf("%s of %s: got %s, want %s (%v)", tt.name, tt.doc, got, tt.want, err)
		}
		for _, kind := range []event.Kind{event.Null, event.Absent, event.Unavailable} {
			v := event.Value{Kind: kind}
			if err := typ.Value(&v, &arena); err != nil || v.Kind != kind {
				t.Errorf("%s of kind %d: got %d, %v", tt.name, kind, v.Kind, err)
			}
		}
	}
}

// TestTypesOfTyped: values that a format has typed are taken like those of JSON.
func TestTypesOfTyped(t *testing.T) {
	for _, tt := range []struct {
		name string
		v    event.Value
		want string
	}{
		{"org.apache.kafka.connect.data.Decimal", event.Value{Kind: event.Bytes, Raw: []byte{4, 0xd2}}, "decimal 12.34"},
		{"org.apache.kafka.connect.data.Decimal", event.Value{Kind: event.Decimal, Scale: 2, Raw: []byte{4, 0xd2}}, "decimal 12.34"},
		{"io.debezium.data.Bits", event.Value{Kind: event.Bytes, Raw: []byte{1}}, "text 01"},
		{"io.debezium.time.MicroTimestamp", event.Value{Kind: event.Int, N: 1}, "timestamp 1970-01-01T00:00:00.000001"},
		{"io.debezium.time.Date", event.Value{Kind: event.Date, N: 1}, "date 1970-01-02"},
		{"org.apache.kafka.connect.data.Timestamp", event.Value{Kind: event.TimestampTZ, Scale: 3, N: 1}, "timestamptz 1970-01-01T00:00:00.001Z"},
		{"io.debezium.data.Json", event.Value{Kind: event.Text, Raw: []byte(`{"a":1}`)}, `{"a":1}`},
		{"io.debezium.time.IsoDate", event.Value{Kind: event.Text, Raw: []byte(`2026-01-02Z`)}, `text 2026-01-02`},
	} {
		typ, ok := TypeOf(tt.name, map[string]string{"scale": "2", "length": "2"})
		var arena []byte
		if err := typ.Value(&tt.v, &arena); err != nil || !ok || say(tt.v) != tt.want {
			t.Errorf("%s: got %s, %v, want %s", tt.name, say(tt.v), err, tt.want)
		}
	}
}
