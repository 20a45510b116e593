package engine

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/avro"

	"github.com/oncesink/oncesink/internal/decode"
	payload "github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/sink"
)

// avroEvent is a record of a schema with an id.
func avroEvent(t testing.TB, offset int64, schema string, id uint32, v map[string]any) sink.Record {
	t.Helper()
	b, err := avro.MustParse(schema).Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	r := incoming("o", offset, "", "")
	r.Key, r.Value = nil, append(binary.BigEndian.AppendUint32([]byte{0}, id), b...)
	return r
}

// avroSink opens a sink of Avro that has learnt the schemas.
func (db *database) avroSink(policy sink.NewFields, log *logged, configure ...func(*pgxpool.Config)) *engine {
	db.T.Helper()
	e := db.openWith(sink.Config{Logger: slog.New(slog.NewTextHandler(log, nil)), Topics: map[string]sink.TopicConfig{"o": {Format: sink.Avro}},
		Tables: []sink.TableConfig{{Name: "m", Topics: []string{"o"}, Key: []string{"id"}, NewFields: policy}}}, Options{}, configure...)
	for i, text := range []string{avroV1, avroV2, avroV3} {
		if err := e.Learn(decode.SchemaOf{Topic: "o", Ref: payload.SchemaRef{Space: "id", ID: fmt.Sprint(i + 1)}}, payload.Schema{Type: "AVRO", Text: text}); err != nil {
			db.T.Fatal(err)
		}
	}
	return e
}

func v2(t testing.TB, offset int64, id int) sink.Record {
	return avroEvent(t, offset, avroV2, 2, map[string]any{"id": id, "v": "new", "at": time.UnixMilli(1767323045678), "sum": []byte{0x04, 0xce}})
}

// Rule 34: columns are added once, by whoever comes first, and all that have the fields are written with them. A process that ends
// between the column and the row has done no harm, and neither has a replay of what came before.
func TestNewFieldIsAdded(t *testing.T) {
	db := newDatabase(t, "create table m (id int primary key, v text)")
	log := &logged{}
	sinks := []*engine{db.avroSink(sink.AddNewFields, log), db.avroSink(sink.AddNewFields, log), db.avroSink(sink.AddNewFields, log)}
	old := avroEvent(t, 0, avroV1, 1, map[string]any{"id": 1, "v": "old"})
	var wait sync.WaitGroup
	for i, e := range sinks {
		n, news := e.adds(&decode.Part{}, old, v2(t, 1, 1))
		if n != 1 || news == nil || news.Names() != `fields "at", "sum"` {
			t.Fatalf("sink %d: %d records were taken, new: %v", i, n, news)
		}
		wait.Add(1)
		go func() { // it ends here: nobody writes a row
			defer wait.Done()
			e.settles(news)
		}()
	}
	wait.Wait()
	db.Want("at timestamp with time zone|f\nsum numeric|f", `select attname || ' ' || format_type(atttypid, atttypmod), attnotnull from pg_attribute where attrelid = 'm'::regclass and attname in ('at', 'sum') order by attnum`)
	e := db.avroSink(sink.AddNewFields, log)
	for range 2 { // the second time it is a replay
		p := &decode.Part{Claim: e.claim("o", 0)}
		if n, news := e.adds(p, old, v2(t, 1, 1), avroEvent(t, 2, avroV1, 1, map[string]any{"id": 1, "v": "late"}), avroEvent(t, 3, avroV1, 1, map[string]any{"id": 2, "v": "old"})); n != 4 || news != nil {
			t.Fatalf("%d records were taken, new: %v", n, news)
		}
		e.write(p)
		db.Want("1|late|2026-01-02 03:04:05.678+00|12.30\n2|old|-|-", "select id, v, at, sum from m order by id")
		db.Do("select oncesink.rewind('g', 'o', 0, 0)")
	}
	// What has no type without doubt is a person's to decide.
	_, news := e.adds(&decode.Part{}, avroEvent(t, 9, avroV3, 3, map[string]any{"id": 1, "v": "x", "any": "text"}))
	if got, want := e.held(news), `no type is without doubt (string or int)`; !strings.Contains(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
	db.Do("alter table m add \"any\" text")
	e.settles(news)
}

// Of Protobuf it is the message that has fields, by both their names.
func TestNewFieldOfAMessage(t *testing.T) {
	db := newDatabase(t, "create table m (id bigint primary key, v text)")
	e := db.openWith(sink.Config{Topics: map[string]sink.TopicConfig{"o": {Format: sink.Protobuf}}, Tables: []sink.TableConfig{{Name: "m", Topics: []string{"o"}, Key: []string{"id"}, NewFields: sink.AddNewFields,
		Columns: map[string]sink.ColumnConfig{"v": {From: "netTotal"}}}}}, Options{})
	const text = `syntax = "proto3"; message Other { int64 id = 1; } message E { int64 id = 1; string net_total = 2; uint64 big = 3; }`
	if err := e.Learn(decode.SchemaOf{Topic: "o", Ref: payload.SchemaRef{Space: "id", ID: "7"}}, payload.Schema{Type: "PROTOBUF", Text: text}); err != nil {
		t.Fatal(err)
	}
	of := func(offset int64, indexes string) sink.Record {
		r := incoming("o", offset, "", "")
		r.Key, r.Value = nil, []byte("\x00\x00\x00\x00\x07"+indexes+"\x08\x05\x18\x07")
		return r
	}
	p := &decode.Part{Claim: e.claim("o", 0)}
	records := []sink.Record{of(0, "\x00"), of(1, "\x02\x02")}
	n, news := e.adds(p, records...)
	if n != 1 || news == nil || news.Names() != `field "big"` {
		t.Fatalf("%d records were taken, new: %v", n, news)
	}
	e.settles(news)
	if n, news = e.adds(p, records[1:]...); n != 1 || news != nil {
		t.Fatalf("%d records were taken, new: %v", n, news)
	}
	e.write(p)
	db.Want("5||7", "select id, v, big from m")
}

// A column of the field's name that takes something else is left as it is.
func TestNewFieldWhoseNameIsTaken(t *testing.T) {
	db := newDatabase(t, "create table m (id int primary key, w text, at text, sum text generated always as (w || '!') stored)")
	e := db.openWith(sink.Config{Topics: map[string]sink.TopicConfig{"o": {Format: sink.Avro}}, Tables: []sink.TableConfig{{Name: "m", Topics: []string{"o"}, Key: []string{"id"}, NewFields: sink.AddNewFields,
		Columns: map[string]sink.ColumnConfig{"w": {From: "v"}, "at": {From: "$topic"}}}}}, Options{})
	if err := e.Learn(decode.SchemaOf{Topic: "o", Ref: payload.SchemaRef{Space: "id", ID: "2"}}, payload.Schema{Type: "AVRO", Text: avroV2}); err != nil {
		t.Fatal(err)
	}
	_, news := e.adds(&decode.Part{}, v2(t, 0, 1))
	if got, want := e.held(news), `no columns take them (new_fields: add): "at": the table has a column of this name, which takes something else: select oncesink.ignore_field('public.m', 'at') and so on, to go on without`; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// Somebody reads the table for long: what is written goes on meanwhile, but for moments, and the column comes once the reader is gone.
func TestNewFieldBesideALongReader(t *testing.T) {
	db := newDatabase(t, "create table m (id int primary key, v text)")
	log := &logged{}
	e := db.avroSink(sink.AddNewFields, log)
	reader, err := e.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Rollback(context.Background()) }()
	if _, err := reader.Exec(t.Context(), "select * from m"); err != nil {
		t.Fatal(err)
	}
	_, news := e.adds(&decode.Part{}, v2(t, 0, 1))
	waiting := make(chan string, 1)
	go func() { waiting <- e.Settle(t.Context(), news).Error() }()
	// A writer that comes while the alter table waits is not held up for longer than that does.
	queued := "select count(*) from pg_locks where relation = 'm'::regclass and not granted"
	testenv.Eventually(t, 10*time.Second, "somebody tries to alter the table", func() bool { return db.Lines(queued) != "0" })
	began := time.Now()
	db.Do("insert into m values (7, 'beside')")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("a writer waited for %v", took)
	}
	if got, want := <-waiting, "the table can't be altered now"; !strings.Contains(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := e.held(news); !strings.Contains(got, "the table can't be altered now") { // and it is not tried at once
		t.Errorf("got %s", got)
	}
	if err := reader.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.settles(news)
	db.Want("1", "select count(*) from pg_attribute where attrelid = 'm'::regclass and attname = 'sum'")
}

// A role that may not alter the table says who may, and goes on by itself once somebody has.
func TestNewFieldWithoutTheRight(t *testing.T) {
	const role = "do $$ begin if not exists (select from pg_roles where rolname = 'oncesink_%[1]s') then create role oncesink_%[1]s; end if; end $$"
	db := newDatabase(t, "create table m (id int primary key, v text)", fmt.Sprintf(role, "narrow"), fmt.Sprintf(role, "owner"), "grant all on m to oncesink_narrow", "alter table m owner to oncesink_owner")
	if err := schema.Init(t.Context(), db.Conn, sink.Config{}); err != nil {
		t.Fatal(err)
	}
	db.Do("grant usage on schema oncesink to oncesink_narrow; grant all on all tables in schema oncesink to oncesink_narrow")
	e := db.avroSink(sink.AddNewFields, &logged{}, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["role"] = "oncesink_narrow" })
	found, err := e.Lint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(found); !strings.Contains(got, "add-refused") || !strings.Contains(got, "grant oncesink_owner to oncesink_narrow") {
		t.Errorf("check finds %s", got)
	}
	_, news := e.adds(&decode.Part{}, v2(t, 0, 1))
	if got, want := e.held(news), `the role may not add columns (new_fields: add): grant it the role of the owner, oncesink_owner; or have that do it: alter table public.m add column if not exists at timestamptz, add column if not exists sum numeric; or select`; !strings.HasPrefix(got, want) {
		t.Errorf("got %s\nwant %s", got, want)
	}
	db.Want("alter table public.m add column if not exists at timestamptz\nalter table public.m add column if not exists sum numeric", "select remedy from oncesink.new_fields order by field")
	db.Do(`alter table public.m add column if not exists at timestamptz, add column if not exists sum numeric`)
	e.settles(news)
	if n, news := e.adds(&decode.Part{}, v2(t, 0, 1)); n != 1 || news != nil {
		t.Errorf("%d records were taken, new: %v", n, news)
	}
}
