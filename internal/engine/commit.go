package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/offsets"
)

// defaultSlack is what a wait on the wire may last beyond the server's own timeout.
const defaultSlack = 10 * time.Second

// defaultStuckAfter is when an error that should pass is told as one that does not.
const defaultStuckAfter = 2 * time.Minute

// transaction is one attempt to write records and positions.
type transaction struct {
	s       *Sink
	m       *plan
	w       *writer
	conn    *pgxpool.Conn
	tx      pgx.Tx
	records spans
	steps   []offsets.Step
	most    route // the boldest route that may still be taken
	// For the learners: events that went by statement, and rows that those changed.
	upserted, changed map[*table]int
	// rowsWritten counts the rows that statements and COPYs wrote, those that were rolled back included.
	rowsWritten map[*table]int
	// orphansAreData: a missing parent row was waited for long enough.
	orphansAreData bool
	dead           []deadLetter
	// What tombstones did: in the try at hand, and in those that stand.
	trying, removed removals
}

// commit runs THE transaction. It returns nil after a COMMIT that the server
// confirmed, an *unknownError if COMMIT was sent and nothing definite came back,
// and any other error if certainly nothing was committed.
func (t *transaction) commit(ctx context.Context) (err error) {
	if err := t.begin(ctx); err != nil {
		return err
	}
	defer func() { err = t.end(ctx, err) }()

	// 1. The position moves from exactly where it stood, under exactly our fence, or
	// the server aborts the transaction, with whatever is sent behind this statement.
	// It only joins the batch here. Once it has run, the rows of the ledger are locked:
	// whoever claims waits for us, and we for nobody else's COMMIT.
	if err := t.advance(); err != nil {
		return err
	}

	// 2. The rows, under a savepoint, sent together with it. Records that the tables
	// refuse are bisected out; the rest of the transaction stands.
	if err := t.write(ctx, t.records); err != nil {
		return err
	}

	for tb, n := range t.upserted {
		tb.learn.wrote(n, t.changed[tb])
	}

	// 3. The records that were refused, whole, beside their position.
	if err := t.keep(ctx); err != nil {
		return fmt.Errorf("keep dead letters: %w", err)
	}

	// 4. The only commit point. Up to here an error means that nothing is there.
	// From here on an error means that nobody knows, unless the server says
	// itself that it rolled back.
	ctx, cancel := context.WithTimeout(ctx, t.s.cfg.StatementTimeout+t.s.slack)
	defer cancel()
	err = t.tx.Commit(ctx)
	if err == nil {
		return nil
	}
	if definite(err) && !t.conn.Conn().IsClosed() {
		return &writeError{doing{verb: "commit"}, err}
	}
	return &unknownError{pid: t.conn.Conn().PgConn().PID(), err: err}
}

// definite reports whether the server itself says that COMMIT failed. A fatal
// error may follow a commit that is already on disk.
func definite(err error) bool {
	if errors.Is(err, pgx.ErrTxCommitRollback) {
		return true
	}
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.SeverityUnlocalized == "ERROR" &&
		!strings.HasPrefix(pg.Code, "08") && !strings.HasPrefix(pg.Code, "57P0") && !strings.HasPrefix(pg.Code, "58")
}

// unknownError is a COMMIT whose outcome only the ledger knows.
type unknownError struct {
	pid uint32 // of the server process that was told to commit
	err error
}

func (e *unknownError) Error() string { return "commit: outcome unknown: " + e.err.Error() }
func (e *unknownError) Unwrap() error { return e.err }

func (t *transaction) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.s.cfg.LockTimeout+t.s.slack)
	defer cancel()
	conn, err := t.s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{BeginQuery: t.s.beginSQL})
	if err != nil {
		err = lost(conn, fmt.Errorf("begin: %w", err))
		conn.Release()
		return err
	}
	t.conn, t.tx = conn, tx
	return nil
}

// end gives the connection back, without a transaction on it, and marks the
// error of a connection that is gone.
func (t *transaction) end(ctx context.Context, err error) error {
	slack := t.s.slack
	if ctx.Err() != nil { // somebody waits for this; a connection that is closed rolls back, too
		slack = min(slack, time.Second)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), slack)
	defer cancel()
	err = lost(t.conn, err)
	_ = t.tx.Rollback(ctx) // after COMMIT, or on a closed connection, it does nothing
	t.conn.Release()
	return err
}

// lost marks the error of a connection that is gone.
func lost(conn *pgxpool.Conn, err error) error {
	var pg *pgconn.PgError
	if err != nil && conn.Conn().IsClosed() && !errors.As(err, &pg) {
		return &lostError{err}
	}
	return err
}

// advance is the first of the statements that are sent.
func (t *transaction) advance() error {
	t.w.doing = append(t.w.doing, doing{verb: advancing})
	return t.s.ledger.QueueAdvance(t.conn.Conn(), t.w.batch, t.steps)
}

const advancing = "advance positions"

// advanceError is an error of the ledger: no record is to blame for it.
type advanceError struct{ err error }

func (e *advanceError) Error() string { return advancing + ": " + pgerr.Safe(e.err) }
func (e *advanceError) Unwrap() error { return e.err }

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
		rows := results.ResultReader()
		d := w.doing[done]
		var x removed
		for (d.asks || d.gone > 0) && rows.NextRow() {
			if d.asks {
				w.answers = append(w.answers, rows.Values()[0]...)
			} else {
				x = removedBy(rows.Values())
			}
		}
		tag, err := rows.Close()
		switch {
		case err != nil || d.table == nil:
		case tag.Insert():
			t.changed[d.table] += int(tag.RowsAffected())
		case d.gone > 0 && tag.Delete():
			x = removed{int64(d.gone), int64(d.gone) - tag.RowsAffected()}
			fallthrough
		case d.gone > 0:
			t.changed[d.table] += int(x.tombstones)
			t.trying.add(d.table, x)
		}
		if err != nil {
			break
		}
		if d.table != nil && !tag.Select() {
			t.rowsWritten[d.table] += int(tag.RowsAffected())
		}
		done++
		alive()
	}
	if err := results.Close(); err != nil {
		d := w.doing[min(done, len(w.doing)-1)]
		if d.verb == advancing {
			return &advanceError{offsets.AdvanceError(err)}
		}
		return &writeError{d, err}
	}
	w.reset()
	return nil
}
