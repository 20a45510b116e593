package engine

import (
	"context"
	"fmt"

	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// shortcut writes what it can of a round by COPY, and returns the events that are
// left to the statements, in their order.
func (t *transaction) shortcut(ctx context.Context, tb *table, events []bind.Event) ([]bind.Event, error) {
	t.w.winning = false
	way := min(tb.route(len(events)), t.most)
	if way == byStatement {
		t.trying.of(tb).upserted += len(events)
		t.w.winning = len(events) >= leastRows && tb.learn.forced == nil && t.most == byCopy && tb.CopyRefused == ""
		return events, nil
	}
	answers, err := t.look(ctx, tb, way, events)
	if err != nil {
		return nil, err
	}
	w := t.w
	rest, fresh := w.rest[:0], w.fresh[:0]
	asked, absent, winners := 0, 0, 0
	for i := range events {
		if events[i].Deletes(tb.Table) {
			rest = append(rest, events[i])
			continue
		}
		says := byte(statement.SaysAbsent)
		if answers != nil {
			says = answers[asked]
		}
		asked++
		switch {
		case says == statement.SaysAbsent && whole(tb.Table, &events[i]):
			absent++
			fresh = append(fresh, events[i])
		case says == statement.SaysAbsent:
			absent++
			rest = append(rest, events[i])
		case says == statement.SaysWins:
			winners++
			rest = append(rest, events[i])
		}
	}
	w.rest, w.fresh = rest, fresh
	if way == byLook && asked > 0 {
		e := t.trying.of(tb)
		e.absent, e.winners, e.asked = e.absent+absent, e.winners+winners, e.asked+asked
	}
	if len(fresh) == 0 {
		w.winning = way == byLook
		return rest, nil
	}
	w.sets.Split(tb.Table, fresh)
	sets := w.sets.Names()
	if len(sets) > maxSets || len(fresh) < leastRows && len(rest) > 0 && tb.learn.forced == nil {
		return events, nil // not worth a COPY
	}
	w.winning = way == byLook
	for _, set := range sets {
		if err := t.copyIn(ctx, tb, statement.ShapeOf(tb.Table, set), w.sets.Of(set)); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// look asks what the route wants to know of the events, tombstones of an upsert table left
// out. Nil: nothing, every key is taken for new.
func (t *transaction) look(ctx context.Context, tb *table, way route, events []bind.Event) ([]byte, error) {
	w := t.w
	form, s := statement.Look, statement.LookShape(tb.Table)
	if way == byCopy {
		if tb.Memory == "" {
			return nil, nil
		}
		form, s = statement.LookIntoMemory, statement.Shape{Columns: tb.Key}
	}
	asked := w.asked[:0]
	for i := range events {
		if !events[i].Deletes(tb.Table) {
			asked = append(asked, events[i])
		}
	}
	w.asked = asked
	w.answers = w.answers[:0]
	w.ask(tb, form, s, asked)
	if err := t.send(ctx); err != nil {
		return nil, err
	}
	if len(w.answers) != len(asked) {
		return nil, fmt.Errorf("look at %s: %d answers for %d events", tb.Title(), len(w.answers), len(asked))
	}
	return w.answers, nil
}

// route is the way for a round of n events. A table that deadlocked keeps to
// statements, which lock in one order.
func (t *table) route(n int) route {
	if t.CopyRefused != "" || t.learn.ordered.Load() || t.Strategy == sink.Append && !t.Guarded || t.Bulk() {
		if t.CopyRefused == "" && (t.Strategy == sink.Append || t.Bulk()) && n >= leastRows {
			return byCopy // no key, no conflict
		}
		return byStatement
	}
	return t.learn.next(n)
}

// whole reports whether the event alone can make a row.
func whole(t *tables.Table, e *bind.Event) bool {
	if e.Withheld() {
		return false
	}
	for _, i := range t.Required {
		if !e.Cell(i).Given() {
			return false
		}
	}
	return true
}
