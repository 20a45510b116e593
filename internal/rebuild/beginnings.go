package rebuild

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/kafka"
	"github.com/oncesink/oncesink/offsets"
)

// beginnings says where the records of each partition of the topics begin, from which on none is missing: where the log does, or below that
// where the archive does.
func (j *job) beginnings(ctx context.Context) (map[offsets.Partition]int64, error) {
	starts, err := j.Admin.ListStartOffsets(ctx, j.layout.Topics...)
	if err = errors.Join(err, starts.Error()); err != nil {
		return nil, fmt.Errorf("list start offsets: %w", err)
	}
	ids := map[string]offsets.Token{}
	for _, f := range j.feeds {
		ids[f.Topic] = f.topicID
	}
	return kafka.Beginnings(ctx, j.Archive, ids, starts)
}

// firstArchived are the first records that the archive has of a partition whose log begins above them; none if there is no such partition.
func (j *job) firstArchived(ctx context.Context) (first []*kgo.Record, err error) {
	starts, err := j.Admin.ListStartOffsets(ctx, j.layout.Topics...)
	if err = errors.Join(err, starts.Error()); err != nil || j.Archive == nil {
		return nil, err
	}
	for _, f := range j.feeds {
		start, _ := starts.Lookup(f.Topic, f.Partition.Partition)
		reach, err := kafka.ReachOf(ctx, j.Archive, f.topicID, f.Partition, start.Offset, start.Offset)
		if err != nil || reach.Beginning() == start.Offset {
			continue // loading finds out
		}
		if err := j.Archive.Read(ctx, f.topicID, f.Partition, reach.Beginning(), func(records []*kgo.Record) bool {
			first = records
			return len(records) == 0
		}); err != nil {
			return nil, fmt.Errorf("read the first records of the archive: %w", err)
		}
		if len(first) > 0 {
			return first, nil
		}
	}
	return nil, nil
}
