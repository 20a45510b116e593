package main

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/kafka"
	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Bounds of a read beside the group.
const (
	readPause = 5 * time.Second // without a record, where the log's last offsets hold none
	readBatch = 2000            // records at a time
)

// stretch is a range of a partition's log.
type stretch struct{ from, to int64 }

// bounds is what each partition of the topics has: its first offset, and the one after its last.
func (s *session) bounds(ctx context.Context) (map[offsets.Partition]stretch, error) {
	topics := s.meta.Topics.Names()
	starts, err := s.admin.ListStartOffsets(ctx, topics...)
	if err = errors.Join(err, starts.Error()); err != nil {
		return nil, err
	}
	ends, err := s.admin.ListCommittedOffsets(ctx, topics...)
	if err = errors.Join(err, ends.Error()); err != nil {
		return nil, err
	}
	out := map[offsets.Partition]stretch{}
	ends.Each(func(end kadm.ListedOffset) {
		start, ok := starts.Lookup(end.Topic, end.Partition)
		by, assigned := s.consumer.Assign[end.Topic]
		if ok && (!assigned || slices.Contains(by, end.Partition)) {
			out[offsets.Partition{Topic: end.Topic, Partition: end.Partition}] = stretch{start.Offset, end.Offset}
		}
	})
	return out, nil
}

// stretches finds where the last n records of each topic are.
func (s *session) stretches(ctx context.Context, n int) (map[offsets.Partition]stretch, error) {
	bounds, err := s.bounds(ctx)
	if err != nil {
		return nil, err
	}
	out := map[offsets.Partition]stretch{}
	for _, topic := range s.meta.Topics.Names() {
		sizes := map[int32]int64{}
		for p, all := range bounds {
			if p.Topic == topic {
				sizes[p.Partition] = all.to - all.from
			}
		}
		for p, take := range shares(sizes, int64(n)) {
			at := offsets.Partition{Topic: topic, Partition: p}
			if end := bounds[at].to; take > 0 {
				out[at] = stretch{end - take, end}
			}
		}
	}
	return out, nil
}

// shares says how many of n records each partition gives: the same of each, and what the small ones lack from the others.
func shares(sizes map[int32]int64, n int64) map[int32]int64 {
	out := map[int32]int64{}
	bySize := slices.SortedFunc(maps.Keys(sizes), func(a, b int32) int { return cmp.Or(cmp.Compare(sizes[a], sizes[b]), cmp.Compare(a, b)) })
	for i, p := range bySize {
		left := int64(len(bySize) - i)
		out[p] = min(sizes[p], (n+left-1)/left)
		n -= out[p]
	}
	return out
}

// readStretches reads these stretches, without a group, and gives add their records, of one partition at a time and in the order of
// their offsets. A log may hold no record at its last offsets: it ends as well when nothing more comes, and says in how
// many partitions something was left.
func (s *session) readStretches(ctx context.Context, left map[offsets.Partition]stretch, add func([]sink.Record) error) (int, error) {
	if len(left) == 0 {
		return 0, nil
	}
	at := map[string]map[int32]kgo.Offset{}
	for p, str := range left {
		if at[p.Topic] == nil {
			at[p.Topic] = map[int32]kgo.Offset{}
		}
		at[p.Topic][p.Partition] = kgo.NewOffset().At(str.from)
	}
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(s.consumer.Brokers...), kgo.ClientID("oncesink"), kgo.ConsumePartitions(at),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxBytes(4 << 20), kgo.FetchMaxPartitionBytes(1 << 20), kgo.FetchMaxWait(500 * time.Millisecond),
	}, s.consumer.ClientOptions...)...)
	if err != nil {
		return 0, &environmentError{s.cfg.Scrub("Kafka: " + err.Error() + ": " + wiring.KafkaSection)}
	}
	defer client.Close()
	for last := time.Now(); len(left) > 0 && ctx.Err() == nil; {
		poll, cancel := context.WithTimeout(ctx, time.Second)
		fetches := client.PollRecords(poll, readBatch)
		cancel()
		var failed error
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			p := offsets.Partition{Topic: f.Topic, Partition: f.Partition}
			str, open := left[p]
			switch {
			case failed != nil || !open:
				return
			case f.Err != nil && !errors.Is(f.Err, context.DeadlineExceeded) && !kerr.IsRetriable(f.Err):
				failed = s.kafkaError(f.Err)
				return
			}
			var records []sink.Record
			for _, rec := range f.Records {
				if rec.Offset < str.to {
					records = append(records, kafka.Record(rec))
				}
				if rec.Offset+1 >= str.to {
					delete(left, p)
				}
			}
			if len(f.Records) > 0 {
				failed = add(records)
				last = time.Now()
			}
		})
		if failed != nil {
			return 0, failed
		}
		if time.Since(last) > readPause {
			break
		}
	}
	return len(left), nil
}
