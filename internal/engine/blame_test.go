package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/sink"
)

// Rule 17: a value that a type's input function refuses is its record's fault, whatever class the code has,
// also where the record is alone; and its column is named.
func TestValueErrorsOfAnyClass(t *testing.T) {
	if onRoute() {
		return
	}
	for _, tt := range []struct{ typ, bad, good, setup string }{
		{"ltree", "Top..Science", "Top.Science", "create extension ltree"},
		{"tsquery", "fat & & rat", "fat", ""},
		{"regclass", "nothing", "q", ""},
		{"regtype", "no_such_type", "int", ""},
		{"regrole", "no_such_role", "postgres", ""},
		{"regproc", "no_such_function", "now", ""},
		{"regconfig", "no_such_config", "english", ""},
		{"regnamespace", "no_such_schema", "public", ""},
		{"jsonpath", "$[", "$.a", ""},
		{"pg_lsn", "zero", "0/0", ""},
		{"xml", "<a>", "<a/>", ""},
		{"cube", "(1,", "(1)", "create extension cube"},
		{"hstore", "a", "a=>1", "create extension hstore"},
		{"int[]", "{{1},{2,3}}", "{1}", ""},
		{"numrange", "[2,1]", "[1,2]", ""},
	} {
		t.Run(tt.typ, func(t *testing.T) {
			t.Parallel()
			db := newDatabase(t)
			if tt.setup != "" {
				db.Do(tt.setup)
			}
			db.Do("create table q (id int primary key, v " + tt.typ + ")")
			e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}}}})
			bad, good := strings.ReplaceAll(tt.bad, " ", "_"), tt.good
			e.write(e.part("o", 0, ev{offset: 0, cols: "id=1 v=" + bad}))
			e.write(e.part("o", 0, ev{offset: 1, cols: "id=2 v=" + good}, ev{offset: 2, cols: "id=3 v=" + bad}, ev{offset: 3, cols: "id=4 v=" + good}))
			db.Want("2\n4", "select id from q order by 1")
			db.Want("0|public.q|t\n2|public.q|t", `select "offset", target, coalesce(column_name, 'v') = 'v' from oncesink.dead_letters order by 1`)
		})
	}
}

// Rule 17: what fails alike for harmless records, or for none, is configuration: nothing becomes a dead letter.
func TestSharedCausesAreConfiguration(t *testing.T) {
	for name, tt := range map[string]struct{ setup, says string }{
		"a trigger's table is gone": {`create table log (id int); create function f() returns trigger language plpgsql as $$ begin insert into log values (new.id); return new; end $$;
			create trigger f before insert or update on q for each row execute function f(); drop table log`, "42P01 in function f()"},
		"a trigger that always fails": {`create function f() returns trigger language plpgsql as $$ begin perform currval('nothing'); return new; end $$;
			create trigger f before insert or update on q for each row execute function f()`, "42P01 in function f()"},
		"a trigger that calls what is not there": {`create function f() returns trigger language plpgsql as $$ begin execute format('select nosuch(%L)', new.v); return new; end $$;
			create trigger f before insert or update on q for each row execute function f()`, "42883 in function f()"},
		"a statement trigger that raises": {`create function f() returns trigger language plpgsql as $$ begin raise 'closed'; end $$;
			create trigger f before insert or update on q for each statement execute function f()`, "P0001 in function f()"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := newDatabase(t, "create table q (id int primary key, v text)")
			e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}}}})
			db.Do(tt.setup)
			var evs []ev
			for i := range int64(200) {
				evs = append(evs, ev{offset: i, cols: fmt.Sprintf("id=%d v=x", i)})
			}
			for _, n := range []int{1, 2, 200} {
				out := e.Write(t.Context(), []*decode.Part{e.part("o", 0, evs[:n]...)})
				var config *sink.ConfigError
				if !errors.As(out[0].Err, &config) || !strings.HasSuffix(config.Problem, tt.says) || !strings.Contains(config.Fix, "a trigger") {
					t.Errorf("%d records: got %v, want a *ConfigError of SQLSTATE %s", n, out[0].Err, tt.says)
				}
			}
			db.Want("0|0", "select (select count(*) from q), (select count(*) from oncesink.dead_letters)")
			db.Do("drop trigger f on q")
			e.write(e.part("o", 0, evs...))
			db.Want("200", "select count(*) from q")
		})
	}
}

// A table of 900 columns and more than eight sets of fields is written with presence flags, within what a
// statement may name.
func TestWideTables(t *testing.T) {
	if onRoute() {
		return
	}
	for _, columns := range []int{100, 900} {
		t.Run(fmt.Sprint(columns), func(t *testing.T) {
			t.Parallel()
			var b strings.Builder
			for i := range columns {
				fmt.Fprintf(&b, ", c%d int default 7", i)
			}
			db := newDatabase(t, "create table q (id int primary key"+b.String()+")")
			e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}}}})
			var evs []ev
			for i := range int64(12) {
				evs = append(evs, ev{offset: i, cols: fmt.Sprintf("id=%d c%d=1 c%d=null", i, i, columns-1-int(i))})
			}
			e.write(e.part("o", 0, evs...)) // twelve sets of fields in one round
			db.Want("12|0", "select (select count(*) from q), (select count(*) from oncesink.dead_letters)")
			db.Want("1|7|-|7", fmt.Sprintf("select c0, c1, c%d, c%d from q where id = 0", columns-1, columns-2))
			db.Want("7|1|7|-", fmt.Sprintf("select c0, c1, c%d, c%d from q where id = 1", columns-1, columns-2))
		})
	}
}

// An identity column that is not the key numbers rows by itself, with any number of sets of fields.
func TestIdentityBesideTheKey(t *testing.T) {
	db := newDatabase(t, "create table m (code text primary key, sid bigint generated always as identity, a int, b int, c int, d int)")
	cfg := sink.TableConfig{Name: "m", Topics: []string{"o"}, Key: []string{"code"}}
	e := db.open(sink.Config{Tables: []sink.TableConfig{cfg}})
	sets := []string{"", "a=1", "b=1", "c=1", "d=1", "a=1 b=1", "a=1 c=1", "a=1 d=1", "b=1 c=1", "b=1 d=1"}
	for round := range int64(3) {
		var evs []ev
		for i, set := range sets {
			evs = append(evs, ev{offset: round*10 + int64(i), cols: fmt.Sprintf("code=k%d sid=99 %s", (i+int(round))%10, set)})
		}
		e.write(e.part("o", 0, evs...))
	}
	db.Want("10|10|0", "select count(*), count(distinct sid), (select count(*) from oncesink.dead_letters) from m where sid < 99")
	cfg.Columns = map[string]sink.ColumnConfig{"sid": {From: "n"}}
	_, err := Open(t.Context(), e.pool, nil, sink.Config{Tables: []sink.TableConfig{cfg}})
	checkProblems(t, err, []string{"column sid of public.m is generated always as identity"})
}

// A table that others inherit from is refused: their rows would be taken for its own.
func TestInheritanceIsRefused(t *testing.T) {
	db := newDatabase(t, "create table m (id int primary key, v text)", "create table m_arch () inherits (m)", "alter table m_arch add primary key (id)")
	_, err := Open(t.Context(), db.pool(), nil, sink.Config{Tables: []sink.TableConfig{{Name: "m", Topics: []string{"o"}, Key: []string{"id"}, Guard: "none"}}})
	if err == nil || !strings.Contains(err.Error(), "has tables that inherit from it: m_arch") {
		t.Errorf("got %v", err)
	}
	db.Do("alter table m_arch no inherit m")
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "m", Topics: []string{"o"}, Key: []string{"id"}}}})
	e.write(e.part("o", 0, ev{offset: 0, cols: "id=1 v=a"}))
	db.Do("alter table m_arch add _oncesink_source int, add _oncesink_offset bigint")
	db.Do("alter table m_arch inherit m")
	out := e.Write(t.Context(), []*decode.Part{e.part("o", 0, ev{offset: 1, cols: "id=2 v=b"})})
	var config *sink.ConfigError
	if !errors.As(out[0].Err, &config) || !strings.Contains(config.Problem, "inherit from it: m_arch") {
		t.Errorf("beside the running sink: got %v", out[0].Err)
	}
}
