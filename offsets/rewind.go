package offsets

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Rewound is a partition that a rewind looked at.
type Rewound struct {
	Row       // as it stood under the lock, before
	To  int64 // where it stands now
}

// Moved reports whether the partition was sent back.
func (r Rewound) Moved() bool { return r.To < r.Position.Next }

// Rewind sends partitions back in one transaction: all of them or none, each with a new
// fence. It locks their rows, in the lock order and for as long as a command waits, and
// asks for each where it is to go; an offset that is not below the position leaves the
// partition alone, fence included. The answer has one entry for each row, by topic and partition.
func (l *Ledger) Rewind(ctx context.Context, to func(Row) int64, partitions ...Partition) ([]Rewound, error) {
	if len(partitions) == 0 {
		return nil, nil
	}
	var out []Rewound
	err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local lock_timeout = '3s'`); err != nil {
			return err
		}
		rows, err := l.readRows(ctx, tx, rowsQuery+" for update", partitions)
		if sqlState(err) == stateLockTimeout {
			return fmt.Errorf("a row of group %s is locked by another session: try again", l.group)
		}
		if err != nil {
			return err
		}
		if len(rows) < len(partitions) {
			return fmt.Errorf("%d of %d partitions: %w", len(partitions)-len(rows), len(partitions), ErrNoPosition)
		}
		var batch pgx.Batch
		for _, r := range rows {
			at := Rewound{Row: r, To: min(to(r), r.Position.Next)}
			if at.Moved() {
				batch.Queue(`select oncesink.rewind($1::text, $2::text, $3::int, $4::bigint)`, l.group, r.Topic, r.Partition.Partition, at.To)
			}
			out = append(out, at)
		}
		if batch.Len() == 0 {
			return nil
		}
		return tx.SendBatch(ctx, &batch).Close()
	})
	if err != nil {
		return nil, fmt.Errorf("rewind: %w", missingLedger(err))
	}
	return out, nil
}
