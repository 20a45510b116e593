package avro

import (
	"testing"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
)

// The order of the benchmarks of package fields, with the same nine paths, as JSON and as Avro.
const (
	orderJSON = `{"order_id":1002003,"customer":{"id":88123,"segment":"retail","country":"DE"},"status":"shipped","amount":1234.50,"currency":"EUR","items":3,"placed_at":"2026-01-02T03:04:05.678901Z","note":"ring twice, leave at the door","updated_at":"2026-01-02T03:04:59.000001Z","v":12}`
	orderAvro = `{"type":"record","name":"Order","fields":[
		{"name":"order_id","type":"long"},
		{"name":"customer","type":{"type":"record","name":"Customer","fields":[{"name":"id","type":"long"},{"name":"segment","type":"string"},{"name":"country","type":"string"}]}},
		{"name":"status","type":"string"},{"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},{"name":"currency","type":"string"},
		{"name":"items","type":"int"},{"name":"placed_at","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"note","type":["null","string"]},
		{"name":"updated_at","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"v","type":"int"}]}`
)

var orderPaths = []string{"order_id", "customer.id", "status", "amount", "currency", "items", "placed_at", "note", "updated_at"}

func orderRecord(b testing.TB) []byte {
	plain := `{"type":"record","name":"Order","fields":[
		{"name":"order_id","type":"long"},{"name":"c","type":"long"},{"name":"s","type":"string"},{"name":"co","type":"string"},{"name":"status","type":"string"},{"name":"amount","type":"bytes"},{"name":"currency","type":"string"},
		{"name":"items","type":"int"},{"name":"placed_at","type":"long"},{"name":"note","type":["null","string"]},{"name":"updated_at","type":"long"},{"name":"v","type":"int"}]}`
	return framed(encode(b, plain, map[string]any{"order_id": 1002003, "c": 88123, "s": "retail", "co": "DE", "status": "shipped", "amount": []byte{1, 0xe2, 0x3a}, "currency": "EUR",
		"items": 3, "placed_at": int64(1767323045678901), "note": "ring twice, leave at the door", "updated_at": int64(1767323099000001), "v": 12}))
}

// BenchmarkOrder reads an order's nine values, and with texts also makes what PostgreSQL's input functions read of them.
func BenchmarkOrder(b *testing.B) {
	json, err := fields.JSON{}.Plan(orderPaths)
	if err != nil {
		b.Fatal(err)
	}
	for _, bb := range []struct {
		name  string
		plan  event.Plan
		doc   []byte
		texts bool
	}{
		{"avro", planOf(b, New(Options{}), orderAvro, orderPaths...), orderRecord(b), false},
		{"avro-texts", planOf(b, New(Options{}), orderAvro, orderPaths...), orderRecord(b), true},
		{"json", json, []byte(orderJSON), false},
	} {
		b.Run(bb.name, func(b *testing.B) {
			values, arena := make([]event.Value, len(orderPaths)), make([]byte, 0, 1<<10)
			var h event.Headers = headers{}
			b.SetBytes(int64(len(bb.doc)))
			b.ReportAllocs()
			for b.Loop() {
				arena = arena[:0]
				if err := bb.plan.Read(bb.doc, h, values, &arena); err != nil {
					b.Fatal(err)
				}
				if bb.texts {
					for i := range values {
						if arena, err = values[i].AppendText(arena); err != nil {
							b.Fatal(err)
						}
					}
				}
			}
		})
	}
}
