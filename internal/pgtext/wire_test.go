package pgtext

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// binarySpellers write random values of types that go in binary, besides those of spellers.
var binarySpellers = map[string]func(r *rand.Rand) string{
	"real": spellFloat, "double precision": spellFloat,
	"json": spellJSON, "jsonb": spellJSON,
	"name": spellText, "mood": func(r *rand.Rand) string { return pick(r, "calm", "tense", "très ému", "none", "Calm", "") },
	"long":          spellLongNumeric,
	"numeric(30,6)": spellLongNumeric,
}

func spellFloat(r *rand.Rand) string {
	if r.IntN(2) == 0 {
		return spellNumeric(r)
	}
	return pick(r, "", "-") + pick(r, "0", "0.0", "1e-45", "1e-46", "1e-38", "3.4028235e38", "3.4028236e38", "1e39", "4.9e-324", "1e-324", "2.2250738585072014e-308", "1e-310", "1.7976931348623157e308", "1.7976931348623159e308",
		"0.1", "16777217", "16777219", "9007199254740993", "123456789.123456789", "1e23", "5e-1", ".5", "5.", "1e+2", "1e", "e1", "1.2.3", "--1", "1e-30", "1e30", "1e300", "1e-300")
}

func spellJSON(r *rand.Rand) string {
	return pick(r, `{"a": 1.50, "b":[1, null,true]}`, `"x"`, `1.0`, `null`, `{"a":1,"a":2}`, ` [ ] `, `"\u00e9é"`, `{"a":}`, ``, `nope`, `1e400`, `"\ud800"`)
}

func spellLongNumeric(r *rand.Rand) string {
	var b strings.Builder
	b.WriteString(pick(r, "", "", "-"))
	digits := func(n int) {
		for range n {
			b.WriteString(pick(r, "0", "0", "0000", "1", "9", "9999", strconv.Itoa(r.IntN(10_000))))
		}
	}
	digits(r.IntN(12))
	if r.IntN(3) > 0 {
		b.WriteByte('.')
		digits(r.IntN(12))
	}
	return b.String()
}

// Rule 19: what Go sends in binary is what PostgreSQL reads in the text, and what it refuses to read it
// refuses in binary, too.
func TestBinaryIsTheText(t *testing.T) {
	db := newDatabase(t, "set timezone = 'UTC'", "set datestyle = 'ISO, MDY'", "create type mood as enum ('calm', 'tense', 'très ému')", "create domain long as numeric check (value <> 9999)")
	all := maps.Clone(spellers)
	maps.Copy(all, binarySpellers)
	columns := columnsOf(t, db, all)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for _, name := range slices.Sorted(maps.Keys(columns)) {
		c := columns[name]
		t.Run(c.name, func(t *testing.T) {
			form, speller := c.Wire(), all[c.name]
			if form == nil {
				t.Fatal("it has no binary form")
			}
			random := rand.New(rand.NewPCG(seed, 0))
			db.Do(fmt.Sprintf(`create temp table a (n int, v %[1]s); create temp table b (n int, v %[1]s);
				create function pg_temp.store(n int, x text) returns void language plpgsql as $$
				begin execute format('insert into a values (%%L, %%L)', n, x); exception when others then null; end $$`, c.name))
			defer db.Do("drop table a, b; drop function pg_temp.store")
			var texts []string
			var forms [][]byte
			for range 3000 {
				text := speller(random)
				if b, ok := form(&c.Type, nil, []byte(text)); ok && !strings.Contains(text, "\x00") {
					texts, forms = append(texts, text), append(forms, b)
				}
			}
			db.Do("select count(pg_temp.store(n::int, x)) from unnest($1::text[]) with ordinality as u(x, n)", texts)
			stored := map[int]bool{}
			for _, n := range db.Texts("select n::text from a") {
				k, _ := strconv.Atoi(*n)
				stored[k-1] = true
			}
			data, refused := []byte(binaryHeader), 0
			for n, b := range forms {
				if stored[n] {
					data = appendRow(data, n+1, b)
					continue
				}
				if refused++; refused > 40 {
					continue
				}
				one := binary.BigEndian.AppendUint16(appendRow([]byte(binaryHeader), n+1, b), 0xffff)
				if _, err := db.PgConn().CopyFrom(t.Context(), bytes.NewReader(one), "copy b from stdin with (format binary)"); err == nil {
					t.Errorf("%q is no %s, and its binary form %x is", texts[n], c.name, b)
				}
			}
			data = binary.BigEndian.AppendUint16(data, 0xffff)
			if _, err := db.PgConn().CopyFrom(t.Context(), bytes.NewReader(data), "copy b from stdin with (format binary)"); err != nil {
				t.Fatalf("refused in binary, and not as text: %v", err)
			}
			for _, n := range db.Texts("select n::text from a full join b using (n) where row(a.v)::record *<> row(b.v)::record and not (a.v is null and b.v is null) limit 5") {
				k, _ := strconv.Atoi(*n)
				t.Errorf("%q: binary %x is another value", texts[k-1], forms[k-1])
			}
			t.Logf("%d of 3000 go in binary, %d of them are refused", len(texts), refused)
			if len(stored) < 10 {
				t.Errorf("only %d values: nothing is shown", len(stored))
			}
		})
	}
}

// binaryHeader is that of a COPY in binary: its signature, no flags, nothing more.
const binaryHeader = "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"

func appendRow(dst []byte, n int, v []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, 2)
	dst = binary.BigEndian.AppendUint32(dst, 4)
	dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(v)))
	return append(dst, v...)
}

// FuzzBinary: a text has a binary form, or it has none; numbers come back as they were.
func FuzzBinary(f *testing.F) {
	for _, s := range []string{"0", "-1.50", "10000", "0.0001", "-", ".", "1.", ".1", "99999999999999999999.000000001", "2026-01-02T03:04:05.678Z", "2026-02-30", `\x00`, "1e5", "\x00"} {
		f.Add(s)
	}
	columns := []*Type{{Kind: KindInt, Base: "smallint"}, {Kind: KindInt, Base: "integer"}, {Kind: KindInt, Base: "bigint"}, {Kind: KindNumeric, Base: "numeric"}, {Kind: KindFloat, Base: "real"},
		{Kind: kindBool, Base: "boolean"}, {Kind: kindUUID, Base: "uuid"}, {Kind: KindDate, Base: "date"}, {Kind: KindTimeTZ, Base: "timestamp with time zone"}, {Kind: KindBytea, Base: "bytea"}}
	f.Fuzz(func(t *testing.T, text string) {
		for _, c := range columns {
			c.Typmod = -1
			before := []byte("before")
			b, ok := c.Wire()(c, before, []byte(text))
			if !bytes.HasPrefix(b, []byte("before")) {
				t.Fatalf("%s %q overwrote what was there: %q", c.Base, text, b)
			}
			if !ok || c.Kind != KindNumeric {
				continue
			}
			if got, want := readNumeric(b[len(before):]), text; got != want && got != plainDecimal(want) {
				t.Fatalf("%q became %s", text, got)
			}
		}
	})
}

// readNumeric writes out a numeric's binary form.
func readNumeric(b []byte) string {
	at := func(i int) int { return int(int16(binary.BigEndian.Uint16(b[2*i:]))) }
	n, weight, scale := at(0), at(1), at(3)
	var s strings.Builder
	if at(2) != 0 {
		s.WriteByte('-')
	}
	digit := func(k int) string {
		if k < 0 || k >= n {
			return "0000"
		}
		return fmt.Sprintf("%04d", at(4+k))
	}
	whole := ""
	for k := 0; k <= weight; k++ {
		whole += digit(k)
	}
	s.WriteString(strings.TrimLeft(whole, "0"))
	if strings.Trim(whole, "0") == "" {
		s.WriteByte('0')
	}
	if scale > 0 {
		fraction := ""
		for k := weight + 1; len(fraction) < scale; k++ {
			fraction += digit(k)
		}
		s.WriteString("." + fraction[:scale])
	}
	return s.String()
}

// plainDecimal is a number without zeros in front, nor a sign of zero.
func plainDecimal(s string) string {
	digits, negative := strings.CutPrefix(s, "-")
	whole, fraction, point := strings.Cut(digits, ".")
	if whole = strings.TrimLeft(whole, "0"); whole == "" {
		whole = "0"
	}
	out := whole
	if point {
		out += "." + fraction
	}
	if negative && strings.Trim(out, "0.") != "" {
		return "-" + out
	}
	return out
}

func TestDaysSince1970(t *testing.T) {
	for d := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC); d.Year() < 10_000; d = d.AddDate(0, 0, 1) {
		if got := daysSince1970(d.Year(), int(d.Month()), d.Day()); got != d.Unix()/secondsPerDay {
			t.Fatalf("%v: %d", d, got)
		}
	}
}
