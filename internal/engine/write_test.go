package engine

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// From JSON to rows: two tables of one topic, nested fields, the record's place,
// tombstones by record key, control records, and a record that is no JSON.
func TestAddAndWrite(t *testing.T) {
	db := newDatabase(t,
		`create table orders (order_id bigint primary key, customer text, amount numeric(12,2), placed_at timestamptz, updated_at timestamptz, doc jsonb)`,
		`create table log (topic text, part int, at bigint, amount numeric)`)
	e := db.open(sink.Config{Tables: []sink.TableConfig{
		{Name: "orders", Topics: []string{"orders"}, Key: []string{"order_id"}, Version: "updated_at", RecordKey: map[string]string{"order_id": "$key.id"},
			Columns: map[string]sink.ColumnConfig{"customer": {From: "customer.name"}, "placed_at": {From: "$timestamp"}, "doc": {From: "$value"}}},
		{Name: "log", Topics: []string{"orders"}, Strategy: sink.Append, Tombstones: "ignore",
			Columns: map[string]sink.ColumnConfig{"topic": {From: "$topic"}, "part": {From: "$partition"}, "at": {From: "$offset"}}},
	}})
	record := func(offset int64, key, value string) sink.Record {
		r := sink.Record{Topic: "orders", Partition: 3, Offset: offset, Epoch: 7, Timestamp: time.UnixMilli(1_700_000_000_000 + offset), Key: []byte(key)}
		if value != "" {
			r.Value = []byte(value)
		}
		return r
	}
	control := record(13, "", "")
	control.Control = true
	p := &decode.Part{Claim: e.claim("orders", 3)}
	e.Add(p,
		record(10, `{"id": 1}`, `{"order_id": 1, "customer": {"name": "Ann"}, "amount": 12.10, "updated_at": "2026-01-01T00:00:00Z"}`),
		record(11, `{"id": 2}`, `{"order_id": 2, "amount": "3.5", "updated_at": "2026-01-01T00:00:00Z"}`),
		record(12, `{"id": 1}`, ""),
		control,
		record(14, `{"id": 3}`, `{"order_id": 3`))
	e.Add(p, record(14, "", "seen before"), record(16, `{"id": 2}`, `{"order_id": 2, "amount": null, "updated_at": "2026-01-01T00:00:01+00:00"}`))
	if p.Len() != 6 || p.To != (offsets.Position{Next: 17, Epoch: 7, Time: time.UnixMilli(1_700_000_000_016)}) {
		t.Errorf("%d records up to %+v", p.Len(), p.To)
	}
	e.write(p)
	db.Want("2|-|-|1700000000.016|{\"amount\": null, \"order_id\": 2, \"updated_at\": \"2026-01-01T00:00:01+00:00\"}",
		"select order_id, customer, amount, extract(epoch from placed_at)::numeric(13,3), doc from orders")
	db.Want("orders|3|10|12.10\norders|3|11|3.5\norders|3|16|-", "select * from (select topic, part, at, amount from log order by at) x")
	db.Want("14", `select "offset" from oncesink.dead_letters`)
	db.Want("1|12", `select order_id, _oncesink_offset from oncesink."public.orders deletes"`)
	db.Want("17|7", "select next_offset, leader_epoch from oncesink.offsets")
}

// A part whose Write failed may take more records before it is written again.
func TestAddAfterFailedWrite(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key)")
	e := db.upsert("q", sink.TableConfig{Key: []string{"id"}})
	p := &decode.Part{Claim: e.claim("o", 0)}
	record := func(offset int64, value string) sink.Record {
		return sink.Record{Topic: "o", Offset: offset, Value: []byte(value)}
	}
	e.Add(p, record(0, `{"id": 1}`), record(1, `{"id": "x"}`))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if out := e.Write(ctx, []*decode.Part{p}); out[0].Err != context.Canceled {
		t.Fatalf("got %v, want context.Canceled", out[0].Err)
	}
	e.Add(p, record(2, `{"id": 2}`), record(3, `{"id": "y"}`))
	e.write(p)
	db.Want("1\n2", "select id from q order by 1")
	db.Want("1\n3", `select "offset" from oncesink.dead_letters order by 1`)
}

// Spans halve by records, across parts, and give each part's rows.
func TestHalve(t *testing.T) {
	parts := []*decode.Part{{}, {}, {}}
	s := spans{{parts[0], 0, 3}, {parts[1], 5, 6}, {parts[2], 0, 4}}
	show := func(s spans) string {
		out := ""
		for _, x := range s {
			for i, p := range parts {
				if p == x.part {
					out += fmt.Sprintf("%d[%d,%d) ", i, x.lo, x.hi)
				}
			}
		}
		return out
	}
	var walk func(s spans) string
	walk = func(s spans) string {
		if s.records() == 1 {
			return show(s)
		}
		left, right := s.halve()
		if left.records() == 0 || right.records() == 0 || left.records()+right.records() != s.records() {
			t.Fatalf("%s halves into %s and %s", show(s), show(left), show(right))
		}
		return walk(left) + walk(right)
	}
	want := "0[0,1) 0[1,2) 0[2,3) 1[5,6) 2[0,1) 2[1,2) 2[2,3) 2[3,4) "
	if got := walk(s); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := show(s); got != "0[0,3) 1[5,6) 2[0,4) " {
		t.Errorf("halving changed the spans: %s", got)
	}
}
