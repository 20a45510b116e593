package pgtext

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// spellers write random values of a type, often the same value in several ways.
var spellers = map[string]func(r *rand.Rand) string{
	"smallint": spellInt, "integer": spellInt, "bigint": spellInt,
	"numeric": spellNumeric, "numeric(6,2)": spellNumeric, "numeric(3,-2)": spellNumeric, "numeric(4,5)": spellNumeric, "price": spellNumeric,
	"text": spellText, "varchar": spellText, "varchar(3)": spellText, "char(3)": spellText, "code": spellText,
	"uuid": spellUUID, "date": spellDate, "birthday": spellDate,
	"timestamp": spellTimestamp, "timestamp(3)": spellTimestamp, "timestamptz": spellTimestamp, "timestamptz(0)": spellTimestamp, "timestamptz(6)": spellTimestamp,
	"boolean": func(r *rand.Rand) string {
		return pick(r, "true", "false", "t", "f", "TRUE", "yes", "off", "1", "0", " true ", "no", "maybe")
	},
	"bytea": func(r *rand.Rand) string {
		return pick(r, `\x00ff`, `\x00FF`, `\x00 ff`, `abc`, `\x616263`, `\\`, `\x5c`, `\x`, ``, `\x0`, `\000`)
	},
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

func spellInt(r *rand.Rand) string {
	n := strconv.Itoa(r.IntN(12) - 3)
	if r.IntN(4) == 0 {
		n = pick(r, "32767", "32768", "-32768", "2147483647", "2147483648", "-2147483648", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "99999999999999999999", "9999", "999999999", "999999999999999999")
	}
	switch r.IntN(8) {
	case 0:
		n = " " + n + "\t"
	case 1:
		n = strings.Replace("0"+n, "0-", "-00", 1)
	case 2:
		n = "+" + n
	case 3:
		n += pick(r, "", ".0", "e0", "x", "_0", "\u00a0")
	}
	return n
}

func spellNumeric(r *rand.Rand) string {
	s := strconv.Itoa(r.IntN(1000))
	if r.IntN(3) == 0 {
		s = pick(r, "", "0", "00", "0012", "99999", "1000000", "150", "123456789012345678901234567890")
	}
	if r.IntN(2) == 0 {
		s += "." + pick(r, "", "0", "00", "5", "50", "005", "125", "995", "00000000000000000001", "999999")
	}
	switch r.IntN(6) {
	case 0:
		s += pick(r, "e", "E") + pick(r, "0", "1", "-1", "+2", "-3", "5", "30", "-30", "00", "")
	case 1:
		s = pick(r, "NaN", "Infinity", "-Infinity", "inf", "nan", "1e401", "1e-500", "0e9999", "1_0", "0x10")
	}
	return pick(r, "", "", "", "-", "+", " ", "- ") + s + pick(r, "", "", "", " ", "\n")
}

func spellText(r *rand.Rand) string {
	return pick(r, "a", "A", "ab", "abc", "é", "éa", "aé😀", "", " a", "z", "B", "\t", "abc\t") + pick(r, "", "", " ", "  ", "   ", "     ", "\u00a0", "d")
}

func spellUUID(r *rand.Rand) string {
	s := pick(r, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "00000000-0000-0000-0000-00000000000"+strconv.Itoa(r.IntN(3)), "a0eebc999c0b4ef8bb6d6bb9bd380a11", "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11", "a0eebc99-9c0b-4ef8-bb6d6-bb9bd380a11", "g0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")
	switch r.IntN(4) {
	case 0:
		s = strings.ToUpper(s)
	case 1:
		s = "{" + s + "}"
	}
	return s
}

func spellDate(r *rand.Rand) string {
	if r.IntN(6) == 0 {
		return pick(r, "infinity", "-infinity", "epoch", "2026-02-30", "2024-02-29", "2100-02-29", "0001-01-01", "0000-01-01", "9999-12-31", "12026-01-02", "0044-03-15 BC", "J2461043", "")
	}
	d := time.Date(2026, 1, 1+r.IntN(4), 0, 0, 0, 0, time.UTC)
	if r.IntN(4) == 0 {
		d = time.Date(1+r.IntN(9999), time.Month(1+r.IntN(12)), 1+r.IntN(28), 0, 0, 0, 0, time.UTC)
	}
	return pick(r, "", "", " ") + d.Format(pick(r, time.DateOnly, time.DateOnly, "20060102", "Jan 2, 2006", "2006-1-2", "2-Jan-2006", "01/02/2006"))
}

func spellTimestamp(r *rand.Rand) string {
	if r.IntN(8) == 0 {
		return pick(r, "infinity", "-infinity", "epoch", "2026-01-01", "2026-01-01T24:00:00Z", "2026-01-01T23:59:60Z", "2026-02-30T00:00:00Z", "2026-01-01T00:00Z", "2026-01-01 00:00:00.", "2026-01-01T25:00:00Z",
			"2026-01-01T00:00:00+15:59", "2026-01-01T00:00:00+16", "2026-01-01T00:00:00 Europe/Berlin", "294276-12-31 23:59:59.999999", "294277-01-01 00:00:00", "4713-01-01 00:00:00 BC", "0001-01-01T00:00:00+14", "20260101T000000Z", "2026-01-01T00:00:00,5Z")
	}
	t := time.Date(2026, 1, 1, 0, 0, r.IntN(3), 500_000_000*r.IntN(2), time.UTC)
	if r.IntN(4) == 0 {
		t = time.Date(1+r.IntN(9999), time.Month(1+r.IntN(12)), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1_000_000_000), time.UTC)
	}
	zone := pick(r, "", "Z", "z", "+00", "-00:00", "+01", "-0330", "+05:45", " +01", " utc", "-14", "+14:59", "+01:60", "+1")
	return t.Format("2006-01-02"+pick(r, "T", " ", "t", "  ")+"15:04:05") + pick(r, "", "", ".5", ".50", ".500000", ".123", ".1235", ".999999", ".9999995", ".0000004", ".000000") + zone
}

// keyColumns reads a column of each type from the catalog.
func keyColumns(t *testing.T, db *database) map[string]*column {
	t.Helper()
	columns := columnsOf(t, db, spellers)
	for _, c := range columns {
		if !c.CanBeKey() {
			t.Errorf("%s is no key type", c.name)
		}
	}
	return columns
}

// columnsOf makes a table with a column of each type, and reads these from the catalog.
func columnsOf(t *testing.T, db *database, spellers map[string]func(r *rand.Rand) string) map[string]*column {
	t.Helper()
	db.Do("create domain price as numeric(6,2); create domain code as varchar(3); create domain birthday as date")
	return db.columns(slices.Collect(maps.Keys(spellers))...)
}

const trySQL = `create function try_sql(sql text, x text, y text default '') returns text language plpgsql as $$
	declare r text; begin execute sql into r using x, y; return r; exception when others then return null; end $$`

// Rule 14: two texts have one canonical text if and only if PostgreSQL stores
// equal values for them; Go and PostgreSQL write it alike; and canonical texts
// compare as the values do.
func TestRule14Canonical(t *testing.T) {
	db := newDatabase(t, trySQL, "set timezone = 'UTC'", "set datestyle = 'ISO, MDY'")
	columns := keyColumns(t, db)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for typ, c := range columns {
		t.Run(typ, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			const n = 400
			texts := make([]string, n)
			for i := range n {
				texts[i] = spellers[typ](r)
			}
			// What PostgreSQL stores: an assignment, which refuses what a cast would cut off.
			db.Do("create temp table stored (x text, v " + typ + `);
				create or replace function pg_temp.store(x text) returns text language plpgsql as $$
				begin execute format('insert into stored values (%L, %L)', x, x); return 'stored'; exception when others then return null; end $$`)
			defer db.Do("drop table stored")
			stored := db.Texts("select pg_temp.store(x) from unnest($1::text[]) x", texts)
			asked := db.Texts("select try_sql($2, x) from unnest($1::text[]) x", texts, "select "+c.CanonicalSQL()+" from (select $1 as x) a")
			canon, byGo := map[string]string{}, 0
			var kept []string
			for i, x := range texts {
				got, ok := c.CanonicalKey([]byte(x))
				switch {
				case stored[i] == nil:
					if ok && c.Kind != KindText { // of text the length is left to the assignment
						t.Errorf("%q is no %s, and Go reads %q", x, typ, got)
					}
					continue
				case asked[i] == nil:
					t.Errorf("PostgreSQL stores %q, and canonicalSQL refuses it", x)
					continue
				case ok && string(got) != *asked[i]:
					t.Errorf("%q: Go says %q, PostgreSQL %q", x, got, *asked[i])
				case ok:
					byGo++
				}
				canon[x] = *asked[i]
				kept = append(kept, x)
			}
			if byGo == 0 || len(kept) < 20 {
				t.Fatalf("%d of %d texts are values, Go reads %d: nothing is shown", len(kept), n, byGo)
			}
			compareAll(t, db, r, typ, &c.Type, kept, canon)
		})
	}
}

// compareAll compares random pairs of texts with what PostgreSQL says of the stored values.
func compareAll(t *testing.T, db *database, r *rand.Rand, typ string, c *Type, kept []string, canon map[string]string) {
	const n = 2000
	a, b := make([]string, n), make([]string, n)
	for i := range n {
		a[i], b[i] = kept[r.IntN(len(kept))], kept[r.IntN(len(kept))]
	}
	collate := ""
	if c.Kind == KindText {
		collate = ` collate "C"`
	}
	want := db.Texts(fmt.Sprintf(`select (case when l.v = r.v then 0 when l.v < r.v%[1]s then -1 else 1 end)::text
		from unnest($1::text[], $2::text[]) with ordinality as p(a, b, n)
		join lateral (select v from stored where x = p.a limit 1) l on true join lateral (select v from stored where x = p.b limit 1) r on true order by n`, collate), a, b)
	equal := 0
	for i := range n {
		x, y := canon[a[i]], canon[b[i]]
		if (x == y) != (*want[i] == "0") {
			t.Errorf("%q and %q: canonical %q and %q, and PostgreSQL compares %s", a[i], b[i], x, y, *want[i])
		}
		if a[i] != b[i] && x == y {
			equal++
		}
		if !c.CanBeVersion() {
			continue
		}
		if got := strconv.Itoa(c.Compare([]byte(x), []byte(y))); got != *want[i] {
			t.Errorf("%q and %q: compared %s, PostgreSQL %s", a[i], b[i], got, *want[i])
		}
	}
	if equal == 0 && typ != "text" && typ != "varchar" {
		t.Error("no two spellings of one value: nothing is shown")
	}
}

// Rule 14: the spellings that events have need no question to PostgreSQL.
func TestRule14WithoutAsking(t *testing.T) {
	for _, tt := range []struct {
		c          Type
		text, want string
	}{
		{Type{Kind: KindInt, Base: "bigint"}, "7", "7"},
		{Type{Kind: KindInt, Base: "bigint"}, "07", "7"},
		{Type{Kind: KindInt, Base: "bigint"}, "+7", "7"},
		{Type{Kind: KindInt, Base: "bigint"}, " 7 ", "7"},
		{Type{Kind: KindInt, Base: "bigint"}, "-0", "0"},
		{Type{Kind: KindInt, Base: "bigint"}, "-9223372036854775808", "-9223372036854775808"},
		{Type{Kind: KindNumeric, Typmod: -1}, "1.50", "1.5"},
		{Type{Kind: KindNumeric, Typmod: -1}, "1e3", "1000"},
		{Type{Kind: KindNumeric, Typmod: -1}, "-0.0", "0"},
		{Type{Kind: KindText, Base: "text", Typmod: -1}, "A ", "A "},
		{Type{Kind: KindText, Base: "bpchar", Typmod: 9}, "A ", "A"},
		{Type{Kind: kindUUID, Base: "uuid"}, "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
		{Type{Kind: KindDate, Base: "date"}, "1970-01-02", "1"},
		{Type{Kind: KindTimeTZ, Typmod: -1}, "1970-01-01T01:00:00.000001+01:00", "1"},
		{Type{Kind: KindTime, Typmod: -1}, "1970-01-01 00:00:01+05", "1000000"},
		{Type{Kind: KindTime, Typmod: 3}, "1970-01-01 00:00:00.001000", "1000"},
		{Type{Kind: kindBool}, "true", "true"},
		{Type{Kind: KindBytea}, `\x00ff`, `\x00ff`},
	} {
		got, ok := tt.c.CanonicalKey([]byte(tt.text))
		if !ok || string(got) != tt.want {
			t.Errorf("%+v %q: got %q, %v, want %q", tt.c, tt.text, got, ok, tt.want)
		}
	}
}

// Rule 14: keys and versions have a list of types.
func TestRule14Types(t *testing.T) {
	db := newDatabase(t, "create table k (a double precision, b jsonb, c time, d timetz, e name, f bigint[], g daterange, h interval, i boolean, j uuid, k bytea, l date[])")
	for _, c := range db.columnsOf("k") {
		if got, want := c.CanBeKey(), strings.Contains("ijk", c.name); got != want {
			t.Errorf("key of type %s: %v", c.Declared, got)
		}
		if c.CanBeVersion() {
			t.Errorf("version of type %s", c.Declared)
		}
	}
}

// FuzzCompareDecimals compares with arithmetic on integers.
func FuzzCompareDecimals(f *testing.F) {
	f.Add(int64(0), int64(5), int64(-1), int64(999_999))
	f.Fuzz(func(t *testing.T, a, b, x, y int64) {
		const scale = 1_000_000
		text := func(whole, fraction int64) ([]byte, int64, bool) {
			whole, fraction = whole%1e9, (fraction%scale+scale)%scale
			sign, n := "", whole*scale
			if whole < 0 {
				sign, n, whole = "-", n-fraction, -whole
			} else {
				n += fraction
			}
			c := Type{Kind: KindNumeric, Typmod: -1}
			canon, ok := c.CanonicalKey(fmt.Appendf(nil, "%s%d.%06d", sign, whole, fraction))
			return bytes.Clone(canon), n, ok
		}
		l, m, ok1 := text(a, x)
		r, n, ok2 := text(b, y)
		if !ok1 || !ok2 {
			t.Fatal("not read")
		}
		if got, want := compareDecimals(l, r), cmp.Compare(m, n); got != want {
			t.Errorf("%s and %s: got %d, want %d", l, r, got, want)
		}
	})
}
