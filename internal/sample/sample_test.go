package sample

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/sink"
)

// said are the dead letters of a report: count, code, column or constraint, and offset of one.
func (t *Topic) said() string {
	var s []string
	for _, l := range t.Letters {
		s = append(s, fmt.Sprintf("%d %s %s @%d", l.Count, l.Code, cmp.Or(l.Column, l.Constraint, "-"), l.Offset))
	}
	return strings.Join(s, ", ")
}

// TestSample: a sample's dead letters are those of a run of the same records, by code and place, and nothing is changed.
func TestSample(t *testing.T) {
	const orders = `create table orders (id bigint primary key, status varchar(5) not null, amount numeric(5, 2) check (amount >= 0),
		size size, state state default 'BE', day date, note text not null default 'none', n serial, at timestamptz not null default now(),
		twice int generated always as (10 / nullif(length(status), 4)) stored, constraint small check (amount < 900))`
	for _, tt := range []struct {
		name    string
		lines   []string
		letters string // of the sample
		rows    int
	}{
		{"good ones", []string{`1|{"id":1,"status":"new"}`, `2|{"id":2,"status":"new","amount":1.5,"size":"s","state":"NW","day":"2026-01-01","n":3}`}, "", 2},
		{"too long", []string{`1|{"id":1,"status":"new"}`, `2|{"id":2,"status":"shipped"}`, `3|{"id":3,"status":"delayed"}`}, "2 22001 status @1", 1},
		{"no label, no domain, no date, no number, no text", []string{
			`1|{"id":1,"status":"new","size":"xl"}`, `2|{"id":2,"status":"new","state":"nowhere"}`, `3|{"id":3,"status":"new","day":"2026-02-30"}`,
			`4|{"id":"x","status":"new"}`, `5|{"id":5,"status":"a\u0000"}`, `6|{"id":6,"status":"new","amount":1e9}`},
			"1 22003 amount @5, 1 22008 day @2, 1 22P02 id @3, 1 22P02 size @0, 1 22001 state @1, 1 22P05 status @4", 0},
		{"checks", []string{`1|{"id":1,"status":"new","amount":-1}`, `2|{"id":2,"status":"new","amount":950}`}, "1 23514 orders_amount_check @0, 1 23514 small @1", 0},
		{"null where there must be a value", []string{`1|{"id":1,"status":null}`, `2|{"id":2,"status":"new","note":null}`, `3|{"status":"new"}`},
			"1 23502 id @2, 1 23502 note @1, 1 23502 status @0", 0},
		{"a part of an event, with and without its row", []string{`7|{"id":7,"amount":1}`, `8|{"id":8,"amount":1}`, `9|{"id":9,"status":"new"}`, `9|{"id":9,"amount":2}`, `7|{"id":7,"amount":-1}`},
			"1 23514 orders_amount_check @4, 1 23502 status @1", 3},
		{"a generated column", []string{`1|{"id":1,"status":"new"}`, `2|{"id":2,"status":"paid"}`}, "", 2},
		{"no JSON", []string{`1|secret`, `2|{"id":2,"status":"new"}`, `3|{"id":3,"id":3}`}, "1 22030 - @2, 1 22P02 - @0", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db := newDatabase(t, "create type size as enum ('s', 'l')", "create domain state as char(2) check (value ~ '^[A-Z]+$')", orders)
			e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "orders", Topics: []string{"orders"}, Key: []string{"id"}, RecordKey: map[string]string{"id": "$key"}}}})
			db.Do("insert into orders (id, status, n) values (7, 'old', 0)")
			before := db.Lines("select md5(string_agg(o::text, '')), (select (last_value, is_called)::text from orders_n_seq), (select count(*) from pg_class) from orders o")
			x := New(e.Sink, nil)
			if err := x.Add(t.Context(), recordsOf("orders", tt.lines...)...); err != nil || x.Untried != "" {
				t.Fatalf("%v, untried: %s", err, x.Untried)
			}
			r := x.Report()[0]
			if got := r.said(); got != tt.letters {
				t.Errorf("letters %s\nwant    %s", got, tt.letters)
			}
			if r.Tables[0].Rows != tt.rows || r.Records != len(tt.lines) || r.Refused != r.Records-tt.rows {
				t.Errorf("got %+v", r)
			}
			db.Want(before, "select md5(string_agg(o::text, '')), (select (last_value, is_called)::text from orders_n_seq), (select count(*) from pg_class) from orders o")
			if s := fmt.Sprintf("%+v", r); strings.Contains(s, "secret") || strings.Contains(s, "nowhere") {
				t.Errorf("values are in the report: %s", s)
			}
			// The same in earnest.
			e.run(recordsOf("orders", tt.lines...)...)
			var want []string
			for _, l := range r.Letters {
				want = append(want, fmt.Sprintf("%s|%d", l.Code, l.Offset))
			}
			slices.Sort(want)
			if r.Refused == len(r.Letters) { // each one is told
				db.Want(strings.Join(want, "\n"), `select code, "offset" from oncesink.dead_letters order by code || '|' || "offset"`)
			}
			db.Want(fmt.Sprint(r.Refused), "select count(*) from oncesink.dead_letters")
		})
	}
}

// TestSampleOfFields: fields that nothing takes, and columns that nothing fills.
func TestSampleOfFields(t *testing.T) {
	db := newDatabase(t, "create table orders (id bigint primary key, city text, whole jsonb, never text)",
		"create table items (id bigint, line int, sku text, primary key (id, line))")
	e := db.open(sink.Config{Tables: []sink.TableConfig{
		{Name: "orders", Topics: []string{"orders"}, Key: []string{"id"}, RecordKey: map[string]string{"id": "$key"}, Columns: map[string]sink.ColumnConfig{"city": {From: "address.city"}, "whole": {From: "extra"}}},
		{Name: "items", Strategy: sink.Children, Parent: "orders", Each: "lines", Key: []string{"id", "line"}, Columns: map[string]sink.ColumnConfig{"line": {From: "$index"}}},
	}})
	x := New(e.Sink, nil)
	if err := x.Add(t.Context(), recordsOf("orders",
		`1|{"id":1,"address":{"city":"Bonn","zip":"x"},"extra":{"any":1},"n.m":1,"other":{"deep":1}}`,
		`2|{"id":2,"address":{"zip":"x"},"lines":[{"sku":"a","qty":1},{"qty":2},7]}`, `3`, `4|[]`, `5`)...); err != nil {
		t.Fatal(err)
	}
	r := x.Report()[0]
	if got := fmt.Sprint(r.NotTaken); got != `[{address.zip 2} {lines[].qty 1} {n\.m 1} {other 1}]` {
		t.Errorf("not taken: %s", got)
	}
	if got := fmt.Sprintf("%+v", r.Tables); got != "[{Table:public.orders Rows:2 Deletes:2 NotFilled:[never]} {Table:public.items Rows:3 Deletes:0 NotFilled:[]}]" {
		t.Errorf("tables: %s", got)
	}
	if got := r.said(); got != "1 23502 id @3" {
		t.Errorf("letters: %s", got)
	}
}

// TestSampleOfEmptyEvents: an event of an append table that fills no column, as a tombstone may be, is a row of defaults.
func TestSampleOfEmptyEvents(t *testing.T) {
	for _, tt := range []struct{ ddl, letters string }{
		{"create table log (id bigint, note text default 'none' not null)", ""},
		{"create table log (id bigint not null)", "3 23502 id @1"},
		{"create table log (id bigint, note text default 'none' check (note <> 'none'))", "4 23514 log_note_check @0"},
	} {
		db := newDatabase(t, tt.ddl)
		e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "log", Topics: []string{"log"}, Strategy: sink.Append}}})
		records := recordsOf("log", `1|{"id":1}`, `2|{}`, `3|{"other":1}`, `4`)
		x := New(e.Sink, nil)
		if err := x.Add(t.Context(), records...); err != nil || x.Untried != "" {
			t.Fatalf("%v, untried: %s", err, x.Untried)
		}
		r := x.Report()[0]
		if got := r.said(); got != tt.letters || r.Refused+r.Tables[0].Rows != len(records) {
			t.Errorf("%s: letters %q, want %q; %+v", tt.ddl, got, tt.letters, r.Tables)
		}
		e.run(records...)
		db.Want(fmt.Sprintf("%d|%d", r.Tables[0].Rows, r.Refused), "select (select count(*) from log), (select count(*) from oncesink.dead_letters)")
	}
}

// TestSampleOfEnvelopes: what is not taken are fields of the row, wherever that stands; of values that are no JSON nothing is said.
func TestSampleOfEnvelopes(t *testing.T) {
	db := newDatabase(t, "create table orders (id bigint primary key, city text)", "create table log (raw bytea)")
	e := db.open(sink.Config{
		Tables: []sink.TableConfig{
			{Name: "orders", Topics: []string{"orders"}, Key: []string{"id"}, DeleteWhen: map[string]sink.Condition{"gone": {In: []string{"true"}}}},
			{Name: "log", Topics: []string{"log"}, Strategy: sink.Append, Columns: map[string]sink.ColumnConfig{"raw": {From: "$value"}}},
		},
		Topics: map[string]sink.TopicConfig{"orders": {Envelope: sink.Debezium()}},
	})
	x := New(e.Sink, nil)
	if err := x.Add(t.Context(), recordsOf("orders",
		`{"id":3}|{"before":null,"after":{"id":3,"city":"Kiel"},"op":"c"}`, `{"id":3}|{"before":null,"after":{"id":3,"city":"__debezium_unavailable_value"},"op":"u"}`, // its row is there
		`{"id":1}|{"before":null,"after":{"id":1,"city":"Bonn","zip":"x","gone":false},"op":"c","source":{"lsn":1}}`,
		`{"id":1}|{"schema":null,"payload":{"before":{"id":1,"old":true},"after":null,"op":"d"}}`,
		`{"id":2}|{"before":null,"after":{"id":2,"city":"__debezium_unavailable_value"},"op":"u"}`, `{"id":1}`)...); err != nil {
		t.Fatal(err)
	}
	r := x.Report()[0]
	if got := fmt.Sprint(r.NotTaken); got != `[{zip 1}]` {
		t.Errorf("not taken: %s", got)
	}
	if got := fmt.Sprintf("%+v", r.Tables); got != "[{Table:public.orders Rows:3 Deletes:2 NotFilled:[]}]" {
		t.Errorf("tables: %s", got)
	}
	if got := r.said(); got != "1 ONS30 city @4" {
		t.Errorf("letters: %s", got)
	}
	if err := x.Add(t.Context(), recordsOf("log", `1|`, `2|{`)...); err != nil {
		t.Fatal(err)
	}
}

// TestSampleOfInputs: a field that only an expression reads is taken, tried, and named.
func TestSampleOfInputs(t *testing.T) {
	db := newDatabase(t, "create table orders (id bigint primary key, day date, half smallint)")
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "orders", Topics: []string{"orders"}, Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{
		"day":  {SQL: "(at at time zone 'UTC')::date", Inputs: map[string]sink.InputConfig{"at": {Type: "timestamptz", From: "placed.at"}}},
		"half": {SQL: "never / 2", Inputs: map[string]sink.InputConfig{"never": {Type: "int"}}},
	}}}})
	x := New(e.Sink, nil)
	if err := x.Add(t.Context(), recordsOf("orders", `1|{"id":1,"placed":{"at":"2026-01-01T00:00:00Z"}}`, `2|{"id":2,"placed":{"at":"2026-02-30T00:00:00Z","by":"x"}}`)...); err != nil {
		t.Fatal(err)
	}
	r := x.Report()[0]
	if got := fmt.Sprintf("%s %v %v", r.said(), r.NotTaken, r.Tables); got != "1 22008 at @1 [{placed.by 1}] [{public.orders 1 0 [half never (an input)]}]" {
		t.Errorf("got %s", got)
	}
}

// TestSampleOfManyFields: an object that is used as a map does not grow without end.
func TestSampleOfManyFields(t *testing.T) {
	db := newDatabase(t, "create table orders (id bigint primary key)")
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "orders", Topics: []string{"orders"}, Key: []string{"id"}}}})
	x := New(e.Sink, nil)
	var lines []string
	for i := range 3000 {
		lines = append(lines, fmt.Sprintf(`%d|{"id":%d,"f%d":1}`, i, i, i))
	}
	if err := x.Add(t.Context(), recordsOf("orders", lines...)...); err != nil {
		t.Fatal(err)
	}
	if r := x.Report()[0]; len(r.NotTaken) != maxFields || r.MoreNotTaken == 0 || r.Tables[0].Rows != 3000 {
		t.Errorf("%d fields, %d more, %+v", len(r.NotTaken), r.MoreNotTaken, r.Tables)
	}
}

// TestSampleWithoutTheRight: a role that may not make temporary tables learns what the decoder refuses.
func TestSampleWithoutTheRight(t *testing.T) {
	db := newDatabase(t, "do $$ begin create role sampled; exception when duplicate_object then null; end $$", "create table orders (id bigint primary key, status varchar(3))")
	cfg := sink.Config{Tables: []sink.TableConfig{{Name: "orders", Topics: []string{"orders"}, Key: []string{"id"}}}}
	if err := schema.Init(t.Context(), db.Conn, cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(t.Context(), `do $$ begin execute format('revoke temporary on database %I from public', current_database()); end $$;
		grant usage on schema oncesink, public to sampled; grant select, insert, update on orders to sampled; grant select, insert, update on oncesink.dead_letters to sampled`, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	e := db.open(cfg, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["role"] = "sampled" })
	x := New(e.Sink, nil)
	if err := x.Add(t.Context(), recordsOf("orders", `1|{"id":1,"status":"long"}`, `2|{"id":true}`)...); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(x.Untried, "table public.orders can't be copied: SQLSTATE 42501: permission denied to create temporary tables") {
		t.Errorf("untried: %s", x.Untried)
	}
	r := x.Report()[0]
	if got := r.said(); got != "1 22P02 id @1" || r.Tables[0].Rows != 1 {
		t.Errorf("letters %s, %+v", got, r)
	}
}
