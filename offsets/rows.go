package offsets

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// rowsQuery reads rows of a group, some or all of its partitions, in the lock order.
const rowsQuery = `
		select topic, partition, next_offset, leader_epoch, last_timestamp, topic_id, coalesce(cluster_id, ''), generation,
		       claim, fence, fence_count, coalesce(owner, ''), coalesce(instance, ''), paused, coalesce(halted, ''), moved_at,
		       first_offset, coalesce(replay_refused, ''), coalesce(stuck, '')
		  from oncesink.offsets
		 where sink_group = $1::text
		   and (cardinality($2::text[]) = 0 or (topic, partition) in (select * from unnest($2::text[], $3::int[])))
		 order by topic, partition`

// PastEnd is how a halt says that a position lies behind the end of its log, which was truncated. oncesink.rewind looks for it.
func PastEnd(end int64) string { return fmt.Sprintf("lies past the log's end %d:", end) }

// TruncatedTo tells whether the partition halted because its log was truncated, and ends at an offset, or parts there from what was read:
// a rewind to it reads nothing again, and is let by also where replays are refused.
func (r *Row) TruncatedTo(end int64) bool { return strings.Contains(r.Halted, PastEnd(end)) }

// Rows returns the ledger's rows of these partitions in one query, or of the
// whole group if none is named, ordered by topic and partition. Rows that do not
// exist are left out. It takes no locks.
func (l *Ledger) Rows(ctx context.Context, partitions ...Partition) ([]Row, error) {
	return l.readRows(ctx, l.pool, rowsQuery, partitions)
}

func (l *Ledger) readRows(ctx context.Context, q querier, query string, partitions []Partition) ([]Row, error) {
	topics, numbers := split(partitions, func(p Partition) Partition { return p })
	rows, err := q.Query(ctx, query, l.group, topics, numbers)
	if err != nil {
		return nil, fmt.Errorf("read ledger rows: %w", missingLedger(err))
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Row, error) {
		var r Row
		var at, moved *time.Time
		err := row.Scan(&r.Topic, &r.Partition.Partition, &r.Position.Next, &r.Position.Epoch, &at, &r.TopicID, &r.ClusterID, &r.Generation,
			&r.ClaimID, &r.Fence, &r.FenceCount, &r.Owner, &r.Instance, &r.Paused, &r.Halted, &moved, &r.First, &r.ReplayRefused, &r.Stuck)
		r.Position.Time, r.MovedAt = timeOf(at), timeOf(moved)
		r.HaltReason, r.Halted = splitHalt(r.Halted)
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("read ledger rows: %w", missingLedger(err))
	}
	return found, nil
}

// split returns the columns of a list of partitions, as the statements take them.
func split[T any](list []T, partition func(T) Partition) (topics []string, numbers []int32) {
	topics, numbers = make([]string, len(list)), make([]int32, len(list))
	for i, v := range list {
		p := partition(v)
		topics[i], numbers[i] = p.Topic, p.Partition
	}
	return topics, numbers
}

// uuid returns t as a nullable text for a uuid[] parameter.
func uuid(t Token) *string {
	if t.IsZero() {
		return nil
	}
	s := t.String()
	return &s
}

// timeOf is the zero time for NULL.
func timeOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
