package offsets

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Resolution is the outcome of a transaction in doubt.
type Resolution struct {
	// Committed says that the transaction's effects are there: all of them.
	Committed bool
	// Partitions answers each step.
	Partitions []Resolved
}

// Resolved is one partition after a resolution.
type Resolved struct {
	// Claim holds the new fence and the ledger's position, if Ours.
	Claim Claim
	// Ours says that the row still names the step's claim. If not, see rule 3 of
	// docs/semantics.md before claiming again. A row that is gone is not ours.
	Ours bool
	// AsExpected says that the row is ours and stands exactly at the step's
	// expected position of the step's topic id and generation, so that the same records may be sent again under the
	// new fence. If it is ours, not committed and not as expected, somebody moved
	// it: drop what is queued and go on from Claim.Position.
	AsExpected bool
}

// Resolve finds out what became of a transaction whose COMMIT has an unknown
// outcome. It opens a fresh connection, ends the session oldPID if it still is
// ours, locks the rows (which waits until the doubtful transaction is gone) and compares.
// Rows that still name their step's claim get new fences, so that a delayed
// request cannot arrive later. It returns, in the order of steps, what
// each partition's claim is now; nothing else may be sent for them before.
//
// After an error, a *HeldError among them, the outcome is as unknown as before:
// call it again, with the same steps.
func (l *Ledger) Resolve(ctx context.Context, steps []Step, oldPID uint32) (Resolution, error) {
	w := l.newWaiter(time.Now())
	defer w.close()
	rows, err := l.lockDoubtful(ctx, w, steps, oldPID)
	if sqlState(err) == stateLockTimeout {
		err = &HeldError{Holder: w.holder}
	}
	if err != nil {
		return Resolution{}, fmt.Errorf("resolve commit: %w", missingLedger(err))
	}
	r := Resolution{Partitions: make([]Resolved, len(steps))}
	for i, s := range steps {
		row, ok := rows[s.Claim.Partition]
		if !ok {
			r.Partitions[i].Claim = s.Claim
			continue
		}
		next := row.claim.Position.Next
		// A topic that was adopted meanwhile begins at 0, where the step's may have stood: other records follow.
		sameTopic := row.claim.TopicID == s.Claim.TopicID && row.claim.Generation == s.Claim.Generation
		r.Partitions[i] = Resolved{Claim: row.claim, Ours: row.ours, AsExpected: row.ours && sameTopic && next == s.Claim.Position.Next}
		// The transaction is atomic, so one partition speaks for all. It has to
		// stand at its target under the very fence that the transaction named:
		// with another one, an operator might have moved it there (accept_gap), and the
		// others' records would be taken for written.
		if row.ours && row.wasFence == s.Claim.Fence && next == s.To.Next {
			r.Committed = true
		}
	}
	return r, nil
}

// doubtful is a ledger row as a resolution found it: its claim as it is now, and
// the fence before.
type doubtful struct {
	claim    Claim
	ours     bool
	wasFence Token
}

func (l *Ledger) lockDoubtful(ctx context.Context, w *waiter, steps []Step, oldPID uint32) (map[Partition]doubtful, error) {
	if err := w.open(ctx); err != nil {
		return nil, err
	}
	// Our own old session, if it still is in a transaction: nobody listens to it.
	// The process id may be another's by now, or a pooler's invention.
	_, err := w.conn.Exec(ctx, `select pg_terminate_backend(pid) from pg_stat_activity
		where pid = $1::bigint and application_name = $2::text and usename = session_user and xact_start is not null`,
		int64(oldPID), appPrefix+l.instance)
	if err != nil {
		return nil, err
	}
	n := len(steps)
	topics, partitions := split(steps, func(s Step) Partition { return s.Claim.Partition })
	claims, asked := make([]string, n), make(map[Partition]Claim, n)
	for i, s := range steps {
		claims[i], asked[s.Claim.Partition] = s.Claim.ID.String(), s.Claim
	}
	found := make(map[Partition]doubtful, n)
	err = w.run(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			select topic, partition, ours, was_fence, fence, next_offset, leader_epoch, last_timestamp, topic_id, generation, coalesce(source, 0), paused
			  from oncesink.resolve($1::text, $2::text[], $3::int[], $4::text[]::uuid[], $5::int)`,
			l.group, topics, partitions, claims, w.left().Milliseconds())
		if err != nil {
			return err
		}
		var d doubtful
		var at *time.Time
		c := &d.claim
		_, err = pgx.ForEachRow(rows, []any{&c.Topic, &c.Partition.Partition, &d.ours, &d.wasFence, &c.Fence, &c.Position.Next, &c.Position.Epoch, &at,
			&c.TopicID, &c.Generation, &c.Source, &c.Paused}, func() error {
			c.ID, c.Position.Time = asked[c.Partition].ID, timeOf(at)
			if !d.ours {
				c.ID, c.Fence = Token{}, Token{} // somebody else's: not to be used
			}
			found[c.Partition] = d
			return nil
		})
		return err
	})
	return found, err
}
