package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/sink"
)

// Rule 28: a number says nothing of a time without its unit, wherever it stands. PostgreSQL takes most of these.
func TestRule28BareNumbers(t *testing.T) {
	none, zoned := sink.ColumnConfig{}, sink.ColumnConfig{Zone: "UTC"}
	var cases []valueCase
	for _, typ := range []string{"timestamptz", "timestamp", "timestamptz(3)", "date", "birthday"} {
		for _, v := range []string{`1705310101`, `1705310101.5`, `20240115`, `170531`, `0`, `-5`, `1e9`, `"1705310101"`, `" 1705310101 "`, `"+1705310101"`, `"-1705310101"`, `"1705310101.25"`,
			`"1.70531e9"`, `"170531"`, `"2024015"`, `"2026.036"`, `"20240115100000"`, `"20240115100000Z"`, `"1705310101Z"`, `"1705310101 z"`, `"1705310101+00"`} {
			cases = append(cases, valueCase{typ, none, v, "!22007"}, valueCase{typ + "[]", none, "[" + v + "]", "!22007"})
		}
		cases = append(cases, valueCase{typ, none, `"1705-31-01"`, "!22008"})
	}
	for _, v := range []string{`123456`, `1030`, `5`, `0.5`, `"5"`, `"12345"`, `"123456.5"`, `"-1030"`, `"1705310101"`} {
		cases = append(cases, valueCase{"time", none, v, "!22007"}, valueCase{"timetz", none, v, "!22007"}, valueCase{"time[]", none, "[" + v + "]", "!22007"})
	}
	for _, v := range []string{`5`, `1.5`, `"5"`, `"1705310101"`, `"-1.5"`, `"1e3"`, `" 7 "`} {
		cases = append(cases, valueCase{"interval", none, v, "!22007"}, valueCase{"pause", none, v, "!22007"}, valueCase{"interval[]", none, "[" + v + "]", "!22007"}, valueCase{"interval day to second", none, v, "!22007"})
	}
	cases = append(cases, []valueCase{
		{"date", zoned, `1705310101`, "!22007"},
		{"date", zoned, `"1705310101"`, "!22007"},
		{"tstzrange", none, `"[1705310101,)"`, "!22007"},
		{"daterange", none, `"[20240101,20240102)"`, "[2024-01-01,2024-01-02)"},
		{"daterange", none, `"[170531,)"`, "!22007"},
		{"tsmultirange", none, `"{[\"1705310101\",)}"`, "!22007"},
		{"span", none, `"(1705310101,7)"`, "!22007"},
		{"span", none, `"(20240101,7)"`, "(2024-01-01,7)"},
		{"tstzrange", none, `1705310101`, "!22P02"},
		{"interval[]", none, `"{1 day,5}"`, "!22007"},
		// What says itself what it is.
		{"date", none, `"20240115"`, "2024-01-15"},
		{"timestamp", none, `"20240115"`, "2024-01-15 00:00:00"},
		{"timestamptz", none, `"20240115T100000Z"`, "2024-01-15 10:00:00+00"},
		{"timestamptz", none, `"2024-01-15T10:00:00.123456789Z"`, "2024-01-15 10:00:00.123457+00"},
		{"time", none, `"1030"`, "10:30:00"},
		{"time", none, `"103015"`, "10:30:15"},
		{"timetz", none, `"103015+01"`, "10:30:15+01"},
		{"interval", none, `"5 seconds"`, "00:00:05"},
		{"interval", none, `"PT5S"`, "00:00:05"},
		{"pause", none, `"1 day 5"`, "1 day 00:00:05"},
	}...)
	checkValues(t, sink.Config{}, cases)
}

// Rule 28: so many units since 1970, since midnight, or of themselves.
func TestRule28Units(t *testing.T) {
	s, ms, us, ns, days := sink.ColumnConfig{Unit: "s"}, sink.ColumnConfig{Unit: "ms"}, sink.ColumnConfig{Unit: "us"}, sink.ColumnConfig{Unit: "ns"}, sink.ColumnConfig{Unit: "days"}
	tokyo := sink.ColumnConfig{Unit: "ms", Zone: "Asia/Tokyo"}
	checkValues(t, sink.Config{TimeZone: "America/New_York"}, []valueCase{
		{"timestamptz", s, `1705310101`, "2024-01-15 09:15:01+00"},
		{"timestamptz", s, `"1705310101"`, "2024-01-15 09:15:01+00"},
		{"timestamptz", s, `" +1705310101 "`, "2024-01-15 09:15:01+00"},
		{"timestamptz", s, `1705310101.25`, "2024-01-15 09:15:01.25+00"},
		{"timestamptz", s, `1.705310101e9`, "2024-01-15 09:15:01+00"},
		{"timestamptz", s, `1705310100`, "2024-01-15 09:15:00+00"},
		{"timestamptz", s, `0`, "1970-01-01 00:00:00+00"},
		{"timestamptz", s, `-0`, "1970-01-01 00:00:00+00"},
		{"timestamptz", s, `-0.000001`, "1969-12-31 23:59:59.999999+00"},
		{"timestamptz", s, `-62135596800`, "0001-01-01 00:00:00+00"},
		{"timestamptz", s, `-62135596800.000001`, "!22008"},
		{"timestamptz", s, `253402300799.999999`, "9999-12-31 23:59:59.999999+00"},
		{"timestamptz", s, `253402300800`, "!22008"},
		{"timestamptz", s, `1705310101000`, "!22008"},
		{"timestamptz", s, `1e400`, "!22008"},
		{"timestamptz", s, `1e-400`, "1970-01-01 00:00:00+00"},
		{"timestamptz", s, `"2024-01-15T10:00:00+01:00"`, "2024-01-15 09:00:00+00"},
		{"timestamptz", s, `"2024-01-15 10:00:00"`, "2024-01-15 15:00:00+00"}, // in the session's zone
		{"timestamptz", s, `"20240115"`, "1970-08-23 06:15:15+00"},
		{"timestamptz", s, `"today"`, "!22007"},
		{"timestamptz", s, `true`, "!22P02"},
		{"timestamptz", s, `null`, "-"},
		{"timestamptz", ms, `1705310101123`, "2024-01-15 09:15:01.123+00"},
		{"timestamptz", ms, `1705310101123.4567`, "2024-01-15 09:15:01.123457+00"},
		{"timestamptz", ms, `-1`, "1969-12-31 23:59:59.999+00"},
		{"timestamptz", us, `1705310101123456`, "2024-01-15 09:15:01.123456+00"},
		{"timestamptz", ns, `1705310101123456789`, "2024-01-15 09:15:01.123457+00"},
		{"timestamptz", ns, `1705310101999999999`, "2024-01-15 09:15:02+00"},
		{"timestamptz", ns, `-1`, "1970-01-01 00:00:00+00"},
		{"timestamptz", days, `19737.5`, "2024-01-15 12:00:00+00"},
		{"timestamptz(0)", ms, `1705310101500`, "2024-01-15 09:15:02+00"},
		{"timestamp", ms, `1705310101123`, "2024-01-15 09:15:01.123"},
		{"timestamp", days, `19737`, "2024-01-15 00:00:00"},
		{"timestamptz[]", ms, `[1705310101123, "0", null, "2024-01-15T00:00:00Z"]`, `{"2024-01-15 09:15:01.123+00","1970-01-01 00:00:00+00",NULL,"2024-01-15 00:00:00+00"}`},
		{"timestamptz[]", ms, `"{0}"`, "!22P02"},
		{"date", days, `19737`, "2024-01-15"},
		{"date", days, `"-1"`, "1969-12-31"},
		{"date", days, `19737.0`, "2024-01-15"},
		{"date", days, `19737.5`, "!22008"},
		{"date", days, `1705310101`, "!22008"},
		{"date", days, `2932896`, "9999-12-31"},
		{"date", days, `2932897`, "!22008"},
		{"date", days, `"2024-01-15"`, "2024-01-15"},
		{"date", days, `"20240115"`, "!22008"},
		{"date", tokyo, `1705330800000`, "2024-01-16"},
		{"date", tokyo, `1705330799999`, "2024-01-15"},
		{"date", tokyo, `"2024-01-15T23:00:00Z"`, "2024-01-16"},
		{"day", days, `19737`, "2024-01-15"},
		{"day[]", days, `[19737]`, "{2024-01-15}"},
		{"days", days, `[19737, "19738"]`, "{2024-01-15,2024-01-16}"},
		{"time", s, `36000.5`, "10:00:00.5"},
		{"time", ms, `86399999`, "23:59:59.999"},
		{"time", s, `86400`, "!22008"},
		{"time", s, `-1`, "!22008"},
		{"time", ns, `86399999999999`, "!22008"}, // rounded, it is another day's
		{"time", us, `"1030"`, "00:00:00.00103"},
		{"time", s, `"10:30"`, "10:30:00"},
		{"time(0)", ms, `1499`, "00:00:01"},
		{"interval", s, `90.5`, "00:01:30.5"},
		{"interval", ms, `-1500`, "-00:00:01.5"},
		{"interval", ns, `1500`, "00:00:00.000002"},
		{"interval", days, `1.5`, "1 day 12:00:00"},
		{"interval", days, `-1.5`, "-1 days -12:00:00"},
		{"interval", s, `100000000`, "27777:46:40"},
		{"interval", s, `1e18`, "!22008"},
		{"interval", s, `8796093022207`, "2443359172:50:07"},
		{"interval", days, `"2 days"`, "2 days"},
		{"pause", s, `"5"`, "00:00:05"},
		{"interval[]", ms, `[1500, "1 day"]`, `{00:00:01.5,"1 day"}`},
	})
}

// A key and a version in units are the same as in texts.
func TestUnitKeyAndVersion(t *testing.T) {
	db := newDatabase(t, "create table k (at timestamptz primary key, day date, v timestamp(0), note text)", "set timezone = 'UTC'")
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "k", Topics: []string{"k"}, Key: []string{"at"}, Version: "v", RecordKey: map[string]string{"at": "$key"},
		Columns: map[string]sink.ColumnConfig{"at": {Unit: "ms"}, "day": {From: "$key", Unit: "ms", Zone: "UTC"}, "v": {Unit: "s"}}}}})
	if from := e.Describe()[0].Columns[0].From; from != "at (numbers are ms)" {
		t.Errorf("at comes from %s", from)
	}
	p := &decode.Part{Claim: e.claim("k", 0)}
	for i, ev := range [][2]string{
		{"1705310101000", `{"at":1705310101000,"v":20,"note":"a"}`},
		{"1705310101000", `{"at":"2024-01-15T09:15:01Z","v":"1970-01-01 00:00:19","note":"older"}`},
		{"1705310101000", `{"at":"1705310101000.0","v":"2.04e1","note":"b"}`}, // rounded to 20, and later
		{"86400000", `{"at":1,"v":1,"note":"c"}`},
		{"1", ""},
	} {
		e.Add(p, incoming("k", int64(i), ev[0], ev[1]))
	}
	e.write(p)
	db.Want("2024-01-15 09:15:01+00|2024-01-15|1970-01-01 00:00:20|b", "select at, day, v, note from k")
	db.Want("0", "select count(*) from oncesink.dead_letters")
	db.Want("1970-01-01 00:00:00.001+00", `select at from oncesink."public.k deletes"`)
}

// A unit is for dates and times alone.
func TestCheckRefusesUnits(t *testing.T) {
	db := newDatabase(t, "create table c (id int primary key, d date, ts timestamptz, t time, tz timetz, n int, tx text, r tstzrange, js jsonb, ds date[])")
	for _, tt := range []struct {
		column string
		cfg    sink.ColumnConfig
		want   string
	}{
		{"ts", sink.ColumnConfig{Unit: "hours"}, `unit "hours" must be days, s, ms, us or ns`},
		{"n", sink.ColumnConfig{Unit: "s"}, "unit is for numbers of date"},
		{"tx", sink.ColumnConfig{Unit: "s"}, "unit is for numbers of date"},
		{"js", sink.ColumnConfig{Unit: "s"}, "unit is for numbers of date"},
		{"r", sink.ColumnConfig{Unit: "s"}, "unit is for numbers of date"},
		{"tz", sink.ColumnConfig{Unit: "s"}, "unit is for numbers of date"},
		{"d", sink.ColumnConfig{Unit: "ms"}, "names its zone"},
		{"ds", sink.ColumnConfig{Unit: "ms"}, "names its zone"},
		{"t", sink.ColumnConfig{Unit: "days"}, "not in days"},
		{"ts", sink.ColumnConfig{From: "$timestamp", Unit: "ms"}, "$timestamp is a time"},
	} {
		t.Run(fmt.Sprint(tt.column, tt.cfg), func(t *testing.T) {
			err := db.openErr("c", sink.TableConfig{Key: []string{"id"}, Guard: "none", Columns: map[string]sink.ColumnConfig{tt.column: tt.cfg}})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "column "+tt.column+" of public.c") && !strings.Contains(err.Error(), "table c: columns."+tt.column+".") {
				t.Errorf("got %v, want it to say %q", err, tt.want)
			}
		})
	}
}
