package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/oncesink/oncesink/internal/testpg"
)

// column of the source's table: how a random value of it is made, and what both sides are compared by, if that isn't the value.
type column struct {
	name, typ, random string
	toast             string // not empty: the value is large and stays out of the log where it doesn't change; the expression writes it anew
	compare           string
	plain             bool // readable without a schema, with the unit or encoding that plainColumns says
}

// compared is the expression that both sides are compared by.
func (c column) compared() string {
	if c.compare != "" {
		return c.compare
	}
	return c.name
}

// columns are all common types. Debezium changes some values, so that they are not compared by their text: it strips the zeros of a numeric
// without a scale, makes the zone of a timetz UTC, and of an interval that comes as microseconds one more or less.
var columns = []column{
	{name: "n", typ: "numeric(12,2)", random: "round((random() * 2e6 - 1e6)::numeric, 2)", plain: true},
	{name: "nv", typ: "numeric", random: "round((random() * 1e6 - 5e5)::numeric, (random() * 12)::int)", compare: "trim_scale(nv)", plain: true},
	{name: "ts", typ: "timestamp", random: "timestamp '2020-01-01' + random() * interval '2000 days'", plain: true},
	{name: "ts3", typ: "timestamp(3)", random: "timestamp '2020-01-01' + random() * interval '2000 days'", plain: true},
	{name: "tz", typ: "timestamptz", random: "case when random() < .1 then 'infinity' else timestamptz '2020-01-01' + random() * interval '2000 days' end", plain: true},
	{name: "d", typ: "date", random: "date '2020-01-01' + (random() * 2000)::int", plain: true},
	{name: "tm", typ: "time", random: "time '00:00' + random() * interval '24 hours'", plain: true},
	{name: "tmz", typ: "timetz", random: "((time '00:00' + random() * interval '24 hours')::text || '+02')::timetz", compare: "tmz at time zone 'UTC'", plain: true},
	{name: "j", typ: "jsonb", random: `jsonb_build_object('a', round(random()::numeric, 3), 'é"', array['x', null])`, plain: true},
	{name: "u", typ: "uuid", random: "gen_random_uuid()", plain: true},
	{name: "b", typ: "bytea", random: "decode(md5(random()::text), 'hex')", plain: true},
	{name: "e", typ: "mood", random: "(array['sad', 'ok']::mood[])[1 + (random())::int]", plain: true},
	{name: "iv", typ: "interval", random: "date_trunc('milliseconds', random() * interval '90 days')", compare: "round(extract(epoch from iv), 3)", plain: true},
	{name: "p", typ: "point", random: "point(round(random() * 100), 0.5)"},
	{name: "infts", typ: "timestamp", random: "case when random() < .5 then '-infinity' else timestamp '2020-01-01' end"},
	{name: "m", typ: "money", random: "round((random() * 2000 - 1000)::numeric, 2)::money"},
	{name: "r", typ: "tstzrange", random: "tstzrange('2026-01-01', timestamptz '2026-01-02' + random() * interval '9 days')", plain: true},
	{name: "ip", typ: "inet", random: "inet '10.0.0.1' + (random() * 1000)::int", plain: true},
	{name: "dflt", typ: "int default 7", random: "(random() * 100)::int", plain: true},
	{name: "x", typ: "xml", random: "('<a>' || random() || '</a>')::xml", plain: true},
	{name: "bits", typ: "bit(5)", random: "(random() * 31)::int::bit(5)"},
	{name: "i2", typ: "smallint", random: "(random() * 1000)::smallint", plain: true},
	{name: "f4", typ: "real", random: "random()::real", plain: true},
	{name: "f8", typ: "double precision", random: "random() * 1e9", plain: true},
	{name: "flag", typ: "boolean", random: "random() < .5", plain: true},
	{name: "big", typ: "text", random: "repeat(md5(random()::text), 100)", toast: "big || ''", plain: true},
	{name: "bigj", typ: "jsonb", random: "jsonb_build_object('k', repeat(md5(random()::text), 100))", toast: "bigj || '{}'", plain: true},
	{name: "bigb", typ: "bytea", random: "decode(repeat(md5(random()::text), 150), 'hex')", toast: "bigb || ''", plain: true},
	{name: "arr", typ: "text[]", random: `array[repeat(md5(random()::text), 100), null, 'b"c']`, toast: "arr || '{}'", plain: true},
	{name: "ia", typ: "int[]", random: "(select array_agg((random() * 1e6)::int) from generate_series(1, 700))", toast: "ia || '{}'", plain: true},
	{name: "ba", typ: "bigint[]", random: "(select array_agg((random() * 1e12)::bigint) from generate_series(1, 400))", toast: "ba || '{}'", plain: true},
	{name: "ua", typ: "uuid[]", random: "(select array_agg(gen_random_uuid()) from generate_series(1, 200))", toast: "ua || '{}'", plain: true},
}

// tables creates the two tables of the source, or the same in a target without a source's settings. pairs has a key of two columns, and tells all of a row that changes.
func tables(columns []column, source bool) (statements []string) {
	var list []string
	for _, c := range columns {
		list = append(list, c.name+" "+c.typ)
	}
	statements = []string{
		"create type mood as enum ('sad', 'ok')",
		"create table items (id bigint primary key, " + strings.Join(list, ", ") + ")",
		"create table pairs (a int, b text, n int, note text, primary key (a, b))",
	}
	if !source {
		return statements
	}
	for _, c := range columns {
		if c.toast != "" {
			statements = append(statements, "alter table items alter "+c.name+" set storage external")
		}
	}
	return append(statements, "alter table pairs alter note set storage external", "alter table pairs replica identity full")
}

// dml changes the source at random. Keys are few, so that rows come, go and come again.
type dml struct {
	db   *testpg.Database
	rnd  *rand.Rand
	keys int
}

// transactions executes so many of one to five statements; one in ten is rolled back.
func (d *dml) transactions(n int) {
	d.db.T.Helper()
	for range n {
		d.db.Do("begin")
		for range 1 + d.rnd.IntN(5) {
			if d.rnd.IntN(4) == 0 {
				d.db.Do(d.pairs())
			} else {
				d.db.Do(d.items())
			}
		}
		if d.rnd.IntN(10) == 0 {
			d.db.Do("rollback")
		} else {
			d.db.Do("commit")
		}
	}
}

func (d *dml) key() int { return 1 + d.rnd.IntN(d.keys) }

// value of a column: random, or null.
func (d *dml) value(c column) string {
	if d.rnd.IntN(5) == 0 {
		return "null"
	}
	return c.random
}

func (d *dml) items() string {
	id := d.key()
	switch d.rnd.IntN(10) {
	case 0, 1, 2:
		values := []string{fmt.Sprint(id)}
		for _, c := range columns {
			values = append(values, d.value(c))
		}
		return "insert into items values (" + strings.Join(values, ", ") + ") on conflict do nothing"
	case 3, 4, 5: // leaves TOAST alone
		return fmt.Sprintf("update items set %s where id = %d", d.sets(func(c column) bool { return c.toast == "" }), id)
	case 6:
		return fmt.Sprintf("update items set %s where id = %d", d.sets(func(column) bool { return true }), id)
	case 7: // several rows
		return fmt.Sprintf("update items set i2 = %d where id %% 7 = %d", d.rnd.IntN(1000), d.rnd.IntN(7))
	case 8: // another key. What is large is written again: see withoutItsValues
		set := fmt.Sprintf("id = %d", d.key())
		for _, c := range columns {
			if c.toast != "" {
				set += ", " + c.name + " = " + c.toast
			}
		}
		to, _, _ := strings.Cut(strings.TrimPrefix(set, "id = "), ",")
		return fmt.Sprintf("update items set %s where id = %d and not exists (select from items where id = %s)", set, id, to)
	}
	return fmt.Sprintf("delete from items where id = %d", id)
}

// sets gives some columns new values.
func (d *dml) sets(want func(column) bool) string {
	var sets []string
	for len(sets) == 0 {
		for _, c := range columns {
			if want(c) && d.rnd.IntN(6) == 0 {
				sets = append(sets, c.name+" = "+d.value(c))
			}
		}
	}
	return strings.Join(sets, ", ")
}

func (d *dml) pairs() string {
	a, b := d.rnd.IntN(5), d.rnd.IntN(4)
	switch d.rnd.IntN(6) {
	case 0, 1:
		return fmt.Sprintf("insert into pairs values (%d, 'k%d', %d, repeat(md5(random()::text), 100)) on conflict do nothing", a, b, d.rnd.IntN(100))
	case 2, 3:
		return fmt.Sprintf("update pairs set n = %d where (a, b) = (%d, 'k%d')", d.rnd.IntN(100), a, b)
	case 4: // another key, and what is large is not touched: the identity is full
		to := d.rnd.IntN(4)
		return fmt.Sprintf("update pairs set b = 'k%d' where (a, b) = (%d, 'k%d') and not exists (select from pairs where (a, b) = (%d, 'k%d'))", to, a, b, a, to)
	}
	return fmt.Sprintf("delete from pairs where (a, b) = (%d, 'k%d')", a, b)
}
