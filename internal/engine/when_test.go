package engine

import (
	"testing"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/sink"
)

// Rule 32: a topic of several kinds of events goes to several tables, each event to those whose conditions it meets, and an event that none
// wants is counted: no row, no dead letter, whatever its format.
func TestWhen(t *testing.T) {
	db := newDatabase(t, "create table orders (id int primary key, amount int)", "create table payments (id int primary key, amount int not null)", "create table log (id int, kind text)")
	e := db.open(sink.Config{Tables: []sink.TableConfig{
		{Name: "orders", Topics: []string{"o"}, Key: []string{"id"}, RecordKey: map[string]string{"id": "$key"},
			When: map[string]sink.Condition{"kind": {In: []string{"created", "changed"}}, "deleted": {Not: []string{"true"}}}},
		{Name: "payments", Topics: []string{"o"}, Key: []string{"id"}, When: map[string]sink.Condition{"kind": {In: []string{"paid"}}, "meta.version": {In: []string{"2"}}}, Tombstones: sink.IgnoreTombstones},
		{Name: "log", Topics: []string{"o"}, Strategy: sink.Append, When: map[string]sink.Condition{"$header.audit": {Exists: new(true)}, "$topic": {In: []string{"o"}}}, Tombstones: sink.IgnoreTombstones},
	}})
	part := &decode.Part{Claim: e.claim("o", 0)}
	for i, r := range []sink.Record{
		{Value: []byte(`{"kind":"created","id":1,"amount":5}`)},
		{Value: []byte(`{"kind":"paid","id":1,"amount":7,"meta":{"version":2}}`)},
		{Value: []byte(`{"kind":"paid","id":2,"meta":{"version":2}}`)},   // a payment without an amount is a dead letter of payments
		{Value: []byte(`{"kind":"paid","id":3,"meta":{"version":2.0}}`)}, // as it is written
		{Value: []byte(`{"kind":"p\u0061id","id":4,"amount":1,"meta":{"version":"2"}}`)},
		{Value: []byte(`{"kind":"heartbeat"}`)},           // nobody's
		{Value: []byte(`{"kind":null,"id":"no number"}`)}, // nobody's, whatever it has
		{Value: []byte(`{"kind":["created"],"id":5}`)},    // an array is no text
		{Value: []byte(`{"kind":"changed","id":1,"amount":9,"deleted":true}`)},
		{Value: []byte(`{"kind":"changed","id":6,"amount":9,"deleted":null}`)},
		{Value: []byte(`{"kind":"created","id":7}`), Headers: []sink.Header{{Key: "audit", Value: []byte("yes")}}},
		{Value: []byte(`{"kind":"none","id":8}`), Headers: []sink.Header{{Key: "audit", Value: []byte{}}}},
		{Value: []byte(`no JSON`)}, // a fault: it may be anybody's
		{Key: []byte("6")},         // a tombstone has no fields
	} {
		r.Topic, r.Offset, r.Epoch = "o", int64(i), -1
		if _, err := e.Add(part, r); err != nil {
			t.Fatal(err)
		}
	}
	e.write(part)
	db.Want("1|5\n7|-", "select id, amount from orders order by 1")
	db.Want("1|7\n4|1", "select id, amount from payments order by 1")
	db.Want("7|created\n8|none", "select id, kind from log order by 1")
	db.Want("2|23502|public.payments\n12|22P02|-", `select "offset", code, target from oncesink.dead_letters order by 1`)
	if s := e.Stats(); s.Unmatched != 5 || s.Records != 14 || s.DeadLetters != 2 {
		t.Errorf("%d unmatched, %d dead letters of %d", s.Unmatched, s.DeadLetters, s.Records)
	}
}

// What only headers tell from other records need not be in their format.
func TestWhenBeforeTheValueIsRead(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key)")
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}, When: map[string]sink.Condition{"$header.type": {In: []string{"order"}}}}}})
	part := &decode.Part{Claim: e.claim("o", 0)}
	for i, r := range []sink.Record{
		{Value: []byte("\x00\x01 anything")},
		{Value: []byte("anything"), Headers: []sink.Header{{Key: "type", Value: []byte("binary")}}},
		{Value: []byte(`{"id":1}`), Headers: []sink.Header{{Key: "type", Value: []byte("binary")}, {Key: "type", Value: []byte("order")}}}, // the last one counts
		{Value: []byte(`{`), Headers: []sink.Header{{Key: "type", Value: []byte("order")}}},
	} {
		r.Topic, r.Offset, r.Epoch = "o", int64(i), -1
		if _, err := e.Add(part, r); err != nil {
			t.Fatal(err)
		}
	}
	e.write(part)
	db.Want("1", "select id from q")
	db.Want("3", `select "offset" from oncesink.dead_letters`)
}

// Conditions are part of the mapping (rule 9): other ones are another mapping.
func TestWhenIsMapping(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key)")
	fingerprint := func(when map[string]sink.Condition) string {
		return db.open(sink.Config{Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}, When: when}}}).Mappings()[0].Fingerprint
	}
	all, some, other := fingerprint(nil), fingerprint(map[string]sink.Condition{"a": {In: []string{"1"}}}), fingerprint(map[string]sink.Condition{"a": {Not: []string{"1"}}})
	if all == some || some == other || all == other {
		t.Errorf("fingerprints %s, %s, %s", all, some, other)
	}
}

// Where a topic has several kinds of events, conditions tell the kind, and others which of that kind delete.
func TestDeleteWhenNot(t *testing.T) {
	db := newDatabase(t, "create table c (id int primary key, status text)")
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "c", Topics: []string{"o"}, Key: []string{"id"},
		When: map[string]sink.Condition{"type": {In: []string{"customer"}}}, DeleteWhen: map[string]sink.Condition{"status": {Not: []string{"active"}, Exists: new(true)}}}}})
	var records []sink.Record
	for i, doc := range []string{
		`{"type":"customer","id":1,"status":"active"}`, `{"type":"customer","id":2,"status":"active"}`,
		`{"type":"payment","id":1,"status":"open"}`, // another kind, with the number of a customer
		`{"type":"customer","id":2,"status":"closed"}`,
		`{"type":"customer","id":1}`, // says nothing of it
	} {
		records = append(records, sink.Record{Topic: "o", Offset: int64(i), Epoch: -1, Value: []byte(doc)})
	}
	e.feed(records, 2)
	db.Want("1|active", "select id, status from c")
	db.Want("", "select message from oncesink.dead_letters")
}

// Rule 32: an event that no table wants is a dead letter where its topic asks for that; one that its envelope ignores is not.
func TestRule32Refused(t *testing.T) {
	db := newDatabase(t, "create table t (id int primary key, kind text)")
	e := db.open(sink.Config{
		Tables: []sink.TableConfig{{Name: "t", Topics: []string{"t"}, Key: []string{"id"}, When: map[string]sink.Condition{"kind": {In: []string{"a"}}, "$header.of": {Not: []string{"others"}}}}},
		Topics: map[string]sink.TopicConfig{"t": {Envelope: &sink.Envelope{Op: "op", Upsert: []string{"u"}, Ignore: []string{"ping"}}, Unmatched: sink.RefuseUnmatched}}})
	records := []sink.Record{
		{Value: []byte(`{"op": "u", "id": 1, "kind": "a"}`)},
		{Value: []byte(`{"op": "u", "id": 2, "kind": "b"}`)},
		{Value: []byte(`{"op": "ping", "kind": "b"}`)},
		{Value: []byte(`{"op": "u", "id": 3, "kind": "a"}`), Headers: []sink.Header{{Key: "of", Value: []byte("others")}}},
	}
	for i := range records {
		records[i].Topic, records[i].Offset, records[i].Epoch = "t", int64(i), -1
	}
	e.feed(records, 100)
	db.Want("1|a", "select id, kind from t")
	db.Want("1|ONS43\n3|ONS43", `select "offset", code from oncesink.dead_letters order by 1`)
}
