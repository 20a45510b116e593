package engine

import (
	"testing"

	"github.com/oncesink/oncesink/sink"
)

// CloudEvents in structured mode are an envelope, and in binary mode headers.
func TestRule33CloudEvents(t *testing.T) {
	db := newDatabase(t, "create table s (id int primary key, a text, kind text, source text)", "create table b (id int primary key, a text, kind text, source text)")
	created := []string{"com.example.order.created"}
	e := db.open(sink.Config{
		Tables: []sink.TableConfig{
			{Name: "s", Topics: []string{"s"}, Key: []string{"id"}, When: map[string]sink.Condition{"$envelope.type": {In: created}},
				Columns: map[string]sink.ColumnConfig{"kind": {From: "$envelope.type"}, "source": {From: "$envelope.source"}}},
			{Name: "b", Topics: []string{"b"}, Key: []string{"id"}, When: map[string]sink.Condition{"$header.ce_type": {In: created}},
				Columns: map[string]sink.ColumnConfig{"kind": {From: "$header.ce_type"}, "source": {From: "$header.ce_source"}}},
		},
		Topics: map[string]sink.TopicConfig{"s": {Envelope: sink.CloudEvents()}},
	})
	const head = `{"specversion":"1.0","id":"A1","source":"/shop","datacontenttype":"application/json","type":`
	var records []sink.Record
	for i, doc := range []string{
		head + `"com.example.order.created","data":{"id":1,"a":"x"}}`,
		head + `"com.example.order.gone","data":{"id":2,"a":"y"}}`,
		head + `"com.example.order.created","data_base64":"eyJpZCI6M30="}`,
		head + `"com.example.order.gone","data_base64":"eyJpZCI6M30="}`,
		head + `"com.example.order.created","data":{"id":4},"data_base64":null}`,
		head + `"com.example.order.created"}`,
	} {
		records = append(records, sink.Record{Topic: "s", Offset: int64(i), Epoch: -1, Value: []byte(doc)})
	}
	e.feed(records, 100)
	records = nil
	for i, kind := range []string{"com.example.order.created", "com.example.order.gone"} {
		records = append(records, sink.Record{Topic: "b", Offset: int64(i), Epoch: -1, Value: []byte(`{"id":1,"a":"x"}`), Headers: []sink.Header{
			{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_type", Value: []byte(kind)}, {Key: "ce_source", Value: []byte("/shop")}, {Key: "content-type", Value: []byte("application/json")},
		}})
	}
	e.feed(records, 100)
	db.Want("1|x|com.example.order.created|/shop\n4|-|com.example.order.created|/shop", "select id, a, kind, source from s order by 1")
	db.Want("1|x|com.example.order.created|/shop", "select id, a, kind, source from b")
	db.Want("2|ONS42|-\n5|23502|id", `select "offset", code, column_name from oncesink.dead_letters order by 1`)
	if s := e.Stats(); s.Unmatched != 3 {
		t.Errorf("%d unmatched, want those of the other type", s.Unmatched)
	}
}
