package offsets

import (
	"context"
	"fmt"
)

// First is a partition's first position.
type First struct {
	Partition
	TopicID Token
	Offset  int64
}

// Begin inserts the rows of partitions that have none, unclaimed, before
// anything is fetched (rule 7): all partitions of a topic can be given their
// first positions at once, whoever owns them. Rows that exist stay as they are, so that of
// two processes that resolve a start at the same time the first one decides. It
// is synchronous whatever the session's setting: a first position that is lost
// after records were applied under it would be resolved again, elsewhere.
func (l *Ledger) Begin(ctx context.Context, firsts []First) error {
	n := len(firsts)
	topics, partitions := split(firsts, func(f First) Partition { return f.Partition })
	ids, starts, epochs := make([]*string, n), make([]int64, n), make([]int32, n)
	for i, f := range firsts {
		ids[i], starts[i], epochs[i] = uuid(f.TopicID), f.Offset, -1
	}
	_, err := l.pool.Exec(ctx, `select oncesink.first_positions($1::text, $2::text, $3::text[], $4::int[], $5::text[]::uuid[], $6::bigint[], $7::int[])`,
		l.group, l.opts.ClusterID, topics, partitions, ids, starts, epochs)
	if err != nil {
		return fmt.Errorf("begin positions: %w", missingLedger(err))
	}
	return nil
}
