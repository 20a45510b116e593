package consumer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Rule 3: while the row names our own claim nobody has to be asked: a rewind is
// followed even if the coordinator confirms no member.
func TestRewindNeedsNoConfirmation(t *testing.T) {
	cluster := testkafka.Fake(t)
	r := newRig(t, cluster.ListenAddrs(), "orders", 1)
	r.produce(0, 0, 10)
	r.start()
	r.waitApplied(10)
	cluster.ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		return refuseCommit(req.(*kmsg.OffsetCommitRequest)), nil, true
	})
	r.exec(`select oncesink.rewind($1, $2, 0, 0)`, group, r.topic)
	eventually(t, "the events are applied once more", func() bool { return r.queryInt(`select count(*) from applied where n = 2`) == 10 })
}

// Rule 3: what was fetched before a lane was claimed again must not get in behind the
// new position. The poll loop stands still with records in its hands while an
// operator rewinds the partition and its owner claims it again.
func TestFetchedBeforeTheClaim(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
	r.produce(0, 0, 10)
	hold := &holdRecord{offset: 10, held: make(chan struct{}), release: make(chan struct{})}
	p := r.start(func(c *Config, _ *sink.Config) { c.ClientOptions = append(c.ClientOptions, kgo.WithHooks(hold)) })
	defer hold.let()
	r.waitApplied(10)
	r.produce(0, 10, 10)
	<-hold.held
	r.exec(`select oncesink.rewind($1, $2, 0, 0)`, group, r.topic)
	rewound := r.claimOf(0)
	eventually(t, "the owner claims the rewound row", func() bool {
		return strings.Contains(p.log.String(), "the ledger was changed") && r.claimOf(0) != rewound
	})
	hold.let()
	r.waitApplied(20)
	eventually(t, "the first ten events are applied once more", func() bool {
		return r.queryInt(`select count(*) from applied where n = 2 and "offset" < 10`) == 10
	})
	if got := r.queryInt(`select count(*) from applied where n = 1 and "offset" >= 10`); got != 10 {
		t.Errorf("%d of the later events were applied once, want 10", got)
	}
}

// holdRecord stops the poll that hands out the record at an offset, once.
type holdRecord struct {
	offset        int64
	once, letOnce sync.Once
	held, release chan struct{}
}

func (h *holdRecord) OnFetchRecordUnbuffered(r *kgo.Record, polled bool) {
	if polled && r.Offset == h.offset {
		h.once.Do(func() {
			close(h.held)
			<-h.release
		})
	}
}

func (h *holdRecord) let() { h.letOnce.Do(func() { close(h.release) }) }

// Rule 7: the start policy is resolved for all partitions of a topic, also for those
// that have no member yet: what arrives before they get one is read.
func TestStartCountsForAllPartitions(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 2)
	r.produce(0, 0, 5)
	r.produce(1, 100, 5)
	only := func(p int32) func(*Config, *sink.Config) {
		return func(c *Config, _ *sink.Config) {
			c.Topics[r.topic] = Start{At: Latest}
			c.Assign = map[string][]int32{r.topic: {p}}
		}
	}
	p := r.start(only(0))
	eventually(t, "the first position is there", func() bool { return r.position(0) == 5 })
	if got := r.position(1); got != 5 {
		t.Errorf("position of the partition without a member is %d, want 5", got)
	}
	r.must(p.end(t))
	r.produce(1, 105, 3)
	r.start(only(1))
	r.waitApplied(3)
	if got := r.queryInt(`select min("offset") from applied`); got != 5 {
		t.Errorf("first applied offset %d, want 5", got)
	}
}

// Rule 7: the copy that a sink without a group makes bears the mark as well.
func TestMirrorByHandIsMarked(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
	r.produce(0, 0, 10)
	r.must(r.start(func(c *Config, _ *sink.Config) { c.Assign = map[string][]int32{r.topic: {0}} }).endAfter(r, 10))
	got, err := r.admin.FetchOffsets(t.Context(), group)
	r.must(err)
	if o, ok := got.Lookup(r.topic, 0); !ok || o.At != 10 || o.Metadata != mirrorMark {
		t.Errorf("the group has %d %q, want 10 and our mark", o.At, o.Metadata)
	}
}

// Rule 8: a ledger that was put back to an earlier state is noticed on a topic where
// nothing happens, although no operator drew a new fence.
func TestLedgerPutBack(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
	r.produce(0, 0, 10)
	r.start()
	r.waitApplied(10)
	r.exec(`update oncesink.offsets set next_offset = 4`)
	eventually(t, "the events from there on are applied once more", func() bool {
		return r.queryInt(`select count(*) from applied where n = 2 and "offset" >= 4`) == 6
	})
}

// Rule 8: so is a row that vanished, and it halts the partition.
func TestRowVanishesOnQuietTopic(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
	r.produce(0, 0, 10)
	p := r.start()
	r.waitApplied(10)
	r.exec(`delete from oncesink.offsets`)
	eventually(t, "the partition halts", func() bool { return strings.Contains(p.log.String(), "partition halted") })
}

// The end of a topic is what can be read: an open transaction does not hold up --until-end.
func TestUntilEndBeforeAnOpenTransaction(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
	r.produce(0, 0, 5)
	producer, err := kgo.NewClient(kgo.SeedBrokers(r.brokers...), kgo.TransactionalID("open"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	r.must(err)
	defer producer.Close()
	r.must(producer.BeginTransaction())
	r.must(producer.ProduceSync(t.Context(), &kgo.Record{Topic: r.topic, Value: []byte(`{"id":99,"v":"x"}`)}).FirstErr())
	r.must(r.start(func(c *Config, _ *sink.Config) { c.UntilEnd = true }).wait(t))
	r.verify(map[int32]int64{0: 5})
	r.must(producer.EndTransaction(t.Context(), kgo.TryAbort))
}

// With --until-end a partition that an operator paused is reported, not waited for.
func TestUntilEndReportsPaused(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 2)
	r.produce(0, 0, 10)
	r.produce(1, 100, 10)
	r.must(r.start().endAfter(r, 20))
	r.exec(`select oncesink.pause($1, $2, 0)`, group, r.topic)
	r.produce(0, 10, 10)
	r.produce(1, 110, 10)
	p := r.start(func(c *Config, _ *sink.Config) { c.UntilEnd = true })
	if err := p.wait(t); err == nil || !strings.Contains(err.Error(), "paused by an operator at offset 10") {
		t.Errorf("Run returned %v, want the pause", err)
	}
	r.verify(map[int32]int64{0: 10, 1: 20})
}

// A stop lets the running transaction finish, and cancels it when it takes too long.
func TestStopAndTheRunningTransaction(t *testing.T) {
	for _, finishes := range []bool{true, false} {
		t.Run(fmt.Sprintf("finishes %t", finishes), func(t *testing.T) {
			r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
			r.produce(0, 0, 10)
			entered, release := make(chan struct{}), make(chan struct{})
			var once sync.Once
			slow := func(ctx context.Context, tx pgx.Tx, records []sink.Record) error {
				once.Do(func() { close(entered) })
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-release:
					return witness(ctx, tx, records)
				}
			}
			p := r.start(func(c *Config, s *sink.Config) {
				s.Handlers = []sink.Handler{slow}
				c.StopTimeout = 4 * time.Second
			})
			<-entered
			p.stop()
			want := int64(0)
			if finishes {
				want = 10
				defer time.AfterFunc(500*time.Millisecond, func() { close(release) }).Stop()
			}
			r.must(p.wait(t))
			if got := r.queryInt(`select count(*) from applied`); got != want {
				t.Errorf("%d events applied, want %d", got, want)
			}
			if got := r.position(0); got != want {
				t.Errorf("position %d, want %d", got, want)
			}
		})
	}
}

// Rule 5: a lane is not fetched before it is claimed, and what was suspended is not
// when the partition comes back.
func TestUnclaimedLaneIsSuspended(t *testing.T) {
	m := still(t, nil)
	p := offsets.Partition{Topic: "orders"}
	suspended := func() bool { return slices.Contains(m.client.PauseFetchPartitions(nil)[p.Topic], p.Partition) }
	l := m.add(p)[0]
	if !suspended() || l.view().state != claiming {
		t.Errorf("a new lane is suspended: %t, in state %d; want it suspended and claiming", suspended(), l.view().state)
	}
	m.revoked(t.Context(), m.client, map[string][]int32{p.Topic: {p.Partition}})
	if suspended() {
		t.Error("a revoked partition is still suspended")
	}
}

// Rule 3: a claim that was won for a lane that is gone must not move the fetch
// position of the lane that came after it.
func TestLateClaimMovesNothing(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
	r.produce(0, 0, 20)
	m := still(t, func(c *Config) { c.Brokers = r.brokers })
	old := m.runAt(0, 0)
	m.runAt(0, 10)
	m.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{r.topic: {0: kgo.NewOffset().At(10)}})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	poll := func() (from, to int64) {
		t.Helper()
		fetches := m.client.PollFetches(ctx)
		r.must(fetches.Err())
		recs := fetches.Records()
		return recs[0].Offset, recs[len(recs)-1].Offset + 1
	}
	from, to := poll()
	if from != 10 {
		t.Fatalf("first record at offset %d, want 10", from)
	}
	m.begin([]win{{old, old.claim}})
	r.produce(0, 20, 5)
	if got, _ := poll(); got != to {
		t.Errorf("next record at offset %d, want %d: the old lane moved the position", got, to)
	}
}
