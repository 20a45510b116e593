package engine

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// TestLint: each finding is found, and none where its cause is not.
func TestLint(t *testing.T) {
	if onRoute() {
		return
	}
	const table = "create table t (id bigint primary key, version int not null, n int)"
	const touch = "create function f() returns trigger language plpgsql as $$ begin %s; return new; end $$"
	const fire = "create trigger g %s on t for each row execute function f()"
	clean := sink.TableConfig{Key: []string{"id"}, Version: "version", RecordKey: map[string]string{"id": "$key"}}
	with := func(change func(*sink.TableConfig)) sink.TableConfig {
		c := clean
		change(&c)
		return c
	}
	for _, tt := range []struct {
		name   string
		create []string
		config sink.TableConfig
		want   string // severity, code and object of each
	}{
		{"nothing", []string{table}, clean, ""},
		{"clock", []string{table, "alter table t add made timestamptz default now()"}, clean, "error volatile-default made"},
		{"chance", []string{table, "alter table t add made uuid default gen_random_uuid()"}, clean, "error volatile-default made"},
		{"named in the mapping", []string{table, "alter table t add made timestamptz default now()"},
			with(func(c *sink.TableConfig) { c.Columns = map[string]sink.ColumnConfig{"made": {From: "at"}} }), "warning volatile-default made"},
		{"filled by every record", []string{table, "alter table t add made timestamptz default now()"},
			with(func(c *sink.TableConfig) { c.Columns = map[string]sink.ColumnConfig{"made": {From: "$timestamp"}} }), ""},
		{"accepted", []string{table, "alter table t add made timestamptz default now()"}, with(func(c *sink.TableConfig) { c.Accept = []string{"volatile-default"} }), ""},
		{"accepted for a column", []string{table, "alter table t add made timestamptz default now(), add seen timestamptz default now()"},
			with(func(c *sink.TableConfig) { c.Accept = []string{"volatile-default:made"} }), "error volatile-default seen"},
		{"chunks that a policy drops", append(standIn[:len(standIn):len(standIn)], table, "insert into timescaledb_information.jobs values (7, 'policy_retention', '{}', 'public', 't')"), clean, "warning chunks-dropped"},
		{"chunks that a policy drops, of a table with a rollup", append(standIn[:len(standIn):len(standIn)], table, "insert into timescaledb_information.jobs values (7, 'policy_retention', '{}', 'public', 't')",
			"create function oncesink.count_it() returns trigger language plpgsql as 'begin return null; end'", "create trigger r after insert on t for each statement execute function oncesink.count_it()"), clean, "error chunks-dropped"},
		{"chunks that a policy compresses", append(standIn[:len(standIn):len(standIn)], table, "insert into timescaledb_information.jobs values (7, 'policy_compression', '{}', 'public', 't'), (8, 'policy_retention', '{}', 'public', 'other')"), clean, ""},
		{"constant default", []string{table, "alter table t add made timestamptz default '2026-01-01'"}, clean, ""},
		{"clock behind a cast", []string{table, "alter table t add made date default ('now'::text)::date"}, clean, "error volatile-default made"},
		{"clock behind casts of arrays", []string{table, "alter table t add made date[] default (array['now']::text[])::date[]"}, clean, "error volatile-default made"},
		{"clock of the standard", []string{table, "alter table t add made date default current_date, add by text default current_user"}, clean, "error volatile-default made, error volatile-default by"},
		{"clock in an operator", []string{table, "alter table t add made timestamptz default timestamptz '2026-01-01' + interval '1 day'"}, clean, "error volatile-default made"},
		{"clock of a domain", []string{"create domain moment as timestamptz default now()", "create domain later as moment", table, "alter table t add made later"}, clean, "error volatile-default made"},
		{"domain whose default is set aside", []string{"create domain moment as timestamptz default now()", table, "alter table t add made moment default '2026-01-01'"}, clean, ""},
		{"function with a quoted name", []string{`create function "My F"() returns int language sql as 'select 1'`, table, `alter table t add made int default "My F"() + 1`}, clean, "error volatile-default made"},
		{"function declared immutable", []string{"create function now(int) returns int immutable language sql as 'select 1'", table, "alter table t add made int default public.now(1)"}, clean, ""},
		{"immutable function of a name that others have", []string{table, "alter table t add made timestamptz default to_timestamp(0)"}, clean, ""},
		{"cast by way of text", []string{table, "alter table t add made int default ('1'::text)::int"}, clean, ""},
		{"serial", []string{table, "alter table t add s serial"}, clean, "error sequence-default s"},
		{"identity", []string{table, "alter table t add s int generated by default as identity"}, clean, "error sequence-default s"},
		{"key from a sequence", []string{"create table t (id bigserial primary key, version int not null)"}, clean, ""},
		{"trigger that counts", []string{table, fmt.Sprintf(touch, "update counter set n = n + 1"), fmt.Sprintf(fire, "after insert")}, clean, "error trigger-writes g"},
		{"trigger that notifies", []string{table, fmt.Sprintf(touch, "perform pg_notify('a', 'b')"), fmt.Sprintf(fire, "after update")}, clean, "error trigger-writes g"},
		{"trigger that updates another name", []string{table, fmt.Sprintf(touch, "update only counter as c set n = n + 1"), fmt.Sprintf(fire, "after insert")}, clean, "error trigger-writes g"},
		{"trigger of dynamic SQL", []string{table, fmt.Sprintf(touch, "execute 'select 1'"), fmt.Sprintf(fire, "after insert")}, clean, "error trigger-writes g"},
		{"trigger of replicas", []string{table, fmt.Sprintf(touch, "update counter set n = n + 1"), fmt.Sprintf(fire, "after insert"), "alter table t enable replica trigger g"}, clean, ""},
		{"trigger on a partition", []string{table + " partition by range (id)", "create table leaf partition of t default", fmt.Sprintf(touch, "update counter set n = n + 1"),
			"create trigger g after insert on leaf for each row execute function f()"}, clean, "error trigger-writes g"},
		{"trigger on a partitioned table", []string{table + " partition by range (id)", "create table leaf partition of t default", fmt.Sprintf(touch, "update counter set n = n + 1"), fmt.Sprintf(fire, "after insert")},
			clean, "error trigger-writes g"},
		{"trigger with a clock", []string{table, fmt.Sprintf(touch, "new.n := extract(epoch from now())"), fmt.Sprintf(fire, "before insert or update")}, clean, "error trigger-writes g"},
		{"trigger before insert", []string{table, fmt.Sprintf(touch, "new.n := 1"), fmt.Sprintf(fire, "before insert")}, clean, "warning trigger-before-insert g"},
		{"trigger before update", []string{table, fmt.Sprintf(touch, "new.n := 1"), fmt.Sprintf(fire, "before update")}, clean, ""},
		{"trigger that reads", []string{table, fmt.Sprintf(touch, "perform 1 from t"), fmt.Sprintf(fire, "after insert")}, clean, ""},
		{"trigger in C", []string{table, "create trigger g before update on t for each row execute function suppress_redundant_updates_trigger()"}, clean, "warning trigger-writes g"},
		{"trigger that is disabled", []string{table, fmt.Sprintf(touch, "update counter set n = n + 1"), fmt.Sprintf(fire, "after insert"), "alter table t disable trigger g"}, clean, ""},
		{"trigger of a rollup", []string{table, "create function oncesink.f() returns trigger language plpgsql as 'begin insert into x values (1); return null; end'",
			"create trigger g after insert on t for each statement execute function oncesink.f()"}, clean, ""},
		{"unlogged", []string{strings.Replace(table, "create", "create unlogged", 1)}, clean, "error unlogged"},
		{"cascade to another table", []string{table, "create table o (id bigint constraint fk references t on delete cascade)"}, clean, "error cascade-to fk"},
		{"set null in another table, no tombstones", []string{table, "create table o (id bigint constraint fk references t on delete set null)"},
			with(func(c *sink.TableConfig) { c.RecordKey, c.Tombstones = nil, "ignore" }), "warning cascade-to fk"},
		{"restrict in another table", []string{table, "create table o (id bigint references t)"}, clean, ""},
		{"cascade from another table", []string{"create table p (n int primary key)", strings.Replace(table, "n int", "n int constraint fk references p on update cascade", 1)}, clean, "warning cascade-from fk"},
		{"update in another table", []string{table, "create table o (id bigint constraint fk references t on update cascade)"}, clean, "warning cascade-to fk"},
		{"delete from another table", []string{"create table p (n int primary key)", strings.Replace(table, "n int", "n int constraint fk references p on delete cascade", 1)}, clean, "error cascade-from fk"},
		{"delete from another table into a partition", []string{"create table p (n int primary key)", table + " partition by range (id)", "create table leaf partition of t default",
			"alter table leaf add constraint fk foreign key (n) references p on delete cascade"}, clean, "error cascade-from fk"},
		{"cascade to itself", []string{table, "alter table t add up bigint constraint fk references t on delete cascade"}, clean, "error cascade-to fk, warning foreign-key-cycle fk"},
		{"version may be null", []string{strings.Replace(table, "version int not null", "version int", 1)}, clean, "warning nullable-version version"},
		{"no order across partitions", []string{table}, with(func(c *sink.TableConfig) { c.Version, c.RecordKey, c.Tombstones = "", nil, "ignore" }), "warning key-order"},
		{"no version, keyed by the record", []string{table}, with(func(c *sink.TableConfig) { c.Version = "" }), ""},
		{"no version, key from the record", []string{table},
			with(func(c *sink.TableConfig) {
				c.Version, c.RecordKey, c.Tombstones, c.Columns = "", nil, "ignore", map[string]sink.ColumnConfig{"id": {From: "$key"}}
			}), ""},
		{"further unique index", []string{table, "create unique index on t (n)"}, clean, "error further-unique"},
		{"further unique index, events appended", []string{"create table t (n int unique)"}, sink.TableConfig{Strategy: sink.Append}, "warning further-unique"},
		{"exclusion constraint", []string{table, "alter table t add exclude (n with =)"}, clean, "error further-unique"},
		{"row security", []string{table, "alter table t enable row level security"}, clean, "warning row-security"},
		{"tombstones", []string{table}, with(func(c *sink.TableConfig) { c.RecordKey = nil }), "warning tombstones-unnamed"},
		{"version from a log", []string{table}, with(func(c *sink.TableConfig) {
			c.Columns = map[string]sink.ColumnConfig{"version": {From: "$envelope.source.lsn"}}
		}), "warning version-resets version"},
		{"version from a log, flattened", []string{table}, with(func(c *sink.TableConfig) { c.Columns = map[string]sink.ColumnConfig{"version": {From: "__source_lsn"}} }), "warning version-resets version"},
		{"version from a log, accepted", []string{table}, with(func(c *sink.TableConfig) {
			c.Columns, c.Accept = map[string]sink.ColumnConfig{"version": {From: "__lsn"}}, []string{"version-resets"}
		}), ""},
		{"version of a like name", []string{table}, with(func(c *sink.TableConfig) { c.Columns = map[string]sink.ColumnConfig{"version": {From: "lsn.pulsn"}} }), ""},
		{"condition on the row", []string{table}, with(func(c *sink.TableConfig) { c.When = map[string]sink.Condition{"status": {In: []string{"open"}}} }), "warning stale-rows status"},
		{"condition on the row, decided", []string{table}, with(func(c *sink.TableConfig) {
			c.When, c.Otherwise = map[string]sink.Condition{"status": {In: []string{"open"}}}, sink.OtherwiseIgnore
		}), ""},
		{"condition on the row, deleting", []string{table}, with(func(c *sink.TableConfig) {
			c.When, c.Otherwise = map[string]sink.Condition{"status": {In: []string{"open"}}}, sink.OtherwiseDelete
		}), ""},
		{"condition on the event", []string{table}, with(func(c *sink.TableConfig) {
			yes := sink.Condition{In: []string{"x"}}
			c.When = map[string]sink.Condition{"$header.type": yes, "$schema": yes, "$topic": yes, "$envelope.type": yes, "$key.type": yes, "$key": yes, "$partition": yes}
		}), ""},
		{"condition on what is appended", []string{"create table t (n int)"}, sink.TableConfig{Strategy: sink.Append, When: map[string]sink.Condition{"status": {In: []string{"open"}}}}, ""},
		{"default of a column with a clock", []string{table, "alter table t add made timestamptz default now()"}, with(func(c *sink.TableConfig) {
			c.Columns = map[string]sink.ColumnConfig{"made": instead("2026-01-01", sink.DefaultForAbsent)}
		}), ""},
		{"default for null of a column with a clock", []string{table, "alter table t add made timestamptz default now()"}, with(func(c *sink.TableConfig) {
			c.Columns = map[string]sink.ColumnConfig{"made": instead("2026-01-01", sink.DefaultForNull)}
		}), "warning volatile-default made"},
		{"no guard", []string{table}, with(func(c *sink.TableConfig) { c.Guard = "none" }), "warning no-guard"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db := newDatabase(t, tt.create...)
			var got []string
			for _, f := range db.upsert("t", tt.config).lint()[0] {
				got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s", f.Severity, f.Code, f.Object)))
				if f.Why == "" || f.Fix == "" || f.Problem == "" {
					t.Errorf("%+v does not say everything", f)
				}
			}
			if s := strings.Join(got, ", "); s != tt.want {
				t.Errorf("got  %q\nwant %q", s, tt.want)
			}
		})
	}
}

// TestLintOfChildren: a cascade from a parent to its own children is none.
func TestLintOfChildren(t *testing.T) {
	for i, found := range shop(t, "references orders on delete cascade").lint() {
		if slices.ContainsFunc(found, func(f tables.Finding) bool { return strings.HasPrefix(f.Code, "cascade") }) {
			t.Errorf("table %d: %+v", i, found)
		}
	}
}

// TestLintOfReferences: foreign keys between tables of the sink, where the order of writing does not help.
func TestLintOfReferences(t *testing.T) {
	if onRoute() {
		return
	}
	tables := func(topicOfA, topicOfB string) []sink.TableConfig {
		entry := func(name, topic string) sink.TableConfig {
			return sink.TableConfig{Name: name, Topics: []string{topic}, Key: []string{"id"}, RecordKey: map[string]string{"id": "$key"}}
		}
		return []sink.TableConfig{entry("a", topicOfA), entry("b", topicOfB)}
	}
	const two = "create table a (id int primary key, b int); create table b (id int primary key, a int)"
	for _, tt := range []struct {
		name, create string
		tables       []sink.TableConfig
		want         string
	}{
		{"parents first", two + "; alter table a add constraint ab foreign key (b) references b", tables("t", "t"), ""},
		{"a circle", two + "; alter table a add constraint ab foreign key (b) references b; alter table b add constraint ba foreign key (a) references a", tables("t", "t"), "error foreign-key-cycle ab"},
		{"a circle that can be deferred", two + "; alter table a add constraint ab foreign key (b) references b deferrable; alter table b add constraint ba foreign key (a) references a", tables("t", "t"), ""},
		{"a circle in partitions", "create table a (id int primary key, b int) partition by range (id); create table a1 partition of a default; create table b (id int primary key, a int); " +
			"alter table a1 add constraint ab foreign key (b) references b; alter table b add constraint ba foreign key (a) references a", tables("t", "t"), "error foreign-key-cycle ab"},
		{"a circle by way of a table that is not written", two + "; create table c (id int primary key, a int references a); alter table a add constraint ab foreign key (b) references b; alter table b add constraint bc foreign key (a) references c", tables("t", "t"), ""},
		{"itself", two + "; alter table a add constraint aa foreign key (b) references a", tables("t", "t"), "warning foreign-key-cycle aa"},
		{"itself, deferrable", two + "; alter table a add constraint aa foreign key (b) references a deferrable", tables("t", "t"), ""},
		{"another topic", two + "; alter table b add constraint ba foreign key (a) references a", tables("t", "u"), "warning foreign-key-wait ba"},
		{"a table that nothing feeds", two + "; create table c (id int primary key); alter table b add constraint bc foreign key (a) references c", tables("t", "u"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db := newDatabase(t, tt.create)
			var got []string
			for _, found := range db.open(sink.Config{Tables: tt.tables}).lint() {
				for _, f := range found {
					got = append(got, fmt.Sprintf("%s %s %s", f.Severity, f.Code, f.Object))
				}
			}
			if s := strings.Join(got, ", "); s != tt.want {
				t.Errorf("got  %q\nwant %q", s, tt.want)
			}
		})
	}
}

// TestLintDocumented: docs/lint.md has a line for each code, and for no other.
func TestLintDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/lint.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllSubmatch(text, -1) {
		documented = append(documented, string(m[1]))
	}
	if !mapping.SameSet(documented, mapping.LintCodes()) || len(documented) != len(mapping.LintCodes()) {
		t.Errorf("documented: %q\nin the code: %q", documented, mapping.LintCodes())
	}
}

// TestLintOfRole: a superuser is told of once, an owner with each table, and a role that was granted what it needs not at all.
func TestLintOfRole(t *testing.T) {
	if onRoute() {
		return
	}
	db := newDatabase(t, "create table a (id int primary key)", "create table b (id int primary key)", "create table c (id int primary key)")
	entry := func(name string, accept ...string) sink.TableConfig {
		return sink.TableConfig{Name: name, Topics: []string{name}, Key: []string{"id"}, RecordKey: map[string]string{"id": "$key"}, Accept: accept}
	}
	for i, tt := range []struct {
		owns   []string // of the role, beside what it is granted
		super  bool
		member bool // of a role that owns table a
		accept []string
		want   string
	}{
		{nil, true, false, nil, "a: warning superuser"},
		{nil, true, false, []string{"superuser"}, ""},
		{[]string{"a", "c"}, false, false, nil, "a: warning table-owner, c: warning table-owner"},
		{[]string{"a", "b"}, false, false, []string{"table-owner"}, "a: warning table-owner"}, // b accepts it
		{nil, false, true, nil, "a: warning table-owner"},
		{nil, false, false, nil, ""},
	} {
		role, owner := fmt.Sprintf("oncesink_linted_%d", i), fmt.Sprintf("oncesink_owner_%d", i)
		db.Do("create role " + role)
		t.Cleanup(func() { db.dropRole(role) })
		if tt.super {
			db.Do("alter role " + role + " superuser")
		}
		cfg := sink.Config{Tables: []sink.TableConfig{entry("a"), entry("b", tt.accept...), entry("c")}}
		if err := schema.Init(t.Context(), db.Conn, cfg); err != nil {
			t.Fatal(err)
		}
		db.Do(offsets.SQL(role))
		db.Do(schema.InitSQL(cfg, role))
		for _, table := range tt.owns {
			db.Do("alter table " + table + " owner to " + role)
		}
		if tt.member {
			db.Do("create role " + owner)
			t.Cleanup(func() { db.dropRole(owner) })
			db.Do("alter table a owner to " + owner)
			db.Do("grant " + owner + " to " + role)
		}
		s, err := Open(t.Context(), db.pool(func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["role"] = role }), nil, cfg)
		if err != nil {
			t.Fatal(err)
		}
		found, err := s.Lint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i, fs := range found {
			for _, f := range fs {
				got = append(got, fmt.Sprintf("%s: %s %s", cfg.Tables[i].Name, f.Severity, f.Code))
				if !strings.Contains(f.Problem, role) || !strings.Contains(f.Fix, "--role") {
					t.Errorf("%+v does not say everything", f)
				}
			}
		}
		if s := strings.Join(got, ", "); s != tt.want {
			t.Errorf("%d: got  %q\nwant %q", i, s, tt.want)
		}
		for _, table := range []string{"a", "b", "c"} {
			db.Do("alter table " + table + " owner to current_user")
		}
	}
}

// lint is what [Sink.Lint] finds of each table, but for what it says of the test's own role.
func (e *engine) lint() [][]tables.Finding {
	e.t.Helper()
	found, err := e.Lint(e.t.Context())
	if err != nil {
		e.t.Fatal(err)
	}
	for i := range found {
		found[i] = slices.DeleteFunc(found[i], func(f tables.Finding) bool { return f.Code == "superuser" })
	}
	return found
}
