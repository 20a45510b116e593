package pgtext

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What is out of range names the unit that is meant, and a number without a unit what to write.
func TestUnitMessages(t *testing.T) {
	db := newDatabase(t)
	columns := db.columns("timestamptz", "date", "time", "interval", "timestamp[]")
	for _, tt := range []struct{ typ, unit, value, want string }{
		{"timestamptz", "", "1705310101", "`unit:`"}, {"date", "", `"1705310101"`, "`unit:`"}, {"interval", "", "5", "`unit:`"}, {"time", "", `"5"`, "`unit:`"}, {"timestamp[]", "", "[5]", "`unit:`"},
		{"timestamptz", "s", "1705310101000", "`unit: ms`"}, {"timestamptz", "s", "1705310101000000", "`unit: us`"}, {"timestamptz", "s", "1705310101000000000", "`unit: ns`"},
		{"timestamptz", "ms", "1705310101000000", "`unit: us`"}, {"timestamptz", "days", "1705310101", "`unit: s`"}, {"time", "s", "36000000", "`unit: ms`"}, {"date", "days", "1.5", "fraction of a day"},
	} {
		c := *columns[tt.typ]
		c.Unit = tt.unit
		c.Prepare()
		if _, r := value(&c.Type, tt.value); r == nil || !strings.Contains(r.Message, tt.want) {
			t.Errorf("%s in %s: %s: got %+v, want %s", tt.typ, tt.unit, tt.value, r, tt.want)
		}
	}
}

// A number with a unit is, to the microsecond, what PostgreSQL makes of the same moment as a text, and what Go
// sends for it in a binary COPY is the same once more.
func TestUnitsAreExact(t *testing.T) {
	db := newDatabase(t, "set timezone = 'UTC'")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	c := db.columns("timestamptz")["timestamptz"]
	const n = 4000
	numbers, powers, texts := make([]string, n), make([]int, n), make([]string, n)
	for i := range n {
		unit := pick(r, "s", "ms", "us", "ns")
		powers[i] = unitDigits[unit]
		// Seconds of the years 1 to 9999, and digits below.
		number := strconv.FormatInt(r.Int64N(315_000_000_000)-62_000_000_000, 10)
		if r.IntN(2) == 0 {
			number = pick(r, "", "-") + strconv.Itoa(r.IntN(3))
		}
		fraction := ""
		for range r.IntN(12) {
			fraction += pick(r, "0", "9", "4", "5", strconv.Itoa(r.IntN(10)))
		}
		// The point moves to the right by as many digits as the unit has.
		for range powers[i] {
			digit := "0"
			if fraction != "" {
				digit, fraction = fraction[:1], fraction[1:]
			}
			number += digit
		}
		if negative := strings.HasPrefix(number, "-"); negative {
			number = "-" + strings.TrimLeft(number[1:len(number)-1], "0") + number[len(number)-1:]
		} else {
			number = strings.TrimLeft(number[:len(number)-1], "0") + number[len(number)-1:]
		}
		if fraction != "" {
			number += "." + fraction
		}
		numbers[i] = number
		with := *c
		with.Unit = unit
		text, refused := value(&with.Type, number)
		if refused != nil {
			t.Fatalf("%s %s: %s", number, unit, refused.Message)
		}
		texts[i] = text
		if _, ok := wireTimestamp(&with.Type, nil, []byte(text)); !ok {
			t.Errorf("%s %s: %q has no binary form", number, unit, text)
		}
	}
	bad := db.Texts(`
		with moments as (select x, got, x::numeric * ('1e-' || p)::numeric as v from unnest($1::text[], $2::int[], $3::text[]) u (x, p, got)),
		parts as (select x, got, floor(v / 86400)::int as d, floor(v)::bigint - 86400 * floor(v / 86400)::bigint as s, split_part(trim_scale(v - floor(v))::text, '.', 2) as f from moments)
		select x || ' became ' || got || ', want ' || want from parts,
		lateral (select ((date '1970-01-01' + d)::text || ' ' || (s * interval '1 second')::text || '.' || f)::timestamp at time zone 'UTC' as want) w
		where got::timestamptz <> want limit 5`, numbers, powers, texts)
	for _, b := range bad {
		t.Error(*b)
	}
}
