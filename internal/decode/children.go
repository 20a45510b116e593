package decode

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/oncesink/oncesink/internal/event"
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
func (c *childDecoder) rows(p *Part, rec *sink.Record, sc *scratch, parent *Row) *Fault {
	array := sc.values[c.at]
	switch array.Kind {
	case event.Absent, event.Unavailable: // the children stay as they are
		return nil
	case event.Null:
		parent.Arrays |= c.bit
		return nil
	case event.Array:
		parent.Arrays |= c.bit
	default:
		return &Fault{Code: "22023", Message: fmt.Sprintf("the field %s is no array", c.Config.Each), Table: c.Title(), Plain: true}
	}
	values := make([]event.Value, c.set.Len())
	n := 0
	for element := range fields.Elements(array.Raw) {
		n++
		if err := c.set.Read(element.Raw, nil, values, nil); err != nil {
			r := pgtext.RefusalOf(err)
			f := faultOf("", r)
			f.Table = c.Title()
			return f
		}
		first := len(p.Cells)
		for i := range c.Columns {
			col := &c.Columns[i]
			if n > 1 && col.Source.OfEvent() && col.Computed == nil && !slices.Contains(c.ParentAt, i) {
				p.Cells = append(p.Cells, p.Cells[first-len(c.Columns)+i]) // all elements share the event's text
				continue
			}
			x, r := c.cell(p, rec, i, n, &element, values, sc, parent)
			if x.Len == CellUnavailable {
				x, r = c.withheld(i)
			} else if x.Len < 0 && r == nil {
				x = p.instead(col, x)
			}
			if r != nil {
				return &Fault{Column: col.Name, Code: r.Code, Message: fmt.Sprintf("element %d of %s: %s", n, c.Config.Each, r.Message), Table: c.Title(), Plain: r.Plain}
			}
			if p.recordBytes() > sc.d.Limit {
				f := tooLarge(sc.d.Limit)
				f.Table = c.Title()
				return f
			}
			p.Cells = append(p.Cells, x)
		}
		Compute(c.tableDecoder.Table, p.Cells[first:])
		f := p.AddRow(c.tableDecoder.Table, Row{text: parent.text, Record: parent.Record, Table: c.index, First: int32(first)}, sc.d.Limit)
		if f != nil {
			f.Table = c.Title()
			if f.Code == pgtext.NoValue {
				f.Message = fmt.Sprintf("element %d of %s %s", n, c.Config.Each, strings.TrimPrefix(f.Message, "the event "))
			}
			return f
		}
	}
	return p.distinct(c.tableDecoder.Table, len(p.Rows)-n, len(p.Rows))
}

func (c *childDecoder) cell(p *Part, rec *sink.Record, i, n int, element *event.Value, values []event.Value, sc *scratch, parent *Row) (Cell, *pgtext.Refusal) {
	col := &c.Columns[i]
	if k := slices.Index(c.ParentAt, i); k >= 0 {
		return p.Cells[int(parent.First)+c.Parent.Key[k]], nil
	}
	switch at := c.columnAt[i]; col.Source.Meta {
	case source.Field:
		if col.Computed != nil {
			return Cell{}, nil
		}
		return readValue(col, p, &values[at])
	case source.Event:
		return readValue(col, p, &sc.values[at])
	case source.Element:
		return readValue(col, p, element)
	case source.Index:
		start := len(p.Text)
		p.Text = strconv.AppendInt(p.Text, int64(n), 10)
		return p.cellFrom(start), col.CheckText(p.Text[start:])
	default:
		return readCell(col, p, rec, at, sc)
	}
}
