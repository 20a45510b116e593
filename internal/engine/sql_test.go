package engine

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/sink"
)

var update = flag.Bool("update", false, "write the golden files in testdata")

// goldens is one table for every form of every statement.
var goldens = []struct {
	name, create string
	table        sink.TableConfig
}{
	{"versioned_memory", `create table t (id bigint, region varchar(8), updated_at timestamp(3), amount numeric(10,2) not null, note text default 'none', primary key (id, region))`,
		sink.TableConfig{Key: []string{"id", "region"}, Version: "updated_at", RecordKey: map[string]string{"id": "$key.id", "region": "$key.region"}}},
	{"memory", `create table t (id uuid primary key, doc jsonb)`,
		sink.TableConfig{Key: []string{"id"}, RecordKey: map[string]string{"id": "$key"}}},
	{"versioned", `create table t (id bigint primary key, version int, note text)`,
		sink.TableConfig{Key: []string{"id"}, Version: "version"}},
	{"unguarded", `create table t (id bigint primary key, version int, note text)`,
		sink.TableConfig{Key: []string{"id"}, Version: "version", Guard: "none", RecordKey: map[string]string{"id": "$key"}}},
	{"keys_only", `create table t (a int, b int, primary key (a, b))`,
		sink.TableConfig{Key: []string{"a", "b"}, Guard: "none"}},
	{"identity", `create table "T x" ("ID" bigint generated always as identity primary key, "a""b" char(3), double bigint generated always as (1) stored)`,
		sink.TableConfig{Name: `"T x"`, Key: []string{"ID"}}},
	{"computed", `create table t (id bigint primary key, sample text, n int)`,
		sink.TableConfig{Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{"sample": {SQL: "case when id % 2 = 0 then 'A' else 'B' end"}}}},
	{"inputs", `create table t (id bigint primary key, at timestamptz, day date not null)`,
		sink.TableConfig{Key: []string{"id"}, RecordKey: map[string]string{"id": "$key"}, Columns: map[string]sink.ColumnConfig{
			"at":  {SQL: "to_timestamp(ms / 1000.0)", Inputs: map[string]sink.InputConfig{"ms": {From: "payload.ts", Type: "bigint"}}},
			"day": {SQL: "date '2000-01-01' + days", Inputs: map[string]sink.InputConfig{"days": {Type: "int"}}}}}},
	{"append", `create table t (placed_at timestamptz, amount money, note text default 'none')`,
		sink.TableConfig{Strategy: sink.Append}},
	{"append_partitioned", `create table t (day date not null, note text) partition by range (day)`,
		sink.TableConfig{Strategy: sink.Append}},
	{"append_unguarded", `create table t (day date)`,
		sink.TableConfig{Strategy: sink.Append, Guard: "none"}},
}

func TestStatements(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			db := newDatabase(t, g.create)
			if g.table.Name == "" {
				g.table.Name = "t"
			}
			g.table.Topics = []string{"topic"}
			e := db.open(sink.Config{Tables: []sink.TableConfig{g.table}})
			var b strings.Builder
			for _, f := range e.tables[0].forms() {
				if f.sql == "" {
					continue
				}
				b.WriteString("-- " + f.name + "\n" + f.sql + ";\n\n")
				// Every statement is one that the server accepts.
				if _, err := db.Prepare(t.Context(), f.name, f.sql); err != nil {
					t.Errorf("%s: %v", f.name, err)
				}
			}
			if warnings, err := e.Rehearse(t.Context()); err != nil || warnings != nil {
				t.Errorf("rehearsed: %v, %q", err, warnings)
			}
			golden(t, g.name+".sql", b.String())
		})
	}
}

// golden compares got with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it):\n%s", path, got)
	}
}
