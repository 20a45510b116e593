package engine

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/sink"
)

// nestedTypes have dates within.
var nestedTypes = []string{"create domain day as date", "create domain days as date[]", "create type dayrange as range (subtype = day, multirange_type_name = daymultirange)",
	"create type span as (a date, b int)", "create type nest as (s span, t text)"}

// tryCast makes a function that gives a text's value of a type as text, NULL if it is none.
const tryCast = `create function try_cast(x text, typ text) returns text language plpgsql as $$
	declare r text; begin execute format('select %L::%s::text', x, typ) into r; return r; exception when others then return null; end $$`

// Rule 15: words that PostgreSQL reads as the day of the reading are dead letters.
// That it reads them is shown, too.
func TestRule15ClockWords(t *testing.T) {
	spellings := []struct{ typ, value string }{
		{"date", `"now"`}, {"date", `" NOW "`}, {"date", `"today"`}, {"date", `"ToMorrow"`}, {"date", `"yesterday"`},
		{"date", `",today,"`}, {"date", `"\"today\""`}, {"date", `"\u0074oday"`},
		{"timestamp", `"today 10:00"`}, {"timestamp", `"10:00today"`}, {"timestamp", `"today10:00"`}, {"timestamp", `"(now)"`},
		{"timestamptz", `"tomorrow allballs"`}, {"timestamptz", `"TODAY+05"`}, {"timestamptz", `"yesterday 04:05 Europe/Berlin"`},
		{"time", `"now"`}, {"timetz", `"now"`}, {"timetz", `" Now"`},
		{"daterange", `"[today,tomorrow)"`}, {"daterange", `"[to\"d\"ay,)"`}, {"daterange", `"(,to\\morrow)"`},
		{"tstzrange", `"[\"today\"\"utc\",)"`}, {"tstzrange", `"[\"now\",)"`},
		{"datemultirange", `"{[today,tomorrow)}"`},
		{"date[]", `["today"]`}, {"date[]", `[null, ["today"]]`}, {"timestamptz[]", `"{now}"`}, {"timestamptz[]", `"{\"n\\ow\"}"`}, {"timestamptz[]", `["now"]`},
		{"daterange[]", `["[today,)"]`}, {"daterange[]", `"{\"[\\\"to\\\\day\\\",)\"}"`},
		{"birthday", `"now"`}, {"span", `"(today,1)"`},
	}
	var cases []valueCase
	for _, s := range spellings {
		cases = append(cases, valueCase{s.typ, sink.ColumnConfig{}, s.value, "!22007"})
	}
	checkValues(t, sink.Config{}, cases)

	db := newDatabase(t, tryCast, "create domain birthday as date", "create type span as (a date, b int)")
	for _, s := range spellings {
		var text string
		if json.Unmarshal([]byte(s.value), &text) != nil {
			continue // an array: its elements are among the others
		}
		if got := db.Lines("select try_cast($1, $2)", text, s.typ); got == "-" {
			t.Errorf("PostgreSQL does not take %s as %s: nothing is shown", s.value, s.typ)
		}
	}
}

// Rule 15 holds at any depth: in arrays of domains, domains over arrays, composites, ranges and multiranges over
// domains, and in each of them within another.
func TestRule15AtAnyDepth(t *testing.T) {
	none, zoned := sink.ColumnConfig{}, sink.ColumnConfig{Zone: "Asia/Tokyo"}
	long, fits := strings.Repeat("x", 64), strings.Repeat("x", 63)
	checkValues(t, sink.Config{}, []valueCase{
		{"day", none, `"today"`, "!22007"},
		{"day", none, `"2024-01-01T23:30:00-05:00"`, "!22007"},
		{"day[]", none, `["today"]`, "!22007"},
		{"day[]", none, `["2024-01-01T23:30:00-05:00"]`, "!22007"},
		{"day[]", none, `["2024-01-01", null, "Jan 2, 2026"]`, "{2024-01-01,NULL,2026-01-02}"},
		{"day[]", none, `[["2024-01-01"],["today"]]`, "!22007"},
		{"day[]", zoned, `["2024-01-01T23:30:00-05:00"]`, "{2024-01-02}"},
		{"days", none, `["now"]`, "!22007"},
		{"days", none, `["2024-01-01 10:00"]`, "!22007"},
		{"days", none, `["2024-01-01"]`, "{2024-01-01}"},
		{"days", zoned, `["2024-01-01T23:30:00-05:00"]`, "{2024-01-02}"},
		{"days[]", none, `[["2024-01-01"], ["today"]]`, "!22007"},
		{"days[]", none, `[["2024-01-01"], ["2024-01-01 10:00"]]`, "!22007"},
		{"days[]", none, `[["2024-01-01","2024-01-02"], [], null]`, `{"{2024-01-01,2024-01-02}","{}",NULL}`},
		{"days[]", none, `["{today}"]`, "!22P02"},
		{"dayrange", none, `"[2024-01-01,today)"`, "!22007"},
		{"dayrange", none, `"[2024-01-01,\"to\"\"day\")"`, "!22007"},
		{"dayrange", none, `"[2024-01-01,2024-01-02 10:00)"`, "!22007"},
		{"dayrange", none, `"[2024-01-01,20240102)"`, "[2024-01-01,2024-01-02)"},
		{"dayrange", none, `" EMPTY "`, "empty"},
		{"dayrange", none, `"[2024-01-01,"`, "!22P02"},
		{"dayrange", none, `"(,)"`, "(,)"},
		{"daymultirange", none, `"{[2024-01-01,2024-01-02], (tomorrow,)}"`, "!22007"},
		{"daymultirange", none, `"{[2024-01-01,2024-01-02), empty , (\"2025-01-01\",) }"`, "{[2024-01-01,2024-01-02),(2025-01-01,)}"},
		{"daymultirange", none, `"{ }"`, "{}"},
		{"dayrange[]", none, `["[2024-01-01,)", "[yesterday,)"]`, "!22007"},
		{"dayrange[]", none, `"{\"[2024-01-01,\\\"2024-01-02\\\")\"}"`, `{"[2024-01-01,2024-01-02)"}`},
		{"datemultirange", none, `"{[2024-01-01,\"2024-01-02 10:00\")}"`, "!22007"},
		{"tstzrange", none, `"[2024-01-01T10:00:00Z,now]"`, "!22007"},
		{"tstzrange", none, `"[2024-01-01T10:00:00Z,2024-01-01T11:00:00+01:00]"`, `["2024-01-01 10:00:00+00","2024-01-01 10:00:00+00"]`},
		{"span", none, `"(2024-01-01,7)"`, "(2024-01-01,7)"},
		{"span", none, `"(\"2024-01-01 10:00\",7)"`, "!22007"},
		{"span", none, `"(to\"d\"\\ay,7)"`, "!22007"},
		{"span", none, `"(,)"`, "(,)"},
		{"span", none, `"(2024-01-01"`, "!22P02"},
		{"span", none, `{"a":"2024-01-01","b":7}`, "!22P02"},
		{"span[]", none, `["(today,7)"]`, "!22007"},
		{"span[]", none, `["(2024-01-01,7)"]`, `{"(2024-01-01,7)"}`},
		// What is text in a composite may say what it likes.
		{"nest", none, `"(\"(2024-01-01,7)\",today)"`, `("(2024-01-01,7)",today)`},
		{"nest", none, `"(\"(today,7)\",x)"`, "!22007"},
		{"label", none, `"` + long + `"`, "!22001"},
		{"label[]", none, `["` + fits + `"]`, "{" + fits + "}"},
		{"label[]", none, `["` + long + `"]`, "!22001"},
		{"name[]", none, `"{` + long + `}"`, "!22001"},
		{"name[]", none, `"{` + fits + `}"`, "{" + fits + "}"},
		{"labelrange", none, `"[a,` + long + `)"`, "!22001"},
		{"tagged", none, `"(` + fits + `,abc,abc,x,\\\\x00,y)"`, "(" + fits + `,abc,abc,x,"\\x00",y)`},
		{"tagged", none, `"(` + long + `,abc,abc,,,)"`, "!22001"},
		{"tagged", none, `"(a,abcd,abc,,,)"`, "!22001"},
		{"tagged", none, `"(a,abc,abcd,,,)"`, "!22001"},
		{"tagged", none, `"(a,abc,abc,` + long + `,,)"`, "!22001"},
		{"tagged", none, `"(a,abc,abc,,,xy)"`, "!22001"},
		{"email[]", none, `["a@b", "` + strings.Repeat("a", 30) + `@b"]`, "!22001"},
		{"emails", none, `["a@b", "` + strings.Repeat("a", 30) + `@b"]`, "!22001"},
	})
}
