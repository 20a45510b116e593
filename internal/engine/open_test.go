package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/sink"
)

// Each problem of a configuration is one error that says what to do, and all of
// them come at once: guard columns (rule 10), types of keys and versions (rule
// 14), deferrable keys (rule 19), what must be logged (rule 21).
func TestOpenProblems(t *testing.T) {
	const guard = ", _oncesink_source int, _oncesink_offset bigint"
	for _, tt := range []struct {
		name   string
		create string // the table is t
		table  sink.TableConfig
		cfg    sink.Config
		want   []string // parts of the errors, one an element
	}{
		{"no table", "", sink.TableConfig{Key: []string{"id"}}, sink.Config{}, []string{"table t does not exist: create it, or give its statement as `create:` and run `oncesink init`"}},
		{"bad name", "", sink.TableConfig{Name: "a.b.c", Key: []string{"id"}}, sink.Config{}, []string{`table a.b.c: name "a.b.c" must be TABLE or SCHEMA.TABLE: write a name with a dot in double quotes`}},
		{"open quote", "", sink.TableConfig{Name: `"a`, Key: []string{"id"}}, sink.Config{}, []string{`table "a: name "\"a" must be TABLE or SCHEMA.TABLE: `}},
		{"engine's schema", "create table oncesink.x (id int)", sink.TableConfig{Name: "oncesink.x", Key: []string{"id"}}, sink.Config{}, []string{`table oncesink.x: name "oncesink.x" is in the schema oncesink, which holds the positions: use another schema`}},
		{"no key, no topic", "create table t (id int primary key" + guard + ")", sink.TableConfig{Topics: []string{}}, sink.Config{},
			[]string{"table t: key is required: the columns of the table's primary key", "table t: topics is required: "}},
		{"topic twice", "create table t (id int primary key" + guard + ")", sink.TableConfig{Key: []string{"id"}, Topics: []string{"a", "a"}}, sink.Config{}, []string{`table t: topics[1] "a" is listed twice`}},
		{"strategy", "create table t (id int primary key" + guard + ")", sink.TableConfig{Key: []string{"id"}, Strategy: "merge", Guard: "soft", Tombstones: "bury"}, sink.Config{},
			[]string{`table t: strategy "merge" must be upsert, append or children`, `guard "soft" must be engine or none`, `tombstones "bury" must be delete or ignore`}},
		{"guard columns", "create table t (id int primary key)", sink.TableConfig{Key: []string{"id"}}, sink.Config{},
			[]string{"table public.t has no column _oncesink_offset: run `oncesink init`, or set `guard: none`", "has no column _oncesink_source"}},
		{"guard column's type", "create table t (id int primary key, _oncesink_source int, _oncesink_offset int)", sink.TableConfig{Key: []string{"id"}}, sink.Config{},
			[]string{"column _oncesink_offset of public.t has type integer: it must be bigint"}},
		{"unknown column", "create table t (id int primary key" + guard + ")", sink.TableConfig{Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{"nmae": {From: "name"}}}, sink.Config{},
			[]string{`table public.t has no column "nmae": it has id`}},
		{"engine column", "create table t (id int primary key" + guard + ")", sink.TableConfig{Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{"_oncesink_source": {From: "s"}}}, sink.Config{},
			[]string{"table t: columns._oncesink_source is the engine's column: leave it out"}},
		{"generated column", "create table t (id int primary key, d int generated always as (1) stored" + guard + ")", sink.TableConfig{Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{"d": {From: "d"}}}, sink.Config{},
			[]string{"column d of public.t is generated"}},
		{"no index", "create table t (id int, n int, unique (n), unique (id, n)" + guard + ")", sink.TableConfig{Key: []string{"id"}}, sink.Config{},
			[]string{"table public.t has no unique index over exactly (id): create unique index on \"public\".\"t\" (\"id\"), or choose one of: t_id_n_key (id, n); t_n_key (n)"}},
		{"deferrable key", "create table t (id int primary key deferrable" + guard + ")", sink.TableConfig{Key: []string{"id"}}, sink.Config{}, []string{"t_pkey (id), deferrable"}},
		{"partial index", "create table t (id int" + guard + "); create unique index u on t (id) where id > 0", sink.TableConfig{Key: []string{"id"}}, sink.Config{}, []string{"u (id), partial"}},
		{"index on an expression", "create table t (id int" + guard + "); create unique index u on t ((id + 1))", sink.TableConfig{Key: []string{"id"}}, sink.Config{}, []string{"u (), on an expression"}},
		{"key column", "create table t (id int primary key" + guard + ")", sink.TableConfig{Key: []string{"ID"}}, sink.Config{}, []string{`key column "ID" of public.t does not exist or is not mapped`}},
		{"key type", "create table t (id float8 primary key" + guard + ")", sink.TableConfig{Key: []string{"id"}}, sink.Config{}, []string{"key column id of public.t has type double precision"}},
		{"key collation", "create collation ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); create table t (id text collate ci primary key" + guard + ")",
			sink.TableConfig{Key: []string{"id"}}, sink.Config{}, []string{"has a collation that is not deterministic"}},
		{"no version", "create table t (id int primary key" + guard + ")", sink.TableConfig{Key: []string{"id"}, Version: "v"}, sink.Config{}, []string{`version column "v" of public.t does not exist`}},
		{"version type", "create table t (id int primary key, v jsonb" + guard + ")", sink.TableConfig{Key: []string{"id"}, Version: "v"}, sink.Config{}, []string{"version column v of public.t has type jsonb"}},
		{"version collation", `create collation de (provider = icu, locale = 'de'); create table t (id int primary key, v text collate de` + guard + ")", sink.TableConfig{Key: []string{"id"}, Version: "v"}, sink.Config{},
			[]string{`version column v of public.t has collation de: alter table public.t alter column "v" type text collate "C"`}},
		{"version in the key", "create table t (id int, v int, primary key (id, v)" + guard + ")", sink.TableConfig{Key: []string{"id", "v"}, Version: "v"}, sink.Config{}, []string{`table t: version "v" is a key column, and so the same for all events of a key: remove it`}},
		{"record key", "create table t (id int, b int, primary key (id, b)" + guard + `); create table oncesink."public.t deletes" (id int, b int, primary key (id, b))`,
			sink.TableConfig{Key: []string{"id", "b"}, RecordKey: map[string]string{"id": "$value", "c": "$key"}}, sink.Config{},
			[]string{`table t: record_key.c "c" is not a key column: there is id, b`, "table t: record_key does not say where the key column b comes from", `table t: record_key.id "$value" must be $key`}},
		{"no memory", "create table t (id int primary key" + guard + ")", sink.TableConfig{Key: []string{"id"}, RecordKey: map[string]string{"id": "$key"}}, sink.Config{},
			[]string{`table public.t has no delete memory "oncesink"."public.t deletes": run ` + "`oncesink init`"}},
		{"view", "create view t as select 1 as id", sink.TableConfig{Key: []string{"id"}}, sink.Config{}, []string{"public.t is a view: name the table below it"}},
		{"foreign table", "create foreign data wrapper w; create server s foreign data wrapper w; create foreign table t (id int) server s", sink.TableConfig{Key: []string{"id"}}, sink.Config{}, []string{"foreign table"}},
		{"foreign partition", "create foreign data wrapper w; create server s foreign data wrapper w; create table t (id int) partition by range (id); create foreign table f partition of t default server s",
			sink.TableConfig{Strategy: sink.Append, Guard: "none"}, sink.Config{}, []string{"foreign table"}},
		{"rules", "create table t (id int primary key" + guard + "); create rule r as on insert to t do also notify x", sink.TableConfig{Key: []string{"id"}}, sink.Config{}, []string{"has rewrite rules"}},
		{"unlogged", "create unlogged table t (id int primary key" + guard + ")", sink.TableConfig{Key: []string{"id"}}, sink.Config{SynchronousCommit: "off"}, []string{"public.t is unlogged and synchronous_commit is off: "}},
		{"unlogged partition", "create table t (id int primary key" + guard + ") partition by range (id); create unlogged table t1 partition of t default", sink.TableConfig{Key: []string{"id"}},
			sink.Config{SynchronousCommit: "off"}, []string{"public.t is unlogged and synchronous_commit is off: "}},
		{"unlogged memory and dead letters", "create table t (id int primary key" + guard + `); create unlogged table oncesink."public.t deletes" (id int primary key); alter table oncesink.dead_letters set unlogged`,
			sink.TableConfig{Key: []string{"id"}, RecordKey: map[string]string{"id": "$key"}}, sink.Config{},
			[]string{`the delete memory "oncesink"."public.t deletes" is unlogged: `, "table oncesink.dead_letters is unlogged: "}},
		{"synchronous_commit", "create table t (id int primary key" + guard + ")", sink.TableConfig{Key: []string{"id"}}, sink.Config{SynchronousCommit: "local"}, []string{`synchronous_commit "local" must be on or off`}},
		{"time zone", "create table t (id int primary key" + guard + ")", sink.TableConfig{Key: []string{"id"}}, sink.Config{TimeZone: "Nowhere/Else"}, []string{`invalid value for parameter "TimeZone": "Nowhere/Else": correct time_zone`}},
		{"append index", "create table t (n int" + guard + ")", sink.TableConfig{Strategy: sink.Append}, sink.Config{}, []string{"has no unique index over _oncesink_source and _oncesink_offset"}},
		{"append with a key", "create table t (n int" + guard + ")", sink.TableConfig{Strategy: sink.Append, Guard: "none", Key: []string{"n"}}, sink.Config{}, []string{"table t: key has no meaning for strategy append"}},
		{"nothing to fill", "create table t (n int generated always as (1) stored)", sink.TableConfig{Strategy: sink.Append, Guard: "none"}, sink.Config{}, []string{"has no columns that an event could fill"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := newDatabase(t)
			if err := schema.Init(t.Context(), db.Conn, sink.Config{}); err != nil {
				t.Fatal(err)
			}
			if tt.create != "" {
				db.Do(tt.create)
			}
			if tt.table.Name == "" {
				tt.table.Name = "t"
			}
			if tt.table.Topics == nil {
				tt.table.Topics = []string{"o"}
			}
			tt.cfg.Tables = []sink.TableConfig{tt.table}
			_, err := Open(t.Context(), db.pool(), nil, tt.cfg)
			checkProblems(t, err, tt.want)
		})
	}
}

// checkProblems compares the lines of joined *ConfigErrors, in any order.
func checkProblems(t *testing.T, err error, want []string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %q", want)
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("got %v (%T), want joined errors", err, err)
	}
	for _, err := range joined.Unwrap() {
		var config *sink.ConfigError
		if !errors.As(err, &config) {
			t.Errorf("got %v (%T), want a *ConfigError", err, err)
		}
	}
	if len(joined.Unwrap()) != len(want) {
		t.Errorf("got %d problems, want %d", len(joined.Unwrap()), len(want))
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("got:\n%v\nwant:\n%s", err, w)
		}
	}
}

// Rule 10: two mappings of one table would undo each other's columns.
func TestTwoEntriesForOneTable(t *testing.T) {
	db := newDatabase(t, "create table t (id int primary key, a int, b int)")
	entry := sink.TableConfig{Name: "t", Topics: []string{"a"}, Key: []string{"id"}}
	other := sink.TableConfig{Name: "public.t", Topics: []string{"b"}, Key: []string{"id"}}
	if err := schema.Init(t.Context(), db.Conn, sink.Config{Tables: []sink.TableConfig{entry}}); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), db.pool(), nil, sink.Config{Tables: []sink.TableConfig{entry, other}})
	checkProblems(t, err, []string{"table public.t: name \"public.t\" is the table of tables[0], too: list it once, with all its topics"})

	entry.Topics = []string{"b", "a"}
	e := db.open(sink.Config{Tables: []sink.TableConfig{entry}})
	if got := fmt.Sprint(e.Topics()); got != "[a b]" {
		t.Errorf("topics %s", got)
	}
	if got := e.Mappings(); len(got) != 2 || got[0].Topic != "b" || got[0].Target != "public.t" || got[0].Fingerprint != got[1].Fingerprint {
		t.Errorf("mappings %v", got)
	}
	// Two topics of one entry: one order for both.
	e.write(e.part("a", 0, ev{offset: 5, cols: "id=1 a=1"}), e.part("b", 0, ev{offset: 4, cols: "id=1 b=1"}))
	db.Want("1|1|-", "select id, a, b from t")
}

// Rule 9: what changes a fingerprint, and what does not.
func TestFingerprint(t *testing.T) {
	db := newDatabase(t, "create table t (id int primary key, v int, a int, d date)")
	base := func() sink.Config {
		return sink.Config{Tables: []sink.TableConfig{{Name: "t", Topics: []string{"o"}, Key: []string{"id"}}}}
	}
	fingerprint := func(change func(*sink.Config)) string {
		cfg := base()
		change(&cfg)
		return db.open(cfg).Mappings()[0].Fingerprint
	}
	want := fingerprint(func(*sink.Config) {})
	for name, change := range map[string]func(*sink.Config){
		"what the default says": func(c *sink.Config) { c.Tables[0].Columns = map[string]sink.ColumnConfig{"a": {From: "a"}} },
		"the schema's name":     func(c *sink.Config) { c.Tables[0].Name = "public.t" },
		"another topic":         func(c *sink.Config) { c.Tables[0].Topics = []string{"x", "o"} },
		"what is done about new fields": func(c *sink.Config) {
			c.Tables[0].NewFields, c.Tables[0].IgnoreFields = sink.HoldNewFields, []string{"x"}
		},
		"the subject of a schema":     func(c *sink.Config) { c.Topics = map[string]sink.TopicConfig{"o": {Subject: "x"}} },
		"the create statement":        func(c *sink.Config) { c.Tables[0].Create = "create table t ()" },
		"timeouts":                    func(c *sink.Config) { c.LockTimeout = 1e9 },
		"the default strategy":        func(c *sink.Config) { c.Tables[0].Strategy = sink.Upsert },
		"asynchronous commit":         func(c *sink.Config) { c.SynchronousCommit = "off" },
		"a column that was added":     func(*sink.Config) { db.Do("alter table t add column if not exists b int") },
		"a column that takes a value": func(*sink.Config) { db.Do("alter table t alter column a type bigint") },
	} {
		if got := fingerprint(change); got != want {
			t.Errorf("%s: changes the fingerprint", name)
		}
	}
	for name, change := range map[string]func(*sink.Config){
		"version": func(c *sink.Config) { c.Tables[0].Version = "v" },
		"path":    func(c *sink.Config) { c.Tables[0].Columns = map[string]sink.ColumnConfig{"a": {From: "x.a"}} },
		"zone": func(c *sink.Config) {
			c.Tables[0].Columns = map[string]sink.ColumnConfig{"d": {From: "d", Zone: "UTC"}}
		},
		"record key": func(c *sink.Config) { c.Tables[0].RecordKey = map[string]string{"id": "$key"} },
		"tombstones": func(c *sink.Config) { c.Tables[0].Tombstones = "ignore" },
		"guard":      func(c *sink.Config) { c.Tables[0].Guard = "none" },
		"time zone":  func(c *sink.Config) { c.TimeZone = "Europe/Berlin" },
		"strategy":   func(c *sink.Config) { c.Tables[0].Strategy, c.Tables[0].Key = sink.Append, nil },
	} {
		if got := fingerprint(change); got == want {
			t.Errorf("%s: does not change the fingerprint", name)
		}
	}
}

// Describe says what `oncesink check` prints: where each column comes from, and
// what a person should know.
func TestDescribe(t *testing.T) {
	db := newDatabase(t, `create table t (id bigint primary key, name text default 'x', made timestamptz default now(), serial int generated by default as identity,
		day date default current_date, double int generated always as (1) stored, r numeric default random())`,
		"create function f() returns trigger language plpgsql as 'begin return new; end'", "create trigger touch before insert on t for each row execute function f()",
		"alter table t enable row level security", "alter table t set unlogged")
	e := db.upsert("t", sink.TableConfig{Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{"name": {From: "customer.name"}}})
	r := e.Describe()[0]
	var b strings.Builder
	fmt.Fprintln(&b, r.Table, r.Topics, r.Strategy)
	for _, c := range r.Columns {
		fmt.Fprintln(&b, c.Name, c.Type, "<-", c.From)
	}
	for _, f := range e.lint()[0] {
		fmt.Fprintf(&b, "%s %s: %s\n  %s\n  %s\n", f.Severity, f.Code, f.Problem, f.Why, f.Fix)
	}
	golden(t, "describe.txt", b.String())
	if len(r.Statements) == 0 || !strings.HasPrefix(r.Statements[0], `copy "public"."t"`) {
		t.Errorf("statements %q", r.Statements)
	}
}

// A wrong password, or a database that is not there, is a configuration error.
func TestOpenWithoutDatabase(t *testing.T) {
	db := newDatabase(t)
	pool := db.pool(func(c *pgxpool.Config) { c.ConnConfig.Database = "nowhere" })
	_, err := Open(t.Context(), pool, nil, sink.Config{})
	var config *sink.ConfigError
	if !errors.As(err, &config) || !strings.Contains(config.Problem, "3D000") {
		t.Errorf("got %v, want a *ConfigError", err)
	}
}
