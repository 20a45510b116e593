package offsets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// Advance is the first statement of every transaction that writes: it locks the
// ledger rows in order and moves each from exactly Claim.Position.Next, under
// exactly Claim.Fence, to To. If any row does not match, the server raises, the
// transaction is aborted, and the error is a *FencedError. A lock that is not
// had in 3 s counts as fenced. The steps name distinct partitions and move each
// forward: a transaction that moves nothing could not be resolved.
func (l *Ledger) Advance(ctx context.Context, tx pgx.Tx, steps []Step) error {
	args, err := l.advanceArgs(steps)
	if err != nil {
		return fmt.Errorf("advance positions: %w", err)
	}
	if _, err := tx.Exec(ctx, l.first(advanceSQL), args...); err != nil {
		return fmt.Errorf("advance positions: %w", AdvanceError(err))
	}
	return nil
}

// QueueAdvance adds the statement of Advance to a batch for conn, for a caller that sends
// rows behind it without waiting: where a row of the ledger does not match, the server
// raises, and runs nothing of what follows. The caller passes the statement's
// error through [AdvanceError].
func (l *Ledger) QueueAdvance(conn *pgx.Conn, batch *pgconn.Batch, steps []Step) error {
	args, err := l.advanceArgs(steps)
	if err != nil {
		return fmt.Errorf("advance positions: %w", err)
	}
	if err := queue(conn, batch, l.first(advanceSQL), args, advanceTypes); err != nil {
		return fmt.Errorf("advance positions: %w", err)
	}
	return nil
}

// QueueHold adds, as the first statement of a transaction that writes records which their partition's position
// has passed, what QueueAdvance adds for others: the claims' rows are locked, and the server raises where one does not
// stand as its claim says. Nothing moves. So the ledger can't tell whether such a transaction was committed: claim
// the partition again, which waits until it is over, and look at what it wrote.
func (l *Ledger) QueueHold(conn *pgx.Conn, batch *pgconn.Batch, claims ...Claim) error {
	topics, partitions := split(claims, func(c Claim) Partition { return c.Partition })
	fences, expected := make([]string, len(claims)), make([]int64, len(claims))
	for i, c := range claims {
		fences[i], expected[i] = c.Fence.String(), c.Position.Next
	}
	if err := queue(conn, batch, l.first(holdSQL), []any{l.group, topics, partitions, fences, expected}, advanceTypes[:5]); err != nil {
		return fmt.Errorf("hold positions: %w", err)
	}
	return nil
}

// queue adds a statement with its parameters, in binary form.
func queue(conn *pgx.Conn, batch *pgconn.Batch, sql string, args []any, types []uint32) (err error) {
	values, formats := make([][]byte, len(args)), make([]int16, len(args))
	for i, arg := range args {
		if values[i], err = conn.TypeMap().Encode(types[i], pgx.BinaryFormatCode, arg, nil); err != nil {
			return fmt.Errorf("parameter %d: %w", i+1, err)
		}
		formats[i] = pgx.BinaryFormatCode
	}
	batch.ExecParams(sql, values, types, formats, nil)
	return nil
}

// advanceTypes are those of advanceSQL's parameters.
var advanceTypes = []uint32{pgtype.TextOID, pgtype.TextArrayOID, pgtype.Int4ArrayOID, pgtype.TextArrayOID,
	pgtype.Int8ArrayOID, pgtype.Int8ArrayOID, pgtype.Int4ArrayOID, pgtype.TimestamptzArrayOID}

const advanceSQL = `oncesink.advance($1::text, $2::text[], $3::int[], $4::text[]::uuid[], $5::bigint[], $6::bigint[], $7::int[], $8::timestamptz[])`

const holdSQL = `oncesink.hold($1::text, $2::text[], $3::int[], $4::text[]::uuid[], $5::bigint[])`

// first is the first statement of a transaction. On a pool that does not name its sessions it gives the session its
// name for as long as the transaction lasts: by it a claim recognises the one of a stopped process, and a
// resolution its own.
func (l *Ledger) first(call string) string {
	if l.named {
		return "select " + call
	}
	return "select set_config('application_name', " + quote(appPrefix+l.instance) + ", true), " + call
}

func (l *Ledger) advanceArgs(steps []Step) ([]any, error) {
	n := len(steps)
	if n == 0 {
		return nil, errors.New("no partitions")
	}
	topics, partitions := split(steps, func(s Step) Partition { return s.Claim.Partition })
	fences, expected, targets := make([]string, n), make([]int64, n), make([]int64, n)
	epochs, times := make([]int32, n), make([]*time.Time, n)
	seen := make(map[Partition]bool, n)
	for i, s := range steps {
		if seen[s.Claim.Partition] {
			return nil, fmt.Errorf("%s is named twice", s.Claim.Partition)
		}
		if s.To.Next <= s.Claim.Position.Next {
			return nil, fmt.Errorf("%s: %d does not lie above %d", s.Claim.Partition, s.To.Next, s.Claim.Position.Next)
		}
		seen[s.Claim.Partition] = true
		fences[i], expected[i], targets[i], epochs[i] = s.Claim.Fence.String(), s.Claim.Position.Next, s.To.Next, s.To.Epoch
		if !s.To.Time.IsZero() {
			times[i] = &s.To.Time
		}
	}
	return []any{l.group, topics, partitions, fences, expected, targets, epochs, times}, nil
}

// AdvanceError turns the error of the statement that QueueAdvance added: a lost fence
// becomes a *FencedError, anything else stays what it is.
func AdvanceError(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	switch pg.Code {
	case stateLockTimeout:
		return &FencedError{Locked: true}
	case stateFenced:
		var lost []struct {
			Topic     string `json:"topic"`
			Partition int32  `json:"partition"`
		}
		if err := json.Unmarshal([]byte(pg.Detail), &lost); err != nil {
			return fmt.Errorf("%w: read its detail: %v", pg, err)
		}
		fenced := &FencedError{}
		for _, p := range lost {
			fenced.Partitions = append(fenced.Partitions, Partition(p))
		}
		return fenced
	}
	return missingLedger(err)
}
