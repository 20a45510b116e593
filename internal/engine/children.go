package engine

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/oncesink/oncesink/internal/fields"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/target"
	"github.com/oncesink/oncesink/sink"
)

// A table of children holds the elements of an array of its parent's events. The last event that has the array, by
// the order of the guard, brings the row's whole set of children: the earlier ones are
// deleted, the new ones inserted. An event without the array leaves them as they are (rule 16), one
// with an empty array, or null, leaves none, and a tombstone takes them along.
//
// Each child carries the place of the event that brought it, and the set memory has the place of the event
// whose set it is. So an event that is seen again finds what is there of its set, and what is missing.

// childDecoder is a table of children with the places of its columns' paths.
type childDecoder struct {
	tableDecoder
	set *fields.Set // of paths into an element
	at  int32       // the array's place among the paths into the value
	bit uint16
}

// rows appends what the elements of an event's array become, after the row of their parent.
func (c *childDecoder) rows(p *Part, rec *sink.Record, sc *scratch, parent *row) *fault {
	array := sc.values[c.at]
	switch array.Kind {
	case fields.Absent:
		return nil
	case fields.Null:
		parent.arrays |= c.bit
		return nil
	case fields.Array:
		parent.arrays |= c.bit
	default:
		return &fault{code: "22023", message: fmt.Sprintf("the field %s is no array", c.Config.Each), table: c.Title()}
	}
	values := make([]fields.Value, c.set.Len())
	n := 0
	for element := range fields.Elements(array.Raw) {
		n++
		if err := c.set.Extract(element.Raw, values); err != nil {
			r := pgtext.RefusalOf(err)
			return &fault{code: r.Code, message: r.Message, table: c.Title()}
		}
		first := len(p.cells)
		for i := range c.Columns {
			col := &c.Columns[i]
			if n > 1 && col.Source.OfEvent() && col.Computed == nil && !slices.Contains(c.ParentAt, i) {
				p.cells = append(p.cells, p.cells[first-len(c.Columns)+i]) // all elements share the event's text
				continue
			}
			x, r := c.cell(p, rec, i, n, element, values, sc, parent)
			if r != nil {
				return &fault{column: col.Name, code: r.Code, message: fmt.Sprintf("element %d of %s: %s", n, c.Config.Each, r.Message), table: c.Title()}
			}
			if p.recordBytes() > sc.d.limit {
				f := tooLarge(sc.d.limit)
				f.table = c.Title()
				return f
			}
			p.cells = append(p.cells, x)
		}
		for _, k := range c.Key {
			if p.cells[first+k].len < 0 {
				return &fault{column: c.Columns[k].Name, code: pgtext.NoValue, message: fmt.Sprintf("element %d of %s has no value for this column of the key", n, c.Config.Each), table: c.Title()}
			}
		}
		compute(c.tableDecoder.Table, p.cells[first:])
		p.rows = append(p.rows, row{text: parent.text, record: parent.record, table: c.index, first: int32(first)})
	}
	return nil
}

func (c *childDecoder) cell(p *Part, rec *sink.Record, i, n int, element fields.Value, values []fields.Value, sc *scratch, parent *row) (cell, *pgtext.Refusal) {
	col := &c.Columns[i]
	if k := slices.Index(c.ParentAt, i); k >= 0 {
		return p.cells[int(parent.first)+c.Parent.Key[k]], nil
	}
	switch at := c.columnAt[i]; col.Source.Meta {
	case source.Field:
		if col.Computed != nil {
			return cell{}, nil
		}
		return readValue(col, p, values[at])
	case source.Event:
		return readValue(col, p, sc.values[at])
	case source.Element:
		return readValue(col, p, element)
	case source.Index:
		start := len(p.text)
		p.text = strconv.AppendInt(p.text, int64(n), 10)
		return p.cellFrom(start), col.CheckText(p.text[start:])
	default:
		return readCell(col, p, rec, at, sc)
	}
}

// twins finds children of one event that have the same key, while a part is sealed.
type twins struct {
	record int32
	table  int32
	seen   map[string]bool
}

// met reports whether the row's key was met before in its event.
func (w *twins) met(r *row, key []byte) bool {
	if w.seen == nil || w.record != r.record || w.table != r.table {
		w.record, w.table, w.seen = r.record, r.table, map[string]bool{}
	}
	if w.seen[string(key)] {
		return true
	}
	w.seen[string(key)] = true
	return false
}

// children writes the children of a round's events, after their parents: of all that have the array, whatever
// became of them there.
func (w *writer) children(t *table, events []event) {
	for bit, c := range t.children {
		var parents, rows []event
		for i := range events {
			e := &events[i]
			own := &e.part.rows[e.row]
			if own.tombstone || own.arrays&(1<<bit) == 0 {
				continue
			}
			parents = append(parents, *e)
			for k := int(e.row) + 1; k < len(e.part.rows) && e.part.rows[k].record == own.record && e.part.rows[k].table > own.table; k++ {
				if e.part.rows[k].table == c.Place {
					rows = append(rows, event{part: e.part, row: int32(k)})
				}
			}
		}
		if len(parents) == 0 {
			continue
		}
		w.statement(t, func(t *target.Table, s statement.Shape) string { return statement.ClaimSet(t, c.Table, s) }, statement.LookShape(t.Table), parents)
		w.statement(t, func(t *target.Table, s statement.Shape) string { return statement.DeleteStale(t, c.Table, s) }, statement.Shape{Columns: t.Key}, parents)
		if c.Stage != nil && c.Stage.Seen != "" {
			w.seen(c, rows)
		}
		w.insert(c, statement.InsertChildren, rows)
	}
}
