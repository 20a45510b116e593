package consumer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Members come and go while records flow, in each group protocol: nothing is lost,
// nothing is applied twice, and the records keep flowing.
func TestRebalances(t *testing.T) {
	for _, protocol := range []Protocol{Cooperative, Eager, KIP848} {
		t.Run(string(protocol), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 6)
			const perRound, rounds = 600, 4
			with := func(c *Config, s *sink.Config) { c.Protocol = protocol; smallBatches(c, s) }
			r.start(with)
			var guest *process
			for round := range rounds {
				for p := range int32(6) {
					r.produce(p, int(p)*100_000+round*perRound, perRound)
				}
				if guest == nil {
					guest = r.start(with)
				} else {
					r.must(guest.end(t))
					guest = nil
				}
				r.waitApplied(int64((round + 1) * perRound * 6))
			}
			want := map[int32]int64{}
			for p := range int32(6) {
				want[p] = perRound * rounds
			}
			r.verify(want)
		})
	}
}

// Rule 3: an owner that is still a member of the group takes a partition back that
// was claimed behind its back; the claim it lost committed nothing twice.
func TestStaleClaim(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 2)
	r.produce(0, 0, 10)
	r.start()
	r.waitApplied(10)
	pool, _, err := offsets.NewPool(t.Context(), r.url, 2)
	r.must(err)
	defer pool.Close()
	ledger := offsets.New(pool, group, offsets.Options{ClusterID: "test"})
	rows, err := ledger.Rows(t.Context(), offsets.Partition{Topic: r.topic, Partition: 0})
	r.must(err)
	claimed, err := ledger.Claim(t.Context(), []offsets.Want{{Partition: rows[0].Partition, TopicID: rows[0].TopicID}})
	r.must(errors.Join(err, claimed[0].Err))
	r.produce(0, 10, 10)
	r.waitApplied(20)
	r.verify(map[int32]int64{0: 20})
	if got := r.claimOf(0); got == claimed[0].ID.String() {
		t.Error("the row still names the stale claim")
	}
}

// Rule 3: of two processes that were given the same partition by hand, the one that claimed
// last owns it; the other stands by, says so, and takes over when the winner is gone.
func TestAssignedByHandTwice(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 2)
	byHand := func(c *Config, _ *sink.Config) { c.Assign = map[string][]int32{r.topic: {0, 1}} }
	r.produce(0, 0, 10)
	first := r.start(byHand)
	r.waitApplied(10)
	second := r.start(byHand)
	eventually(t, "the loser names both", func() bool { return strings.Contains(first.log.String(), "assigned by hand to this process and to") })
	r.produce(0, 10, 10)
	r.waitApplied(20)
	r.must(second.end(t))
	r.produce(1, 100, 10)
	r.waitApplied(30)
	r.verify(map[int32]int64{0: 20, 1: 10})
}

// Rule 7: start policies are resolved once, for all partitions of the topic; a
// partition that is added later begins at its beginning.
func TestStart(t *testing.T) {
	setUp := func(t *testing.T, start Start) *rig {
		r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 2)
		r.produce(0, 0, 5)
		r.produce(1, 100, 5)
		_ = start
		return r
	}
	at := func(s Start) func(*Config, *sink.Config) {
		return func(c *Config, _ *sink.Config) {
			for topic := range c.Topics {
				c.Topics[topic] = s
			}
		}
	}
	t.Run("latest", func(t *testing.T) {
		r := setUp(t, Start{At: Latest})
		p := r.start(at(Start{At: Latest}))
		eventually(t, "the first positions are there", func() bool { return r.position(0) == 5 && r.position(1) == 5 })
		r.produce(0, 5, 3)
		r.waitApplied(3)
		r.must(p.end(t))
		_, err := r.admin.UpdatePartitions(t.Context(), 3, r.topic)
		r.must(err)
		eventually(t, "the new partition takes records", func() bool {
			r.client.ForceMetadataRefresh()
			return r.client.ProduceSync(t.Context(), &kgo.Record{Topic: r.topic, Partition: 2, Value: []byte(`{"id":7,"v":"x"}`)}).FirstErr() == nil
		})
		r.start(at(Start{At: Latest}))
		r.waitApplied(4)
	})
	t.Run("timestamp", func(t *testing.T) {
		r := setUp(t, Start{})
		when := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
		for i, d := range []time.Duration{-time.Hour, time.Hour, 2 * time.Hour} {
			r.must(r.client.ProduceSync(t.Context(), &kgo.Record{Topic: r.topic, Partition: 0, Timestamp: when.Add(d), Value: fmt.Appendf(nil, `{"id":%d,"v":"x"}`, 50+i)}).FirstErr())
		}
		r.start(at(Start{At: Timestamp, Time: when}))
		r.waitApplied(2)
		if got := r.queryInt(`select min("offset") from applied where partition = 0`); got != 6 {
			t.Errorf("first applied offset %d, want 6", got)
		}
	})
	t.Run("committed", func(t *testing.T) {
		r := setUp(t, Start{At: Committed})
		var o kadm.Offsets
		o.Add(kadm.Offset{Topic: r.topic, Partition: 0, At: 3, LeaderEpoch: -1})
		r.must(r.admin.CommitAllOffsets(t.Context(), group, o))
		p := r.start(at(Start{At: Committed}))
		r.waitApplied(2 + 5)
		r.must(p.end(t))
		// Our own mirror is not another consumer's position.
		r.exec(`delete from oncesink.offsets`)
		p = r.start(at(Start{At: Committed}))
		eventually(t, "the mirror is refused", func() bool { return strings.Contains(p.log.String(), "as a copy of a ledger that has no rows") })
		if got := r.queryInt(`select count(*) from oncesink.offsets`); got != 0 {
			t.Errorf("%d positions were made from the mirror", got)
		}
	})
}

// A partition that is added while the sink runs is read from its beginning.
func TestPartitionAddedWhileRunning(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
	r.produce(0, 0, 5)
	r.start(func(c *Config, _ *sink.Config) {
		c.ClientOptions = append(c.ClientOptions, kgo.MetadataMaxAge(500*time.Millisecond))
	})
	r.waitApplied(5)
	_, err := r.admin.UpdatePartitions(t.Context(), 2, r.topic)
	r.must(err)
	eventually(t, "the new partition takes records", func() bool {
		r.client.ForceMetadataRefresh()
		return r.client.ProduceSync(t.Context(), &kgo.Record{Topic: r.topic, Partition: 1, Value: []byte(`{"id":7,"v":"x"}`)}).FirstErr() == nil
	})
	r.waitApplied(6)
}

// Only committed records are seen, and the position goes past markers, so that
// the lag of a transactional topic reaches zero.
func TestTransactionalTopic(t *testing.T) { onBoth(t, transactionalTopic) }

func transactionalTopic(t *testing.T, brokers []string, topic string) {
	r := newRig(t, brokers, topic, 1)
	producer, err := kgo.NewClient(kgo.SeedBrokers(r.brokers...), kgo.TransactionalID(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	r.must(err)
	defer producer.Close()
	for i, how := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit, kgo.TryAbort} {
		r.must(producer.BeginTransaction())
		r.must(producer.ProduceSync(t.Context(), &kgo.Record{Topic: r.topic, Value: fmt.Appendf(nil, `{"id":%d,"v":"x"}`, i)}).FirstErr())
		r.must(producer.EndTransaction(t.Context(), how))
	}
	p := r.start(func(c *Config, _ *sink.Config) { c.UntilEnd = true })
	r.must(p.wait(t))
	if got := r.queryInt(`select count(*) from events where id in (0, 2)`); got != 2 {
		t.Errorf("%d committed events, want 2", got)
	}
	if got := r.queryInt(`select count(*) from events`); got != 2 {
		t.Errorf("%d rows: aborted events were applied", got)
	}
	if got := r.position(0); got != 8 {
		t.Errorf("position %d, want 8: behind the last marker", got)
	}
}

// Two members with --until-end both stop when the ledger is at the end, and the group
// has a copy of the positions.
func TestUntilEndAndMirror(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 4)
	for p := range int32(4) {
		r.produce(p, int(p)*1000, 500)
	}
	untilEnd := func(c *Config, _ *sink.Config) { c.UntilEnd = true }
	a, b := r.start(untilEnd), r.start(untilEnd)
	r.must(a.wait(t))
	r.must(b.wait(t))
	r.verify(map[int32]int64{0: 500, 1: 500, 2: 500, 3: 500})
	got, err := r.admin.FetchOffsets(t.Context(), group)
	r.must(err)
	for p := range int32(4) {
		if o, ok := got.Lookup(r.topic, p); !ok || o.At != 500 || o.Metadata != mirrorMark {
			t.Errorf("partition %d: the group has %d %q, want 500 and our mark", p, o.At, o.Metadata)
		}
	}
}

// With --until-end a partition that halts is reported when the others are done.
func TestUntilEndReportsHalts(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 2)
	r.produce(0, 0, 10)
	r.produce(1, 100, 10)
	r.must(r.start().endAfter(r, 20))
	r.produce(0, 10, 30)
	r.produce(1, 110, 10)
	r.deleteRecords(0, 25)
	p := r.start(func(c *Config, _ *sink.Config) { c.UntilEnd = true })
	if err := p.wait(t); err == nil || !strings.Contains(err.Error(), "offsets 10 to 24 are missing") {
		t.Errorf("Run returned %v, want the gap", err)
	}
	if got := r.position(1); got != 20 {
		t.Errorf("position of the other partition %d, want 20", got)
	}
}

// A position past the log's end is no end, also while nobody has looked at the log yet: the claim waits for a row that is held.
func TestUntilEndPastTheEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
	r.produce(0, 0, 10)
	r.must(r.start().endAfter(r, 10))
	r.exec(`update oncesink.offsets set next_offset = 20`)
	holder, err := pgx.Connect(t.Context(), r.url)
	r.must(err)
	defer holder.Close(context.Background())
	tx, err := holder.Begin(t.Context())
	r.must(err)
	_, err = tx.Exec(t.Context(), `select from oncesink.offsets for update`)
	r.must(err)
	p := r.start(func(c *Config, _ *sink.Config) { c.UntilEnd = true })
	eventually(t, "the claim is refused", func() bool {
		select {
		case <-p.done:
			return true
		default:
			return p.states() == "orders/0 waiting"
		}
	})
	r.must(tx.Rollback(t.Context()))
	var past *TruncatedError
	if err := p.wait(t); !errors.As(err, &past) {
		t.Errorf("Run returned %v, want a position past the end", err)
	}
}

// A thousand quiet partitions are claimed in seconds, and share their transactions.
func TestThousandPartitions(t *testing.T) {
	const n = 1000
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", n)
	began := time.Now()
	r.start()
	eventually(t, "all partitions are claimed", func() bool {
		return r.queryInt(`select count(*) from oncesink.offsets where claim is not null`) == n
	})
	t.Logf("%d partitions claimed %v after the start", n, time.Since(began).Round(time.Millisecond))
	began = time.Now()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	const events = 5000
	trickle := time.NewTicker(time.Millisecond)
	defer trickle.Stop()
	for i := range events {
		if i%2 == 0 {
			<-trickle.C
		}
		r.client.Produce(ctx, &kgo.Record{Topic: r.topic, Partition: rnd.Int32N(n), Value: fmt.Appendf(nil, `{"id":%d,"v":"x"}`, i)}, nil)
	}
	r.must(r.client.Flush(ctx))
	r.waitApplied(events)
	took := time.Since(began).Seconds()
	tx := float64(r.queryInt(`select count(distinct xmin::text) from applied`))
	t.Logf("%d events over %d partitions: %.0f transactions in %.1f s", events, n, tx, took)
	// One small transaction per 10 ms, and those that were big enough not to wait.
	if bound := took*100 + events/2500 + 5; tx > bound {
		t.Errorf("%.0f transactions, want at most %.0f", tx, bound)
	}
}
