package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/sink"
)

// standIn is what of TimescaleDB is asked, on a PostgreSQL without it: two views of its own, over tables, and chunks, which inherit. A
// trigger makes one before each statement that inserts, in the transaction that writes, as the extension does; rows stay in the
// table. docs/timescaledb.md says what was run on the real one.
var standIn = []string{
	"create schema timescaledb_information",
	`create table timescaledb_information.dimensions (hypertable_schema name, hypertable_name name, dimension_number bigint, column_name name)`,
	`create table timescaledb_information.jobs (job_id int, proc_name name, config jsonb, hypertable_schema name, hypertable_name name)`,
	"create sequence chunks",
	`create function chunk() returns trigger language plpgsql as $$ begin
		execute format('create table %I () inherits (%s)', 'chunk_' || nextval('chunks'), tg_relid::regclass);
		return null;
	end $$`,
}

// hyper are the statements by which a table becomes a hypertable of the stand-in's.
func hyper(table string, columns ...string) []string {
	out := []string{fmt.Sprintf("create trigger chunk before insert on %s for each statement execute function chunk()", table)}
	for i, c := range columns {
		out = append(out, fmt.Sprintf("insert into timescaledb_information.dimensions values ('public', '%s', %d, '%s')", table, i+1, c))
	}
	return out
}

// A hypertable is written like any table: the chunks that a batch makes, the first of which changes the table's own entry in the catalog, are no
// change of the table, and a replay changes nothing. A change that is one is seen.
func TestHypertable(t *testing.T) {
	db := newDatabase(t, append(standIn,
		"create table m (id int, at timestamptz, v text, primary key (id, at))", "create table log (at timestamptz not null, v text)")...)
	for _, s := range append(hyper("m", "at"), hyper("log", "at")...) {
		db.Do(s)
	}
	cfg := sink.Config{Tables: []sink.TableConfig{
		{Name: "m", Topics: []string{"o"}, Key: []string{"id", "at"}, Accept: []string{"trigger-writes"}},
		{Name: "log", Topics: []string{"o"}, Strategy: sink.Append},
	}}
	e := db.open(cfg)
	events := func(from, to int64) (evs []ev) {
		for i := from; i < to; i++ {
			cols := fmt.Sprintf("id=%d at=2026-01-%02d v=%d", i%3, 1+i%9, i)
			evs = append(evs, ev{offset: i, cols: cols, table: "m"}, ev{offset: i, cols: cols, table: "log"})
		}
		return evs
	}
	const rows = "select (select string_agg(m::text, ' ' order by m) from m), (select string_agg(log::text, ' ' order by log) from log)"
	e.write(e.part("o", 0, events(0, 10)...))
	e.write(e.part("o", 0, events(10, 400)...)) // by COPY, too
	db.Want("9|400", "select (select count(*) from m), (select count(*) from log)")
	db.Want("t|t", "select (select count(*) > 1 from pg_inherits where inhparent = 'm'::regclass), (select count(*) > 1 from pg_inherits where inhparent = 'log'::regclass)")
	before := db.Lines(rows)
	e.rewind("o", 0, 0)
	e.write(e.part("o", 0, events(0, 400)...))
	db.Want(before, rows)

	again := db.open(cfg) // with chunks there
	again.rewind("o", 0, 0)
	again.write(again.part("o", 0, events(0, 5)...))
	db.Want(before, rows)

	refused := func(what, want string) {
		t.Helper()
		out := again.Write(t.Context(), []*decode.Part{again.part("o", 0, ev{offset: 5, cols: "id=2 at=2026-01-01 v=b", table: "m"})})
		var config *sink.ConfigError
		if !errors.As(out[0].Err, &config) || !strings.Contains(config.Problem, want) {
			t.Errorf("%s: got %v", what, out[0].Err)
		}
	}
	db.Do("create rule r as on insert to m do also notify x")
	refused("a change of the table", "has rewrite rules")
	db.Do("drop rule r on m")
	db.Do("delete from timescaledb_information.dimensions where hypertable_name = 'm'")
	refused("heirs of a table that is no hypertable", "has tables that inherit from it: chunk_")
}

// The index of an append table has the columns in it by which the table is kept in parts, and takes two nulls for the same where one of
// these may be null; one that serves is not made again, and one that does not is not taken for it. What init says, does and finds is one.
func TestIndexOfParts(t *testing.T) {
	const serves = "unique (_oncesink_source, _oncesink_offset"
	const guard = "at timestamptz%s, device text, _oncesink_source int, _oncesink_offset bigint"
	for _, tt := range []struct {
		name, null string // of column at
		by         []string
		has        string // an index of the table's
		made       string // the columns of what init makes; "" for none
	}{
		{"time", " not null", []string{"at"}, "", "(_oncesink_source, _oncesink_offset, at)"},
		{"time and space", " not null", []string{"at", "device"}, "", "(_oncesink_source, _oncesink_offset, at, device) NULLS NOT DISTINCT"},
		{"space and the partition", " not null", []string{"at", "_oncesink_source"}, "", "(_oncesink_source, _oncesink_offset, at)"},
		{"no hypertable", "", nil, "", "(_oncesink_source, _oncesink_offset)"},
		{"one that serves", " not null", []string{"at"}, serves + ", at)", ""},
		{"one in another order", " not null", []string{"at"}, "unique (at, _oncesink_offset, _oncesink_source)", ""},
		{"one with less", " not null", []string{"at", "device"}, serves + ", at)", ""},
		{"one with more", " not null", []string{"at"}, serves + ", at, device)", "(_oncesink_source, _oncesink_offset, at)"},
		{"one that takes nulls for different", " not null", []string{"at", "device"}, serves + ", at, device)", "(_oncesink_source, _oncesink_offset, at, device) NULLS NOT DISTINCT"},
		{"one that takes them for the same", " not null", []string{"at", "device"}, "unique nulls not distinct (_oncesink_source, _oncesink_offset, at, device)", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := newDatabase(t, append(standIn, fmt.Sprintf("create table t ("+guard+")", tt.null))...)
			if tt.by != nil {
				for _, s := range hyper("t", tt.by...) {
					db.Do(s)
				}
			}
			if tt.has != "" {
				db.Do("alter table t add constraint own " + tt.has)
			}
			cfg := sink.Config{Tables: []sink.TableConfig{{Name: "t", Topics: []string{"o"}, Strategy: sink.Append}}}
			steps, err := schema.Plan(t.Context(), db.pool(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if made := strings.Contains(strings.Join(steps, "\n"), "adds unique index t_oncesink_key"); made != (tt.made != "") {
				t.Errorf("it says %q", steps)
			}
			want := "-"
			if tt.made != "" {
				want = tt.made
			}
			const index = `select (select substring(pg_get_indexdef(indexrelid) from '\(.*') from pg_index where indexrelid = to_regclass('t_oncesink_key'))`
			for _, run := range []func() error{
				func() error { return schema.Init(t.Context(), db.Conn, cfg) },
				func() error { _, err := db.Exec(t.Context(), schema.InitSQL(cfg, "")); return err }, // again, and nothing more
			} {
				if err := run(); err != nil {
					t.Fatal(err)
				}
				db.Want(want, index)
			}
			e := db.open(cfg)
			twice := e.part("o", 0, ev{offset: 0, cols: "at=2026-01-01 device=null"}, ev{offset: 1, cols: "at=2026-01-01 device=a"})
			e.write(twice)
			e.rewind("o", 0, 0)
			e.write(e.part("o", 0, ev{offset: 0, cols: "at=2026-01-01 device=null"}, ev{offset: 1, cols: "at=2026-01-01 device=a"}))
			db.Want("2", "select count(*) from t")
		})
	}
}

// A key without the column by which a table is kept in parts can't have a unique index: what is said leads to one that can.
func TestHypertableIsExplained(t *testing.T) {
	db := newDatabase(t, append(standIn, "create table m (id int, at timestamptz not null, v text, primary key (id, at))")...)
	for _, s := range hyper("m", "at") {
		db.Do(s)
	}
	_, err := Open(t.Context(), db.pool(), nil, sink.Config{Tables: []sink.TableConfig{{Name: "m", Topics: []string{"o"}, Key: []string{"id"}}}})
	if err == nil || !strings.Contains(err.Error(), "table public.m has no unique index over exactly (id): rows find their part of the table by at, so every unique index has that in it: name it in the key, too") {
		t.Errorf("got %v", err)
	}
}

// A row that a chunk refuses is a dead letter of its table: the chunk's name says nothing to a person.
func TestLetterOfChunk(t *testing.T) {
	db := newDatabase(t, append(standIn, "create table m (id int primary key, v text)", "create schema _timescaledb_internal",
		// A row goes to its chunk, of which the error speaks.
		"create table _timescaledb_internal.chunk (check (v <> 'no')) inherits (m)",
		"create function route() returns trigger language plpgsql as $$ begin insert into _timescaledb_internal.chunk select new.*; return null; end $$",
		"create trigger route before insert on m for each row execute function route()",
		"insert into timescaledb_information.dimensions values ('public', 'm', 1, 'id')")...)
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "m", Topics: []string{"o"}, Key: []string{"id"}}}})
	e.write(e.part("o", 0, ev{offset: 0, cols: "id=1 v=yes"}, ev{offset: 1, cols: "id=2 v=no"}, ev{offset: 2, cols: "id=3 v=yes"}))
	db.Want("1|23514|public.m|chunk_v_check", `select "offset", code, target, constraint_name from oncesink.dead_letters`)
	db.Want("1,3", "select string_agg(id::text, ',' order by id) from m")
}
