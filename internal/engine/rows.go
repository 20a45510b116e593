package engine

import (
	"context"

	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/sink"
)

// rows writes the rows of all tables, the referenced ones first. Where tables refer to each other their
// rounds take turns, and what is deleted in a turn goes first, from the referring tables on.
func (t *transaction) rows(ctx context.Context) error {
	order, most := t.m.Order, 0
	turns := make([]int, len(t.m.tables))
	for _, i := range order {
		if err := t.stage(t.m.tables[i], t.w.tables[i]); err != nil {
			return err
		}
		turns[i] = t.turns(i)
		most = max(most, turns[i])
	}
	if !t.m.References {
		for _, i := range order {
			for n := range turns[i] {
				t.deletes(i, n)
				if err := t.upserts(ctx, i, n); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for n := range most {
		for k := len(order) - 1; k >= 0; k-- {
			if n < turns[order[k]] {
				t.deletes(order[k], n)
			}
		}
		for _, i := range order {
			if n < turns[i] {
				if err := t.upserts(ctx, i, n); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// stage does what a stage asks for beside its rows.
func (t *transaction) stage(tb *table, events []bind.Event) error {
	if len(events) == 0 {
		return nil
	}
	if tb.Bulk() {
		if err := tb.uniform(events); err != nil {
			return err
		}
	}
	if tb.Stage != nil && tb.Stage.Filled != "" {
		t.w.noteFilled(tb, events)
	}
	return nil
}

// turns makes the rounds of a table's events, and says how many there are.
func (t *transaction) turns(i int) int {
	tb, w := t.m.tables[i], t.w
	for len(w.rounds) < len(t.m.tables) {
		w.rounds = append(w.rounds, nil)
	}
	w.rounds[i] = w.rounds[i][:0]
	switch {
	case len(w.tables[i]) == 0:
		return 0
	case !tb.InTurn():
		return 1
	}
	w.rounds[i] = tb.fold(w.tables[i], w.rounds[i])
	return len(w.rounds[i])
}

// deletes applies the tombstones of a turn.
func (t *transaction) deletes(i, n int) {
	if tb := t.m.tables[i]; tb.InTurn() {
		t.w.tombstones(tb, t.w.rounds[i][n])
	}
}

// upserts writes the other events of a turn. Only in the first one are there keys that may be new, or events
// that may lose.
func (t *transaction) upserts(ctx context.Context, i, n int) (err error) {
	tb, w := t.m.tables[i], t.w
	w.winning = false
	events := w.tables[i]
	switch {
	case tb.Strategy == sink.Append:
		if events, err = t.shortcut(ctx, tb, events); err != nil {
			return err
		}
		w.insert(tb, statement.Append, events)
		return nil
	case !tb.InTurn():
		for k := range events {
			w.tombstones(tb, events[k:k+1])
			w.round(tb, events[k:k+1])
			w.children(tb, events[k:k+1])
		}
		return nil
	}
	round := w.rounds[i][n]
	events = round
	if n == 0 {
		if events, err = t.shortcut(ctx, tb, round); err != nil {
			return err
		}
	}
	w.round(tb, events)
	if tb.Bulk() {
		return t.bulkChildren(ctx, tb, round)
	}
	w.children(tb, round)
	return nil
}
