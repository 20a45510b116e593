package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/sink"
)

// upsert opens one table of one topic.
func (db *database) upsert(table string, tc sink.TableConfig) *engine {
	db.T.Helper()
	tc.Name, tc.Topics = table, []string{"o"}
	return db.open(sink.Config{Tables: []sink.TableConfig{tc}})
}

// Twice is once: a second load of the same topic writes nothing at all, not even
// row locks (rules 11 and 20). Dead letters stay single.
func TestReplayWritesNothing(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key, version int, n int)")
	e := db.upsert("q", sink.TableConfig{Key: []string{"id"}, Version: "version", RecordKey: map[string]string{"id": "$key"}})
	parts := func() *decode.Part {
		return e.part("o", 0,
			ev{offset: 0, cols: "id=1 version=1 n=1"},
			ev{offset: 1, cols: "id=2 version=1 n=1"},
			ev{offset: 2, cols: "id=1 version=2 n=2"},
			ev{offset: 3, cols: "id=2", gone: true},
			ev{offset: 4, cols: "id=3 version=1 n=x"},
			ev{offset: 5, cols: "id=4 version=7"},
			ev{offset: 6, cols: "id=5", gone: true},
		)
	}
	e.write(parts())
	const physical = `select 'q', ctid, xmin, xmax, q::text from q union all select 'm', ctid, xmin, xmax, m::text from oncesink."public.q deletes" m
		union all select 'd', ctid, xmin, xmax, "offset"::text from oncesink.dead_letters order by 1, 5`
	before := db.Lines(physical)
	if n := strings.Count(before, "\n") + 1; n != 5 {
		t.Fatalf("%d rows:\n%s", n, before)
	}
	e.rewind("o", 0, 0)
	e.write(parts())
	db.Want(before, physical)
	db.Want("7", "select next_offset from oncesink.offsets")
}

// Rule 11, the cases that it names.
func TestOrder(t *testing.T) {
	for _, tt := range []struct {
		name   string
		events string // "version", "version:source" or "x" for a tombstone, in the order of the log
		want   string // version and offset of the row, "-" if it is gone
	}{
		{"a later version wins", "1 2", "2|1"},
		{"an earlier version that comes late loses", "2 1", "2|0"},
		{"of equal versions the later offset wins", "1 1", "1|1"},
		{"a tombstone deletes whatever the version", "9 x", "-"},
		{"an older event that comes late does not bring the row back", "9 x 5", "-"},
		{"a row created again needs a version at least as high", "9 x 9", "9|2"},
		{"the version of the deleted row stays, tombstone after tombstone", "9 x x 8", "-"},
	} {
		for _, batches := range []string{"one batch", "single events"} {
			t.Run(tt.name+", "+batches, func(t *testing.T) {
				db := newDatabase(t, "create table q (id int primary key, v int)")
				e := db.upsert("q", sink.TableConfig{Key: []string{"id"}, Version: "v", RecordKey: map[string]string{"id": "$key"}})
				var evs []ev
				for i, v := range strings.Fields(tt.events) {
					evs = append(evs, ev{offset: int64(i), cols: "id=1 v=" + v, gone: v == "x"})
				}
				if batches == "one batch" {
					e.write(e.part("o", 0, evs...))
				} else {
					for _, v := range evs {
						e.write(e.part("o", 0, v))
					}
				}
				db.Want(tt.want, "select coalesce(min(v || '|' || _oncesink_offset), '-') from q")
			})
		}
	}
}

// Rule 11: a stored null, of the version or of the guard, loses: rows that were
// there before init are taken over, but not by an older version.
func TestStoredNullLoses(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key, v int, n int)", "insert into q values (1, null, 0), (2, 5, 0), (3, 5, 0), (4, 5, 0), (5, 5, 0)")
	e := db.upsert("q", sink.TableConfig{Key: []string{"id"}, Version: "v", RecordKey: map[string]string{"id": "$key"}})
	e.write(e.part("o", 0,
		ev{offset: 0, cols: "id=1 v=1 n=1"},
		ev{offset: 1, cols: "id=2 v=5 n=1"},
		ev{offset: 2, cols: "id=3 v=4 n=1"},
		ev{offset: 3, cols: "id=4 v=6"},
		ev{offset: 4, cols: "id=5", gone: true}))
	db.Want("1|1|1\n2|5|1\n3|5|0\n4|6|0", "select id, v, n from q order by 1")
}

// Rule 11: an event without its version, and rule 14: one without its key, or with
// one that does not read as its type, are dead letters.
func TestEventWithoutVersionOrKey(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key, v int)")
	e := db.upsert("q", sink.TableConfig{Key: []string{"id"}, Version: "v", RecordKey: map[string]string{"id": "$key"}})
	e.write(e.part("o", 0,
		ev{offset: 0, cols: "id=1"}, ev{offset: 1, cols: "id=1 v=null"}, ev{offset: 2, cols: "v=1"}, ev{offset: 3, cols: "id=null v=1"},
		ev{offset: 4, cols: "id=x v=1"}, ev{offset: 5, cols: "id=y", gone: true}, ev{offset: 6, cols: "id=7 v=1"}))
	db.Want("7", "select id from q")
	db.Want("0|v|23502\n1|v|23502\n2|id|23502\n3|id|23502\n4|id|22P02\n5|id|22P02", `select "offset", column_name, code from oncesink.dead_letters order by 1`)
}

// Rule 12: the events of a topic that was recreated count from zero again, and win.
func TestGeneration(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key, n int)", "create table log (n int)")
	e := db.open(sink.Config{Tables: []sink.TableConfig{
		{Name: "q", Topics: []string{"o"}, Key: []string{"id"}, RecordKey: map[string]string{"id": "$key"}},
		{Name: "log", Topics: []string{"o"}, Strategy: sink.Append},
	}})
	write := func(offset int64, cols string, gone bool) {
		e.write(e.part("o", 0, ev{offset: offset, cols: cols, gone: gone}, ev{offset: offset, cols: "n=1", table: "log"}))
	}
	write(100, "id=1 n=1", false)
	write(101, "id=2 n=1", false)
	write(102, "id=3", true)
	write(103, "id=4 n=1", false)
	e.recreate("o")
	write(0, "id=1 n=2", false)
	write(1, "id=2", true)
	write(2, "id=3 n=2", false)
	write(100, "id=4 n=2", false)
	db.Want("1|2\n3|2\n4|2", "select id, n from q order by id")
	db.Want("8", "select count(*) from log")
	db.Want("4", "select count(*) from log where _oncesink_source >> 20 = 1")
}

// Rule 14: two spellings of a key are one key, in a batch and beside the memory.
func TestKeysAreEqualAsPostgreSQLSays(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key, n int)")
	e := db.upsert("q", sink.TableConfig{Key: []string{"id"}, RecordKey: map[string]string{"id": "$key"}})
	e.write(e.part("o", 0, ev{offset: 0, cols: "id=7 n=1"}, ev{offset: 1, cols: "id=07 n=2"}, ev{offset: 2, cols: "id=+7 n=3"}))
	db.Want("7|3", "select id, n from q")
	e.write(e.part("o", 0, ev{offset: 3, cols: "id=007", gone: true}, ev{offset: 4, cols: "id=8 n=1"}))
	db.Want("8|1", "select id, n from q")
	db.Want("0", "select count(*) from oncesink.dead_letters")
}

// Rule 14: what Go can't read of a key or a version, PostgreSQL reads before the
// events are folded; and what neither can, is a dead letter, not an error of the batch.
func TestSpellings(t *testing.T) {
	db := newDatabase(t, "create table q (day date, on_sale boolean, v timestamptz, n int, primary key (day, on_sale))")
	e := db.upsert("q", sink.TableConfig{Key: []string{"day", "on_sale"}, Version: "v"})
	e.write(e.part("o", 0,
		ev{offset: 0, cols: "day=2026-01-08 on_sale=true v=2026-01-01_12:00+00 n=0"},
		ev{offset: 1, cols: "day=8_January_2026 on_sale=yes v=2026-01-01_12:00:01_Asia/Tokyo n=1"}, // nine hours earlier
		ev{offset: 2, cols: "day=January_8,_2026 on_sale=on v=Jan_2_2026 n=2"},
		ev{offset: 3, cols: "day=nonsense on_sale=on v=2026-01-01_12:00+00"},
		ev{offset: 4, cols: "day=2026-02-30 on_sale=on v=2026-01-01_12:00+00"},
		ev{offset: 5, cols: "day=2026-02-20 on_sale=on v=soon"},
		ev{offset: 6, cols: "day=2026-01-08 on_sale=maybe v=2026-01-01_12:00+00"},
		ev{offset: 7, cols: "day=2026-01-09 on_sale=off v=2026-01-01_12:00+00 n=7"}))
	db.Want("2026-01-08|t|2\n2026-01-09|f|7", "select day, on_sale, n from q order by 1")
	db.Want("3|22007|day\n4|22008|day\n5|22007|v\n6|22P02|on_sale", `select "offset", code, column_name from oncesink.dead_letters order by 1`)
}

// Rule 14: spaces that varchar(n) does not store are no part of the key.
func TestSpacesAtTheEndOfKeys(t *testing.T) {
	db := newDatabase(t, "create table q (id varchar(3), c char(3), n int, primary key (id, c))")
	e := db.upsert("q", sink.TableConfig{Key: []string{"id", "c"}, RecordKey: map[string]string{"id": "$key.id", "c": "$key.c"}})
	batch := func() *decode.Part {
		return e.part("o", 0, ev{offset: 0, cols: "id=abc__ c=x n=0"}, ev{offset: 1, cols: "id=abc c=x__ n=1"}, ev{offset: 2, cols: "id=ab c=x n=2"}, ev{offset: 3, cols: "id=ab_ c=x n=3"})
	}
	e.write(batch())
	db.Want("'abc'|1\n'ab '|3\n'ab'|2", "select quote_literal(id), n from q order by id desc")
	e.write(e.part("o", 0, ev{offset: 4, cols: "id=abc_ c=x", gone: true}))
	e.rewind("o", 0, 0)
	e.write(batch())
	db.Want("'ab '|3\n'ab'|2", "select quote_literal(id), n from q order by id desc")
	db.Want("0", "select count(*) from oncesink.dead_letters")
}

// Rule 14: keys and versions count with the precision of their columns, beside
// the memory as well.
func TestPrecisionOfKeys(t *testing.T) {
	db := newDatabase(t, "create table q (id numeric(4,1) primary key, v timestamp(0))")
	e := db.upsert("q", sink.TableConfig{Key: []string{"id"}, Version: "v", RecordKey: map[string]string{"id": "$key"}})
	batch := func() *decode.Part {
		return e.part("o", 0, ev{offset: 0, cols: "id=1.25 v=2026-01-01_00:00:00.6"}, ev{offset: 1, cols: "id=2.25 v=2026-01-01_00:00:00.6"})
	}
	e.write(batch())
	e.write(e.part("o", 0, ev{offset: 2, cols: "id=1.3", gone: true}))
	// Of equal versions, once they are rounded, the later offset wins.
	e.write(e.part("o", 0, ev{offset: 3, cols: "id=2.3 v=2026-01-01_00:00:01.4"}))
	e.rewind("o", 0, 0)
	e.write(batch())
	db.Want("2.3|2026-01-01 00:00:01|3", "select id, v, _oncesink_offset from q")
}

// Rule 15: what a cast would cut off is refused; and a value means the same
// whatever the role's, the database's or the session's settings are.
func TestCasts(t *testing.T) {
	db := newDatabase(t, `create domain code as varchar(4) check (value <> 'evil')`,
		`create table q (id int primary key, v varchar(5), c char(3), n numeric(4,2), b bit(3), d code, ts timestamptz, day date, i interval, f float8, m int[])`)
	for _, s := range []string{"datestyle = 'German'", "intervalstyle = 'sql_standard'", "timezone = 'Asia/Tokyo'", "extra_float_digits = 0",
		"default_transaction_isolation = 'serializable'", "search_path = 'nowhere'"} {
		db.Do(fmt.Sprintf("do $$ begin execute format('alter database %%I set %s', current_database()); end $$", strings.ReplaceAll(s, "'", "''")))
	}
	e := db.upsert("q", sink.TableConfig{Key: []string{"id"}})
	for i, cols := range []string{
		"id=0 v=abcde c=abc n=1.239 b=101 d=abcd ts=2026-01-02_03:04:05 day=01/02/2026 i=1_2:03:04 f=0.30000000000000004 m={1,2}",
		"id=1 v=abcdef", "id=2 c=abcd", "id=3 n=123.4", "id=4 b=1010", "id=5 d=abcde", "id=6 d=evil", "id=7 m={1,x}",
	} {
		e.write(e.part("o", 0, ev{offset: int64(i), cols: cols}))
	}
	db.Do("set timezone = 'UTC'; set datestyle = 'ISO'; set intervalstyle = 'postgres'; set search_path = public; set extra_float_digits = 1")
	db.Want("0|abcde|abc|1.24|101|abcd|2026-01-02 03:04:05+00|2026-01-02|1 day 02:03:04|0.30000000000000004|{1,2}", "select * from (select id, v, c, n, b, d, ts, day, i, f, m from q) x")
	db.Want("1|22001\n2|22001\n3|22003\n4|22026\n5|22001\n6|23514\n7|22P02", `select "offset", code from oncesink.dead_letters order by 1`)
}

// Rule 16: a field that is absent leaves its column; null sets it; a partial event
// of a key that is there needs no NOT NULL column; one of a key that is not there
// is a dead letter; and an event that loses contributes nothing.
func TestPartialEvents(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key, v int, a int not null, b int default 7, c int)")
	e := db.upsert("q", sink.TableConfig{Key: []string{"id"}, Version: "v"})
	e.write(e.part("o", 0,
		ev{offset: 0, cols: "id=1 v=1 a=1 c=1"},        // b takes its default
		ev{offset: 1, cols: "id=1 v=2 c=null"},         // a stays, c is null
		ev{offset: 2, cols: "id=2 v=1 b=1"},            // no a, no row
		ev{offset: 3, cols: "id=3 v=5 a=5 b=null c=5"}, // null, not the default
		ev{offset: 4, cols: "id=3 v=4 a=4 b=4"},        // loses: contributes nothing
		ev{offset: 5, cols: "id=4 v=1 a=1 b=1 c=1"},
	))
	e.write(e.part("o", 0, ev{offset: 6, cols: "id=4 v=2 b=2"}, ev{offset: 7, cols: "id=4 v=3 c=3"}, ev{offset: 8, cols: "id=1 v=1 a=9"}))
	db.Want("1|2|1|7|-\n3|5|5|-|5\n4|3|1|2|3", "select id, v, a, b, c from q order by 1")
	db.Want("2|23502|a", `select "offset", code, column_name from oncesink.dead_letters`)
}

// Rule 16: more than eight sets of present fields in a round go into statements
// with presence flags, with the same result: rows that are there and rows that
// are not, defaults, nulls, tombstones, all at once.
func TestManySetsOfFields(t *testing.T) {
	for _, guard := range []sink.Guard{"", sink.GuardNone} {
		for _, sets := range []int{4, 16} {
			t.Run(fmt.Sprintf("guard %q, %d sets", guard, sets), func(t *testing.T) {
				db := newDatabase(t, "create table q (id int primary key, v int, a int default 1, b text default 'x' || 'y', c int, d timestamptz default '2020-01-01')",
					"insert into q select g, 0, -1, 'old', -1, '1999-01-01' from generate_series(0, 15) g")
				e := db.upsert("q", sink.TableConfig{Key: []string{"id"}, Version: "v", Guard: guard, RecordKey: map[string]string{"id": "$key"}})
				var evs []ev
				var want []string
				for id := range 32 { // 0..15 are there, 16..31 are not
					v := ev{offset: int64(id), cols: fmt.Sprintf("id=%d v=1", id)}
					row := [4]string{"-1", "old", "-1", "1999-01-01"}
					if id >= 16 {
						row = [4]string{"1", "xy", "-", "2020-01-01"}
					}
					for i, f := range []string{"a=5", "b=new", "c=null", "d=2026-01-01"} {
						if id%sets>>i&1 == 1 {
							v.cols += " " + f
							_, row[i], _ = strings.Cut(strings.ReplaceAll(f, "null", "-"), "=")
						}
					}
					evs = append(evs, v)
					want = append(want, fmt.Sprintf("%d|1|%s", id, strings.Join(row[:], "|")))
				}
				evs = append(evs, ev{offset: 40, cols: "id=40", gone: true})
				e.write(e.part("o", 0, evs...))
				db.Want(strings.Join(want, "\n"), "select id, v, a, b, c, d::date from q order by 1")
			})
		}
	}
}

// A generated column is PostgreSQL's to compute.
func TestGeneratedColumn(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key, n int, double int not null generated always as (2 * n) stored)")
	e := db.upsert("q", sink.TableConfig{Key: []string{"id"}})
	e.write(e.part("o", 0, ev{offset: 0, cols: "id=1 n=3"}, ev{offset: 1, cols: "id=2 n=null"}))
	db.Want("1|3|6", "select id, n, double from q")
	db.Want("1|23502", `select "offset", code from oncesink.dead_letters`)
}

// A batch of many rows into a table that a vacuum has seen empty is written in
// statements small enough that the plan of the first does no harm.
func TestManyRowsIntoVacuumedTable(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key, note text)")
	e := db.upsert("q", sink.TableConfig{Key: []string{"id"}})
	db.Do("vacuum analyze q")
	const rows = 20_000
	evs := make([]ev, rows)
	for i := range evs {
		evs[i] = ev{offset: int64(i), cols: fmt.Sprintf("id=%d note=%0100d", i, i)}
	}
	e.write(e.part("o", 0, evs...))
	e.pool.Close() // its sessions report what they read
	const hits = "select heap_blks_hit from pg_statio_user_tables where relname = 'q'"
	waitUntil(t, func() bool {
		return db.Lines("select n_tup_ins from pg_stat_user_tables where relname = 'q'") == fmt.Sprint(rows)
	})
	db.Want("t", "select heap_blks_hit < 1000000 from pg_statio_user_tables where relname = 'q'")
	t.Logf("%s pages read", db.Lines(hits))
}

// guard: none writes without engine columns. Versions still order the events
// of a key, whatever the batch borders.
func TestWithoutGuard(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key, v int, n int)", "create table k (a int, b int, primary key (a, b))")
	e := db.open(sink.Config{Tables: []sink.TableConfig{
		{Name: "q", Topics: []string{"o"}, Key: []string{"id"}, Version: "v", Guard: "none", RecordKey: map[string]string{"id": "$key"}},
		{Name: "k", Topics: []string{"o"}, Key: []string{"b", "a"}, Guard: "none"},
	}})
	e.write(e.part("o", 0, ev{offset: 0, cols: "id=1 v=2 n=2"}, ev{offset: 1, cols: "id=1 v=1 n=1"}, ev{offset: 2, cols: "id=2 v=1 n=1"}, ev{offset: 3, table: "k", cols: "a=1 b=2"}))
	e.write(e.part("o", 0, ev{offset: 4, cols: "id=1 v=1 n=3"}, ev{offset: 5, cols: "id=2", gone: true}, ev{offset: 6, cols: "id=2 v=0 n=9"}, ev{offset: 7, table: "k", cols: "a=1 b=2"}))
	db.Want("1|2|2\n2|0|9", "select id, v, n from q order by 1")
	db.Want("1|2", "select a, b from k")
	if why := e.ReplayRefused(); !strings.Contains(why, "public.q") || !strings.Contains(why, "public.k") {
		t.Errorf("ReplayRefused %q", why)
	}
}

// Append: one row an event, by where it stood in the log; absent fields take defaults.
func TestAppend(t *testing.T) {
	for _, create := range []string{
		"create table log (day date, n int, note text default 'none')",
		"create table log (day date, n int, note text default 'none') partition by range (day)",
	} {
		db := newDatabase(t, create)
		if strings.Contains(create, "partition") {
			db.Do("create table log_all partition of log default")
		}
		e := db.upsert("log", sink.TableConfig{Strategy: sink.Append})
		batch := func() []*decode.Part {
			return []*decode.Part{
				e.part("o", 0, ev{offset: 0, cols: "day=2026-01-01 n=1 note=a"}, ev{offset: 1, cols: "day=2026-01-01 n=1"}, ev{offset: 2, cols: "day=2026-01-01 n=x"}, ev{offset: 3, cols: "day=2026-01-01 note=null"}, ev{offset: 4, cols: "n=4"}),
				e.part("o", 1, ev{offset: 0, cols: "day=2026-01-01 n=1 note=a"}),
			}
		}
		e.write(batch()...)
		const dump = "select day, n, note, _oncesink_source, _oncesink_offset, xmin, ctid from log order by 4, 5"
		want := db.Lines(dump)
		db.Want("2026-01-01|1|a|0\n2026-01-01|1|none|1\n2026-01-01|-|-|3\n-|4|none|4\n2026-01-01|1|a|0", "select day, n, note, _oncesink_offset from log order by _oncesink_source, _oncesink_offset")
		e.rewind("o", 0, 0)
		e.rewind("o", 1, 0)
		e.write(batch()...)
		db.Want(want, dump)
	}
}
