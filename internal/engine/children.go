package engine

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/oncesink/oncesink/internal/catalog"
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

// maxChildren is how many tables of children a parent may have: a bit each in row.arrays.
const maxChildren = 16

// checkChildren checks what an entry of children needs, without the catalog.
func checkChildren(cfg sink.TableConfig, ps *problems) {
	in := "table " + cfg.Name
	if cfg.Strategy != sink.Children {
		if cfg.Parent != "" || cfg.Each != "" || len(cfg.ParentKey) > 0 {
			ps.add(in+" has parent, each or parent_key", "they are for `strategy: children`")
		}
		return
	}
	switch {
	case cfg.Parent == "" || cfg.Each == "":
		ps.add(in+" holds children, and has no parent or no array", "name the parent's table as `parent:` and the path of the array as `each:`")
	case source.CheckPath(cfg.Each) != nil:
		ps.add(fmt.Sprintf("%s: each %q is no path", in, cfg.Each), "write a path of fields such as items")
	}
	if len(cfg.Key) == 0 {
		ps.add(in+" has no key", "name the columns that tell one child from another: the parent's key and more, such as [order_id, line]")
	}
	if cfg.Version != "" || len(cfg.RecordKey) > 0 || cfg.Guard == "none" {
		ps.add(in+" holds children, and has a version, record_key or guard", "the parent's event decides: leave them out")
	}
}

// adopt makes the table one of the parent's children.
func adoptChildren(t *target.Table, parent *target.Table, r *catalog.Relation, ps *problems) {
	in := "table " + t.Title()
	switch {
	case parent == nil:
		ps.add(fmt.Sprintf("%s: there is no table %q before it", in, t.Config.Parent), "list the parent first: its rows are written before its children")
		return
	case parent.Strategy != sink.Upsert || !parent.Guarded || parent.Bulk():
		ps.add(fmt.Sprintf("%s: its parent %s is not an upsert with a guard", in, parent.Title()), "only the guard tells whether the parent's event won")
		return
	case len(parent.Children) == maxChildren:
		ps.add(in+" is one table of children too many", fmt.Sprintf("a parent has at most %d", maxChildren))
		return
	case len(t.Others) > 0:
		ps.add(fmt.Sprintf("%s has %s besides the key", in, strings.Join(t.Others, " and ")), "children of different parents would stand in each other's way: leave it out")
	}
	t.Parent, t.Topics = parent, parent.Topics
	for _, k := range parent.Key {
		name := parent.Columns[k].Name
		for own, theirs := range t.Config.ParentKey {
			if theirs == name {
				name = own
			}
		}
		i := t.Index(name)
		switch {
		case i < 0 || !slices.Contains(t.Key, i):
			ps.add(fmt.Sprintf("%s has no key column for %s of %s", in, parent.Columns[k].Name, parent.Title()),
				"its key begins with the parent's; say under `parent_key` which column it is, if it has another name")
		case t.Columns[i].Declared != parent.Columns[k].Declared:
			ps.add(fmt.Sprintf("%s: column %s has type %s, and %s of %s has type %s", in, name, t.Columns[i].Declared, parent.Columns[k].Name, parent.Title(), parent.Columns[k].Declared), "give them one type")
		case !only(t.Config.Columns[name], sink.ColumnConfig{}):
			ps.add(fmt.Sprintf("%s: column %s is the parent's key and is mapped as well", in, name), "leave it out of `columns:`")
		}
		t.ParentAt = append(t.ParentAt, i)
	}
	for own, theirs := range t.Config.ParentKey {
		if i := parent.Index(theirs); r.Column(own) == nil || i < 0 || !parent.IsKey(i) {
			ps.add(fmt.Sprintf("%s: parent_key %s: %s", in, own, theirs), "it maps a column of the children to a key column of the parent")
		}
	}
	m := setMemoryOf(t)
	t.SetsTable = m.quoted()
	parent.Children = append(parent.Children, t)
}

func setMemoryOf(t *target.Table) memory {
	return setMemory(t.Schema, t.Name, &t.Config, t.Parent.Schema, t.Parent.Name, &t.Parent.Config)
}

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
