package sink

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// Rule 15 holds at any depth: in arrays of domains, domains over arrays, composites, ranges and multiranges over
// domains, and in each of them within another.
func TestRule15AtAnyDepth(t *testing.T) {
	none, zoned := ColumnConfig{}, ColumnConfig{Zone: "Asia/Tokyo"}
	long, fits := strings.Repeat("x", 64), strings.Repeat("x", 63)
	checkValues(t, Config{}, []valueCase{
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

// Random texts are taken apart as PostgreSQL takes them apart: where it reads a text, Go finds the same pieces.
func TestLiterals(t *testing.T) {
	db := newDatabase(t, "create type pair as (a text, b text)", "create type words as range (subtype = text)",
		`create function quoted(x text) returns text language sql as $$ select '<' || x || '>' $$`,
		`create function pieces(x text, typ text) returns text language plpgsql as $$
		declare a text[]; p pair; r words; begin
			case typ when 'text[]' then a := x; return (select coalesce(string_agg(quoted(v), '' order by n), '') from unnest(a) with ordinality u (v, n));
			when 'pair' then p := x; return concat(quoted(p.a), quoted(p.b));
			when 'words' then r := x; return case when isempty(r) and lower(x) !~ 'empty' then null else concat(quoted(lower(r)), quoted(upper(r))) end;
			end case;
			exception when others then return null; end $$`)
	columns := db.columns("text[]", "pair", "words")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	pieces := []string{"a", "b c", " ", "\t", `"`, `"`, `""`, `\`, `\\`, `\"`, ",", ",", "{", "}", "(", ")", "[", "]", "null", "NULL", "é", "[0:1]=", "empty", "'"}
	around := map[string][2]string{"text[]": {"{", "}"}, "pair": {"(", ")"}, "words": {"[", "]"}}
	const n = 6000
	texts, names := make([]string, n), make([]string, n)
	for i := range n {
		names[i] = pick(r, "text[]", "pair", "words")
		var b strings.Builder
		for range r.IntN(7) {
			b.WriteString(pieces[r.IntN(len(pieces))])
		}
		texts[i] = around[names[i]][0] + b.String() + around[names[i]][1]
	}
	got := db.Texts("select pieces(x, t) from unnest($1::text[], $2::text[]) with ordinality a (x, t, n) order by n", texts, names)
	read := 0
	for i, want := range got {
		if want == nil {
			continue
		}
		read++
		c := columns[names[i]]
		var found strings.Builder
		l := literal{text: []byte(texts[i]), each: func(_ *Type, text []byte) *refusal {
			fmt.Fprintf(&found, "<%s>", text)
			return nil
		}}
		if refused := l.apart(&c.Type); refused != nil {
			t.Errorf("%s %q: refused: %s", names[i], texts[i], refused.message)
		} else if found.String() != *want {
			t.Errorf("%s %q: got %s, PostgreSQL reads %s", names[i], texts[i], found.String(), *want)
		}
	}
	t.Logf("PostgreSQL reads %d of %d", read, n)
	if read < n/20 {
		t.Errorf("only %d: nothing is shown", read)
	}
}
