package sink

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// write writes the rows of the records and runs the handlers over them. If a
// record is to blame for an error, it is found by halving, each half folded anew
// (rule 17: folding a good and a bad event of one key would lose the good one),
// and becomes a dead letter: all it would have written, in every table, or
// nothing.
func (t *transaction) write(ctx context.Context, records spans) error {
	err := t.try(ctx, records)
	for refused := (*copyRefused)(nil); errors.As(err, &refused); err = t.try(ctx, records) {
		t.saferThan(refused)
		if err := t.rollback(ctx); err != nil {
			return err
		}
	}
	if err == nil || !t.blames(err) {
		return err
	}
	t.most = byStatement
	if err := t.rollback(ctx); err != nil {
		return err
	}
	if records.records() == 1 {
		t.dead = append(t.dead, refused(t.s, records[0].part, records[0].lo, err))
		return nil
	}
	left, right := records.halve()
	if err := t.write(ctx, left); err != nil {
		return err
	}
	return t.write(ctx, right)
}

// blames reports whether a record is to blame for the error.
func (t *transaction) blames(err error) bool {
	var advance *advanceError
	if t.conn.Conn().IsClosed() || Classify(err) != Data || errors.As(err, &advance) {
		return false
	}
	return SQLState(err) != foreignKeyViolation || t.orphansAreData
}

const foreignKeyViolation = "23503"

// try writes the records' rows in one piece, between a savepoint and its release.
func (t *transaction) try(ctx context.Context, records spans) error {
	w := t.w
	clear(t.trying)
	w.send = func() error { return t.send(ctx) }
	w.gather(t.s, records)
	// The locks come before the savepoint: they must outlive a rollback to it.
	w.locks(t.s)
	w.exec("savepoint", nil, "savepoint oncesink")
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
	if err := t.send(ctx); err != nil {
		return err
	}
	for tb, x := range t.trying {
		t.removed.add(tb, x)
	}
	return nil
}

// rows writes the rows of all tables, in the order of the configuration: a parent
// stands before its children there.
func (t *transaction) rows(ctx context.Context) (err error) {
	w := t.w
	for i, tb := range t.s.tables {
		events := w.tables[i]
		if tb.bulk() {
			if err := tb.uniform(events); err != nil {
				return err
			}
		}
		if tb.cfg.StageSeen != "" && len(events) > 0 {
			w.seen(tb, events)
		}
		switch {
		case len(events) == 0:
		case tb.strategy == Append:
			if events, err = t.shortcut(ctx, tb, events); err != nil {
				return err
			}
			w.insert(tb, tb.appendSQL, events)
		case len(tb.others) > 0:
			for k := range events {
				w.round(tb, events[k:k+1])
				w.children(tb, events[k:k+1])
			}
		default:
			w.rounds = tb.fold(events, w.rounds[:0])
			for k, round := range w.rounds {
				w.winning, events = false, round
				if k == 0 { // the keys of the other rounds exist by then
					if events, err = t.shortcut(ctx, tb, round); err != nil {
						return err
					}
				}
				w.round(tb, events)
				w.children(tb, round)
			}
		}
	}
	return nil
}

// saferThan leaves out the route on which a COPY was refused.
func (t *transaction) saferThan(refused *copyRefused) {
	refused.table.learn.failed()
	if t.most == byCopy && SQLState(refused) == uniqueViolation {
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
	var batch []Record
	for _, x := range records {
		for i := x.lo; i < x.hi; i++ {
			if r := &x.part.records[i]; !r.Control && (x.part.faulty == nil || !x.part.faulty[i]) {
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

func (e *handlerError) Error() string { return fmt.Sprintf("handler %d: %s", e.index, safe(e.err)) }
func (e *handlerError) Unwrap() error { return e.err }

// refused is the dead letter of a record that the tables or a handler refuse.
func refused(s *Sink, p *Part, record int32, err error) deadLetter {
	d := deadLetter{part: p, record: record, code: SQLState(err)}
	var w *writeError
	if errors.As(err, &w) && w.doing.table != nil {
		d.table = w.doing.table.title()
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		d.message, d.column, d.constraint = pg.Message, pg.ColumnName, pg.ConstraintName
		if pg.TableName != "" {
			d.table = pg.SchemaName + "." + pg.TableName
		}
	} else {
		d.message = err.Error()
	}
	return d
}
