package engine

import (
	"os"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/connect"
	"github.com/oncesink/oncesink/internal/decode"
	payload "github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/sink"
)

// sourceTable is the table that the events in internal/connect/testdata are of.
const sourceTable = ` (id bigint primary key, n numeric(12,2), nv numeric, ts timestamp, ts3 timestamp(3), tz timestamptz, d date, tm time, tmz timetz, j jsonb, u uuid, b bytea,
	arr text[], ia int[], ba bigint[], ua uuid[], big text, bigj jsonb, bigb bytea, e mood, iv interval, p point, inf timestamptz, infts timestamp, m numeric, r tstzrange, ip inet, dflt int default 7,
	x text, bits bit(5), i2 smallint, f4 real, f8 double precision)`

// TestConnectValues: the rows that a real Debezium read from PostgreSQL are the same in PostgreSQL again, of every type, with what an update
// did not tell of large values.
func TestConnectValues(t *testing.T) {
	db := newDatabase(t, "create type mood as enum ('sad', 'ok')", "create table t"+sourceTable, "create table source"+sourceTable)
	placeholder, err := connect.NewPlaceholder(connect.DefaultPlaceholder)
	if err != nil {
		t.Fatal(err)
	}
	columns, names := map[string]sink.ColumnConfig{}, strings.Fields("id n nv ts ts3 tz d tm tmz j u b arr ia ba ua big bigj bigb e iv p inf infts m r ip dflt x bits i2 f4 f8")
	for _, name := range names {
		columns[name] = sink.ColumnConfig{From: "after." + name}
	}
	for _, name := range []string{"b", "bigb"} {
		columns[name] = sink.ColumnConfig{From: "after." + name, Encoding: "hex"} // of texts: the events have base64, and their schema says that it is bytes
	}
	f := connect.JSON{Placeholder: placeholder}
	e := db.openWith(sink.Config{Tables: []sink.TableConfig{{Name: "t", Topics: []string{"t"}, Key: []string{"id"}, Columns: columns}}},
		Options{Formats: func(string) (values, keys payload.Format) { return f, f }})
	text, err := os.ReadFile("../connect/testdata/schema.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	events := strings.Split(string(text), "\n")
	offset := int64(0)
	write := func(numbers ...int) {
		t.Helper()
		p := &decode.Part{Claim: e.claim("t", 0)}
		for _, n := range numbers {
			if taken, err := e.Add(p, incoming("t", offset, "", events[n])); taken != 1 || err != nil {
				t.Fatal(err)
			}
			offset++
		}
		e.write(p)
		db.Want("0", "select count(*) from oncesink.dead_letters")
	}
	same := func() {
		t.Helper()
		list := strings.Join(names, ", ")
		db.Want(db.Lines("select "+list+" from source order by id"), "select "+list+" from t order by id")
	}
	db.Do(`insert into source values (1, 1234.56, 0.00000000000000000001234567890123456789, '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05.678', '2026-01-02 03:04:05.678901+02', '2026-01-02', '03:04:05.678901', '01:04:05+00',
		'{"a": [1, 2.50]}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\x00ff', array['a',null,'b"c'], array[1,2], array[1,2], array['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid], 'xxxxxxxxxxxx', '{"k": "yyyyyyyyyyyy"}', decode(repeat('ab',12),'hex'),
		'ok', '37091106.7 seconds', '(1.5,2)', 'infinity', '-infinity', 12.34, '[2026-01-01 00:00:00+00,2026-02-01 00:00:00+00)', '10.0.0.1', 7, '<a/>', B'10101', 7, 1.1, 0.1)`)
	write(0)
	same()
	// What the update left alone the event does not tell.
	db.Do("update source set i2 = 8")
	write(1)
	same()
	db.Do("update source set big = null; insert into source (id, n) values (2, 99999999.99)")
	write(2, 3, 4)
	same()
}
