package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// schemaConfig has every kind of target that init makes something for.
func schemaConfig() sink.Config {
	long := strings.Repeat("long_name_", 6)
	return sink.Config{Tables: []sink.TableConfig{
		{Name: "orders", Topics: []string{"o"}, Key: []string{"id", "region"}, Version: "updated_at", RecordKey: map[string]string{"id": "$key.id", "region": "$key.region"},
			Create: "create table orders (id int, region varchar(8), updated_at timestamp(3) not null, note text, primary key (id, region))"},
		{Name: `sales."Big Table"`, Topics: []string{"o"}, Key: []string{"ID"}, RecordKey: map[string]string{"ID": "$key"},
			Create: `create schema if not exists sales; create table sales."Big Table" ("ID" uuid primary key, "it's" text)`},
		{Name: long, Topics: []string{"o"}, Key: []string{"id"}, RecordKey: map[string]string{"id": "$key"}, Create: "create table " + long + " (id int primary key)"},
		{Name: "log", Topics: []string{"o"}, Strategy: sink.Append, Create: "create table log (day date, n int) partition by range (day)"},
		{Name: "plain_log", Topics: []string{"o"}, Strategy: sink.Append, Create: "create table plain_log (n int)"},
		{Name: "bare", Topics: []string{"o"}, Key: []string{"id"}, Guard: "none", RecordKey: map[string]string{"id": "$key"}, Create: "create table bare (id int primary key)"},
		{Name: "upserted", Topics: []string{"o"}, Key: []string{"id"}, Create: "create table upserted (id int primary key)"},
	}}
}

const schemaDump = `
	select table_schema, table_name, column_name, data_type, coalesce(character_maximum_length, datetime_precision), is_nullable, coalesce(column_default, '')
	  from information_schema.columns where table_schema in ('public', 'sales') or table_schema = 'oncesink' and table_name ~ '(deletes|dead_letters)$'
	 union all
	select schemaname, tablename, indexname, indexdef, 0, '', '' from pg_indexes where schemaname in ('public', 'sales') or schemaname = 'oncesink' and tablename ~ '(deletes|dead_letters)$'
	 order by 1, 2, 3`

// Init makes what is missing, changes nothing the second time, and ten processes may run it at once.
func TestInit(t *testing.T) {
	db := databaseAt(t, testpg.URL(t))
	var wg sync.WaitGroup
	errs := make([]error, 10)
	for i := range errs {
		conn, err := pgx.Connect(t.Context(), db.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		wg.Go(func() { errs[i] = schema.Init(t.Context(), conn, schemaConfig()) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	dump := db.Lines(schemaDump)
	golden(t, "schema.txt", dump+"\n")
	// A second init takes no lock that a reader of the tables would wait for.
	reader := databaseAt(t, db.URL, "begin", `select from orders, sales."Big Table", log, plain_log, bare`)
	if err := schema.Init(t.Context(), db.Conn, schemaConfig()); err != nil {
		t.Fatal(err)
	}
	reader.Do("commit")
	db.Want(dump, schemaDump)
	if _, err := Open(t.Context(), db.pool(), nil, schemaConfig()); err != nil {
		t.Error(err)
	}
}

// Who has nobody to ask for a schema does not make a table by one, and says who does.
func TestCreateAutoWithoutASchema(t *testing.T) {
	db := databaseAt(t, testpg.URL(t))
	cfg := sink.Config{Topics: map[string]sink.TopicConfig{"o": {Format: sink.Avro}}, Tables: []sink.TableConfig{{Name: "m", Topics: []string{"o"}, Key: []string{"id"}, Create: sink.CreateAuto}}}
	const want = "table m does not exist, and no schema is asked here (create: auto): give the statement that `oncesink schema` prints, or run `oncesink init`"
	if err := schema.Init(t.Context(), db.Conn, cfg); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v", err)
	}
	if _, err := db.Exec(t.Context(), schema.InitSQL(cfg, "")); err == nil || !strings.Contains(err.Error(), "table m does not exist: create it by the statement that `oncesink schema` prints") {
		t.Errorf("the script: got %v", err)
	}
	db.Do("rollback") // what the script began
	db.Do("create table m (id int primary key)")
	if err := schema.Init(t.Context(), db.Conn, cfg); err != nil {
		t.Error(err)
	}
	if _, err := db.Exec(t.Context(), schema.InitSQL(cfg, "")); err != nil {
		t.Errorf("the script: got %v", err)
	}
}

// The script for a DBA does what Init does; the runtime role then needs no right
// to create anything. It can be run again.
func TestInitSQL(t *testing.T) {
	script := schema.InitSQL(schemaConfig(), "nobody")
	golden(t, "init.sql", script)
	const role = "oncesink_writer"
	db := &database{testpg.Open(t, testpg.URL(t))}
	db.Do(fmt.Sprintf("do $$ begin if not exists (select from pg_roles where rolname = '%s') then create role %[1]s; end if; end $$", role))
	t.Cleanup(func() { db.dropRole(role) })
	db.Do("revoke all on schema public from public; grant usage on schema public to " + role)
	db.Do(offsets.SQL(role))
	for range 2 {
		db.Do(schema.InitSQL(schemaConfig(), role))
	}
	reference := databaseAt(t, testpg.URL(t))
	if err := schema.Init(t.Context(), reference.Conn, schemaConfig()); err != nil {
		t.Fatal(err)
	}
	db.Want(reference.Lines(schemaDump), schemaDump)
	// What Init migrates later, it does not create again.
	if err := schema.Init(t.Context(), db.Conn, schemaConfig()); err != nil {
		t.Fatal(err)
	}

	pool := db.pool(func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["role"] = role })
	s, err := Open(t.Context(), pool, nil, schemaConfig())
	if err != nil {
		t.Fatal(err)
	}
	l := offsets.New(pool, "g", offsets.Options{})
	e := &engine{s.WithLedger(l), t, db, pool, l, map[offsets.Partition]offsets.Claim{}, s.plan().tables, nil}
	db.Do("create table log_all partition of log default")
	e.write(e.part("o", 0,
		ev{offset: 0, cols: "id=1 region=eu updated_at=2026-01-01"}, ev{offset: 0, table: "Big Table", cols: "ID=6f202020-2020-2020-2020-202020202030"},
		ev{offset: 0, table: "log", cols: "n=1"}, ev{offset: 0, table: "bare", cols: "id=1"}, ev{offset: 0, table: "upserted", cols: "id=1"},
		ev{offset: 1, cols: "id=1 region=eu", gone: true}, ev{offset: 1, table: "bare", cols: "id=1", gone: true},
		ev{offset: 2, table: "upserted", cols: "id=x"}))
	db.Want("0|1|1|0|1|1", `select (select count(*) from orders), (select count(*) from sales."Big Table"), (select count(*) from log), (select count(*) from bare),
		(select count(*) from upserted), (select count(*) from oncesink.dead_letters)`)

	// Each right that is missing is a problem of its own.
	db.Do(`revoke all on bare, log, oncesink.dead_letters, oncesink."public.orders deletes" from ` + role)
	db.Do("grant select (n) on log to " + role)
	db.Do("revoke usage on schema sales from " + role)
	_, err = Open(t.Context(), pool, nil, schemaConfig())
	checkProblems(t, err, []string{
		"lacks SELECT, INSERT, UPDATE, DELETE on public.bare: grant select, insert, update, delete on",
		"lacks SELECT, INSERT on public.log",
		`lacks SELECT, INSERT, UPDATE on "oncesink"."public.orders deletes"`,
		"lacks SELECT, INSERT, UPDATE on oncesink.dead_letters",
		"lacks USAGE on schema sales",
	})
}

// dropRole drops a role of the whole server with what it may do in this database.
func (db *database) dropRole(role string) {
	for _, s := range []string{"drop owned by ", "drop role "} {
		if _, err := db.Exec(context.Background(), s+role); err != nil {
			db.T.Errorf("%s%s: %v", s, role, err)
		}
	}
}

// as opens a sink of one table as a role that may do what `oncesink run` needs, and no more.
func (db *database) as(role, table string, use func(*engine)) {
	db.T.Helper()
	db.Do("create role " + role)
	defer db.dropRole(role)
	cfg := sink.Config{Tables: []sink.TableConfig{{Name: table, Topics: []string{"o"}, Key: []string{"id"}}}}
	if err := schema.Init(db.T.Context(), db.Conn, cfg); err != nil {
		db.T.Fatal(err)
	}
	db.Do("grant usage on schema oncesink to " + role)
	db.Do("grant usage on sequence oncesink.source_serial to " + role)
	db.Do("grant select, insert, update on " + table + ", oncesink.offsets, oncesink.sources, oncesink.mappings, oncesink.mapping_definitions, oncesink.accepted_mappings, oncesink.dead_letters to " + role)
	e := db.open(cfg, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["role"] = role })
	use(e)
	e.pool.Close()
}

// A table with row level security is written as its policies allow; a row that they refuse is a dead letter.
func TestRowSecurity(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key, n int)", "alter table q enable row level security",
		"create policy p on q using (true) with check (n < 50)")
	db.as("oncesink_rls", "q", func(e *engine) {
		e.write(e.part("o", 0, ev{offset: 0, cols: "id=1 n=1"}, ev{offset: 1, cols: "id=2 n=2"}, ev{offset: 2, cols: "id=1 n=3"}))
		e.write(e.part("o", 0, ev{offset: 3, cols: "id=2 n=4"}))
		db.Want("1|3\n2|4", "select id, n from q order by 1")
		e.write(e.part("o", 0, ev{offset: 4, cols: "id=3 n=70"}, ev{offset: 5, cols: "id=1 n=71"}, ev{offset: 6, cols: "id=4 n=5"}))
		db.Want("1|3\n2|4\n4|5", "select id, n from q order by 1")
		db.Want("4|42501\n5|42501", `select "offset", code from oncesink.dead_letters order by 1`)
	})
}

// Names of memories and indexes fit PostgreSQL's length, and stay apart.
func TestShortNames(t *testing.T) {
	a, b := strings.Repeat("ä", 31)+"1", strings.Repeat("ä", 31)+"2"
	if x, y := mapping.MemoryName("public", a), mapping.MemoryName("public", b); x == y || len(x) > pgname.MaxName || !strings.HasSuffix(x, " deletes") {
		t.Errorf("%q and %q", x, y)
	}
	if got := mapping.MemoryName("public", "orders"); got != "public.orders deletes" {
		t.Errorf("got %q", got)
	}
}

// A statement under `create:` that is wrong says so, and one that makes another
// table, too.
func TestInitProblems(t *testing.T) {
	db := databaseAt(t, testpg.URL(t))
	for create, want := range map[string]string{
		"create table t (id nonsense)": "create: SQLSTATE 42704",
		"create table other (id int)":  "the statement under `create:` does not create t",
		"":                             "table t does not exist",
	} {
		err := schema.Init(t.Context(), db.Conn, sink.Config{Tables: []sink.TableConfig{{Name: "t", Topics: []string{"o"}, Key: []string{"id"}, Create: create}}})
		var config *sink.ConfigError
		if !errors.As(err, &config) || !strings.Contains(config.Problem, want) {
			t.Errorf("%s: got %v, want a *ConfigError: %s", create, err, want)
		}
		db.Want("0", "select count(*) from pg_tables where schemaname = 'public'")
	}
}
