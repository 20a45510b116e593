package pgtext

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/oncesink/oncesink/internal/event"
)

// typedTypes are the columns that typed scalars are tried on.
var typedTypes = []string{"smallint", "integer", "bigint", "numeric", "numeric(12,2)", "real", "double precision", "boolean", "text", "varchar(99)", "name", `"char"`, "uuid",
	"date", "time", "timetz", "timestamp", "timestamp(3)", "timestamptz", "interval", "json", "jsonb", "bytea", "inet", "money", "bit(3)", "color", "day", "int4range", "span", "text[]", "date[]"}

// typedSample is a value as a format hands it out, and the same as a parameter that goes to the server in
// binary.
type typedSample struct {
	name  string
	v     event.Value
	param any
	typ   string // of the parameter
}

func typedFloat(f float64) event.Value {
	return event.Value{Kind: event.Float, Scale: 64, N: int64(math.Float64bits(f))}
}

func typedFloat32(f float32) event.Value {
	return event.Value{Kind: event.Float, Scale: 32, N: int64(math.Float64bits(float64(f)))}
}

func typedText(s string) event.Value { return event.Value{Kind: event.Text, Raw: []byte(s)} }

func numericParam(n int64, scale int32) pgtype.Numeric {
	return pgtype.Numeric{Int: big.NewInt(n), Exp: -scale, Valid: true}
}

var (
	typedDay    = time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	typedMoment = time.Date(2026, 1, 2, 3, 4, 5, 678_901_000, time.UTC)
)

var typedSamples = []typedSample{
	{"text 7", typedText("7"), "7", "text"},
	{"text true", typedText("true"), "true", "text"},
	{"text of a date", typedText("2026-01-02"), "2026-01-02", "text"},
	{"text of a time", typedText("2026-01-02T03:04:05Z"), "2026-01-02T03:04:05Z", "text"},
	{"text of a clock", typedText("today"), "today", "text"},
	{"text of digits", typedText("1705310101"), "1705310101", "text"},
	{"text", typedText("a\"é\n\\"), "a\"é\n\\", "text"},
	{"empty text", typedText(""), "", "text"},
	{"text of an array", typedText("{2026-01-02}"), "{2026-01-02}", "text"},
	{"bytes", event.Value{Kind: event.Bytes, Raw: []byte{0, 255, 'a'}}, []byte{0, 255, 'a'}, "bytea"},
	{"no bytes", event.Value{Kind: event.Bytes}, []byte{}, "bytea"},
	{"int 1", event.Value{Kind: event.Int, N: 1}, int64(1), "bigint"},
	{"int -40000", event.Value{Kind: event.Int, N: -40000}, int64(-40000), "bigint"},
	{"smallest int", event.Value{Kind: event.Int, N: math.MinInt64}, int64(math.MinInt64), "bigint"},
	{"largest uint", event.Value{Kind: event.Uint, N: -1}, pgtype.Numeric{Int: new(big.Int).SetUint64(math.MaxUint64), Valid: true}, "numeric"},
	{"float 1.5", typedFloat(1.5), 1.5, "float8"},
	{"float 5", typedFloat(5), 5.0, "float8"},
	{"float 1234567", typedFloat(1234567), 1234567.0, "float8"},
	{"float 1e300", typedFloat(1e300), 1e300, "float8"},
	{"float NaN", typedFloat(math.NaN()), math.NaN(), "float8"},
	{"float -Infinity", typedFloat(math.Inf(-1)), math.Inf(-1), "float8"},
	{"float of 32 bits", typedFloat32(0.1), float32(0.1), "float4"},
	{"decimal 19.999", event.Value{Kind: event.Decimal, Scale: 3, Raw: []byte{0x4e, 0x1f}}, numericParam(19999, 3), "numeric"},
	{"decimal -0.05", event.Value{Kind: event.Decimal, Scale: 2, Raw: []byte{0xff, 0xfb}}, numericParam(-5, 2), "numeric"},
	{"decimal 7.00", event.Value{Kind: event.Decimal, Scale: 2, Raw: []byte{0x02, 0xbc}}, numericParam(700, 2), "numeric"},
	{"decimal 300", event.Value{Kind: event.Decimal, Scale: -2, Raw: []byte{3}}, numericParam(3, -2), "numeric"},
	{"date", event.Value{Kind: event.Date, N: typedDay.Unix() / 86400}, pgtype.Date{Time: typedDay, Valid: true}, "date"},
	{"first date", event.Value{Kind: event.Date, N: -719162}, pgtype.Date{Time: time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), Valid: true}, "date"},
	{"date of the year 10000", event.Value{Kind: event.Date, N: 2932897}, pgtype.Date{Time: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), Valid: true}, "date"},
	{"time", event.Value{Kind: event.Time, Scale: 6, N: 11_045_678_901}, pgtype.Time{Microseconds: 11_045_678_901, Valid: true}, "time"},
	{"end of the day", event.Value{Kind: event.Time, Scale: 3, N: 86_400_000}, pgtype.Time{Microseconds: 86_400_000_000, Valid: true}, "time"},
	{"timestamp", event.Value{Kind: event.Timestamp, Scale: 6, N: typedMoment.UnixMicro()}, pgtype.Timestamp{Time: typedMoment, Valid: true}, "timestamp"},
	{"timestamp before 1970", event.Value{Kind: event.Timestamp, Scale: 3, N: -1}, pgtype.Timestamp{Time: time.UnixMilli(-1).UTC(), Valid: true}, "timestamp"},
	{"moment", event.Value{Kind: event.TimestampTZ, Scale: 6, N: typedMoment.UnixMicro()}, pgtype.Timestamptz{Time: typedMoment, Valid: true}, "timestamptz"},
	{"moment in ns", event.Value{Kind: event.TimestampTZ, Scale: 9, N: typedMoment.UnixNano()}, pgtype.Timestamptz{Time: typedMoment, Valid: true}, "timestamptz"},
	{"last moment", event.Value{Kind: event.TimestampTZ, N: 253402300799}, pgtype.Timestamptz{Time: time.Unix(253402300799, 0), Valid: true}, "timestamptz"},
	{"moment of the year 10000", event.Value{Kind: event.TimestampTZ, N: 253402300800}, pgtype.Timestamptz{Time: time.Unix(253402300800, 0), Valid: true}, "timestamptz"},
	{"infinity", event.Value{Kind: event.Infinity, N: 1}, pgtype.Timestamp{InfinityModifier: pgtype.Infinity, Valid: true}, "timestamp"},
	{"-infinity", event.Value{Kind: event.Infinity, N: -1}, pgtype.Date{InfinityModifier: pgtype.NegativeInfinity, Valid: true}, "date"},
}

var update = flag.Bool("update", false, "write the files of testdata")

// TestTypedColumns tries each kind of scalar on each type of column. A value is stored as the server stores the same value, which
// it got in binary, or it is refused. testdata/typed.txt says which: = is stored, PG is a text that the server refuses, as it
// does its own, and the rest are codes of refusals.
func TestTypedColumns(t *testing.T) {
	db := newDatabase(t, append(slices.Clone(nestedTypes), tryCast, "set timezone = 'UTC'", "create type color as enum ('red', 'green')")...)
	columns := db.columns(typedTypes...)
	scan := func(sql string, args ...any) string {
		t.Helper()
		var got *string
		if err := db.QueryRow(t.Context(), sql, args...).Scan(&got); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		if got == nil {
			return "refused"
		}
		return "=" + *got
	}
	var table bytes.Buffer
	for _, s := range typedSamples {
		t.Run(s.name, func(t *testing.T) {
			own := scan(fmt.Sprintf("select $1::%s::text", s.typ), s.param)[1:]
			outcomes := map[string][]string{}
			for _, typ := range typedTypes {
				c := columns[typ]
				text, refusal := c.AppendValue([]byte("<"), &s.v)
				if refusal != nil {
					outcomes[refusal.Code] = append(outcomes[refusal.Code], typ)
					continue
				}
				if text[0] != '<' {
					t.Fatalf("%s: what stood there is gone: %q", typ, text)
				}
				got := scan("select try_cast($1, $2)", string(text[1:]), typ)
				want := scan("select try_cast($1, $2)", own, typ)
				switch {
				case c.Kind == KindJSON:
					// PostgreSQL writes bytes and zones otherwise.
					got = scan("select $1::jsonb::text", string(text[1:]))
					want = scan(fmt.Sprintf("select to_jsonb($1::%s)::text", s.typ), s.param)
					switch s.v.Kind {
					case event.Bytes:
						got = scan("select decode($1::jsonb #>> '{}', 'base64')::text", string(text[1:]))
						want = "=" + own
					case event.TimestampTZ:
						got = scan("select ($1::jsonb #>> '{}')::timestamptz::text", string(text[1:]))
						want = "=" + own
					}
				case c.Kind == KindText && s.typ != "text" && got != "refused":
					// As a text it is the same value still.
					if got != "="+string(text[1:]) {
						t.Errorf("%s: %q is stored as %s", typ, text[1:], got)
					}
					got, want = scan("select try_cast($1, $2)", string(text[1:]), s.typ), "="+own
				}
				if got != want {
					t.Errorf("%s: the text %q is read as %s, and the server's own %q as %s", typ, text[1:], got, own, want)
				}
				outcomes[got[:1]] = append(outcomes[got[:1]], typ)
			}
			fmt.Fprintln(&table, s.name)
			for _, code := range slices.Sorted(maps.Keys(outcomes)) {
				fmt.Fprintf(&table, "  %s: %s\n", strings.Replace(code, "r", "PG", 1), strings.Join(outcomes[code], ", "))
			}
		})
	}
	const path = "testdata/typed.txt"
	if *update {
		if err := os.WriteFile(path, table.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.SplitAfter(table.String(), "\n")
	for i, line := range strings.SplitAfter(string(want), "\n") {
		if i >= len(got) || got[i] != line {
			t.Fatalf("%s differs from line %d on, which is %q; got\n%s", path, i+1, line, strings.Join(got[min(i, len(got)):], ""))
		}
	}
}

// TestTypedOptions: what a column says of texts and numbers holds for typed ones, as far as they need it.
func TestTypedOptions(t *testing.T) {
	db := newDatabase(t, tryCast, "set timezone = 'UTC'")
	columns := db.columns("date", "time", "timetz", "timestamp", "timestamptz", "timestamptz(3)", "interval", "bytea", "numeric(12,2)", "numeric(3,-2)", "jsonb", "text", `"char"`, "name", "integer")
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	moment := event.Value{Kind: event.TimestampTZ, Scale: 6, N: typedMoment.UnixMicro()}
	wall := event.Value{Kind: event.Timestamp, Scale: 6, N: typedMoment.UnixMicro()}
	nanos := event.Value{Kind: event.TimestampTZ, Scale: 9, N: typedMoment.UnixNano() + 500}
	late := event.Value{Kind: event.TimestampTZ, N: typedDay.Add(23 * time.Hour).Unix()}
	number := func(n int64) event.Value { return event.Value{Kind: event.Int, N: n} }
	decimal := func(scale int32, raw ...byte) event.Value {
		return event.Value{Kind: event.Decimal, Scale: scale, Raw: raw}
	}
	clock := event.Value{Kind: event.Time, Scale: 3, N: 45_296_700}
	for _, tt := range []struct {
		typ  string
		set  func(*Type)
		v    event.Value
		want string // as the server has it, ! before the code of a refusal
	}{
		{"timestamptz", func(c *Type) { c.Unit = "ms" }, number(typedMoment.UnixMilli()), "2026-01-02 03:04:05.678+00"},
		{"timestamptz", func(c *Type) { c.Unit = "s" }, number(typedMoment.UnixMilli()), "!22008"},
		{"timestamptz", func(c *Type) { c.Unit = "s" }, decimal(2, 0x0f), "1970-01-01 00:00:00.15+00"},
		{"timestamptz", func(c *Type) { c.Unit = "s" }, typedFloat(-0.5), "1969-12-31 23:59:59.5+00"},
		{"timestamptz", func(c *Type) { c.Unit = "s" }, moment, "2026-01-02 03:04:05.678901+00"}, // needs no unit
		{"timestamptz", func(c *Type) { c.Unit = "s" }, typedText("5"), "1970-01-01 00:00:05+00"},
		{"interval", func(c *Type) { c.Unit = "us" }, number(90_500_000), "00:01:30.5"},
		{"date", func(c *Type) { c.Unit = "days" }, number(20455), "2026-01-02"},
		{"date", func(c *Type) { c.Unit = "days" }, typedFloat(1.5), "!22008"},
		{"date", func(c *Type) { c.Location = time.UTC }, late, "2026-01-02"},
		{"date", func(c *Type) { c.Location = berlin }, late, "2026-01-03"},
		{"date", func(c *Type) { c.Location = berlin }, wall, "2026-01-02"},
		{"date", func(c *Type) { c.Location = berlin }, event.Value{Kind: event.Date, N: 20455}, "2026-01-02"},
		{"date", func(c *Type) { c.Location = berlin }, event.Value{Kind: event.Infinity, N: -1}, "-infinity"},
		{"date", func(c *Type) { c.Location = berlin }, clock, "!22P02"},
		{"timetz", nil, clock, "12:34:56.7+00"},
		{"timetz", func(c *Type) { c.Session = berlin }, clock, "!22007"},
		{"timestamptz(3)", func(c *Type) { c.Strict = true }, moment, "!22008"},
		{"timestamptz(3)", func(c *Type) { c.Strict = true }, event.Value{Kind: event.TimestampTZ, Scale: 9, N: 1_000_000}, "1970-01-01 00:00:00.001+00"},
		{"timestamptz", func(c *Type) { c.Strict = true }, nanos, "!22008"},
		{"timestamptz", nil, nanos, "2026-01-02 03:04:05.678902+00"}, // as a text with these digits is rounded
		{"numeric(12,2)", func(c *Type) { c.Strict = true }, decimal(3, 0x4e, 0x1f), "!22003"},
		{"numeric(12,2)", func(c *Type) { c.Strict = true }, decimal(3, 0x4e, 0x20), "20.00"},
		{"numeric(12,2)", nil, decimal(3, 0x4e, 0x1f), "20.00"},
		{"numeric(12,2)", func(c *Type) { c.Strict = true }, typedFloat32(0.1), "0.10"},
		{"numeric(3,-2)", func(c *Type) { c.Strict = true }, decimal(-1, 0x7d), "!22003"},
		{"numeric(3,-2)", func(c *Type) { c.Strict = true }, decimal(-2, 0x0c), "1200"},
		{"numeric(12,2)", nil, decimal(2), "!22P02"},
		{"numeric(12,2)", nil, decimal(20000, 1), "!22003"},
		{"bytea", nil, event.Value{Kind: event.Bytes, Raw: []byte("AP8=")}, `\x4150383d`},
		{"bytea", func(c *Type) { c.Encoding = "base64" }, event.Value{Kind: event.Bytes, Raw: []byte("AP8=")}, `\x4150383d`}, // bytes are not written in anything
		{"bytea", func(c *Type) { c.Encoding = "base64" }, typedText("AP8="), `\x00ff`},
		{"bytea", nil, typedText("AP8="), "!22P02"},
		{"text", nil, typedText("a\x00"), "!22021"}, {"text", nil, typedText("\xff"), "!22021"}, {"text", nil, typedText("\xed\xa0\x80"), "!22021"},
		{"jsonb", nil, typedText("a\x00"), "!22P05"}, {"jsonb", nil, typedText("\xff"), "!22021"}, {"jsonb", nil, typedText(`a\u0000`), `"a\\u0000"`}, {"jsonb", nil, typedText(`{"a":1}`), `"{\"a\":1}"`},
		{"jsonb", nil, decimal(2, 0x02, 0xbc), "7.00"}, {"jsonb", nil, moment, `"2026-01-02T03:04:05.678901Z"`}, {"jsonb", nil, clock, `"12:34:56.7"`},
		{`"char"`, nil, typedText("ab"), "!22001"}, {"name", nil, typedText(strings.Repeat("x", 64)), "!22001"},
		{"integer", nil, decimal(-400, 1), "refused"}, {"integer", nil, decimal(-401, 1), "!22P02"}, {"integer", nil, decimal(0, 0x7f, 1, 2, 3, 4, 5, 6, 7, 8, 9), "refused"},
		{"integer", nil, event.Value{Kind: event.Unavailable}, "!22P02"}, // nobody should ask
	} {
		c := columns[tt.typ].Type
		if tt.set != nil {
			tt.set(&c)
		}
		c.Prepare()
		text, refusal := c.AppendValue(nil, &tt.v)
		var got *string
		if refusal != nil {
			code := "!" + refusal.Code
			got = &code
		} else if err := db.QueryRow(t.Context(), "select coalesce(try_cast($1, $2), 'refused')", string(text), tt.typ).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if *got != tt.want {
			t.Errorf("%s: %+v: got %s, from the text %q, want %s", tt.typ, tt.v, *got, text, tt.want)
		}
	}
}

// TestTypedTextIsJSON: a text becomes the same, or is refused with the same code, whether its format is JSON or not; and
// so do numbers.
func TestTypedTextIsJSON(t *testing.T) {
	db := newDatabase(t, append(slices.Clone(nestedTypes), "create type color as enum ('red', 'green')")...)
	columns := db.columns(typedTypes...)
	texts := []string{"", " ", "x", "7", "-7", "7.50", "1e3", "true", "NaN", "now", "2026-01-02", "2026-01-02T03:04:05.678Z", "20260102", "1705310101", "10:30", "infinity", "{}", "[1]", `"`, `\`, "é\n", "(today,1)", "[now,)", "{today}", strings.Repeat("x", 64)}
	for _, typ := range typedTypes {
		for _, strict := range []bool{false, true} {
			c := columns[typ].Type
			c.Strict = strict
			if c.Kind == KindBytea {
				c.Encoding = "base64"
			}
			c.Prepare()
			same := func(v, json event.Value) {
				t.Helper()
				got, r1 := c.AppendValue(nil, &v)
				want, r2 := c.AppendValue(nil, &json)
				if (r1 == nil) != (r2 == nil) || r1 != nil && r1.Code != r2.Code || r1 == nil && !bytes.Equal(got, want) {
					t.Errorf("%s: %s: got %q, %+v, as JSON %q, %+v", typ, json.Raw, got, r1, want, r2)
				}
			}
			for _, text := range texts {
				v := typedText(text)
				raw, err := v.AppendJSON(nil)
				if err != nil {
					t.Fatal(err)
				}
				same(v, event.Value{Kind: event.String, Raw: raw})
			}
			if c.Array || c.Kind == kindUUID {
				continue // PostgreSQL, or other words, refuse a number
			}
			for _, v := range []event.Value{{Kind: event.Int, N: 7}, {Kind: event.Int, N: -1705310101}, {Kind: event.Uint, N: -1}, typedFloat(1.5), typedFloat(1e300),
				{Kind: event.Decimal, Scale: 2, Raw: []byte{0x02, 0xbc}}, {Kind: event.Decimal, Scale: 3, Raw: []byte{0xff}}} {
				raw, err := v.AppendText(nil)
				if err != nil {
					t.Fatal(err)
				}
				same(v, event.Value{Kind: event.Number, Raw: raw})
			}
		}
	}
}

// TestTypedValues: random values are read by the server as what it got in binary.
func TestTypedValues(t *testing.T) {
	db := newDatabase(t, "set timezone = 'UTC'")
	columns := db.columns("date", "time", "timestamp", "timestamptz", "numeric", "real", "double precision", "bytea")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	first, last := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
	// moment is a random one, in microseconds, at times a round one.
	moment := func() int64 {
		n := first.UnixMicro() + r.Int64N(last.UnixMicro()-first.UnixMicro()+1)
		round := []int64{1, 1_000, 1_000_000, 86_400_000_000}[r.IntN(4)]
		return n - ((n%round)+round)%round
	}
	days := func() (event.Value, pgtype.Date) {
		at := time.UnixMicro(moment()).UTC().Truncate(24 * time.Hour)
		return event.Value{Kind: event.Date, N: at.Unix() / 86400}, pgtype.Date{Time: at, Valid: true}
	}
	clocks := func() (event.Value, pgtype.Time) {
		n := r.Int64N(86_400_000_001)
		return event.Value{Kind: event.Time, Scale: 6, N: n}, pgtype.Time{Microseconds: n, Valid: true}
	}
	walls := func() (event.Value, pgtype.Timestamp) {
		n := moment()
		return event.Value{Kind: event.Timestamp, Scale: 6, N: n}, pgtype.Timestamp{Time: time.UnixMicro(n).UTC(), Valid: true}
	}
	moments := func() (event.Value, pgtype.Timestamptz) {
		n := moment()
		return event.Value{Kind: event.TimestampTZ, Scale: 6, N: n}, pgtype.Timestamptz{Time: time.UnixMicro(n), Valid: true}
	}
	decimals := func() (event.Value, pgtype.Numeric) {
		raw := make([]byte, 1+r.IntN(20))
		for i := range raw {
			raw[i] = byte(r.Uint32())
		}
		n := new(big.Int).SetBytes(raw)
		if raw[0] >= 0x80 {
			n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(raw))))
		}
		scale := r.Int32N(60) - 10
		return event.Value{Kind: event.Decimal, Scale: scale, Raw: raw}, pgtype.Numeric{Int: n, Exp: -scale, Valid: true}
	}
	floats := func() (event.Value, float64) {
		f := math.Float64frombits(r.Uint64())
		return typedFloat(f), f
	}
	floats32 := func() (event.Value, float32) {
		f := math.Float32frombits(r.Uint32())
		return typedFloat32(f), f
	}
	blobs := func() (event.Value, []byte) {
		b := make([]byte, r.IntN(40))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return event.Value{Kind: event.Bytes, Raw: b}, b
	}
	compareTyped(t, db, columns["date"], days)
	compareTyped(t, db, columns["time"], clocks)
	compareTyped(t, db, columns["timestamp"], walls)
	compareTyped(t, db, columns["timestamptz"], moments)
	compareTyped(t, db, columns["numeric"], decimals)
	compareTyped(t, db, columns["double precision"], floats)
	compareTyped(t, db, columns["real"], floats32)
	compareTyped(t, db, columns["bytea"], blobs)
}

// compareTyped sends values as texts and in binary.
func compareTyped[P any](t *testing.T, db *database, c *column, next func() (event.Value, P)) {
	t.Helper()
	texts, params := make([]string, 3000), make([]P, 3000)
	for i := range texts {
		var v event.Value
		v, params[i] = next()
		text, refusal := c.AppendValue(nil, &v)
		if refusal != nil {
			t.Fatalf("%s: %+v: %+v", c.Base, v, *refusal)
		}
		texts[i] = string(text)
	}
	differ := db.Texts(fmt.Sprintf(`select format('the text %%s is %%s, and the value in binary %%s', a, a::%[1]s, b)
		  from unnest($1::text[], $2::%[1]s[]) as x(a, b) where a::%[1]s::text <> b::text limit 3`, c.Base), texts, params)
	for _, line := range differ {
		t.Errorf("%s: %s", c.Base, *line)
	}
	if n := db.Texts(fmt.Sprintf("select count(b)::text from unnest($1::%s[]) as x(b)", c.Base), params); *n[0] != "3000" {
		t.Errorf("%s: compared %s values of 3000", c.Base, *n[0])
	}
}
