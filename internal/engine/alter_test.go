package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// decoded is a part whose records were decoded before a table was altered.
func (e *engine) decoded(offset int64, values ...string) *decode.Part {
	e.t.Helper()
	c, ok := e.claims[offsets.Partition{Topic: "o"}]
	if !ok {
		c = e.claim("o", 0)
	}
	p := &decode.Part{Claim: c}
	for i, v := range values {
		e.Add(p, sink.Record{Topic: "o", Offset: offset + int64(i), Epoch: -1, Timestamp: time.Unix(1_700_000_000, 0), Value: []byte(v)})
	}
	return p
}

// Rule 29: whatever a column was when the events were decoded, what is stored is what the type that it has by
// now makes of them, or they are dead letters. From each of these types, or of some that are drawn, to each other; bytea, which asks for an
// encoding, is TestAlteredTable's.
func TestRetypedColumn(t *testing.T) {
	types := []string{"smallint", "int", "bigint", "numeric", "numeric(6,2)", "real", "double precision", "boolean", "text", "varchar(4)", "date",
		"timestamptz", "timestamp(0)", "interval", "jsonb", "uuid", "int[]"}
	values := []string{`1`, `-7`, `40000`, `5000000000`, `1.50`, `19.999`, `1e2`, `0.1`, `true`, `"true"`, `"abc"`, `"abcdef"`, `"2024-02-29"`, `"2024-01-15T10:00:00.75Z"`,
		`1705310101`, `"1 day"`, `{"a":[1]}`, `[1,2]`, `"{3,4}"`, `"6f1d0e5a-0c8e-4f6e-8a44-2f2f2f2f2f2f"`, `"\\xff"`, `" 12 "`, `null`}
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	if testenv.Times(0, 1) == 0 {
		r.Shuffle(len(types), func(i, j int) { types[i], types[j] = types[j], types[i] })
		types = types[:8]
	}
	db := newDatabase(t, "create table m (id int primary key, v "+types[0]+")", "create table sent (id int, raw text, txt text)", tryCast)
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "m", Topics: []string{"o"}, Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{"v": {Encoding: ""}}}}})
	todo := map[[2]int]bool{}
	for a := range types {
		for b := range types {
			if a != b {
				todo[[2]int{a, b}] = true
			}
		}
	}
	at, id := 0, 0
	for len(todo) > 0 {
		// The next one that is left to go to from here, or to get to one.
		to := -1
		for _, b := range r.Perm(len(types)) {
			if b == at {
				continue
			}
			if to < 0 || todo[[2]int{at, b}] {
				to = b
			}
		}
		delete(todo, [2]int{at, to})
		var records []string
		var sent []string
		old := r.Perm(min(id, 3*len(values))) // of a key that came twice the first event might be read by nobody
		for i := range 2 * len(values) {
			v := values[i%len(values)]
			key := id + i
			if i >= len(values) && id > 0 {
				key = id - 1 - old[i-len(values)] // a row that is there
			}
			records = append(records, fmt.Sprintf(`{"id": %d, "v": %s}`, key, v))
			sent = append(sent, fmt.Sprintf("(%d, %s, %s)", key, pgname.Literal(v), pgname.Literal(strings.ReplaceAll(strings.Trim(v, `"`), `\\`, `\`))))
		}
		db.Do("delete from m where id < $1", id-3*len(values)) // fewer rows to rewrite
		id += 2 * len(values)
		p := e.decoded(int64(id), records...)
		db.Do("alter table m alter v type " + types[to] + " using null")
		db.Do("truncate sent")
		db.Do("update m set v = null")
		db.Do("insert into sent values " + strings.Join(sent, ", "))
		e.write(p)
		text := map[string]string{"jsonb": "raw", "int[]": "(case when raw like '[%' then translate(raw, '[]', '{}') else txt end)"}[types[to]]
		if text == "" {
			text = "txt"
		}
		// The last event of a key that is a value counts; those that are dead letters don't, nor those that a later one of
		// the batch outdid before anybody read them.
		wrong := db.Lines(fmt.Sprintf(`select m.id, m.v, (select string_agg(raw, ' ') from sent where sent.id = m.id) from m
			where v is not null and not exists (select from sent where sent.id = m.id and raw <> 'null'
				and case when sent.id::text || raw not in (select (convert_from(value, 'UTF8')::jsonb ->> 'id') || regexp_replace(convert_from(value, 'UTF8'), '^.*"v": (.*)}$', '\1') from oncesink.dead_letters where "offset" >= %d)
					then try_cast(%s, '%s') = m.v::text end)`, id, text, types[to]))
		if wrong != "" {
			t.Fatalf("seed %d: %s -> %s: rows that no event says:\n%.500s", seed, types[at], types[to], wrong)
		}
		// Whatever is no dead letter is there.
		lost := db.Lines(fmt.Sprintf(`select id, raw from sent
			where id::text || raw not in (select (convert_from(value, 'UTF8')::jsonb ->> 'id') || regexp_replace(convert_from(value, 'UTF8'), '^.*"v": (.*)}$', '\1') from oncesink.dead_letters where "offset" >= %d)
				and not exists (select from m where m.id = sent.id and (v is not null or exists (select from sent s where s.id = m.id and s.raw = 'null')))`, id))
		if lost != "" {
			t.Fatalf("seed %d: %s -> %s: events that are neither rows nor dead letters:\n%.500s", seed, types[at], types[to], lost)
		}
		written := db.Lines("select count(distinct id) from sent where id in (select id from m)")
		if written == "0" {
			t.Fatalf("seed %d: %s -> %s: nothing was written", seed, types[at], types[to])
		}
		at = to
	}
}

// The cases of a public bug report: binary COPY in the type of the start stored bit patterns, a statement
// rounded, and a key of another width was tried for ever.
func TestRetypedCopy(t *testing.T) {
	for _, tt := range []struct{ column, from, to, value, want string }{
		{"v", "bigint", "double precision", "7", "7"},
		{"v", "real", "double precision", "0.1", "0.1"},
		{"v", "int", "bigint", "5000000000", "5000000000"},
		{"id", "int", "bigint", "1", "1"},
	} {
		t.Run(tt.column+" "+tt.from+" "+tt.to, func(t *testing.T) {
			t.Parallel()
			typ := map[string]string{"id": "int", "v": "int"}
			typ[tt.column] = tt.from
			db := newDatabase(t, fmt.Sprintf("create table m (id %s primary key, v %s)", typ["id"], typ["v"]))
			e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "m", Topics: []string{"o"}, Key: []string{"id"}}}})
			batch := func(from, to int, v string) (out []string) {
				for i := from; i < to; i++ {
					out = append(out, fmt.Sprintf(`{"id": %d, "v": %s}`, i, v))
				}
				return out
			}
			e.write(e.decoded(0, batch(0, 400, "1")...))
			p := e.decoded(400, batch(400, 800, tt.value)...)
			db.Do("alter table m alter " + tt.column + " type " + tt.to)
			e.write(p)
			e.write(e.decoded(800, batch(800, 1200, tt.value)...))
			db.Want("800|"+tt.want+"|"+tt.want, "select count(*), min(v), max(v) from m where id >= 400")
			db.Want("0", "select count(*) from oncesink.dead_letters")
		})
	}
}

// Rule 29: what happens to a table beside a running sink, as docs/schema-changes.md says.
func TestAlteredTable(t *testing.T) {
	if onRoute() {
		return
	}
	doc, err := os.ReadFile("../../docs/schema-changes.md")
	if err != nil {
		t.Fatal(err)
	}
	const create = "create table m (id int primary key, v int, note text, day date)"
	for _, tt := range []struct {
		name, change string
		event        string // JSON; its row is looked at by want
		query, want  string
		halts        string // instead
	}{
		{"a column is added", "alter table m add extra text", `{"id":1,"extra":"x"}`, "select extra from m where id = 1", "x", ""},
		{"a column is added, not null and without a default", "truncate m; alter table m add extra text not null", `{"id":1}`, `select code || column_name from oncesink.dead_letters`, "23502extra", ""},
		{"a column that the mapping does not name is dropped", "alter table m drop v", `{"id":1,"v":5,"note":"n"}`, "select note from m where id = 1", "n", ""},
		{"a column that the mapping names is dropped", "alter table m drop note", `{"id":1}`, "", "", `has no column "note"`},
		{"a key column is renamed", "alter table m rename id to ident", `{"id":1}`, "", "", `key column "id"`},
		{"a column that the mapping does not name is renamed", "alter table m rename v to w", `{"id":1,"w":6}`, "select w from m where id = 1", "6", ""},
		{"a column's type changes", "alter table m alter v type text", `{"id":1,"v":"many"}`, "select v from m where id = 1", "many", ""},
		{"a column's type changes to one that needs more to be said", "alter table m alter note type bytea using null", `{"id":1}`, "", "", "a bytea column says how its bytes are written"},
		{"a type becomes shorter", "alter table m alter note type varchar(3)", `{"id":1,"note":"four"}`, "select code from oncesink.dead_letters", "22001", ""},
		{"a default changes", "alter table m alter v set default 9", `{"id":1}`, "select v from m where id = 1", "9", ""},
		{"a check constraint is added", "alter table m add check (v < 10) not valid", `{"id":1,"v":11}`, "select code from oncesink.dead_letters", "23514", ""},
		{"a foreign key is added", "create table p (v int primary key); alter table m add foreign key (v) references p not valid", `{"id":1,"v":11}`, "select code from oncesink.dead_letters", "23503", ""},
		{"a unique index is added", "create unique index u on m (v)", `{"id":1,"v":11}`, "select v from m where id = 1", "11", ""},
		{"the unique index over the key is dropped", "alter table m drop constraint m_pkey", `{"id":1}`, "", "", "no unique index over exactly (id)"},
		{"the unique index over the key becomes deferrable", "alter table m drop constraint m_pkey, add primary key (id) deferrable", `{"id":1}`, "", "", "no unique index over exactly (id)"},
		{"a trigger is added", "create function f() returns trigger language plpgsql as $$ begin new.note = 'by trigger'; return new; end $$; create trigger f before insert or update on m for each row execute function f()",
			`{"id":1}`, "select note from m where id = 1", "by trigger", ""},
		{"a rule is added", "create rule r as on insert to m do also notify x", `{"id":1}`, "", "", "has rewrite rules"},
		{"a policy is added", "alter table m enable row level security; create policy p on m using (true) with check (true); alter table m force row level security",
			`{"id":1,"note":"n"}`, "select note from m where id = 1", "n", ""},
		{"the table is renamed", "alter table m rename to gone", `{"id":1}`, "", "", "does not exist"},
		{"the table is dropped", "drop table m", `{"id":1}`, "", "", "does not exist"},
		{"the table is truncated", "truncate m", `{"id":1,"note":"n"}`, "select note from m", "n", ""},
		{"another table takes its name", "alter table m rename to old; create table m (like old including all); ", `{"id":1,"note":"n"}`, "select note from m", "n", ""},
		{"another table without guard columns takes its name", "alter table m rename to old; create table m (id int primary key, note text)", `{"id":1}`, "", "", "run `oncesink init`"},
		{"a table inherits from it", "create table heir () inherits (m)", `{"id":1}`, "", "", "inherit from it"},
		{"a view takes its name", "alter table m rename to base; create view m as select * from base", `{"id":1}`, "", "", "is a view"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(string(doc), "| "+tt.name+" |") {
				t.Errorf("docs/schema-changes.md has no line for it")
			}
			for _, n := range []int64{1, 300} { // by statement, and by COPY
				t.Run(fmt.Sprint(n), func(t *testing.T) {
					db := newDatabase(t, create)
					e := db.open(sink.Config{ForeignKeyWait: time.Millisecond, Tables: []sink.TableConfig{{Name: "m", Topics: []string{"o"}, Key: []string{"id"},
						Columns: map[string]sink.ColumnConfig{"note": {From: "note"}}}}})
					var first, second []string
					for i := range n {
						first = append(first, fmt.Sprintf(`{"id":%d,"v":%d,"note":"a"}`, 1000+i, 1000+i))
						second = append(second, fmt.Sprintf(`{"id":%d,"note":"b"}`, 5000+i))
					}
					e.write(e.decoded(0, first...))
					p := e.decoded(n, append([]string{tt.event}, second...)...)
					db.Do(tt.change)
					out := e.Write(t.Context(), []*decode.Part{p})
					var config *sink.ConfigError
					switch {
					case tt.halts == "" && out[0].Err != nil:
						t.Fatalf("stopped: %v", out[0].Err)
					case tt.halts == "":
						db.Want(tt.want, tt.query+" limit 1")
					case !errors.As(out[0].Err, &config) || !strings.Contains(out[0].Err.Error(), tt.halts):
						t.Fatalf("got %v, want a *ConfigError that says %q", out[0].Err, tt.halts)
					default:
						db.Want(fmt.Sprint(n), "select next_offset from oncesink.offsets")
						db.Want("0", "select count(*) from oncesink.dead_letters")
					}
				})
			}
		})
	}
}

// A right that is revoked beside the running sink stops it with the grant that is missing.
func TestRightRevoked(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key, version int, note text)")
	db.as("oncesink_revoked", "q", func(e *engine) {
		for i, n := range []int{1, 300} {
			at := 1000 * i
			e.write(e.part("o", 0, orders(int64(at), 1, at, at+n)...))
			db.Do("revoke insert on q from oncesink_revoked")
			p := e.part("o", 0, orders(int64(at+n), 1, at+n, at+2*n)...)
			out := e.Write(t.Context(), []*decode.Part{p})
			var config *sink.ConfigError
			if !errors.As(out[0].Err, &config) || !strings.Contains(out[0].Err.Error(), "INSERT on public.q: grant insert on") {
				t.Errorf("got %v", out[0].Err)
			}
			db.Do("grant insert on q to oncesink_revoked")
			e.write(p)
		}
		db.Want("0", "select count(*) from oncesink.dead_letters")
	})
}

// A key or a version of another type stops the sink until init has brought the delete memory after it.
func TestRetypedKeyWithMemory(t *testing.T) {
	for _, tt := range []struct{ column, id, version string }{{"id", "5000000000", "3"}, {"version", "7", "6000000000"}} {
		t.Run(tt.column, func(t *testing.T) {
			t.Parallel()
			db := newDatabase(t, "create table q (id int primary key, version int, note text)")
			cfg := sink.Config{Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}, Version: "version", RecordKey: map[string]string{"id": "$key"}}}}
			e := db.open(cfg)
			e.write(e.decoded(0, `{"id":1,"version":1}`))
			p := e.decoded(1, fmt.Sprintf(`{"id":%s,"version":%s}`, tt.id, tt.version))
			e.Add(p, sink.Record{Topic: "o", Offset: 2, Epoch: -1, Timestamp: time.Unix(1_700_000_000, 0), Key: []byte(tt.id)})
			db.Do("alter table q alter " + tt.column + " type bigint")
			out := e.Write(t.Context(), []*decode.Part{p})
			var config *sink.ConfigError
			if !errors.As(out[0].Err, &config) || !strings.Contains(out[0].Err.Error(), "oncesink init") {
				t.Fatalf("got %v, want a *ConfigError that speaks of init", out[0].Err)
			}
			if err := schema.Init(t.Context(), db.Conn, cfg); err != nil {
				t.Fatal(err)
			}
			e.write(p)
			db.Want("1|0", "select count(*), (select count(*) from oncesink.dead_letters) from q")
			db.Want(tt.id+"|"+tt.version, `select id, version from oncesink."public.q deletes"`)
		})
	}
}
