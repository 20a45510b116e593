package pgtext

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Rule 15: what random spellings PostgreSQL reads as days around today, the decoder
// refuses. The texts name no year but 1999.
func TestRule15RandomClockWords(t *testing.T) {
	db := newDatabase(t, append(slices.Clone(nestedTypes), tryCast, "set timezone = 'UTC'")...)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	pieces := []string{"now", "today", "tomorrow", "yesterday", "now", "today", "TODAY", "Now", " ", " ", ",", "(", ")", "+05", "-05", "z", "utc", "10:00", "10:00:00.5",
		"1999-01-08", "allballs", "pm", "T", "epoch", "infinity", ".", "/", ";", "'", "jan", "5", "at", "on", "\t", "\n", "no", "w", "to", "day"}
	types := []struct{ name, before, after string }{
		{"date", "", ""}, {"timestamp", "", ""}, {"timestamptz", "", ""},
		{"daterange", "[", ",infinity]"}, {"tstzrange", "[", ",]"}, {"tsrange", `["`, `",]`}, {"tsmultirange", "{[", ",]}"},
		{"timestamp[]", "{", "}"}, {"timestamptz[]", `{"`, `"}`}, {"tsrange[]", `{"[`, `,]"}`},
		{"day", "", ""}, {"day[]", "{", "}"}, {"days", `{"`, `"}`}, {"dayrange", "(", ",]"}, {"daymultirange", "{[,1999-01-01),(", ",)}"}, {"span", `("`, `",7)`}, {"span", "(", ",)"}, {"span[]", `{"(`, `,)"}`}, {"nest", `("(`, `,7)",x)`},
	}
	var all []string
	for _, typ := range types {
		if !slices.Contains(all, typ.name) {
			all = append(all, typ.name)
		}
	}
	known := db.columns(all...)
	around := []string{}
	for d := -2; d <= 2; d++ {
		around = append(around, time.Now().UTC().AddDate(0, 0, d).Format(time.DateOnly))
	}
	const n = 8000
	texts, names := make([]string, n), make([]string, n)
	columns := make([]*column, n)
	for i := range n {
		typ := types[r.IntN(len(types))]
		var b strings.Builder
		for range 1 + r.IntN(4) {
			p := pieces[r.IntN(len(pieces))]
			if typ.before != "" {
				for k := r.IntN(3); k > 0; k-- {
					at := r.IntN(len(p) + 1)
					p = p[:at] + []string{`\`, `"`, `""`, `\\`}[r.IntN(4)] + p[at:]
				}
			}
			b.WriteString(p)
		}
		texts[i], names[i] = typ.before+b.String()+typ.after, typ.name
		columns[i] = known[typ.name]
	}
	got := strings.Split(db.Lines(`select coalesce(replace(try_cast(x, t), E'\n', ' '), '-') from unnest($1::text[], $2::text[]) as a(x, t)`, texts, names), "\n")
	read := 0
	for i, text := range got {
		clock := false
		for _, day := range around {
			clock = clock || strings.Contains(text, day)
		}
		if !clock {
			continue
		}
		read++
		raw, _ := json.Marshal(texts[i])
		if s, refused := value(&columns[i].Type, string(raw)); refused == nil {
			t.Errorf("%s: PostgreSQL reads %q as %s, and the decoder lets it pass as %q", names[i], texts[i], text, s)
		}
	}
	t.Logf("PostgreSQL reads the clock for %d of %d texts", read, n)
	if read < 50 {
		t.Errorf("only %d texts of %d read the clock: nothing is shown", read, n)
	}
}

// No name of a zone, a day or a month contains a clock word, so that looking for
// them anywhere in a text refuses no time that says when it is.
func TestClockWordsAreInNoName(t *testing.T) {
	db := newDatabase(t)
	for _, word := range clockWords {
		db.Want("0", "select count(*) from pg_timezone_names where lower(name || ' ' || abbrev) like '%' || $1 || '%'", word)
		db.Want("0", "select count(*) from pg_timezone_abbrevs where lower(abbrev) like '%' || $1 || '%'", word)
	}
}

// Rule 28: random forms of dates. Where the decoder lets a text pass as a date,
// PostgreSQL must not read a time of day or a zone in it.
func TestRule28RandomDates(t *testing.T) {
	db := newDatabase(t, tryCast, "set timezone = 'UTC'")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	dates := []string{"2026-01-02", "20260102", "260102", "Jan 2 2026", "2-Jan-2026", "01/02/2026", "J2461043", "2026.036", "January 2, 2026", "Friday Jan 2 2026", "2026-Jan-02"}
	after := []string{"", " ", "T", " 03:04", "030405", "0304", "T0304", "+05", "-05", " z", " utc", "Z", " BC", " AD", " PM", " 5", " 030405.5", "03", ".5", " allballs", " EST", " Europe/Berlin", "T03:04:05Z", " 1510"}
	const n = 3000
	texts := make([]string, n)
	for i := range n {
		texts[i] = dates[r.IntN(len(dates))]
		for range 1 + r.IntN(2) {
			texts[i] += after[r.IntN(len(after))]
		}
	}
	// The same text as a time tells what a date cuts off: a time of day, or a zone.
	got := strings.Split(db.Lines(`select coalesce(try_cast(x, 'timestamp'), '-') || ',' || coalesce(try_cast(x, 'date'), '-') || ',' ||
		coalesce((try_cast(x, 'timestamptz')::timestamp = try_cast(x, 'timestamp')::timestamp)::text, '-') from unnest($1::text[]) as a(x)`, texts), "\n")
	c := &Type{Kind: KindDate, Base: "date"}
	passed := 0
	for i, line := range got {
		f := strings.Split(line, ",")
		if f[0] == "-" || f[1] == "-" {
			continue // nothing, or a day beyond the range of timestamps
		}
		if _, refused := value(c, strconv.Quote(texts[i])); refused != nil {
			continue
		}
		passed++
		if !strings.HasSuffix(f[0], " 00:00:00") && !strings.HasSuffix(f[0], " 00:00:00 BC") && f[0] != f[1] || f[2] == "false" {
			t.Errorf("%q passes as a date, and PostgreSQL reads the time %s", texts[i], f[0])
		}
	}
	t.Logf("%d of %d texts pass", passed, n)
	if passed < 50 {
		t.Errorf("only %d texts of %d pass: nothing is shown", passed, n)
	}
}
