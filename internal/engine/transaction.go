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

	"github.com/oncesink/oncesink/internal/bind"
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
	again   *again // the records are dead letters that are tried again; nil: they are what comes next in the log
	most    route  // the boldest route that may still be taken
	// orphansAreData: a missing parent row was waited for long enough.
	orphansAreData bool
	dead           []bind.Letter
	resolved       int // letters whose records were written after all
	// What the attempt at hand did to the tables, and what those that stand did.
	trying, stands effects
	trial          spans         // that are being applied
	committing     time.Duration // how long COMMIT took
}

// run is the transaction. It returns nil after a COMMIT that the server
// confirmed, an *unknownError if COMMIT was sent and nothing definite came back: job.resolve asks the ledger
// then; and any other error if certainly nothing was committed.
func (t *transaction) run(ctx context.Context) (err error) {
	if err := t.begin(ctx); err != nil {
		return err
	}
	defer func() { err = t.end(ctx, err) }()

	// 1. The position moves from exactly where it stood, under exactly our fence, or the server aborts the
	// transaction. Queued here, it is sent before anything else of this transaction; once it has run, the
	// rows of the ledger are locked: whoever claims waits for us, and we for nobody else's COMMIT. Dead letters that
	// are tried again move no position: it only has to stand.
	if err := t.queueFirst(); err != nil {
		return err
	}

	// 2. Rows and handlers. A record that the tables refuse is found by bisection, and left out.
	if t.again != nil {
		err = t.applyAgain(ctx)
	} else {
		err = t.applyOrBisect(ctx, t.records)
	}
	if err != nil {
		return err
	}

	// 3. The records that were refused, whole, beside their position; of what was written no letter stays open.
	if err := t.settleDeadLetters(ctx); err != nil {
		return fmt.Errorf("keep dead letters: %w", err)
	}

	// 4. The only commit point. Up to here an error means that nothing is there. From here on an error means
	// that nobody knows, unless the server says itself that it rolled back.
	return t.commit(ctx)
}

// apply writes what the records become and runs the handlers over them, in one piece: what it does can be undone by a
// rollback to its savepoint as long as it has not returned nil.
func (t *transaction) apply(ctx context.Context, records spans) error {
	w := t.w
	t.trial = records
	clear(t.trying)
	w.send = func() error { return t.send(ctx) }
	w.gather(t.m, records)
	w.locks(t.m) // before the savepoint: they must outlive a rollback to it
	w.exec("savepoint", nil, "savepoint oncesink")
	if t.m.Deferrable {
		w.exec("set constraints", nil, "set constraints all deferred")
	}
	if t.again != nil {
		if err := t.inTime(ctx); err != nil {
			return err
		}
	}
	if err := t.rows(ctx); err != nil {
		return err
	}
	if err := t.handlers(ctx, records); err != nil {
		return err
	}
	// A deferred constraint would fail at COMMIT, where no record can be found.
	w.exec("check deferred constraints", nil, "set constraints all immediate")
	w.exec("set constraints", nil, "set constraints all deferred")
	return t.keep(ctx)
}

// keep releases the savepoint: what was tried stands, unless a table is no longer the one that it was made for.
func (t *transaction) keep(ctx context.Context) error {
	t.w.exec("release savepoint", nil, "release savepoint oncesink")
	t.queueStamp(false)
	if err := t.send(ctx); err != nil {
		return err
	}
	if err := t.sameStamp(t.m.Stamp.Shallow); err != nil {
		return err
	}
	t.stands.merge(t.trying)
	return nil
}

// rollback goes back to the savepoint of the last apply.
func (t *transaction) rollback(ctx context.Context) error {
	t.w.reset()
	t.w.exec("roll back", nil, "rollback to savepoint oncesink")
	t.w.exec("release savepoint", nil, "release savepoint oncesink")
	err := t.send(ctx)
	if pgerr.SQLState(err) == noSavepoint && t.m.anyDistributed() {
		return pgerr.Mark(err, pgerr.Transient) // a node was lost, and is back without it
	}
	return err
}

// noSavepoint is what a server answers that does not know a savepoint.
const noSavepoint = "3B001"

// commit sends COMMIT, and says of its error what it means.
func (t *transaction) commit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.s.cfg.StatementTimeout+t.s.slack)
	defer cancel()
	sent := time.Now()
	err := t.tx.Commit(ctx)
	t.committing = time.Since(sent)
	switch {
	case err == nil:
		return nil
	case definite(err) && !t.conn.Conn().IsClosed():
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
		return fmt.Errorf("connect: %w", t.s.connecting(err))
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
