package main

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// shape is how wide the rows are: 9 columns, and extra ones of 12 bytes.
type shape struct {
	name  string
	extra int
}

var (
	narrow = shape{"narrow", 0}
	wide   = shape{"wide", 31}
)

// columns are the table's, in order, without the engine's.
func (s shape) columns() []string {
	c := []string{"order_id", "customer_id", "status", "amount", "currency", "country", "note", "placed_at", "updated_at"}
	for i := range s.extra {
		c = append(c, fmt.Sprintf("extra_%02d", i+1))
	}
	return c
}

// create is the statement that makes the table.
func (s shape) create(table string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `create table %s (order_id bigint primary key, customer_id bigint not null, status text not null, amount numeric(12,2) not null,
	currency char(3) not null, country char(2) not null, note text, placed_at timestamptz not null, updated_at timestamptz not null`, table)
	for _, c := range s.columns()[9:] {
		fmt.Fprintf(&b, ", %s text", c)
	}
	return b.String() + ") with (fillfactor = 70)"
}

// event is one order in one version; all of it follows from the two numbers.
type event struct {
	id      int64
	version int
}

var (
	statuses  = []string{"placed", "paid", "packed", "shipped", "delivered"}
	countries = []string{"AT", "BR", "CA", "DE", "ES", "FR", "IN", "JP", "NZ", "US"}
	began     = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

// values are the columns' texts.
func (e event) values(s shape, to []string) []string {
	h := uint64(e.id)*0x9e3779b97f4a7c15 ^ uint64(e.version)*0xbf58476d1ce4e5b9
	h ^= h >> 29
	to = append(to[:0], strconv.FormatInt(e.id, 10), strconv.FormatUint(h%200_000, 10), statuses[h>>8%5], cents(h>>16%1_000_000),
		"EUR", countries[h>>12%10], "please leave it with the neighbour behind the back door "+strconv.FormatUint(h, 16),
		e.placed().Format(time.RFC3339Nano), e.updated().Format(time.RFC3339Nano))
	for i := range s.extra {
		to = append(to, strconv.FormatUint(h>>i|1<<44, 16)[:12])
	}
	return to
}

func (e event) placed() time.Time { return began.Add(time.Duration(e.id) * time.Millisecond) }

func (e event) updated() time.Time {
	return began.Add(time.Duration(e.version)*time.Hour + time.Duration(e.id)*time.Microsecond)
}

func cents(n uint64) string {
	return strconv.FormatUint(n/100, 10) + "." + strconv.FormatUint(100+n%100, 10)[1:]
}

// json appends the event as a shop would send it: about 270 bytes when narrow. No text in it
// needs an escape.
func (e event) json(s shape, b []byte, v []string) []byte {
	for i, name := range s.fields() {
		b = append(b, name...)
		if i == 0 || i == 1 || i == 3 { // numbers
			b = append(b, v[i]...)
		} else {
			b = append(append(append(b, '"'), v[i]...), '"')
		}
	}
	return append(b, '}')
}

// fields are the columns as they begin a field of a JSON object.
func (s shape) fields() []string {
	if s == narrow {
		return narrowFields
	}
	return s.begin()
}

var narrowFields = narrow.begin()

func (s shape) begin() []string {
	fields := s.columns()
	for i, c := range fields {
		fields[i] = `,"` + c + `":`
	}
	fields[0] = "{" + fields[0][1:]
	return fields
}

// load is what one topic holds, in order.
type load struct {
	name   string // fresh, updates, mixed
	events []event
	poison func(e event, values []string) // changes the values of some; nil: of none
	// envelope: as Debezium writes events.
	envelope bool
	// lines: with the order's lines, which are children.
	lines bool
}

// fresh has n new keys, in order, from first on.
func fresh(first, n int) load {
	l := load{name: "fresh", events: make([]event, n)}
	for i := range l.events {
		l.events[i] = event{int64(first + i), 0}
	}
	return l
}

// random has the same events in random order.
func random(l load, seed uint64) load {
	out := load{name: l.name, events: append([]event(nil), l.events...)}
	r := rand.New(rand.NewPCG(seed, 1))
	r.Shuffle(len(out.events), func(i, j int) { out.events[i], out.events[j] = out.events[j], out.events[i] })
	return out
}

// updates has every key of l once more, in random order.
func updates(l load, seed uint64) load {
	out := random(l, seed)
	out.name = "updates"
	for i := range out.events {
		out.events[i].version++
	}
	return out
}

// mixed has as many events as l, every other one a new key, the rest updates of random keys.
func mixed(l load, seed uint64) load {
	out := load{name: "mixed", events: make([]event, len(l.events))}
	again := random(l, seed)
	for i := range out.events {
		if i%2 == 0 {
			out.events[i] = event{int64(len(l.events) + i/2), 0}
		} else {
			out.events[i] = event{again.events[i].id, 2}
		}
	}
	return out
}
