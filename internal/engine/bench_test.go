package engine

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/sink"
)

const benchTable = `create table orders (order_id bigint primary key, customer_id bigint not null, status text not null, amount numeric(12,2) not null,
	currency char(3) not null, items int not null, placed_at timestamptz not null, note text, updated_at timestamptz not null)`

// BenchmarkWrite writes parts of 5,000 rows of 9 columns on one connection:
// keys that are new, in their order; updates of random rows; and events that
// are there already.
func BenchmarkWrite(b *testing.B) {
	const rows = 5000
	for _, memory := range []bool{false, true} {
		b.Run(fmt.Sprintf("memory=%v", memory), func(b *testing.B) {
			tc := sink.TableConfig{Name: "orders", Topics: []string{"o"}, Key: []string{"order_id"}, Version: "updated_at"}
			if memory {
				tc.RecordKey = map[string]string{"order_id": "$key"}
			}
			db := newDatabase(b, benchTable)
			e := db.open(sink.Config{Tables: []sink.TableConfig{tc}})
			offset, next, version := int64(0), 0, 0
			part := func(key func() int) *decode.Part {
				evs := make([]ev, rows)
				for i := range evs {
					id := key()
					evs[i] = ev{offset: offset, cols: fmt.Sprintf("order_id=%d customer_id=%d status=shipped amount=%d.50 currency=EUR items=3 placed_at=2026-01-02_03:04:05.678901Z note=between_ten_and_twenty_bytes%d updated_at=2026-01-02_03:04:%02d.%06dZ",
						id, id%20000, id%500, id%100, version/1e6, version%1e6)}
					offset++
				}
				version++
				return e.part("o", 0, evs...)
			}
			measure := func(name string, key func() int) {
				b.Run(name, func(b *testing.B) {
					n := 0
					for b.Loop() {
						b.StopTimer()
						p := part(key)
						b.StartTimer()
						e.write(p)
						n += rows
					}
					b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
				})
			}
			measure("fresh", func() int { next++; return next })
			db.Do("vacuum analyze orders")
			r := rand.New(rand.NewPCG(1, 2))
			measure("updates", func() int { return 1 + r.IntN(next) })
			version = -1
			measure("stale", func() int { version = 0; return 1 + r.IntN(next) })
		})
	}
}

// BenchmarkPoison writes parts of 5,000 rows of which the server refuses none, one, or one in a hundred: how much of the
// throughput is left, by what it refuses.
func BenchmarkPoison(b *testing.B) {
	const rows = 5000
	for _, kind := range []struct{ name, constraint, bad, column, typ string }{
		{"too long", "", "currency=EURO", "", ""},
		{"check", ", check (items > 0)", "items=0", "", ""},
		{"null", "", "status=null", "", ""},
		{"absent", "", "status", "", ""},
		{"foreign key", ", foreign key (customer_id) references customers", "customer_id=-1", "", ""},
		{"unique", ", unique (note)", "note=taken", "", ""},
		{"date the type can't read", "", "placed_at=2026-02-30T03:04:05Z", "", ""},
		{"integer the type can't read", "", "items=abc", "", ""},
		{"enum the type can't read", "", "status=lost", "status text", "status state"},
		{"interval the type can't read", "", "note=soon", "note text", "note interval"},
	} {
		db := newDatabase(b, "create table customers (id bigint primary key)", "insert into customers select generate_series(0, 19999)",
			"create type state as enum ('new', 'shipped')", strings.Replace(strings.TrimSuffix(benchTable, ")"), kind.column, kind.typ, 1)+kind.constraint+")")
		e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "orders", Topics: []string{"o"}, Key: []string{"order_id"}, Version: "updated_at"}},
			ForeignKeyWait: time.Microsecond, DeadLetters: sink.DeadLetters{MaxRatio: 1, MaxConsecutive: -1}})
		offset := int64(0)
		bad, value, given := strings.Cut(kind.bad, "=")
		part := func(poisons int) *decode.Part {
			evs := make([]ev, rows)
			for i := range evs {
				cols := fmt.Sprintf("order_id=%d customer_id=%d status=shipped amount=%d.50 currency=EUR items=3 placed_at=2026-01-02T03:04:05.678901Z note=between_ten_and_twenty_bytes%d updated_at=2026-01-02_03:04:05Z",
					offset, offset%20000, offset%500, offset)
				if kind.typ == "note interval" {
					cols = strings.Replace(cols, "between_ten_and_twenty_bytes", "0", 1) // seconds
				}
				if poisons > 0 && i%(rows/poisons) == rows/poisons/2 {
					at := strings.Index(cols, bad+"=")
					end := at + strings.Index(cols[at:], " ")
					put := ""
					if given {
						put = bad + "=" + value
					}
					cols = cols[:at] + put + cols[end:]
				}
				evs[i] = ev{offset: offset, cols: cols}
				offset++
			}
			return e.part("o", 0, evs...)
		}
		if kind.name == "unique" {
			e.write(e.part("o", 0, ev{offset: 0, cols: "order_id=-1 customer_id=1 status=s amount=1 currency=EUR items=3 placed_at=2026-01-02T03:04:05Z note=taken updated_at=2026-01-02_03:04:05Z"}))
			offset = 1
		}
		for _, poisons := range []int{0, 1, rows / 100} {
			b.Run(fmt.Sprintf("%s/of5000=%d", kind.name, poisons), func(b *testing.B) {
				n := 0
				for b.Loop() {
					b.StopTimer()
					p := part(poisons)
					b.StartTimer()
					e.write(p)
					n += rows
				}
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}
