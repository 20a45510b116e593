package engine

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/sink"
)

// appendMix are records of all kinds: of rows in several tables and of children, tombstones, faults, and
// one that becomes nothing.
func appendMix(n int) []sink.Record {
	var records []sink.Record
	for i := range int64(n) {
		switch i % 5 {
		case 0, 1:
			records = append(records, incoming("o", i, "", fmt.Sprintf(`{"id":%d,"version":%d,"note":"é%d","items":[{"sku":"a"},{"sku":"b"}]}`, i, i, i)))
		case 2:
			records = append(records, incoming("o", i, fmt.Sprint(i), ""))
		case 3:
			records = append(records, incoming("o", i, "", `{"id":"not a number"}`))
		case 4:
			records = append(records, sink.Record{Topic: "o", Offset: i, Control: true})
		}
	}
	return records
}

// A part that was joined of others is the one that the records would have become together, and its row
// texts, faults and size are those of that one.
func TestPartAppend(t *testing.T) {
	db := newDatabase(t, "create table orders (id bigint primary key, version int, note text)",
		"create table items (order_id bigint, sku text, note text, primary key (order_id, sku))")
	e := db.open(sink.Config{Tables: []sink.TableConfig{
		{Name: "orders", Topics: []string{"o"}, Key: []string{"id"}, Version: "version", RecordKey: map[string]string{"id": "$key"}},
		{Name: "items", Strategy: sink.Children, Parent: "orders", Each: "items", Key: []string{"order_id", "sku"}, ParentKey: map[string]string{"order_id": "id"},
			Columns: map[string]sink.ColumnConfig{"note": {From: "$event.note"}}},
	}})
	records := appendMix(200)
	whole := &decode.Part{}
	e.Add(whole, records...)

	t.Run("chunks", func(t *testing.T) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rnd := rand.New(rand.NewPCG(seed, 0))
		joined, chunk := &decode.Part{Claim: e.claim("o", 0)}, &decode.Part{}
		for rest := records; len(rest) > 0; {
			n := min(len(rest), 1+rnd.IntN(20))
			e.Add(chunk, rest[:n]...)
			joined.Append(chunk)
			joined.Append(chunk) // empty by now
			rest = rest[n:]
			if chunk.Len() != 0 || chunk.Bytes() != 0 || chunk.To.Next != 0 {
				t.Fatalf("%d records in %d bytes are still in the appended part", chunk.Len(), chunk.Bytes())
			}
			if held := chunk.Records[:1][0]; held.Value != nil || held.Key != nil {
				t.Fatal("the appended part holds on to a payload")
			}
		}
		if got, want := e.texts(joined), e.texts(whole); got != want {
			t.Errorf("got:\n%s\nwant:\n%s", got, want)
		}
		if joined.To != whole.To || joined.Bytes() != whole.Bytes() || joined.Len() != whole.Len() {
			t.Errorf("%d records in %d bytes up to %+v, want %d in %d up to %+v", joined.Len(), joined.Bytes(), joined.To, whole.Len(), whole.Bytes(), whole.To)
		}
		for _, o := range e.Write(t.Context(), []*decode.Part{joined}) {
			if o.Err != nil {
				t.Fatal(o.Err)
			}
		}
		db.Want("80|80", "select count(*), count(*) filter (where note = 'é' || id) from orders")
		db.Want("160", "select count(*) from items i join orders o on o.id = i.order_id and o.note = i.note")
		db.Want("40", "select count(*) from oncesink.dead_letters")
	})

	t.Run("of another mapping", func(t *testing.T) {
		joined, later := &decode.Part{}, &decode.Part{}
		e.Add(joined, records[:50]...)
		was := e.plan()
		db.Do("alter table orders add column more text")
		now, err := e.recompile(t.Context(), was)
		if err != nil {
			t.Fatal(err)
		}
		e.Add(later, records[50:]...)
		if later.DecodedBy != now.decode || now.Catalog == was.Catalog {
			t.Fatal("the later records were not decoded by another mapping")
		}
		joined.Append(later)
		if joined.DecodedBy != was.decode || len(joined.Rows) != len(whole.Rows) || len(joined.Cells) != len(whole.Cells) {
			t.Errorf("%d rows of %d cells, want %d of %d, as the first records were decoded", len(joined.Rows), len(joined.Cells), len(whole.Rows), len(whole.Cells))
		}
		empty := &decode.Part{}
		e.Add(later, records...)
		empty.Append(later)
		if empty.DecodedBy != now.decode {
			t.Error("an empty part does not take the mapping of what is appended")
		}
	})
}
