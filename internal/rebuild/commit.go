package rebuild

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// commitTimeout bounds the commit, and, where its answer was lost, the search for what came of it.
const commitTimeout = 30 * time.Second

// commit commits the cut. From here on an interruption comes too late: it is waited for what the server
// says. If the answer is lost the server is asked by the transaction's number what became of it, so that an
// [InDoubt] error is one of a server that can't be reached.
func (j *job) commit(ctx context.Context, tx pgx.Tx) error {
	if err := j.lock.Check(ctx); err != nil {
		return err
	}
	var number string
	if err := tx.QueryRow(ctx, "select pg_current_xact_id()::text").Scan(&number); err != nil {
		return err
	}
	j.progress("committing", 0, 0)
	committing, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	err := tx.Commit(committing)
	var pg *pgconn.PgError
	if err == nil || errors.Is(err, pgx.ErrTxCommitRollback) || errors.As(err, &pg) && pg.SeverityUnlocalized == "ERROR" {
		return err
	}
	return j.became(context.WithoutCancel(ctx), number, err)
}

// became returns nil if the transaction was committed, and cause if it was not.
func (j *job) became(ctx context.Context, number string, cause error) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	j.progress("asking what became of the commit", 0, 0)
	for {
		var status *string
		err := j.scan(ctx, "select pg_xact_status($1::text::xid8)", []any{number}, &status)
		switch {
		case err == nil && status != nil && *status == "committed":
			return nil
		case err == nil && status != nil && *status == "aborted":
			return fmt.Errorf("the commit was lost: %w", cause)
		}
		select {
		case <-ctx.Done():
			return &Error{InDoubt, fmt.Errorf("the answer to the commit is missing, and what became of it can't be asked: %w", cause)}
		case <-time.After(100 * time.Millisecond):
		}
	}
}
