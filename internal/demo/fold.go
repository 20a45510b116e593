package demo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The demo's judge. It works out what the table has to hold from the topic alone, one
// event at a time, in the simplest way there is, and shares no code with what
// it judges: not the sink's fold, nor its decoder, nor the generator.

// row is one order as a table should hold it.
type row struct {
	id, customer    int64
	country, status string
	items           string // JSON in one spelling
	cents           int64
	placed, updated time.Time
	offset          int64 // of the event that won: the guard column
}

// state is what is known of an order: its newest version, also while it is deleted.
type state struct {
	version time.Time
	row     *row // nil: deleted
}

// fold is the state of all orders after the events so far. An order's events
// are all in one partition, so a later one has a higher offset.
type fold struct {
	orders map[int64]*state
	events int64
}

func newFold() *fold { return &fold{orders: map[int64]*state{}} }

// apply takes the next event of a partition.
func (f *fold) apply(key, value []byte, offset int64) error {
	f.events++
	id, err := strconv.ParseInt(string(key), 10, 64)
	if err != nil {
		return fmt.Errorf("read key: %w", err)
	}
	s := f.orders[id]
	if s == nil {
		s = &state{}
		f.orders[id] = s
	}
	if value == nil {
		s.row = nil // the version stays: an event older than it can't bring the order back
		return nil
	}
	r, err := parse(value)
	if err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	if r.id != id {
		return fmt.Errorf("read order: the key is of order %d and the value of order %d", id, r.id)
	}
	if r.updated.Before(s.version) {
		return nil // late
	}
	r.offset = offset
	s.version, s.row = r.updated, r
	return nil
}

// rows returns what the table has to hold.
func (f *fold) rows() map[int64]*row {
	rows := make(map[int64]*row, len(f.orders))
	for id, s := range f.orders {
		if s.row != nil {
			rows[id] = s.row
		}
	}
	return rows
}

func parse(value []byte) (*row, error) {
	var e struct {
		OrderID  int64 `json:"order_id"`
		Customer struct {
			ID      int64
			Country string
		}
		Status    string
		Items     json.RawMessage
		Amount    json.Number
		PlacedAt  time.Time `json:"placed_at"`
		UpdatedAt time.Time `json:"updated_at"`
	}
	if err := json.Unmarshal(value, &e); err != nil {
		return nil, err
	}
	items, err := respell(e.Items)
	if err != nil {
		return nil, err
	}
	amount, err := cents(e.Amount.String())
	if err != nil {
		return nil, err
	}
	return &row{
		id: e.OrderID, customer: e.Customer.ID, country: e.Customer.Country, status: e.Status,
		items: items, cents: amount, placed: e.PlacedAt, updated: e.UpdatedAt,
	}, nil
}

// respell writes JSON with sorted keys and without spaces; its numbers keep their digits.
func respell(doc []byte) (string, error) {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return "", err
	}
	out, err := json.Marshal(v)
	return string(out), err
}

// cents reads an amount with exactly two decimals.
func cents(amount string) (int64, error) {
	units, fraction, _ := strings.Cut(amount, ".")
	if len(fraction) != 2 {
		return 0, errors.New("an amount without two decimals")
	}
	return strconv.ParseInt(units+fraction, 10, 64)
}

// money writes cents with thousands apart: 2,500,315.63.
func money(cents int64) string {
	return fmt.Sprintf("%s.%02d", grouped(cents/100), cents%100)
}

// grouped writes a number, not below 0, with thousands apart.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
