package engine

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/oncesink/oncesink/internal/fields"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/sink"
)

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
		compute(c.tableDecoder.Table, p.cells[first:])
		f := p.addRow(c.tableDecoder.Table, row{text: parent.text, record: parent.record, table: c.index, first: int32(first)}, sc.d.limit)
		if f != nil {
			f.table = c.Title()
			if f.code == pgtext.NoValue {
				f.message = fmt.Sprintf("element %d of %s %s", n, c.Config.Each, strings.TrimPrefix(f.message, "the event "))
			}
			return f
		}
	}
	return p.distinct(c.tableDecoder.Table, len(p.rows)-n, len(p.rows))
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
