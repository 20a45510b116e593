package statement_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/rehearse"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/internal/testdb"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/sink"
)

var update = flag.Bool("update", false, "write the golden files in testdata")

func TestMain(m *testing.M) { os.Exit(testpg.Main(m)) }

// goldens is one table for every form of every statement.
var goldens = []struct {
	name, create string
	table        sink.TableConfig
	distributed  bool // and as Citus takes them
}{
	{"versioned_memory", `create table t (id bigint, region varchar(8), updated_at timestamp(3), amount numeric(10,2) not null, note text default 'none', primary key (id, region))`,
		sink.TableConfig{Key: []string{"id", "region"}, Version: "updated_at", RecordKey: map[string]string{"id": "$key.id", "region": "$key.region"}}, true},
	{"memory", `create table t (id uuid primary key, doc jsonb)`,
		sink.TableConfig{Key: []string{"id"}, RecordKey: map[string]string{"id": "$key"}}, false},
	{"versioned", `create table t (id bigint primary key, version int, note text)`,
		sink.TableConfig{Key: []string{"id"}, Version: "version"}, true},
	{"versioned_deletes", `create table t (id bigint primary key, version int, note text)`,
		sink.TableConfig{Key: []string{"id"}, Version: "version", DeleteWhen: map[string]sink.Condition{"deleted": {In: []string{"true"}}}, RecordKey: map[string]string{"id": "$key"}}, false},
	{"tombstones_follow", `create table t (id bigint primary key, version int, note text)`,
		sink.TableConfig{Key: []string{"id"}, Version: "version", RecordKey: map[string]string{"id": "$key"}, Topics: []string{"changes"}}, true},
	{"unguarded", `create table t (id bigint primary key, version int, note text)`,
		sink.TableConfig{Key: []string{"id"}, Version: "version", Guard: "none", RecordKey: map[string]string{"id": "$key"}}, true},
	{"keys_only", `create table t (a int, b int, primary key (a, b))`,
		sink.TableConfig{Key: []string{"a", "b"}, Guard: "none"}, false},
	{"identity", `create table "T x" ("ID" bigint generated always as identity primary key, "a""b" char(3), double bigint generated always as (1) stored)`,
		sink.TableConfig{Name: `"T x"`, Key: []string{"ID"}}, false},
	{"computed", `create table t (id bigint primary key, sample text, n int)`,
		sink.TableConfig{Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{"sample": {SQL: "case when id % 2 = 0 then 'A' else 'B' end"}}}, false},
	{"inputs", `create table t (id bigint primary key, at timestamptz, day date not null)`,
		sink.TableConfig{Key: []string{"id"}, RecordKey: map[string]string{"id": "$key"}, Columns: map[string]sink.ColumnConfig{
			"at":  {SQL: "to_timestamp(ms / 1000.0)", Inputs: map[string]sink.InputConfig{"ms": {From: "payload.ts", Type: "bigint"}}},
			"day": {SQL: "date '2000-01-01' + days", Inputs: map[string]sink.InputConfig{"days": {Type: "int"}}}}}, false},
	{"append", `create table t (placed_at timestamptz, amount money, note text default 'none')`,
		sink.TableConfig{Strategy: sink.Append}, true},
	{"append_partitioned", `create table t (day date not null, note text) partition by range (day)`,
		sink.TableConfig{Strategy: sink.Append}, false},
	{"append_unguarded", `create table t (day date)`,
		sink.TableConfig{Strategy: sink.Append, Guard: "none"}, true},
}

// changes is a topic whose envelope tells which events delete.
var changes = map[string]sink.TopicConfig{"changes": {Envelope: &sink.Envelope{Op: "op", Upsert: []string{"u"}, Delete: []string{"d"}}}}

// TestForms compares every statement of every kind of table with its golden file. Each is one that the server accepts.
func TestForms(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			if g.table.Name == "" {
				g.table.Name = "t"
			}
			if g.table.Topics == nil {
				g.table.Topics = []string{"topic"}
			}
			compare(t, g.name, sink.Config{Topics: changes, Tables: []sink.TableConfig{g.table}}, g.create)
			if g.distributed {
				compare(t, "distributed_"+g.name, sink.Config{Topics: changes, Tables: []sink.TableConfig{g.table}}, g.create)
			}
		})
	}
	for _, name := range []string{"children", "distributed_children"} {
		t.Run(name, func(t *testing.T) { compareChildren(t, name) })
	}
}

func compareChildren(t *testing.T, name string) {
	compare(t, name, sink.Config{Tables: []sink.TableConfig{
		{Name: "orders", Topics: []string{"o"}, Key: []string{"id"}, Version: "version", RecordKey: map[string]string{"id": "$key"}},
		{Name: "items", Strategy: sink.Children, Parent: "orders", Each: "items", Key: []string{"order_id", "sku"}, ParentKey: map[string]string{"order_id": "id"},
			Columns: map[string]sink.ColumnConfig{"line": {From: "$index"}, "shop": {From: "$event.shop.name"}}},
		{Name: "tags", Strategy: sink.Children, Parent: "orders", Each: "tags", Key: []string{"order_id", "tag"}, ParentKey: map[string]string{"order_id": "id"},
			Columns: map[string]sink.ColumnConfig{"tag": {From: "$element"}}},
	}},
		"create table orders (id bigint primary key, version int, status text)",
		"create table items (order_id bigint references orders, sku text, pieces int default 1, line int, shop text, primary key (order_id, sku))",
		"create table tags (order_id bigint references orders, tag text, primary key (order_id, tag))")
}

// compare compares the statements of a configuration's tables with a golden file; of a parent of children, only what
// concerns them.
func compare(t *testing.T, name string, cfg sink.Config, create ...string) {
	db := testpg.Open(t, testdb.URL(t), create...)
	if err := schema.Init(t.Context(), db.Conn, cfg); err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(t.Context(), db.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	s, err := engine.Open(t.Context(), pool, nil, cfg)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	all := s.Mapping().Tables
	distributed := strings.HasPrefix(name, "distributed_")
	for _, table := range all {
		table.Distributed = distributed
	}
	for _, table := range all {
		forms := statement.Forms(table)
		for i, f := range forms {
			if f.Name == "upsert" && !distributed { // its values, where some of them only the server reads
				texts := statement.Shape{Columns: f.Shape.Columns}
				forms = slices.Insert(forms, i+1, statement.Form{Name: "upsert texts", SQL: statement.Upsert(table, texts), Rows: table, Shape: texts})
				break
			}
		}
		for _, f := range forms {
			title := f.Name
			if len(all) > 1 {
				if table.Parent == nil && f.Name != "remember" {
					continue
				}
				title = table.Name + ": " + f.Name
			}
			if why := undistributable(table, f); distributed && why != "" {
				t.Errorf("%s: Citus would not take it: %s\n%s", title, why, f.SQL)
			}
			b.WriteString("-- " + title + "\n" + f.SQL + ";\n\n")
			if _, err := db.Prepare(t.Context(), title, f.SQL); err != nil {
				t.Errorf("%s: %v", title, err)
			}
		}
	}
	if warnings, err := rehearse.Statements(t.Context(), s); err != nil || warnings != nil {
		t.Errorf("rehearsed: %v, %q", err, warnings)
	}
	golden(t, name+".sql", b.String())
}

var (
	parts      = regexp.MustCompile(`as materialized \(\s*select|from \(\s*select`) // of a statement, and the events that its expressions are computed over
	subqueries = regexp.MustCompile(`\(\s*select`)
	locksRows  = regexp.MustCompile(`for (update|share|no key update|key share)`)
)

// undistributable says what in a statement Citus does not distribute; "" if there is nothing.
func undistributable(t *tables.Table, f statement.Form) string {
	rest := parts.ReplaceAllString(f.SQL, "")
	switch {
	case subqueries.MatchString(rest) || strings.Contains(rest, "exists"):
		return "a subquery over events"
	case locksRows.MatchString(rest):
		return "a lock of rows"
	case strings.HasPrefix(f.Name, "upsert") && strings.Count(f.SQL, t.Quoted()) != 1, strings.HasPrefix(f.Name, "claim") && strings.Count(f.SQL, t.SetsTable) != 1:
		return "it looks before it writes"
	}
	return ""
}

// What is told of is refused: the statements of a table that is not distributed.
func TestUndistributable(t *testing.T) {
	db := testpg.Open(t, testdb.URL(t), "create table t (id bigint primary key, v int)")
	cfg := sink.Config{Tables: []sink.TableConfig{{Name: "t", Topics: []string{"o"}, Key: []string{"id"}, Version: "v", RecordKey: map[string]string{"id": "$key"}}}}
	if err := schema.Init(t.Context(), db.Conn, cfg); err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(t.Context(), db.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	s, err := engine.Open(t.Context(), pool, nil, cfg)
	if err != nil {
		t.Fatal(err)
	}
	table := s.Mapping().Tables[0]
	for _, f := range statement.Forms(table) {
		switch why := undistributable(table, f); f.Name {
		case "look", "look into the memory", "upsert", "upsert winners", "update", "insert rest", "require":
			if why == "" {
				t.Errorf("%s passes:\n%s", f.Name, f.SQL)
			}
		case "copy", "remember", "lock", "lock alone":
			if why != "" {
				t.Errorf("%s: %s", f.Name, why)
			}
		}
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
