package engine

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/offsets"
)

// queueFirst queues the first of the statements that are sent.
func (t *transaction) queueFirst() error {
	t.w.doing = append(t.w.doing, doing{verb: advancing})
	if t.again != nil {
		return t.s.ledger.QueueHold(t.conn.Conn(), t.w.batch, t.records[0].part.Claim)
	}
	return t.s.ledger.QueueAdvance(t.conn.Conn(), t.w.batch, t.steps)
}

const advancing = "advance positions"

// ledgerError is an error of the ledger: no record is to blame for it.
type ledgerError struct {
	verb string
	err  error
}

func (e *ledgerError) Error() string { return e.verb + ": " + pgerr.Safe(e.err) }
func (e *ledgerError) Unwrap() error { return e.err }

// watch returns a context that ends when the server gives no sign of life for longer than
// a statement may take; alive notes one.
func (t *transaction) watch(ctx context.Context) (watched context.Context, alive, stop func()) {
	watched, cancel := context.WithCancel(ctx)
	limit := t.s.cfg.StatementTimeout + t.s.slack
	watchdog := time.AfterFunc(limit, cancel)
	return watched, func() { watchdog.Reset(limit) }, func() {
		watchdog.Stop()
		cancel()
	}
}

// send executes the batch and returns the error of the first statement that
// failed. A server that answers nothing for too long counts as gone.
func (t *transaction) send(ctx context.Context) error {
	w := t.w
	if len(w.doing) == 0 || w.err != nil {
		return w.err
	}
	ctx, alive, stop := t.watch(ctx)
	defer stop()
	results := t.conn.Conn().PgConn().ExecBatch(ctx, w.batch)
	done := 0
	for results.NextResult() {
		if t.result(results.ResultReader(), w.doing[done]) != nil {
			break
		}
		done++
		alive()
	}
	if err := results.Close(); err != nil {
		d := w.doing[min(done, len(w.doing)-1)]
		switch d.verb {
		case advancing:
			return &ledgerError{d.verb, offsets.AdvanceError(err)}
		case counting:
			return &ledgerError{d.verb, offsets.LettersError(err)}
		}
		d.distributed(err)
		return &writeError{d, err}
	}
	w.reset()
	return nil
}

// distributed gives an error of a distributed table what Citus leaves out.
func (d *doing) distributed(err error) {
	if d.table != nil && d.table.Distributed {
		pgerr.OfShard(err, d.table.Schema, d.table.Name)
	}
}

// result reads what a statement has done to its table, and what it answers.
func (t *transaction) result(rows *pgconn.ResultReader, d doing) error {
	var x removed
	for (d.asks || d.gone > 0) && rows.NextRow() {
		if d.asks {
			t.w.answers = append(t.w.answers, rows.Values()[0]...)
		} else {
			x = removedBy(rows.Values())
		}
	}
	tag, err := rows.Close()
	switch {
	case err == nil && d.resolves:
		t.resolved += int(tag.RowsAffected())
	case err != nil || d.table == nil:
	case tag.Insert():
		t.trying.of(d.table).changed += int(tag.RowsAffected())
	case d.gone > 0 && tag.Delete():
		x = removed{int64(d.gone), int64(d.gone) - tag.RowsAffected()}
		fallthrough
	case d.gone > 0:
		e := t.trying.of(d.table)
		e.changed += int(x.tombstones)
		e.removed = e.removed.plus(x)
	}
	if err == nil && d.table != nil && !tag.Select() {
		e := t.trying.of(d.table)
		e.rows += int(tag.RowsAffected())
		if !d.beside && (tag.Insert() || tag.Update()) {
			e.upserts += int(tag.RowsAffected())
		}
	}
	return err
}
