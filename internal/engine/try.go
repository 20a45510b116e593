package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/sink"
)

// write writes the rows of the records and runs the handlers over them. What a record is to blame for
// becomes a dead letter: all it would have written, in every table, or nothing.
func (t *transaction) write(ctx context.Context, records spans) error {
	err := t.tryRoutes(ctx, records)
	if err == nil || !t.arguable(err) {
		return err
	}
	if err := t.rollback(ctx); err != nil {
		return err
	}
	t.most = byStatement
	if err := t.altered(ctx); err != nil {
		return err
	}
	if err := t.shared(ctx, err); err != nil {
		return err
	}
	if pgerr.SQLState(err) == pgerr.ForeignKeyViolation && !t.orphansAreData && !t.m.References {
		return err // the parent is waited for; it can't be one of this batch
	}
	b := &bisection{transaction: t}
	if err := b.split(ctx, records, err); err != nil {
		return err
	}
	return b.verdict()
}

// tryRoutes tries the records by ever safer routes, as long as a COPY is undone.
func (t *transaction) tryRoutes(ctx context.Context, records spans) error {
	err := t.try(ctx, records)
	for refused := (*copyRefused)(nil); errors.As(err, &refused); err = t.try(ctx, records) {
		t.saferThan(refused)
		if err := t.rollback(ctx); err != nil {
			return err
		}
	}
	return err
}

// try writes the records' rows in one piece, between a savepoint and its release.
func (t *transaction) try(ctx context.Context, records spans) error {
	w := t.w
	clear(t.trying)
	w.send = func() error { return t.send(ctx) }
	w.gather(t.m, records)
	// The locks come before the savepoint: they must outlive a rollback to it.
	w.locks(t.m)
	w.exec("savepoint", nil, "savepoint oncesink")
	if t.m.Deferrable {
		w.exec("set constraints", nil, "set constraints all deferred")
	}
	if err := t.rows(ctx); err != nil {
		return err
	}
	if len(t.s.cfg.Handlers) > 0 {
		if err := t.send(ctx); err != nil {
			return err
		}
		if err := t.handle(ctx, records); err != nil {
			return err
		}
	}
	// A deferred constraint would fail at COMMIT, where no record can be found.
	w.exec("check deferred constraints", nil, "set constraints all immediate")
	w.exec("set constraints", nil, "set constraints all deferred")
	w.exec("release savepoint", nil, "release savepoint oncesink")
	t.queueStamp(false)
	if err := t.send(ctx); err != nil {
		return err
	}
	if err := t.sameStamp(t.m.Stamp.Shallow); err != nil {
		return err
	}
	for tb, x := range t.trying {
		t.removed.add(tb, x)
	}
	return nil
}

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
func (t *transaction) stage(tb *table, events []event) error {
	if len(events) == 0 {
		return nil
	}
	if tb.Bulk() {
		if err := tb.uniform(events); err != nil {
			return err
		}
	}
	if tb.Stage != nil && tb.Stage.Seen != "" {
		t.w.seen(tb, events)
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
	w.children(tb, round)
	return nil
}

// saferThan leaves out the route on which a COPY was refused.
func (t *transaction) saferThan(refused *copyRefused) {
	refused.table.learn.failed()
	if t.most == byCopy && pgerr.SQLState(refused) == pgerr.UniqueViolation {
		t.most = byLook
	} else {
		t.most = byStatement
	}
}

// rollback goes back to the savepoint of the last try.
func (t *transaction) rollback(ctx context.Context) error {
	t.w.reset()
	t.w.exec("roll back", nil, "rollback to savepoint oncesink")
	t.w.exec("release savepoint", nil, "release savepoint oncesink")
	return t.send(ctx)
}

// handle runs the handlers over the records that have no fault. A handler gets a
// transaction of its own, nested: whatever it does to it, ours stays open.
func (t *transaction) handle(ctx context.Context, records spans) error {
	var batch []sink.Record
	for _, x := range records {
		for i := x.lo; i < x.hi; i++ {
			if r := &x.part.Records[i]; !r.Control && (x.part.Faulty == nil || !x.part.Faulty[i]) {
				batch = append(batch, *r)
			}
		}
	}
	if len(batch) == 0 {
		return nil
	}
	for i, h := range t.s.cfg.Handlers {
		nested, err := t.tx.Begin(ctx)
		if err != nil {
			return &writeError{doing{verb: "begin handler"}, err}
		}
		if err := h(ctx, nested, batch); err != nil {
			_ = nested.Rollback(ctx)
			return &handlerError{i, err}
		}
		if err := nested.Commit(ctx); err != nil {
			return &handlerError{i, fmt.Errorf("end of its transaction: %w", err)}
		}
	}
	return nil
}

// handlerError is an error of Config.Handlers[index].
type handlerError struct {
	index int
	err   error
}

func (e *handlerError) Error() string {
	return fmt.Sprintf("handler %d: %s", e.index, pgerr.Safe(e.err))
}
func (e *handlerError) Unwrap() error { return e.err }
