package engine

import (
	"context"

	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/tables"
)

// A table of children holds the elements of an array of its parent's events. The last event that has the array, by
// the order of the guard, brings the row's whole set of children: the earlier ones are
// deleted, the new ones inserted. An event without the array leaves them as they are (rule 16), one
// with an empty array, or null, leaves none, and a tombstone takes them along.
//
// Each child carries the place of the event that brought it, and the set memory has the place of the event
// whose set it is. So an event that is seen again finds what is there of its set, and what is missing.

// children writes the children of a round's events, after their parents: of all that have the array, whatever
// became of them there.
func (w *writer) children(t *table, events []bind.Event) {
	for bit, c := range t.children {
		var parents, rows []bind.Event
		for i := range events {
			e := &events[i]
			own := &e.Part.Rows[e.Row]
			if own.Tombstone || own.Arrays&(1<<bit) == 0 {
				continue
			}
			parents = append(parents, *e)
			rows = appendChildren(rows, e, c)
		}
		if len(parents) == 0 {
			continue
		}
		claim := func(t *tables.Table, s statement.Shape) string { return statement.ClaimSet(t, c.Table, s) }
		w.run(doing{verb: "write", table: t, beside: true}, claim, statement.LookShape(t.Table), parents)
		w.statement(t, func(t *tables.Table, s statement.Shape) string { return statement.DeleteStale(t, c.Table, s) }, statement.Shape{Columns: t.Key}, parents)
		if c.Stage != nil && c.Stage.Filled != "" {
			w.noteFilled(c, rows)
		}
		w.insert(c, statement.InsertChildren, rows)
	}
}

// appendChildren appends an event's rows for a table of its children.
func appendChildren(rows []bind.Event, e *bind.Event, c *table) []bind.Event {
	own := &e.Part.Rows[e.Row]
	for k := int(e.Row) + 1; k < len(e.Part.Rows) && e.Part.Rows[k].Record == own.Record && e.Part.Rows[k].Table > own.Table; k++ {
		if e.Part.Rows[k].Table == c.Number {
			rows = append(rows, bind.Event{Part: e.Part, Row: int32(k)})
		}
	}
	return rows
}

// bulkChildren writes the children of a round's events into stages without an index, each event's at its own place. Every event has the
// arrays there, so whose children count is found with whose row does.
func (t *transaction) bulkChildren(ctx context.Context, tb *table, events []bind.Event) error {
	w := t.w
	for _, c := range tb.children {
		rows := w.fresh[:0]
		for i := range events {
			rows = appendChildren(rows, &events[i], c)
		}
		w.fresh = rows
		if len(rows) == 0 {
			continue
		}
		w.noteFilled(c, rows)
		w.sets.Split(c.Table, rows)
		sets := w.sets.Names()
		if min(c.route(len(rows)), t.most) < byCopy || len(sets) > maxSets {
			w.insert(c, statement.Append, rows)
			continue
		}
		for _, set := range sets {
			if err := t.copyIn(ctx, c, statement.ShapeOf(c.Table, set), w.sets.Of(set)); err != nil {
				return err
			}
		}
	}
	return nil
}
