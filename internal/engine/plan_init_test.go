package engine

import (
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/sink"
)

// TestPlanInit: for tables of every kind, init has something to do before it ran, and nothing after, and a plan
// alone does nothing.
func TestPlanInit(t *testing.T) {
	type entry struct {
		name, create string
		tables       []sink.TableConfig
	}
	entries := []entry{{"children", "create table orders (id bigint primary key, n int); create table items (id bigint, line int, sku text, primary key (id, line))", []sink.TableConfig{
		{Name: "orders", Topics: []string{"topic"}, Key: []string{"id"}, RecordKey: map[string]string{"id": "$key"}},
		{Name: "items", Strategy: sink.Children, Parent: "orders", Each: "items", Key: []string{"id", "line"}, Columns: map[string]sink.ColumnConfig{"line": {From: "$index"}}},
	}}}
	const keyed = "(id bigint primary key, version int, note text)"
	for _, e := range []struct {
		name, table, columns string
		config               sink.TableConfig
	}{
		{"memory", "t", keyed, sink.TableConfig{Key: []string{"id"}, RecordKey: map[string]string{"id": "$key"}}},
		{"versioned", "t", keyed, sink.TableConfig{Key: []string{"id"}, Version: "version"}},
		{"unguarded", "t", keyed, sink.TableConfig{Key: []string{"id"}, Guard: "none", RecordKey: map[string]string{"id": "$key"}}},
		{"computed", "t", keyed, sink.TableConfig{Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{"note": {SQL: "id::text"}}}},
		{"identity", `"T x"`, "(id bigint generated always as identity primary key, double bigint generated always as (1) stored)", sink.TableConfig{Key: []string{"id"}}},
		{"append", "t", "(placed_at timestamptz, amount money)", sink.TableConfig{Strategy: sink.Append}},
		{"append_partitioned", "t", "(day date not null, note text) partition by range (day)", sink.TableConfig{Strategy: sink.Append}},
		{"append_unguarded", "t", "(day date)", sink.TableConfig{Strategy: sink.Append, Guard: "none"}},
	} {
		e.config.Name, e.config.Topics = e.table, []string{"topic"}
		entries = append(entries, entry{e.name, "create table " + e.table + " " + e.columns, []sink.TableConfig{e.config}})
	}
	const catalog = `select count(*), (select count(*) from pg_attribute) from pg_class`
	for _, tt := range entries {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := databaseAt(t, testpg.URL(t))
			pool, cfg := db.pool(), sink.Config{Tables: tt.tables}
			plan := func() []string {
				t.Helper()
				before := db.Lines(catalog)
				steps, err := schema.Plan(t.Context(), pool, cfg)
				if err != nil {
					t.Fatal(err)
				}
				db.Want(before, catalog)
				return steps
			}
			_, err := schema.Plan(t.Context(), pool, cfg)
			if err == nil || !strings.Contains(err.Error(), "does not exist: create it, or give its statement as `create:`") {
				t.Errorf("without the table: %v", err)
			}
			// By create: statements and by hand the same is left to do.
			cfg.Tables[0].Create = tt.create
			created := strings.Join(plan(), "\n")
			if !strings.Contains(created, "creates it, by its `create:` statement") {
				t.Errorf("with create: %s", created)
			}
			db.Do(tt.create)
			steps := plan()
			if guarded := tt.tables[0].Guard != "none"; !strings.Contains(strings.Join(steps, "\n"), "oncesink.dead_letters: creates it") || guarded != (len(steps) > 1) {
				t.Errorf("before: %q", steps)
			}
			if err := schema.Init(t.Context(), db.Conn, cfg); err != nil {
				t.Fatal(err)
			}
			if steps := plan(); len(steps) > 0 {
				t.Errorf("after: %q", steps)
			}
		})
	}
}

// TestPlanInitRefuses: what Open will refuse whatever init does is found before it does anything, but not what init
// mends, nor the rights of the role that runs later.
func TestPlanInitRefuses(t *testing.T) {
	db := databaseAt(t, testpg.URL(t), "create table loose (id bigint, at timestamptz)", "create view seen as select 1 as id", "create table fine (id bigint primary key)")
	table := func(name string, change func(*sink.TableConfig)) sink.TableConfig {
		c := sink.TableConfig{Name: name, Topics: []string{"topic"}, Key: []string{"id"}}
		if change != nil {
			change(&c)
		}
		return c
	}
	_, err := schema.Plan(t.Context(), db.pool(), sink.Config{Tables: []sink.TableConfig{
		table("fine", func(c *sink.TableConfig) { c.RecordKey = map[string]string{"id": "$key"} }),
		table("loose", func(c *sink.TableConfig) { c.Columns = map[string]sink.ColumnConfig{"att": {From: "x"}} }),
		table("seen", nil), table("gone", nil),
	}})
	checkProblems(t, err, []string{
		`table public.loose has no unique index over exactly (id): alter table "public"."loose" add primary key ("id")`,
		`table public.loose has no column "att"`, "public.seen is a view", "table gone does not exist",
	})
	db.Want("0", "select count(*) from pg_attribute where attname like '_oncesink%' and attrelid = 'fine'::regclass")
}
