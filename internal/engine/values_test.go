package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/sink"
)

// valueCase is a JSON value on its way into a column of a type, on a real server.
type valueCase struct {
	typ    string
	column sink.ColumnConfig
	value  string // JSON; empty: the event lacks the field
	want   string // the column's text; "-" is NULL; "!CODE" a dead letter
}

// checkValues writes each case's event into a table with a column of its type.
func checkValues(t *testing.T, cfg sink.Config, cases []valueCase) {
	t.Helper()
	db := newDatabase(t, append(slices.Clone(nestedTypes), "create type color as enum ('red', 'green')", "create domain email as varchar(20) check (value like '%@%')",
		"create domain birthday as date", "create domain label as name", "create domain pause as interval", "create domain emails as email[]",
		"create domain price as numeric(6,2)", "create type priced as (name text, p price)", "create type pricerange as range (subtype = price)",
		`create type tagged as (n name, c char(3), v varchar(3), l label, b bytea, "1" "char")`, "create type labelrange as range (subtype = label)")...)
	db.Do("set timezone = 'UTC'")
	tables := map[string]int{}
	events := map[int][]int{} // table -> cases
	for i, c := range cases {
		name := fmt.Sprint(c.typ, c.column)
		n, ok := tables[name]
		if !ok {
			n = len(tables)
			tables[name] = n
			db.Do(fmt.Sprintf("create table t%d (id int primary key, v %s default null)", n, c.typ))
			cfg.Tables = append(cfg.Tables, sink.TableConfig{Name: fmt.Sprintf("t%d", n), Topics: []string{fmt.Sprintf("t%d", n)},
				Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{"v": c.column}})
		}
		events[n] = append(events[n], i)
	}
	e := db.open(cfg)
	for n, list := range events {
		topic := fmt.Sprintf("t%d", n)
		part := &decode.Part{Claim: e.claim(topic, 0)}
		for _, i := range list {
			value := fmt.Sprintf(`{"id":%d,"v":%s}`, i, cases[i].value)
			if cases[i].value == "" {
				value = fmt.Sprintf(`{"id":%d}`, i)
			}
			e.Add(part, sink.Record{Topic: topic, Offset: int64(i), Timestamp: time.UnixMilli(1767312000123), Value: []byte(value)})
		}
		e.write(part)
		for _, i := range list {
			c := cases[i]
			if got := db.Lines(fmt.Sprintf(`select v::text from t%d where id = $1 union all
				select '!' || code from oncesink.dead_letters where topic = $2 and "offset" = $1`, n), i, topic); got != c.want {
				t.Errorf("%s %v from %s: got %s, want %s", c.typ, c.column, c.value, got, c.want)
			}
		}
	}
}

// Rule 27: a value arrives with every digit and every byte, or its record becomes
// a dead letter.
func TestRule27Values(t *testing.T) {
	none := sink.ColumnConfig{}
	checkValues(t, sink.Config{}, []valueCase{
		{"bigint", none, `9007199254740993`, "9007199254740993"},
		{"bigint", none, `-9223372036854775808`, "-9223372036854775808"},
		{"bigint", none, `9223372036854775808`, "!22003"},
		{"bigint", none, `"9007199254740993"`, "9007199254740993"},
		{"bigint", none, `" 7 "`, "7"},
		{"bigint", none, `-0`, "0"},
		{"bigint", none, `1.0`, "!22P02"},
		{"bigint", none, `1.5`, "!22P02"},
		{"bigint", none, `"1.5"`, "!22P02"},
		{"bigint", none, `1e3`, "!22P02"},
		{"bigint", none, `1E3`, "!22P02"},
		{"bigint", none, `true`, "!22P02"},
		{"bigint", none, `""`, "!22P02"},
		{"bigint", none, `{}`, "!22P02"},
		{"bigint", none, `[1]`, "!22P02"},
		{"bigint", none, `null`, "-"},
		{"bigint", none, ``, "-"},
		{"smallint", none, `32768`, "!22003"},
		{"numeric", none, `12345678901234567890.12345678901234567890`, "12345678901234567890.12345678901234567890"},
		{"numeric", none, `1.10`, "1.10"},
		{"numeric", none, `"1.10"`, "1.10"},
		{"numeric", none, `1E3`, "1000"},
		{"numeric", none, `-1.5e-3`, "-0.0015"},
		{"numeric", none, `"NaN"`, "NaN"},
		{"numeric", none, `false`, "!22P02"},
		{"double precision", none, `0.1`, "0.1"},
		{"double precision", none, `1e400`, "!22003"},
		{"boolean", none, `true`, "true"},
		{"boolean", none, `"yes"`, "true"},
		{"boolean", none, `0`, "false"},
		{"boolean", none, `2`, "!22P02"},
		{"boolean", none, `[]`, "!22P02"},
		{"text", none, `"a\u00e9\ud83d\ude00\n\"\\"`, "aé😀\n\"\\"},
		{"text", none, `""`, ""},
		{"text", none, `1.10`, "1.10"},
		{"text", none, `true`, "true"},
		{"text", none, `{"a": [1,  2.0]}`, `{"a": [1,  2.0]}`},
		{"text", none, `[1, "x"]`, `[1, "x"]`},
		{"text", none, `"a\u0000b"`, "!22P05"},
		{"text", none, `"a\\u0000b"`, `a\u0000b`},
		{"text", none, `"\ud800"`, "!22021"},
		{"text", none, "\"\xff\"", "!22021"},
		{"text", none, `null`, "-"},
		{"varchar(5)", none, `"abcde"`, "abcde"},
		{"varchar(5)", none, `"abcdef"`, "!22001"}, // rule 15: a cast to varchar(5) would cut it off
		{"varchar(5)", none, `"ééééé"`, "ééééé"},
		{"char(3)", none, `"abcd"`, "!22001"},
		{"char(3)", none, `"ab"`, "ab"},
		{"name", none, `"` + strings.Repeat("x", 63) + `"`, strings.Repeat("x", 63)},
		{"name", none, `"` + strings.Repeat("x", 64) + `"`, "!22001"},
		{`"char"`, none, `"x"`, "x"},
		{`"char"`, none, `"xy"`, "!22001"},
		{"bit(3)", none, `"101"`, "101"},
		{"bit(3)", none, `"1011"`, "!22026"},
		{"uuid", none, `"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"`, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
		{"uuid", none, `true`, "!22P02"},
		{"color", none, `"red"`, "red"},
		{"color", none, `"blue"`, "!22P02"},
		{"email", none, `"a@b"`, "a@b"},
		{"email", none, `"ab"`, "!23514"},
		{"inet", none, `"10.0.0.1"`, "10.0.0.1/32"},
		{"interval", none, `"1 day"`, "1 day"},
		{"int4range", none, `"[1,5)"`, "[1,5)"},
		{"point", none, `"(1,2)"`, "(1,2)"},
		{"jsonb", none, `{"b": 1.10, "a": [null, 9007199254740993, "x"]}`, `{"a": [null, 9007199254740993, "x"], "b": 1.10}`},
		{"jsonb", none, `"x"`, `"x"`},
		{"jsonb", none, `12345678901234567890.123456789`, `12345678901234567890.123456789`},
		{"jsonb", none, `false`, `false`},
		{"jsonb", none, `null`, "-"},
		{"jsonb", none, ``, "-"},
		{"jsonb", none, `{"a":"\u0000"}`, "!22P05"},
		{"jsonb", none, `{"\u0000":1}`, "!22P05"},
		{"jsonb", none, `{"a":"\\u0000"}`, `{"a": "\\u0000"}`},
		{"jsonb", none, `{"a":"\\\u0000"}`, "!22P05"},
		{"jsonb", none, `{"a":"\udc00"}`, "!22021"},
		{"jsonb", none, `{"a":1,"a":2}`, "!22030"},
		{"json", none, `{"b": 1.10,  "a":[ ]}`, `{"b": 1.10,  "a":[ ]}`},
		{"json", none, `"\u00e9"`, `"\u00e9"`},
		{"json", none, `"\u0000"`, "!22P05"}, // json takes it, and can't be read
		{"json", none, `null`, "-"},
	})
}

// Rule 27: arrays go element by element.
func TestRule27Arrays(t *testing.T) {
	none := sink.ColumnConfig{}
	checkValues(t, sink.Config{}, []valueCase{
		{"text[]", none, `["a", "b c", "", "NULL", null, "\"", "\\", "{,}", "é\n", 1.10, true, {"a": "b\\c"}]`,
			`{a,"b c","","NULL",NULL,"\"","\\","{,}","é` + "\n" + `",1.10,true,"{\"a\": \"b\\\\c\"}"}`},
		{"text[]", none, `[ ]`, "{}"},
		{"text[]", none, `[["a","b"],["c",null]]`, "{{a,b},{c,NULL}}"},
		{"text[]", none, `[["a"],["b","c"]]`, "!22P02"},
		{"text[]", none, `["a",["b"]]`, "!22P02"},
		{"text[]", none, `{"0":"a"}`, "!22P02"},
		{"text[]", none, `7`, "!22P02"},
		{"text[]", none, `"{a,b}"`, "{a,b}"},
		{"text[]", none, `["\u0000"]`, "!22P05"},
		{"text[]", none, `null`, "-"},
		{"varchar(2)[]", none, `["ab","abc"]`, "!22001"},
		{"bigint[]", none, `[9007199254740993, "7", null]`, "{9007199254740993,7,NULL}"},
		{"bigint[]", none, `[1.0]`, "!22P02"},
		{"bigint[]", none, `[[1,2],[3,4]]`, "{{1,2},{3,4}}"},
		{"bigint[]", none, `[true]`, "!22P02"},
		{"numeric(6,2)[]", none, `[1.10, 1e2]`, "{1.10,100.00}"},
		{"boolean[]", none, `[true,false,null]`, "{t,f,NULL}"},
		{"jsonb[]", none, `[{"a":[1,2]}, [1,[2]], "x", null, 1.10]`, `{"{\"a\": [1, 2]}","[1, [2]]","\"x\"",NULL,1.10}`},
		{"jsonb[]", none, `["\u0000"]`, "!22P05"},
		{"box[]", none, `["(1,1),(0,0)","(2,2),(1,1)"]`, "{(1,1),(0,0);(2,2),(1,1)}"},
		{"bytea[]", sink.ColumnConfig{Encoding: "hex"}, `["00ff", null, ""]`, `{"\\x00ff",NULL,"\\x"}`},
		{"bytea[]", sink.ColumnConfig{Encoding: "hex"}, `"{00ff}"`, "!22P02"},
		{"date[]", none, `["2026-01-02", null]`, "{2026-01-02,NULL}"},
		{"date[]", none, `["2026-01-02T23:00:00Z"]`, "!22007"},
		{"date[]", sink.ColumnConfig{Zone: "Asia/Tokyo"}, `["2026-01-02T23:00:00Z"]`, "{2026-01-03}"},
		{"date[]", none, `"{2026-01-02}"`, "!22P02"},
		{"name[]", none, `["` + strings.Repeat("x", 64) + `"]`, "!22001"},
		{"timestamptz[]", none, `["2026-01-02T03:04:05Z"]`, `{"2026-01-02 03:04:05+00"}`},
	})
}

// Rule 28: times name their zone, dates the zone they are read in, bytes their encoding.
func TestRule28Values(t *testing.T) {
	none, tokyo := sink.ColumnConfig{}, sink.ColumnConfig{Zone: "Asia/Tokyo"}
	checkValues(t, sink.Config{}, []valueCase{
		{"timestamptz", none, `"2026-01-02T03:04:05.678901Z"`, "2026-01-02 03:04:05.678901+00"},
		{"timestamptz", none, `"2026-01-02T03:04:05+09:00"`, "2026-01-01 18:04:05+00"},
		{"timestamptz", none, `"2026-01-02 03:04:05"`, "2026-01-02 03:04:05+00"},
		{"timestamptz", none, `"2026-01-02 03:04:05 Europe/Berlin"`, "2026-01-02 02:04:05+00"},
		{"timestamptz", none, `"infinity"`, "infinity"},
		{"timestamptz", none, `"2026-13-02T03:04:05Z"`, "!22008"},
		{"timestamptz", none, `[]`, "!22P02"},
		{"timestamp", none, `"2026-01-02T03:04:05Z"`, "2026-01-02 03:04:05"},
		{"time", none, `"03:04:05"`, "03:04:05"},
		{"timetz", none, `"03:04:05+01"`, "03:04:05+01"},
		{"timetz", none, `"03:04:05"`, "03:04:05+00"},
		{"timetz", none, `"03:04:05 PM z"`, "15:04:05+00"},
		{"timetz", none, `"03:04:05 EST"`, "!22007"},
		{"timetz", none, `"2026-07-02 03:04:05 Europe/Berlin"`, "!22007"},
		{"date", none, `"2026-01-02"`, "2026-01-02"},
		{"date", none, `"Jan 2, 2026"`, "2026-01-02"},
		{"date", none, `"20260102"`, "2026-01-02"},
		{"date", none, `20260102`, "!22007"}, // of some unit, or of none
		{"date", none, `"infinity"`, "infinity"},
		{"date", none, `"-infinity"`, "-infinity"},
		{"date", none, `"2026-02-30"`, "!22008"},
		{"date", none, `"Friday, January 2, 2026"`, "2026-01-02"},
		// All of these PostgreSQL takes, and cuts the time and the zone off.
		{"date", none, `"2026-01-02T23:00:00Z"`, "!22007"},
		{"date", none, `"2026-01-02 23:00:00"`, "!22007"},
		{"date", none, `"2026-01-02 230000"`, "!22007"},
		{"date", none, `"20260102T230000"`, "!22007"},
		{"date", none, `"2026-01-02 allballs"`, "!22007"},
		{"date", none, `"2026-01-02+09"`, "!22007"},
		{"date", none, `"2026-01-02 z"`, "!22007"},
		{"date", tokyo, `"2026-01-02T23:00:00Z"`, "2026-01-03"},
		{"date", tokyo, `"2026-01-02 23:00:00.5"`, "2026-01-03"}, // read as UTC
		{"date", tokyo, `"2026-01-02T23:00:00+09:00"`, "2026-01-02"},
		{"date", tokyo, `"2026-01-02T23:00:00-1030"`, "2026-01-03"},
		{"date", tokyo, `"2026-01-02"`, "2026-01-02"},
		{"date", tokyo, `"2026-02-30T00:00:00Z"`, "!22008"},
		{"date", tokyo, `"Jan 2 2026 23:00 EST"`, "!22007"},
		{"date", tokyo, `null`, "-"},
		{"date", sink.ColumnConfig{From: "$timestamp", Zone: "America/New_York"}, `0`, "2026-01-01"},
		{"date", sink.ColumnConfig{From: "$timestamp", Zone: "UTC"}, `0`, "2026-01-02"},
		{"birthday", none, `"2026-01-02T23:00:00Z"`, "!22007"},
		{"birthday", tokyo, `"2026-01-02T23:00:00Z"`, "2026-01-03"},
		{"daterange", none, `"[2026-01-02,2026-01-05)"`, "[2026-01-02,2026-01-05)"},
		{"daterange", none, `"[2026-01-02 23:00,2026-01-05)"`, "!22007"},
		{"bytea", sink.ColumnConfig{Encoding: "base64"}, `"AP8="`, `\x00ff`},
		{"bytea", sink.ColumnConfig{Encoding: "base64"}, `"AP8"`, `\x00ff`},
		{"bytea", sink.ColumnConfig{Encoding: "base64"}, `""`, `\x`},
		{"bytea", sink.ColumnConfig{Encoding: "base64"}, `"AP9="`, "!22P02"}, // bits that no byte has
		{"bytea", sink.ColumnConfig{Encoding: "base64"}, `"A_8="`, "!22P02"},
		{"bytea", sink.ColumnConfig{Encoding: "base64"}, `"AP\n8="`, "!22P02"},
		{"bytea", sink.ColumnConfig{Encoding: "base64"}, `7`, "!22P02"},
		{"bytea", sink.ColumnConfig{Encoding: "hex"}, `"00fF"`, `\x00ff`},
		{"bytea", sink.ColumnConfig{Encoding: "hex"}, `"\\x00ff"`, `\x00ff`},
		{"bytea", sink.ColumnConfig{Encoding: "hex"}, `"0"`, "!22P02"},
		{"bytea", sink.ColumnConfig{Encoding: "hex"}, `"0g"`, "!22P02"},
		{"bytea", sink.ColumnConfig{Encoding: "hex"}, `{}`, "!22P02"},
	})
}

// Rule 28: a time without a zone is read in the configured one.
func TestRule28TimeZone(t *testing.T) {
	none := sink.ColumnConfig{}
	checkValues(t, sink.Config{TimeZone: "Europe/Berlin"}, []valueCase{
		{"timestamptz", none, `"2026-07-02 00:30:00"`, "2026-07-01 22:30:00+00"},
		{"date", sink.ColumnConfig{Zone: "UTC"}, `"2026-07-02 00:30:00"`, "2026-07-01"},
		{"timetz", none, `"03:04:05+01"`, "03:04:05+01"},
		// PostgreSQL would take the offset that Berlin has on the day of the reading.
		{"timetz", none, `"03:04:05"`, "!22007"},
	})
}

// Rule 28: what surrounds the value.
func TestRule28Surroundings(t *testing.T) {
	db := newDatabase(t, `create table m (id bigint primary key, topic text, part int, at timestamptz, at_text text, at_ts timestamp, at_json jsonb,
		key text, key_id int, key_bytes bytea, header text, header_bytes bytea, header_json jsonb, whole json, whole_text text, off_json jsonb, topic_json jsonb)`)
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "m", Topics: []string{"o"}, Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{
		"id": {From: "$offset"}, "topic": {From: "$topic"}, "part": {From: "$partition"}, "at": {From: "$timestamp"}, "at_text": {From: "$timestamp"},
		"at_ts": {From: "$timestamp"}, "at_json": {From: "$timestamp"}, "key": {From: "$key"}, "key_id": {From: "$key.id"}, "key_bytes": {From: "$key"},
		"header": {From: "$header.a.b"}, "header_bytes": {From: "$header.a.b"}, "header_json": {From: "$header.j"},
		"whole": {From: "$value"}, "whole_text": {From: "$value"}, "off_json": {From: "$offset"}, "topic_json": {From: "$topic"},
	}}}})
	part := &decode.Part{Claim: e.claim("o", 3)}
	at := time.UnixMilli(1767312000120).In(time.FixedZone("", 3600))
	rec := func(offset int64, key, value []byte, headers ...sink.Header) sink.Record {
		return sink.Record{Topic: "o", Partition: 3, Offset: offset, Timestamp: at, Key: key, Value: value, Headers: headers}
	}
	e.Add(part,
		rec(7, []byte(`{"id": 9}`), []byte(`{"x":  1}`), sink.Header{Key: "a.b", Value: []byte("old")}, sink.Header{Key: "a.b", Value: []byte("é")}, sink.Header{Key: "j", Value: []byte(`[1]`)}),
		rec(8, nil, []byte(`{}`), sink.Header{Key: "a.b", Value: nil}),
		rec(9, []byte("{}"), []byte(`{}`)),
		rec(10, []byte("\xff"), []byte(`{}`)),                                                // text, and JSON by path
		rec(11, []byte("{}"), []byte(`{}`), sink.Header{Key: "j", Value: []byte("{")}),       // not JSON
		rec(12, []byte("{}"), []byte(`{}`), sink.Header{Key: "a.b", Value: []byte("a\x00")}), // NUL in a text
		rec(13, []byte("7"), []byte(`{}`)),                                                   // a path through a number
		rec(14, []byte("x"), []byte(`{}`)),                                                   // a path into what is no JSON
		rec(15, []byte("{}"), []byte(`{"a":"\u0000"}`)),
	)
	e.write(part)
	db.Do("set timezone = 'UTC'")
	db.Want(strings.Join([]string{
		`7|o|3|2026-01-02 00:00:00.12+00|2026-01-02T00:00:00.120Z|2026-01-02 00:00:00.12|"2026-01-02T00:00:00.120Z"|{"id": 9}|9|\x7b226964223a20397d|é|\xc3a9|[1]|{"x":  1}|{"x":  1}|7|"o"`,
		`8|o|3|2026-01-02 00:00:00.12+00|2026-01-02T00:00:00.120Z|2026-01-02 00:00:00.12|"2026-01-02T00:00:00.120Z"|-|-|-|-|-|-|{}|{}|8|"o"`,
		`9|o|3|2026-01-02 00:00:00.12+00|2026-01-02T00:00:00.120Z|2026-01-02 00:00:00.12|"2026-01-02T00:00:00.120Z"|{}|-|\x7b7d|-|-|-|{}|{}|9|"o"`,
		`13|o|3|2026-01-02 00:00:00.12+00|2026-01-02T00:00:00.120Z|2026-01-02 00:00:00.12|"2026-01-02T00:00:00.120Z"|7|-|\x37|-|-|-|{}|{}|13|"o"`,
	}, "\n"), `select id, topic, part, at, at_text, at_ts, at_json, key, key_id, key_bytes, header, header_bytes, header_json, whole, whole_text, off_json, topic_json from m order by id`)
	db.Want("10|22021|key\n11|22P02|header_json\n12|22021|header\n14|22P02|key_id\n15|22P05|whole",
		`select "offset", code, column_name from oncesink.dead_letters order by 1`)
}

// What a column can't be read from is refused at the start.
func TestCheckRefusesSources(t *testing.T) {
	db := newDatabase(t, "create table c (id int primary key, d date, b bytea, bs bytea[], n int, ts timestamptz, ok boolean, tx text, arr text[])")
	for name, tt := range map[string]struct {
		column string
		cfg    sink.ColumnConfig
		want   string
	}{
		"unknown source":           {"tx", sink.ColumnConfig{From: "$offsets"}, "$header.NAME"},
		"header without name":      {"tx", sink.ColumnConfig{From: "$header."}, "is no source"},
		"empty element":            {"tx", sink.ColumnConfig{From: "a..b"}, "empty field name"},
		"date of timestamp":        {"d", sink.ColumnConfig{From: "$timestamp"}, "names its zone"},
		"unknown zone":             {"d", sink.ColumnConfig{Zone: "Mars/Olympus"}, "not a known time zone"},
		"the host's zone":          {"d", sink.ColumnConfig{Zone: "Local"}, "every host"},
		"zone of no date":          {"ts", sink.ColumnConfig{Zone: "UTC"}, "zone is for date"},
		"encoding of no bytea":     {"tx", sink.ColumnConfig{Encoding: "hex"}, "encoding hex is for bytea"},
		"encoding json of no JSON": {"tx", sink.ColumnConfig{Encoding: "json"}, "encoding json is for json and jsonb"},
		"unknown encoding":         {"b", sink.ColumnConfig{Encoding: "base32"}, "base32"},
		"no encoding":              {"b", sink.ColumnConfig{}, `encoding "base64" or "hex"`},
		"array of bytea":           {"bs", sink.ColumnConfig{From: "$key"}, `encoding "base64" or "hex"`},
		"timestamp in int":         {"n", sink.ColumnConfig{From: "$timestamp"}, "$timestamp is nothing for type integer"},
		"topic in int":             {"n", sink.ColumnConfig{From: "$topic"}, "$topic is nothing for type integer"},
		"offset in boolean":        {"ok", sink.ColumnConfig{From: "$offset"}, "$offset is nothing for type boolean"},
		"partition in array":       {"arr", sink.ColumnConfig{From: "$partition"}, "$partition is nothing for type text[]"},
	} {
		t.Run(name, func(t *testing.T) {
			columns := map[string]sink.ColumnConfig{"b": {Encoding: "hex"}, "bs": {Encoding: "hex"}}
			columns[tt.column] = tt.cfg
			cfg := sink.Config{Tables: []sink.TableConfig{{Name: "c", Topics: []string{"o"}, Key: []string{"id"}, Columns: columns, Guard: "none"}}}
			if err := schema.Init(t.Context(), db.Conn, cfg); err != nil {
				t.Fatal(err)
			}
			_, err := Open(t.Context(), db.pool(), nil, cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "column "+tt.column+" of public.c") && !strings.Contains(err.Error(), "table c: columns."+tt.column+".") {
				t.Errorf("got %v, want it to say %q", err, tt.want)
			}
		})
	}
}
