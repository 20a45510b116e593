package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/sink"
)

// The values that records of these tests hold, and that nothing but their rows and dead letters may have. PostgreSQL folds names.
const (
	canaryWord   = "qz7kxwvbird"
	canaryNumber = "7351973519"
)

// sung reports which canary a text has.
func sung(text string) string {
	text = strings.ToLower(text)
	for _, c := range []string{canaryWord, canaryNumber} {
		if i := strings.Index(text, c); i >= 0 {
			return text[max(0, i-200):min(len(text), i+100)]
		}
	}
	return ""
}

// said is all that a sink says: its log, what became of its partitions, its counts, the ledger's rows.
func (e *engine) said(log *syncBuffer, from int, outcomes []Outcome) string {
	e.t.Helper()
	e.TellRest()
	var b strings.Builder
	b.WriteString(log.String()[from:])
	for _, o := range outcomes {
		if o.Err != nil {
			fmt.Fprintf(&b, "\n%v %+v", o.Err, o.Err)
		}
	}
	fmt.Fprintf(&b, "\n%+v\n", e.Stats())
	b.WriteString(e.db.Lines("select s::text from oncesink.status s"))
	b.WriteString(e.db.Lines("select o::text from oncesink.offsets o"))
	return b.String()
}

// No payload: whatever a type, a constraint, a function or the decoder refuses, nothing that is said has a value of the record.
func TestNoPayloadOfRefusals(t *testing.T) {
	if onRoute() {
		return
	}
	b, err := os.ReadFile("../../docs/values.md")
	if err != nil {
		t.Fatal(err)
	}
	types := []string{"regclass", "regtype", "regproc", "regprocedure", "regoper", "regoperator", "regrole", "regnamespace", "regconfig", "regdictionary", "regcollation", "tsquery", "tsvector", "jsonpath", "xml", "aclitem", "pg_lsn",
		"txid_snapshot", "macaddr", "cidr", "circle", "path", "tid", "xid8", "int4multirange", "oid", `"char"`, "picky", "tsquery[]", "jsonpath[]", "regclass[]"}
	for _, row := range docTables(strings.Split(string(b), "\n"), 8) {
		types = append(types, docTypesOf(row[0])...)
	}
	if len(types) < 50 {
		t.Fatalf("%d types", len(types))
	}
	db := newDatabase(t, append(nestedTypes[:len(nestedTypes):len(nestedTypes)], "create type color as enum ('red', 'green')", "create domain picky as text check (value ~ '^[0-9]$')",
		"create table parent (id text primary key)",
		`create function refuse() returns trigger language plpgsql as $$ declare n int; begin
			case new.how
			when 'raise' then raise exception 'no %', new.note using detail = new.note, hint = new.note;
			when 'state' then raise exception 'no %', new.note using errcode = '42601';
			when 'internal' then raise exception 'no %', new.note using errcode = 'XX000';
			when 'cast' then n := new.note::int;
			when 'name' then execute 'select ' || new.note;
			when 'table' then execute 'select from ' || new.note;
			when 'assert' then assert false, new.note;
			when 'warn' then raise warning 'no %', new.note;
			else null; end case;
			return new; end $$`,
		`create table ways (id text primary key, how text, note text, short varchar(3), n int check (n < 100), parent text references parent, sole text unique, must text not null default 'x', span int4range, exclude using gist (span with &&))`,
		"create trigger refuse before insert or update on ways for each row execute function refuse()",
		"create table computed (id int primary key, note text, n int)",
		"create table searched (id int primary key, note text, q tsquery)", "create table generated (id int primary key, note text, q tsquery generated always as (to_tsquery('simple', note)) stored)",
		"create table checked (id int primary key, note text check (to_tsquery('simple', note) is not null))", "create table indexed (id int primary key, note text)", "create index on indexed (to_tsquery('simple', note))",
		"create table named (id int primary key, note text check (note::regclass is not null))")...)
	var log syncBuffer
	var e *engine
	open := func(tables ...sink.TableConfig) {
		e = db.open(sink.Config{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), ForeignKeyWait: time.Millisecond, Tables: tables})
	}

	values := []string{`"CANARY"`, `"CANARY.CANARY"`, `"CANARY.CANARY.CANARY"`, `"CANARY CANARY"`, `"$.CANARY ="`, `"(CANARY"`, `"CANARY=CANARY"`, `"{CANARY"`, `"[CANARY,"`, `"<CANARY"`, `"CANARY(CANARY)"`,
		`{"CANARY":"CANARY"}`, `["CANARY"]`, `[["CANARY"],"CANARY"]`, `NUMBERNUMBERNUMBER.NUMBERe999`, `NUMBER`, `"NUMBER"`, `"NUMBERNUMBERNUMBER"`, `"2024-01-15T99:CANARY"`, `"CANARY\u0000"`, `"CANARY\ud800"`, `"today CANARY"`}
	fill := strings.NewReplacer("CANARY", canaryWord, "NUMBER", canaryNumber)
	refused, tried, every := 0, 0, 1
	try := func(topic string, events ...string) {
		t.Helper()
		// Alone (one of so many) and all together: blame is found in different ways.
		var batches [][]string
		for i := range events {
			if tried++; tried%every == 0 {
				batches = append(batches, events[i:i+1])
			}
		}
		for _, batch := range append(batches, events) {
			told := len(log.String())
			claim := e.claim(topic, 0)
			from := claim.Position.Next
			p := &decode.Part{Claim: claim}
			for i, event := range batch {
				key := fmt.Sprintf(`{"id":"%s-%d"}`, canaryWord, i)
				r := incoming(topic, from+int64(i), key, fill.Replace(event))
				if event == "" {
					r.Value, r.Key = nil, []byte(canaryWord)
				}
				r.Headers = []sink.Header{{Key: canaryWord, Value: []byte(canaryWord)}}
				e.Add(p, r)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			outcomes := e.Write(ctx, []*decode.Part{p})
			cancel()
			if found := sung(e.said(&log, told, outcomes)); found != "" {
				t.Errorf("%s: a value is said: %s", topic, found)
			}
			if outcomes[0].Err != nil { // a halt; go on behind it
				db.Do("update oncesink.offsets set next_offset = next_offset + $1, halted = null where topic = $2", int64(len(batch)), topic)
			}
		}
		n, _ := strconv.Atoi(db.Lines("select count(*) from oncesink.dead_letters where topic = $1", topic))
		refused += n
	}
	// A sink of a few tables at a time: after every refusal it asks whether any of its tables has changed.
	number := 0
	every = testenv.Times(8, 1) // of 23 events, so that each value is alone in the column of some types
	for some := range slices.Chunk(types, 8) {
		var tables []sink.TableConfig
		for _, typ := range some {
			name := fmt.Sprintf("t%d", number)
			number++
			db.Do(fmt.Sprintf("create table %s (id int primary key, v %s)", name, typ))
			tables = append(tables, sink.TableConfig{Name: name, Topics: []string{name}, Key: []string{"id"}})
		}
		open(tables...)
		for _, table := range tables {
			var events []string
			for n, v := range values {
				events = append(events, fmt.Sprintf(`{"id":%d,"v":%s}`, n, v))
			}
			try(table.Name, append(events, `{"id":1000}`)...)
		}
	}
	if refused < 12*len(types) {
		t.Errorf("only %d records were refused", refused)
	}
	refused, every = 0, 1
	var ways []string
	for i, how := range []string{"raise", "state", "internal", "cast", "name", "table", "assert", "warn"} {
		ways = append(ways, fmt.Sprintf(`{"id":"w%d","how":%q,"note":"CANARY"}`, i, how))
	}
	ways = append(ways, `{"id":"CANARY","short":"CANARY"}`, `{"id":"CANARY","n":101}`, `{"id":"x1","parent":"CANARY"}`, `{"id":"x2","sole":"CANARY"}`, `{"id":"x3","sole":"CANARY"}`, `{"id":"x4","must":null,"note":"CANARY"}`,
		`{"id":"x5","span":"[1,5)"}`, `{"id":"x6","span":"[2,5)","note":"CANARY"}`, `{"id":"`+strings.Repeat("CANARY", 1000)+`"}`,
		"", `CANARY`, `{"id":"CANARY"`, `{"id":"CANARY","id":"CANARY"}`, `{"CANARY":1,"CANARY":2}`, `["CANARY"]`, `"CANARY"`, `{"note":"CANARY"}`, "{\"id\":\"CANARY\xff\"}", strings.Repeat(`{"CANARY":`, 20_000), `{"id":"z","note":"CANARY"}`)
	open(sink.TableConfig{Name: "ways", Topics: []string{"ways"}, Key: []string{"id"}, RecordKey: map[string]string{"id": "$key.id"}},
		sink.TableConfig{Name: "computed", Topics: []string{"computed"}, Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{"n": {SQL: "note::int"}}},
		sink.TableConfig{Name: "searched", Topics: []string{"searched"}, Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{"q": {SQL: "to_tsquery('simple'::regconfig, note)"}}},
		sink.TableConfig{Name: "generated", Topics: []string{"generated"}, Key: []string{"id"}}, sink.TableConfig{Name: "checked", Topics: []string{"checked"}, Key: []string{"id"}},
		sink.TableConfig{Name: "indexed", Topics: []string{"indexed"}, Key: []string{"id"}}, sink.TableConfig{Name: "named", Topics: []string{"named"}, Key: []string{"id"}})
	try("ways", ways...)
	if refused < 25 {
		t.Errorf("only %d records were refused in all ways", refused)
	}
	try("computed", `{"id":1,"note":"CANARY"}`, `{"id":2,"note":"NUMBERNUMBER"}`, `{"id":3,"note":"7"}`)
	// What no column's type refuses, and nobody can tell from a statement that is wrong, stops the sink instead.
	for _, name := range []string{"searched", "generated", "checked", "indexed", "named"} {
		try(name, `{"id":1,"note":"CANARY ("}`, `{"id":2,"note":"CANARY CANARY"}`, `{"id":3,"note":"CANARY"}`)
	}
	// The dead letter is the place for the values.
	if got := db.Lines("select count(*) > 0 from oncesink.dead_letters where message like '%' || $1 || '%'", canaryWord); got != "t" {
		t.Error("no dead letter has the message")
	}
}

// No payload of a handler's errors, panics included; the dead letter has the whole text.
func TestNoPayloadOfHandlers(t *testing.T) {
	if onRoute() {
		return
	}
	for name, c := range map[string]struct {
		fails func(ctx context.Context, tx pgx.Tx, value string) error
		says  string // of the outcome; a dead letter if it is empty
	}{
		"plain": {func(_ context.Context, _ pgx.Tx, v string) error { return errors.New("no account " + v) }, "handler 0: no account ***"},
		"quoted": {func(_ context.Context, _ pgx.Tx, v string) error {
			return fmt.Errorf("no account %q in the list", v+"x")
		}, "handler 0: no account *** in the list"},
		"of a number":  {func(_ context.Context, _ pgx.Tx, v string) error { _, err := strconv.Atoi(v); return err }, "handler 0: strconv.Atoi: parsing ***: invalid syntax"},
		"a field":      {func(_ context.Context, _ pgx.Tx, v string) error { return errors.New("the account is unknown") }, "handler 0: the account is unknown"},
		"panic":        {func(_ context.Context, _ pgx.Tx, v string) error { panic("no " + v) }, "handler 0: it panicked (the log has the stack): no ***"},
		"panic, error": {func(_ context.Context, _ pgx.Tx, v string) error { panic(sink.Poison(errors.New(v))) }, "handler 0: it panicked"},
		"panic, index": {func(_ context.Context, _ pgx.Tx, v string) error { _ = v[len(v):][1]; return nil }, "index out of range"},
		"poison":       {func(_ context.Context, _ pgx.Tx, v string) error { return sink.Poison(errors.New("no account " + v)) }, ""},
		"cast": {func(ctx context.Context, tx pgx.Tx, v string) error {
			_, err := tx.Exec(ctx, "select ($1::text)::int", v)
			return err
		}, ""},
		"wrapped": {func(ctx context.Context, tx pgx.Tx, v string) error {
			_, err := tx.Exec(ctx, "select ($1::text)::int", v)
			return fmt.Errorf("credit %s: %w", v, err)
		}, ""},
		"argument": {func(ctx context.Context, tx pgx.Tx, v string) error {
			_, err := tx.Exec(ctx, "select $1::int", []string{v})
			return err
		}, "handler 0: failed to encode args[0]"},
		"composed": {func(ctx context.Context, tx pgx.Tx, v string) error { _, err := tx.Exec(ctx, "select "+v); return err }, "42703"},
		"composed from": {func(ctx context.Context, tx pgx.Tx, v string) error {
			_, err := tx.Exec(ctx, "select from "+v)
			return err
		}, "42P01"},
	} {
		t.Run(name, func(t *testing.T) {
			db := newDatabase(t)
			var log syncBuffer
			e := db.open(sink.Config{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), Handlers: []sink.Handler{
				func(ctx context.Context, tx pgx.Tx, _ []sink.Record) error { return c.fails(ctx, tx, canaryWord) },
			}})
			p := &decode.Part{Claim: e.claim("o", 0)}
			e.Add(p, sink.Record{Topic: "o", Offset: 0, Key: []byte(canaryWord), Value: []byte(`{"account" : "` + canaryWord + `"}`)})
			outcomes := e.Write(t.Context(), []*decode.Part{p})
			if found := sung(e.said(&log, 0, outcomes)); found != "" {
				t.Errorf("a value is said: %s", found)
			}
			if c.says == "" {
				db.Want("t", "select message like '%"+canaryWord+"%' from oncesink.dead_letters")
			} else if outcomes[0].Err == nil || !strings.Contains(outcomes[0].Err.Error(), c.says) {
				t.Errorf("got %v, want %s", outcomes[0].Err, c.says)
			}
			if strings.HasPrefix(name, "panic") && !strings.Contains(log.String(), "canary_test.go") {
				t.Errorf("the log has no stack: %s", log.String())
			}
		})
	}
	// One that passes is told as what the partition is stuck at.
	db := newDatabase(t)
	var log syncBuffer
	e := db.open(sink.Config{Logger: slog.New(slog.NewTextHandler(&log, nil)), Handlers: []sink.Handler{
		func(_ context.Context, _ pgx.Tx, r []sink.Record) error {
			return sink.Transient(fmt.Errorf("%s is locked", r[0].Value))
		},
	}})
	e.stuckAfter = 10 * time.Millisecond
	p := &decode.Part{Claim: e.claim("o", 0)}
	e.Add(p, sink.Record{Topic: "o", Value: []byte(canaryWord)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan []Outcome)
	go func() { done <- e.Write(ctx, []*decode.Part{p}) }()
	waitUntil(t, func() bool { return strings.Contains(log.String(), "writing is stuck") })
	waitUntil(t, func() bool { return db.Lines("select stuck like '%is locked%' from oncesink.status") == "t" })
	cancel()
	if found := sung(e.said(&log, 0, <-done)); found != "" {
		t.Errorf("a value is said: %s", found)
	}
}
