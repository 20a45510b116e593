package engine

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/sink"
)

// largeOrder has n elements beside a text of so many bytes.
func largeOrder(id, n, size int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"id": %d, "version": 1, "body": "%s", "items": [`, id, strings.Repeat("x", size))
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"sku":"s%d"}`, i)
	}
	b.WriteString("]}")
	return b.String()
}

func largeShop(t testing.TB, from string) *engine {
	db := newDatabase(t, "create table orders (id bigint primary key, version int)",
		"create table items (order_id bigint, sku text, body text, primary key (order_id, sku))")
	return db.open(sink.Config{Tables: []sink.TableConfig{
		{Name: "orders", Topics: []string{"o"}, Key: []string{"id"}, Version: "version"},
		{Name: "items", Strategy: sink.Children, Parent: "orders", Each: "items", Key: []string{"order_id", "sku"}, ParentKey: map[string]string{"order_id": "id"},
			Columns: map[string]sink.ColumnConfig{"body": {From: from}}},
	}})
}

// A text of the event is there once, however many elements take it, and what its statements take is bounded.
func TestChildrenShareTheEventsTexts(t *testing.T) {
	if onRoute() {
		return
	}
	const elements, size = 1000, 300_000 // 300 MB of parameters
	for _, from := range []string{"$event.body", "$value", "$key", "$header.h"} {
		t.Run(from, func(t *testing.T) {
			e := largeShop(t, from)
			part := &decode.Part{Claim: e.claim("o", 0)}
			text := []byte(strings.Repeat("y", size))
			e.Add(part, sink.Record{Topic: "o", Value: []byte(largeOrder(1, elements, size)), Key: text, Headers: []sink.Header{{Key: "h", Value: text}}})
			if got := part.Bytes(); got > 6*size+elements*200 {
				t.Errorf("the part takes %d bytes", got)
			}
			if from != "$event.body" {
				return
			}
			runtime.GC()
			var most atomic.Uint64
			stop := make(chan struct{})
			go func() {
				var m runtime.MemStats
				for tick := time.NewTicker(5 * time.Millisecond); ; {
					select {
					case <-stop:
						return
					case <-tick.C:
						runtime.ReadMemStats(&m)
						most.Store(max(most.Load(), m.HeapAlloc))
					}
				}
			}()
			e.write(part)
			close(stop)
			if got := most.Load() >> 20; got > 450 {
				t.Errorf("%d MiB of memory at most, want no more than a few statements'", got)
			}
			e.db.Want(fmt.Sprintf("%d|%d", elements, size), fmt.Sprintf("select count(*), min(length(body)) from items where body = repeat('x', %d)", size))
		})
	}
}

// A record that becomes too much is kept as a dead letter, and its neighbours are written.
func TestTooLargeRecordsAreFaults(t *testing.T) {
	if onRoute() {
		return
	}
	for name, tt := range map[string]struct{ from, large string }{
		"elements":     {"$element", largeOrder(2, 100, 10)},
		"event's text": {"$event.body", largeOrder(2, 1, 5000)},
		"cells":        {"$index", `{"id": 2, "version": 1, "items": [` + strings.Repeat(`{"sku":"a"},`, 70) + `{"sku":"b"}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			e := largeShop(t, tt.from)
			e.plan().decode.Decoders["o"].Limit = 4096
			e.write(e.add(0, 0, largeOrder(1, 3, 10), tt.large, largeOrder(3, 3, 10)))
			e.db.Want("1|3\n3|3", "select order_id, count(*) from items group by 1 order by 1")
			e.db.Want("1|54000|public.items|t", `select "offset", code, target, message ~ 'takes more than' from oncesink.dead_letters`)
			e.db.Want("1 3", "select string_agg(id::text, ' ' order by id) from orders")
		})
	}
	// A row of no children.
	db := newDatabase(t, "create table q (id int primary key, a text, b text, c text)")
	from := sink.ColumnConfig{From: "$value"}
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{"a": from, "b": from, "c": from}}}})
	e.plan().decode.Decoders["o"].Limit = 4096
	e.write(e.add(0, 0, `{"id": 1}`, fmt.Sprintf(`{"id": 2, "x": "%s"}`, strings.Repeat("x", 1500)), `{"id": 3}`))
	db.Want("1|{\"id\": 1}\n3|{\"id\": 3}", "select id, c from q order by 1")
	db.Want("1|54000", `select "offset", code from oncesink.dead_letters`)
}

// The texts of a part may be more than a cell can count: it counts from its record on. So what a part holds together is
// no record's fault.
func TestCellsCountFromTheirRecord(t *testing.T) {
	e := largeShop(t, "$event.body")
	part := &decode.Part{Claim: e.claim("o", 0)}
	const before = 1 << 16
	part.Text = make([]byte, before) // as if of records before
	e.Add(part, sink.Record{Topic: "o", Value: []byte(largeOrder(1, 3, 10))}, sink.Record{Topic: "o", Offset: 1, Value: []byte(largeOrder(2, 3, 10))})
	for _, x := range part.Cells {
		if x.Off >= before {
			t.Fatalf("a cell begins at %d", x.Off)
		}
	}
	e.write(part)
	e.db.Want("1|3|10\n2|3|10", "select order_id, count(*), max(length(body)) from items group by 1 order by 1")
}
