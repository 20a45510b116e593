package torture

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/torture/checker"
)

// compacted: the log loses what later records of its keys replace, between control records, unread and while it is read.
func compacted(r *rig) {
	r.begin(setup{tables: guardedTable, keys: 20, topic: []string{"cleanup.policy=compact", "segment.ms=100", "min.cleanable.dirty.ratio=0.01", "max.compaction.lag.ms=100"}})
	p := r.start("")
	r.produce(100)
	r.drain()
	p.kill()
	client := r.kafka.Client(r.T, kgo.TransactionalID(r.name), kgo.ProducerLinger(0))
	ctx := context.Background()
	const transactions = 6
	for i := range transactions {
		r.must(client.BeginTransaction())
		commit := i%2 == 1
		kind := checker.Aborted
		if commit {
			kind = checker.Upsert
		}
		for key := range r.keys {
			r.send(client, event{kind: kind, key: 1 + key, partition: -1}, nil)
		}
		r.must(client.Flush(ctx))
		r.must(client.EndTransaction(ctx, kgo.TransactionEndTry(commit)))
		r.produce(30)
	}
	markers := transactions * int(r.partitions)
	holes := 0
	r.eventually("the log has holes", func() bool { // a segment is closed by a record that comes when it is old enough
		r.produce(6)
		holes = r.missing() - markers
		return holes > 60
	})
	r.fired("offsets that compaction has taken", holes)
	r.fired("control records", markers)
	since := time.Now()
	r.start("")
	r.recovered(since)
	stop := r.load(200)
	r.moved(400)
	stop()
	r.recovered(time.Now())
}

// missing is how many offsets of the topic have no record.
func (r *rig) missing() (n int) {
	r.Helper()
	ctx := context.Background()
	starts, err := r.admin().ListStartOffsets(ctx, r.name)
	ends, err2 := r.admin().ListEndOffsets(ctx, r.name)
	r.must(errors.Join(err, starts.Error(), err2, ends.Error()))
	from := map[int32]kgo.Offset{}
	left := map[int32]bool{}
	ends.Each(func(l kadm.ListedOffset) {
		first, _ := starts.Lookup(l.Topic, l.Partition)
		from[l.Partition] = kgo.NewOffset().At(first.Offset)
		n += int(l.Offset - first.Offset)
		left[l.Partition] = true
	})
	client, err := kgo.NewClient(kgo.DisableClientMetrics(), kgo.SeedBrokers(r.kafka.Brokers...), kgo.KeepControlRecords(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{r.name: from}))
	r.must(err)
	defer client.Close()
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for len(left) > 0 {
		fetches := client.PollFetches(bounded)
		r.must(fetches.Err())
		fetches.EachRecord(func(rec *kgo.Record) {
			if !rec.Attrs.IsControl() {
				n--
			}
			if end, _ := ends.Lookup(rec.Topic, rec.Partition); rec.Offset >= end.Offset-1 {
				delete(left, rec.Partition)
			}
		})
	}
	return n
}

// tombstones: rows are deleted and come back, records have no key, and a tombstone without one is a dead letter; in between the sink dies.
func tombstones(r *rig) {
	r.begin(setup{})
	p := r.start("")
	for range 3 {
		for range 200 {
			key := 7 + r.rnd.Int64N(r.keys-6) // readers look at the others
			switch n := r.rnd.IntN(100); {
			case n < 25:
				r.send(r.client, event{kind: checker.Tombstone, key: key, partition: -1}, nil)
				r.fired("tombstones", 1)
			case n < 40:
				r.send(r.client, event{key: 1 + r.rnd.Int64N(r.keys), partition: -1, noKey: true}, nil)
				r.fired("records without a key", 1)
			case n < 42:
				r.send(r.client, event{kind: checker.Poison, key: key, partition: -1, noKey: true, null: true}, nil)
				r.fired("tombstones without a key", 1)
			default:
				r.send(r.client, event{key: 1 + r.rnd.Int64N(r.keys), partition: -1}, nil)
			}
		}
		since := time.Now()
		p.kill()
		r.fired("kill -9 meanwhile", 1)
		p = r.start("")
		r.recovered(since)
	}
}

// wandering: events of a key come in any partition, newer and older ones, to two processes. The version says which is the last.
func wandering(r *rig) {
	r.begin(setup{})
	first := r.start("")
	r.start("")
	older := int64(0)
	for round := range 3 {
		last := map[int64]int32{}
		for range 250 {
			e := event{key: 1 + r.rnd.Int64N(r.keys), partition: r.rnd.Int32N(r.partitions)}
			if e.key > 6 && r.rnd.IntN(5) == 0 { // readers look at the others
				older--
				e.version = older
				r.fired("events that are older than their key's row", 1)
			}
			if at, ok := last[e.key]; ok && at != e.partition {
				r.fired("keys that moved to another partition", 1)
			}
			last[e.key] = e.partition
			r.send(r.client, e, nil)
		}
		since := time.Now()
		if round == 1 {
			first.kill()
		}
		r.recovered(since)
	}
}
