package offsets_test

import (
	"errors"
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/offsets"
)

var update = flag.Bool("update", false, "write the golden files in testdata")

// What a DBA runs is reviewed as a file. A released migration never changes, so
// neither does what stands here above the grants.
func TestSQLGolden(t *testing.T) {
	got := offsets.SQL(`sink "runtime"`)
	name := filepath.Join("testdata", "ledger.sql")
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the script differs from %s; if it is meant to: go test ./offsets -run TestSQLGolden -update", name)
	}
	if without := offsets.SQL(""); strings.Contains(without, "\ngrant ") || !strings.HasPrefix(got, strings.TrimSuffix(without, "\ncommit;\n")) {
		t.Error("without a role it is the same script without its grants")
	}
}

// catalog is everything in the schema: columns, constraints, functions, settings.
const catalog = `
select string_agg(line, E'\n' order by line) from (
    select format('%s.%s %s %s %s', table_name, column_name, data_type, is_nullable, column_default) from information_schema.columns where table_schema = 'oncesink'
    union all select format('%s %s', conrelid::regclass, pg_get_constraintdef(oid)) from pg_constraint where connamespace = 'oncesink'::regnamespace
    union all select pg_get_functiondef(oid) from pg_proc where pronamespace = 'oncesink'::regnamespace
    union all select format('%s %s %s', relname, relkind, reloptions) from pg_class where relnamespace = 'oncesink'::regnamespace
    union all select format('%s %s', component, version) from oncesink.schema_version
) all_of_it(line)`

// The script makes what Init makes, of every older ledger, with its rows, and of none. It can be run again, and
// Init has nothing left to do.
func TestSQLIsInit(t *testing.T) {
	want := value[string](newRig(t), catalog)
	for version := range len(offsets.LedgerMigrations()) + 1 {
		r := &rig{T: t, url: testpg.URL(t), topicID: offsets.NewToken()}
		r.admin = r.connect("psql")
		rows := 0
		if version > 0 {
			r.must(offsets.Migrate(t.Context(), r.admin, "ledger", offsets.LedgerMigrations()[:version]))
			r.exec(`insert into oncesink.offsets (sink_group, topic, partition, next_offset, first_offset) values ('g', 't', 0, 7, 0)`)
			rows = 1
		}
		for range 2 {
			r.exec(offsets.SQL(""))
			if got := value[string](r, catalog); got != want {
				t.Errorf("of version %d the script makes\n%s\nand Init\n%s", version, got, want)
			}
		}
		r.must(offsets.Check(t.Context(), r.admin))
		r.must(offsets.Init(t.Context(), r.admin))
		if got := value[string](r, catalog); got != want {
			t.Errorf("version %d: Init changed what the script made", version)
		}
		if got := value[int](r, `select count(*) from oncesink.offsets where next_offset = 7`); got != rows {
			t.Errorf("version %d: %d rows of before, want %d", version, got, rows)
		}
	}
}

// A script that is older than the ledger takes nothing back.
func TestOldSQLLeavesNewerLedger(t *testing.T) {
	r := newRig(t)
	r.exec(`update oncesink.schema_version set version = 99; alter table oncesink.offsets add column later int default 7`)
	before := value[string](r, catalog)
	r.exec(offsets.SQL(""))
	if after := value[string](r, catalog); after != before {
		t.Errorf("changed\n%s\nto\n%s", before, after)
	}
}

// Who owns the schema may run the script, without the right to create another one; ten at once do it once.
func TestSQLByTheOwnerOfTheSchema(t *testing.T) {
	r := newRig(t)
	r.exec(`drop schema oncesink cascade`)
	r.exec(`do $$ begin create role oncesink_schema_owner login; exception when duplicate_object or unique_violation then null; end $$`)
	r.exec(`create schema oncesink authorization oncesink_schema_owner`)
	u, err := url.Parse(r.url)
	r.must(err)
	u.User = url.User("oncesink_schema_owner")
	var wg sync.WaitGroup
	for range 10 {
		conn, err := pgx.Connect(t.Context(), u.String())
		r.must(err)
		wg.Go(func() {
			_, err := conn.Exec(t.Context(), offsets.SQL(""))
			if err := errors.Join(err, offsets.Check(t.Context(), conn), conn.Close(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// Ten processes that start on an empty database make one ledger.
func TestInitTenAtOnce(t *testing.T) {
	t.Parallel()
	r := &rig{T: t, url: testpg.URL(t)}
	r.admin = r.connect("psql")
	var wg sync.WaitGroup
	for range 10 {
		conn := r.connect("psql")
		wg.Go(func() {
			if err := errors.Join(offsets.Init(t.Context(), conn), offsets.Check(t.Context(), conn)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := value[int](r, `select count(*) from oncesink.schema_version`); got != 1 {
		t.Errorf("%d versions, want 1", got)
	}
}

// A ledger that is newer than the program, in a rolling upgrade, is left alone and served.
func TestInitLeavesNewerLedger(t *testing.T) {
	r := newRig(t)
	r.exec(`update oncesink.schema_version set version = 99; alter table oncesink.offsets add column later int default 7`)
	before := value[string](r, catalog)
	r.must(offsets.Init(t.Context(), r.admin))
	r.must(offsets.Check(t.Context(), r.admin))
	if after := value[string](r, catalog); after != before {
		t.Errorf("changed\n%s\nto\n%s", before, after)
	}
	p := r.process()
	r.must(p.advance(step(p.claim(1)[0], 1)))
}

// A migration that fails leaves no part of itself, and its number.
func TestMigrateIsAtomic(t *testing.T) {
	r := newRig(t)
	steps := []string{`create table oncesink.sample (n int)`, `alter table oncesink.sample add column m int; select 1/0`}
	err := offsets.Migrate(t.Context(), r.admin, "sample", steps)
	if state(err) != "22012" || !strings.Contains(err.Error(), "migrate sample: to version 2") {
		t.Errorf("got %v, want a division by zero in version 2", err)
	}
	if got := value[int](r, `select version from oncesink.schema_version where component = 'sample'`); got != 1 {
		t.Errorf("version %d, want 1", got)
	}
	if got := value[int](r, `select count(*) from information_schema.columns where table_name = 'sample'`); got != 1 {
		t.Errorf("%d columns, want 1", got)
	}
}

// The calls of a program without its ledger say what to run.
func TestMissingLedgerIsNamed(t *testing.T) {
	t.Parallel()
	r := &rig{T: t, url: testpg.URL(t), topicID: offsets.NewToken()}
	p := r.process()
	tx, err := p.pool.Begin(t.Context())
	r.must(err)
	defer tx.Rollback(t.Context())
	c := offsets.Claim{Partition: partitions(1)[0], ID: offsets.NewToken(), Fence: offsets.NewToken()}
	calls := map[string]error{
		"Advance": p.Advance(t.Context(), tx, []offsets.Step{step(c, 1)}),
		"Begin":   p.Begin(t.Context(), []offsets.First{{Partition: c.Partition}}),
		"Halt":    p.Halt(t.Context(), c, "a gap"),
		"Stuck":   p.Stuck(t.Context(), []offsets.Claim{c}, "a full disk"),
	}
	_, calls["Claim"] = p.Claim(t.Context(), r.wants(c.Partition))
	_, calls["Resolve"] = p.Resolve(t.Context(), []offsets.Step{step(c, 1)}, 0)
	_, calls["Rows"] = p.Rows(t.Context())
	_, calls["History"] = p.History(t.Context())
	calls["AcceptMappings"] = offsets.AcceptMappings(t.Context(), r.connect("psql"), group, nil)
	for name, err := range calls {
		if !errors.Is(err, offsets.ErrNoLedger) {
			t.Errorf("%s: got %v, want ErrNoLedger", name, err)
		}
	}
}

// The role that runs the program needs what the script grants, and has no more.
func TestRuntimeRole(t *testing.T) {
	t.Parallel()
	const role = `sink "runtime"`
	r := &rig{T: t, url: testpg.URL(t), topicID: offsets.NewToken()}
	r.admin = r.connect("psql")
	// Roles belong to the server, which other runs of this test share.
	r.exec(`do $$ begin create role "sink ""runtime""" login; exception when duplicate_object or unique_violation then null; end $$`)
	r.exec(`create table target (n bigint); grant insert on target to "sink ""runtime"""`)
	u, err := url.Parse(r.url)
	r.must(err)
	u.User = url.User(role)
	own, err := pgx.Connect(t.Context(), u.String())
	r.must(err)
	defer own.Close(t.Context())

	r.exec(`create schema oncesink; create table oncesink.schema_version (component text primary key, version int not null)`)
	if err := offsets.Check(t.Context(), own); err == nil || !strings.Contains(err.Error(), "init --print") {
		t.Errorf("without the grants: %v", err)
	}
	r.exec(`drop schema oncesink cascade`)
	r.exec(offsets.SQL(role))
	r.must(offsets.Check(t.Context(), own))
	r.must(offsets.Init(t.Context(), own)) // nothing to do, for which it needs no right

	options := offsets.Options{ClusterID: "cluster-1", Mappings: []offsets.Mapping{mapping("a", "1")}}
	p := r.processAt(u.String(), options)
	r.must(p.Begin(t.Context(), []offsets.First{{Partition: partitions(1)[0], TopicID: r.topicID, Offset: 3}}))
	c := p.claim(2)
	r.must(p.advance(step(c[0], 1), step(c[1], 1)))
	res, err := p.Resolve(t.Context(), []offsets.Step{step(c[0], 1), step(c[1], 1)}, 0)
	r.must(err)
	if !res.Committed || !res.Partitions[0].Ours {
		t.Errorf("resolved to %+v", res)
	}
	r.must(p.Stuck(t.Context(), c[:1], "a full disk"))
	if rows := p.rows(2); rows[0].Stuck != "" {
		t.Error("resolved, which drew a new fence, and stuck under the old one")
	}
	r.must(p.Stuck(t.Context(), []offsets.Claim{res.Partitions[0].Claim}, "a full disk"))
	if rows := p.rows(2); rows[0].Stuck != "a full disk" {
		t.Errorf("stuck at %q", rows[0].Stuck)
	}
	r.must(p.Halt(t.Context(), c[0], "a gap"))
	if rows := p.rows(2); rows[0].Halted != "a gap" || rows[0].Stuck != "" || rows[0].Position.Next != 4 {
		t.Errorf("rows %+v", rows)
	}
	_, err = p.History(t.Context())
	r.must(err)
	if alive, err := p.Alive(t.Context(), p.Instance()); err != nil || !alive {
		t.Errorf("alive: %v, %v", alive, err)
	}
	// It ends stuck sessions of its own role.
	pid := p.stopped("in COPY FROM STDIN", step(res.Partitions[1].Claim, 1))
	next := r.processAt(u.String(), options)
	next.SetPatience(300*time.Millisecond, 20*time.Second)
	claimed, err := next.Claim(t.Context(), r.wants(partitions(2)...))
	r.must(err)
	if claimed[1].Err != nil || r.alive(pid) {
		t.Errorf("the stuck session %d: %v", pid, claimed[1].Err)
	}
	for _, sql := range []string{
		`delete from oncesink.offsets`, `delete from oncesink.mappings`, `truncate oncesink.offsets`, `create table oncesink.mine (n int)`,
		`update oncesink.schema_version set version = 0`, `drop function oncesink.durable()`, `alter table oncesink.offsets add column n int`,
	} {
		if _, err := own.Exec(t.Context(), sql); state(err) != "42501" {
			t.Errorf("%s: got %v, want it refused", sql, err)
		}
	}
	if err := offsets.AcceptMappings(t.Context(), own, group, nil); state(err) != "42501" {
		t.Errorf("accepting mappings: got %v, want it refused", err)
	}
}
