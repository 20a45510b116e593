// Package orders makes up the events of an order topic, for the demo and for the
// generator of the compose file: what a shop would send, with everything that makes a
// sink's life hard. Events are repeated, arrive after newer ones, are cancelled by
// tombstones, and come back after that.
//
// The same seed makes the same events, byte for byte: times count from a fixed
// moment, never from the clock.
package orders

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// Kind says what an event is meant to do to a table.
type Kind uint8

// The kinds.
const (
	Placed    Kind = iota // a new order
	Updated               // a higher version of an order
	Repeated              // an event that was sent before, again, byte for byte
	Late                  // an older version that was held up and arrives after a newer one
	Cancelled             // a tombstone
	Reordered             // a higher version after a tombstone: the order is back
	kinds
)

func (k Kind) String() string {
	return [...]string{"placed", "updated", "repeated", "late", "cancelled", "reordered"}[k]
}

// Event is one record of the topic.
type Event struct {
	Kind Kind
	// Key is the order's id.
	Key []byte
	// Value is the order as JSON (see Order); nil is a tombstone.
	Value []byte
}

// Order is what an event's value says.
type Order struct {
	OrderID   int64     `json:"order_id"`
	Customer  Customer  `json:"customer"`
	Status    string    `json:"status"`
	Items     []Item    `json:"items"`
	Amount    Cents     `json:"amount"`
	PlacedAt  time.Time `json:"placed_at"`
	UpdatedAt time.Time `json:"updated_at"` // the version: an order's newest one counts
}

// Customer is who ordered.
type Customer struct {
	ID      int64  `json:"id"`
	Country string `json:"country"`
}

// Item is one line of an order.
type Item struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
	Price    Cents  `json:"price"`
}

// Cents is an amount of money. In JSON it is a number with two decimals.
type Cents int64

// MarshalJSON implements [json.Marshaler].
func (c Cents) MarshalJSON() ([]byte, error) { return []byte(c.String()), nil }

func (c Cents) String() string { return fmt.Sprintf("%d.%02d", c/100, c%100) }

// statuses are an order's stations. The last one ends its story.
var statuses = [...]string{"placed", "paid", "packed", "shipped", "delivered"}

var countries = [...]string{"AT", "BR", "CA", "DE", "ES", "FR", "IN", "JP", "NZ", "US"}

// What a generator remembers is bounded, however long it runs.
const (
	maxOpen      = 2000 // orders that may still change
	maxCancelled = 500  // orders that may come back
)

// began is when the shop opened; every event is tick later than the one before.
var began = time.Date(2026, time.January, 1, 8, 0, 0, 0, time.UTC)

const tick = 200 * time.Millisecond

// Generator makes an endless sequence of events. It is not safe for concurrent use.
type Generator struct {
	rnd       *rand.Rand
	seq       int64 // events made so far
	orders    int64 // ids given so far
	open      []*order
	cancelled []*order
	delayed   []delayed
}

// order is an order with the state that only its shop knows.
type order struct {
	Order
	station int
	last    []byte // its newest value
}

// delayed is an event on a slow way: it arrives when the sequence gets to due.
type delayed struct {
	due int64
	Event
}

// New returns a generator at the beginning of its sequence.
func New(seed uint64) *Generator {
	return &Generator{rnd: rand.New(rand.NewPCG(seed, 0x6f6e636573696e6b))}
}

// Next returns the next event. Its slices are the caller's.
func (g *Generator) Next() Event {
	g.seq++
	if len(g.delayed) > 0 && g.delayed[0].due <= g.seq {
		e := g.delayed[0].Event
		g.delayed = g.delayed[1:]
		return e
	}
	dice := g.rnd.IntN(100)
	switch {
	case len(g.open) >= maxOpen:
		return g.update()
	case len(g.open) < 10 || dice < 22: // about as many as are delivered or cancelled
		return g.place()
	case dice < 74:
		return g.update()
	case dice < 83:
		return g.repeat()
	case dice < 91:
		return g.overtake()
	case dice < 97 || len(g.cancelled) == 0:
		return g.cancel()
	default:
		return g.reorder()
	}
}

// now is the time of the event that is being made.
func (g *Generator) now() time.Time { return began.Add(time.Duration(g.seq) * tick) }

func (g *Generator) place() Event {
	g.orders++
	o := &order{Order: Order{
		OrderID: g.orders, PlacedAt: g.now(), Status: statuses[0],
		// Few customers order much.
		Customer: Customer{ID: 1 + int64(g.rnd.IntN(1+g.rnd.IntN(5000)))},
	}}
	o.Customer.Country = countries[o.Customer.ID%int64(len(countries))]
	for range 1 + g.rnd.IntN(4) {
		g.addItem(o)
	}
	g.open = append(g.open, o)
	return g.event(Placed, o)
}

func (g *Generator) addItem(o *order) {
	i := Item{SKU: fmt.Sprintf("SKU-%04d", g.rnd.IntN(2000)), Quantity: 1 + g.rnd.IntN(3), Price: Cents(99 + g.rnd.IntN(20_000))}
	o.Items = append(o.Items, i)
	o.Amount += Cents(i.Quantity) * i.Price
}

func (g *Generator) update() Event {
	at, o := g.pick(g.open)
	g.change(o)
	if o.station == len(statuses)-1 {
		remove(&g.open, at)
	}
	return g.event(Updated, o)
}

// change moves an order on, or adds an item as long as nobody has paid.
func (g *Generator) change(o *order) {
	if o.station == 0 && g.rnd.IntN(4) == 0 {
		g.addItem(o)
		return
	}
	o.station++
	o.Status = statuses[o.station]
}

// repeat sends an order's newest event again, as a producer that missed an answer does.
func (g *Generator) repeat() Event {
	_, o := g.pick(g.open)
	return Event{Repeated, key(o), append([]byte(nil), o.last...)}
}

// overtake makes two versions of an order and sends the newer one first.
func (g *Generator) overtake() Event {
	at, o := g.pick(g.open)
	if o.station+2 >= len(statuses) {
		return g.update()
	}
	o.station++
	o.Status = statuses[o.station]
	older := g.eventAt(g.now().Add(-tick/2), Late, o) // newer than all that was sent so far
	o.station++
	o.Status = statuses[o.station]
	newer := g.event(Updated, o)
	if o.station == len(statuses)-1 {
		remove(&g.open, at)
	}
	g.delay(older)
	return newer
}

// delay lets an event arrive up to a hundred events later, still in the order in
// which delayed events were sent.
func (g *Generator) delay(e Event) {
	due := g.seq + 1 + int64(g.rnd.IntN(100))
	if n := len(g.delayed); n > 0 {
		due = max(due, g.delayed[n-1].due+1)
	}
	g.delayed = append(g.delayed, delayed{due, e})
}

func (g *Generator) cancel() Event {
	at, o := g.pick(g.open)
	remove(&g.open, at)
	if len(g.cancelled) == maxCancelled {
		remove(&g.cancelled, g.rnd.IntN(maxCancelled))
	}
	g.cancelled = append(g.cancelled, o)
	return Event{Cancelled, key(o), nil}
}

// reorder brings a cancelled order back, from its first station.
func (g *Generator) reorder() Event {
	at, o := g.pick(g.cancelled)
	remove(&g.cancelled, at)
	o.station, o.Status = 0, statuses[0]
	g.open = append(g.open, o)
	return g.event(Reordered, o)
}

// event is the order as it is now, with a version higher than all before.
func (g *Generator) event(k Kind, o *order) Event { return g.eventAt(g.now(), k, o) }

func (g *Generator) eventAt(version time.Time, k Kind, o *order) Event {
	o.UpdatedAt = version
	value, err := json.Marshal(o.Order)
	if err != nil {
		panic(err) // an Order holds nothing that JSON can't
	}
	o.last = value
	return Event{k, key(o), append([]byte(nil), value...)}
}

func key(o *order) []byte { return strconv.AppendInt(nil, o.OrderID, 10) }

func (g *Generator) pick(from []*order) (int, *order) {
	at := g.rnd.IntN(len(from))
	return at, from[at]
}

// remove takes one out; the order of the others does not matter.
func remove(from *[]*order, at int) {
	s := *from
	s[at] = s[len(s)-1]
	s[len(s)-1] = nil
	*from = s[:len(s)-1]
}
