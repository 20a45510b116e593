package protobuf

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
)

// order is the event that benchmarks of internal/fields have, as JSON and as text.
const (
	order     = `{"order_id":1002003,"customer":{"id":88123,"segment":"retail","country":"DE"},"status":"shipped","amount":1234.50,"currency":"EUR","items":3,"placed_at":"2026-01-02T03:04:05.678901Z","note":"ring twice, leave at the door","updated_at":"2026-01-02T03:04:59.000001Z","v":12}`
	orderText = `order_id: 1002003 customer { id: 88123 segment: "retail" country: "DE" } status: STATUS_SHIPPED amount: 1234.50 currency: "EUR" items: 3 placed_at { seconds: 1767323045 nanos: 678901000 } note: "ring twice, leave at the door" updated_at { seconds: 1767323099 nanos: 1000 } v: 12`
)

var orderPaths = []string{"order_id", "customer.id", "status", "amount", "currency", "items", "placed_at", "note", "updated_at"}

// formats are the same values in each format.
func formats(t testing.TB, paths []string) map[string]func() (event.Plan, []byte) {
	schema := shop(t)
	must := func(p event.Plan, err error) event.Plan {
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	return map[string]func() (event.Plan, []byte){
		"json": func() (event.Plan, []byte) { return must(fields.JSON{}.Plan(paths)), []byte(order) },
		"protobuf": func() (event.Plan, []byte) {
			p := must(New(Options{}).Plan(paths))
			if err := p.Learn(event.SchemaRef{Space: "id", ID: "17"}, schema); err != nil {
				t.Fatal(err)
			}
			return p, framed(17, "\x02\x02", wire(t, describe(t, schema, "Order"), orderText))
		},
	}
}

func BenchmarkRead(b *testing.B) {
	for _, what := range []struct {
		name  string
		paths []string
	}{{"order", orderPaths}, {"whole", []string{"customer"}}} {
		for _, name := range []string{"json", "protobuf"} {
			b.Run(what.name+"/"+name, func(b *testing.B) {
				plan, doc := formats(b, what.paths)[name]()
				values := make([]event.Value, len(what.paths))
				var arena []byte
				var h event.Headers = headers{}
				b.ReportAllocs()
				for b.Loop() {
					arena = arena[:0]
					if err := plan.Read(doc, h, values, &arena); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// TestNoMemory: reading allocates nothing once there is memory to use again, whatever the fields are.
func TestNoMemory(t *testing.T) {
	schema := shop(t)
	doc := wire(t, describe(t, schema, "Order"), orderText+` lines { sku: "s" due { seconds: 5 } } lines {} codes: [1, 2] labels { key: "a" value: "b" } labels { key: "b" value: "c" } took { seconds: 1 } card: "c" attrs { fields { key: "b" value { number_value: 1.5 } } } any { [x/acme.common.Point] { lat: 1 } } by_number { key: 5 value { sku: "t" } }`)
	paths := append([]string{"customer", "lines", "codes", "labels", "labels.a", "took", "card", "attrs", "attrs.b", "any", "by_number", ""}, orderPaths...)
	plan := own(t, schema, "Order", paths...)
	values := make([]event.Value, len(paths))
	arena := make([]byte, 0, 1<<16)
	sc := &scratch{limit: maxJSON} // the plan's pool may lose its own
	if n := testing.AllocsPerRun(1000, func() {
		arena = arena[:0]
		if err := sc.top(plan.own.pinned, doc, values, &arena); err != nil {
			t.Fatal(err)
		}
		sc.release()
	}); n >= 1 {
		t.Errorf("%v allocations a record", n)
	}
}

// BenchmarkEnvelope reads a change event with a row of 33 columns.
func BenchmarkEnvelope(b *testing.B) {
	text := `syntax = "proto3"; import "google/protobuf/timestamp.proto"; message Envelope { Row before = 1; Row after = 2; Source source = 3; string op = 4; int64 ts_ms = 5; } message Source { int64 lsn = 1; string table = 2; int64 ts_ms = 3; } message Row {`
	row, paths := []byte{}, []string{"op", "source.lsn"}
	for i := range 33 {
		num := protowire.Number(i + 1)
		typ, field := "int64", enc(num, 1<<40)
		switch i % 3 {
		case 1:
			typ, field = "string", enc(num, "a text of a few words")
		case 2:
			typ, field = "google.protobuf.Timestamp", enc(num, join(enc(1, 1767323045), enc(2, 678901000)))
		}
		text += fmt.Sprintf(" optional %s c%d = %d;", typ, i, num)
		row = append(row, field...)
		paths = append(paths, fmt.Sprintf("after.c%d", i))
	}
	schema := event.Schema{Text: text + "}"}
	p := own(b, schema, "Envelope", paths...)
	record := join(enc(2, row), enc(3, join(enc(1, 22242176), enc(2, "orders"), enc(3, 1767323045678))), enc(4, "u"), enc(5, 1767323045678))
	values := make([]event.Value, len(paths))
	var arena []byte
	b.ReportAllocs()
	b.SetBytes(int64(len(record)))
	for b.Loop() {
		arena = arena[:0]
		if err := p.Read(record, nil, values, &arena); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLearn compiles a schema with what it imports.
func BenchmarkLearn(b *testing.B) {
	schema := shop(b)
	for b.Loop() {
		if _, err := New(Options{Schema: &schema, Message: "Order"}).Plan(orderPaths); err != nil {
			b.Fatal(err)
		}
	}
}
