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
// anything is fetched (rule 7). Rows that exist stay as they are, so that of
// two processes that resolve a start at the same time the first one decides. It
// is synchronous whatever the session's setting: a first position that is lost
// after records were applied under it would be resolved again, elsewhere.
func (l *Ledger) Begin(ctx context.Context, firsts []First) error {
	topics, partitions := make([]string, len(firsts)), make([]int32, len(firsts))
	ids, next := make([]string, len(firsts)), make([]int64, len(firsts))
	for i, f := range firsts {
		topics[i], partitions[i], ids[i], next[i] = f.Topic, f.Partition.Partition, f.TopicID.String(), f.Offset
	}
	tx, err := l.pool.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin positions: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := tx.Exec(ctx, "set local synchronous_commit = on"); err != nil {
		return fmt.Errorf("begin positions: %w", err)
	}
	_, err = tx.Exec(ctx, `
		insert into oncesink.offsets (sink_group, topic, partition, next_offset, first_offset, topic_id, cluster_id, generation)
		select $1, topic, partition, next_offset, next_offset, topic_id::uuid, nullif($2, ''), oncesink.generation_of(topic, topic_id::uuid, 0)
		from unnest($3::text[], $4::int[], $5::text[], $6::bigint[]) as f (topic, partition, topic_id, next_offset)
		order by topic, partition
		on conflict do nothing`, l.group, l.opts.ClusterID, topics, partitions, ids, next)
	if err != nil {
		return fmt.Errorf("begin positions: %w", err)
	}
	return tx.Commit(ctx)
}
