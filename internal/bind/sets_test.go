package bind

import (
	"fmt"
	"slices"
	"testing"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// events makes an event of each text: a mark for each column, or - for a tombstone.
func events(texts ...string) []Event {
	p := &decode.Part{}
	out := make([]Event, len(texts))
	for i, text := range texts {
		p.Rows = append(p.Rows, decode.Row{First: int32(len(p.Cells)), Tombstone: text == "-"})
		for _, mark := range text {
			cell := decode.Cell{Len: decode.CellNull}
			if mark == '0' {
				cell.Len = decode.CellAbsent
			}
			p.Cells = append(p.Cells, cell)
		}
		out[i] = Event{Part: p, Row: int32(i), Seq: int32(i)}
	}
	return out
}

// String are the sets, the tombstones last, each with its events by number.
func (s *Sets) String() (text string) {
	for _, name := range append(s.Names(), Tombstones) {
		text += name
		for _, e := range s.Of(name) {
			text += fmt.Sprint(" ", e.Seq)
		}
		text += ", "
	}
	return text
}

// TestSets: the fullest set first, the events of each in their order; and nothing is left of what was split before.
func TestSets(t *testing.T) {
	upsert := &tables.Table{Columns: make([]tables.Column, 2), Strategy: sink.Upsert}
	var s Sets
	for _, tt := range []struct {
		events []string
		want   string
	}{
		{nil, "-, "},
		{[]string{"10", "11", "-", "01", "10", "11", "-"}, "11 1 5, 10 0 4, 01 3, - 2 6, "},
		{[]string{"01"}, "01 0, -, "},
		{[]string{"-"}, "- 0, "},
	} {
		s.Split(upsert, events(tt.events...))
		if got := s.String(); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.events, got, tt.want)
		}
	}
	// To another strategy a record without a value is an event like others, whose cells say what it has.
	s.Split(&tables.Table{Strategy: sink.Append}, events("-", "-"))
	if got := s.String(); got != " 0 1, -, " {
		t.Errorf("tombstones of an append table: got %q", got)
	}
}

// TestSetsBuffers: they are kept, but for the events, and not without end.
func TestSetsBuffers(t *testing.T) {
	table := &tables.Table{Columns: make([]tables.Column, 8), Strategy: sink.Upsert}
	var s Sets
	some := slices.Repeat(events("11111111", "-", "10000000"), 100)
	s.Split(table, some)
	if n := testing.AllocsPerRun(100, func() { s.Split(table, some) }); n > 1 {
		t.Errorf("splitting again allocates %v times, want at most once", n)
	}
	s.Forget()
	if names := s.Names(); names != nil {
		t.Errorf("sets %q after Forget", names)
	}
	for _, group := range s.groups {
		if slices.ContainsFunc((*group)[:cap(*group)], func(e Event) bool { return e.Part != nil }) {
			t.Fatal("a part is held after Forget")
		}
	}
	for i := range 256 {
		s.Split(table, events(fmt.Sprintf("%08b", i)))
	}
	if n := len(s.groups); n > maxGroups+1 {
		t.Errorf("%d sets are kept, want at most %d", n, maxGroups+1)
	}
}
