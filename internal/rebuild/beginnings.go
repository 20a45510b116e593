package rebuild

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/kafka"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
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

// lateLog is for how long a log may end below where the group stands: a new leader learns late how far its log is committed.
const lateLog = 5 * time.Second

// reached makes sure that there are all records below where the group stands: what never comes would be waited for without end.
func (j *job) reached(ctx context.Context) error {
	var topics []string
	for _, f := range j.feeds {
		if !slices.Contains(topics, f.Topic) {
			topics = append(topics, f.Topic)
		}
	}
	for deadline := time.Now().Add(lateLog); ; {
		ends, err := j.Admin.ListEndOffsets(ctx, topics...)
		if err = errors.Join(err, ends.Error()); err != nil {
			return fmt.Errorf("list end offsets: %w", err)
		}
		i := slices.IndexFunc(j.feeds, func(f feed) bool {
			end, ok := ends.Lookup(f.Topic, f.Partition.Partition)
			return ok && f.next > end.Offset
		})
		if i < 0 {
			return nil
		}
		f := &j.feeds[i]
		end, _ := ends.Lookup(f.Topic, f.Partition.Partition)
		problem := fmt.Sprintf("group %s stands at offset %d of %s, and %s ends at %d", j.Consumer.Group, f.next, f.Partition, cmp.Or(j.Ends, "its log"), end.Offset)
		if time.Now().After(deadline) {
			return &sink.ConfigError{Problem: problem, Fix: cmp.Or(j.EndsFix, "the log was cut off: `oncesink status` and docs/log-moves.md say what became of it, and what to do")}
		}
		j.progress("waiting: "+problem, 0, 0)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(watchInterval):
		}
	}
}
