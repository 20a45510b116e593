package pgtext

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

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
		l := literal{text: []byte(texts[i]), each: func(_ *Type, text []byte) *Refusal {
			fmt.Fprintf(&found, "<%s>", text)
			return nil
		}}
		if refused := l.apart(&c.Type); refused != nil {
			t.Errorf("%s %q: refused: %s", names[i], texts[i], refused.Message)
		} else if found.String() != *want {
			t.Errorf("%s %q: got %s, PostgreSQL reads %s", names[i], texts[i], found.String(), *want)
		}
	}
	t.Logf("PostgreSQL reads %d of %d", read, n)
	if read < n/20 {
		t.Errorf("only %d: nothing is shown", read)
	}
}
