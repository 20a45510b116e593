package consumer

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/offsets"
)

// The ways in which a Kafka client loses records without a word.

// Silent loss 1, rule 5: a partition that is left out of the hook's answer is never
// consumed. One whose row is held by a stranger must neither be left out nor
// hold up the others.
func TestHeldPartitionIsNotForgotten(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 3)
	for p := range int32(3) {
		r.produce(p, int(p)*100, 10)
	}
	r.must(r.start().endAfter(r, 30))

	for p := range int32(3) {
		r.produce(p, int(p)*100+10, 10)
	}
	stranger, err := r.pool.Begin(t.Context())
	r.must(err)
	_, err = stranger.Exec(t.Context(), `select from oncesink.offsets where partition = 1 for update`)
	r.must(err)
	r.start()
	r.waitApplied(50)
	if got := r.position(1); got != 10 {
		t.Errorf("position of the held partition is %d, want 10", got)
	}
	r.must(stranger.Rollback(t.Context()))
	r.waitApplied(60)
	r.verify(map[int32]int64{0: 20, 1: 20, 2: 20})
}

// endAfter stops the process gracefully when n events were applied.
func (p *process) endAfter(r *rig, n int64) error {
	r.t.Helper()
	r.waitApplied(n)
	return p.end(r.t)
}

// Silent loss 2: an error of the hook that is a cancelled context stops the group
// for good. The ledger is locked for longer than the hook may take.
func TestTimeoutInTheHook(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 2)
	r.produce(0, 0, 10)
	r.produce(1, 100, 10)
	stranger, err := r.pool.Begin(t.Context())
	r.must(err)
	_, err = stranger.Exec(t.Context(), `lock table oncesink.offsets in access exclusive mode`)
	r.must(err)
	p := r.start()
	eventually(t, "the hook gives up", func() bool { return strings.Contains(p.log.String(), "going on in the background") })
	r.must(stranger.Rollback(t.Context()))
	r.waitApplied(20)
	r.verify(map[int32]int64{0: 10, 1: 10})
}

// Silent loss 3: a position past the log's end is reset to its start, or polled
// thousands of times a second. It must halt, name the range, and go on when an
// operator has decided.
func TestPositionPastTheEnd(t *testing.T) { onBoth(t, positionPastTheEnd) }

func positionPastTheEnd(t *testing.T, brokers []string, topic string) {
	r := newRig(t, brokers, topic, 2)
	r.produce(0, 0, 10)
	r.produce(1, 100, 10)
	r.must(r.start().endAfter(r, 20))
	r.exec(`update oncesink.offsets set next_offset = 1000, leader_epoch = -1 where partition = 0`)
	r.produce(1, 110, 10)
	r.start()
	if why := r.halted(0); !strings.Contains(why, "1000") || !strings.Contains(why, "10") {
		t.Errorf("the reason does not name the range: %s", why)
	}
	r.waitApplied(30) // the other partition goes on
	r.exec(`select oncesink.rewind($1, $2, 0, 10)`, group, r.topic)
	r.produce(0, 10, 5)
	r.waitApplied(35)
	r.verify(map[int32]int64{0: 15, 1: 20})
}

// Silent loss 4: a truncated log is reported once and then read on.
func TestTruncatedLog(t *testing.T) {
	cluster := testkafka.Fake(t)
	r := newRig(t, cluster.ListenAddrs(), "orders", 1)
	r.produce(0, 0, 10)
	r.must(r.start().endAfter(r, 10))
	r.produce(0, 10, 10)
	truncateAt(cluster, 4)
	r.start()
	if why := r.halted(0); !strings.Contains(why, "truncated") || !strings.Contains(why, "4") {
		t.Errorf("the reason does not name the range: %s", why)
	}
	if got := r.position(0); got != 10 {
		t.Errorf("position %d, want 10: nothing may be applied after a truncation", got)
	}
}

// Silent loss 4: nor is it told of at all where a lane does not run when the client asks, and is moved to its position later: what was
// truncated while it was paused halts when it is resumed.
func TestTruncatedWhilePaused(t *testing.T) {
	cluster := testkafka.Fake(t)
	r := newRig(t, cluster.ListenAddrs(), "orders", 1)
	r.produce(0, 0, 10)
	p := r.start()
	r.waitApplied(10)
	r.exec(`select oncesink.pause($1, $2)`, group, r.topic)
	eventually(t, "the partition is paused", func() bool { return p.states() == "orders/0 paused" })
	truncateAt(cluster, 4)
	r.produce(0, 10, 10)
	r.exec(`select oncesink.resume($1, $2)`, group, r.topic)
	if why := r.halted(0); !strings.Contains(why, "lies past the log's end 4") {
		t.Errorf("halted: %s", why)
	}
	if got := r.queryInt(`select count(*) from applied`); got != 10 {
		t.Errorf("%d events applied, want 10: nothing may be applied after a truncation", got)
	}
}

// truncateAt has the brokers say that every epoch ended at an offset.
func truncateAt(cluster *kfake.Cluster, end int64) {
	cluster.ControlKey(int16(kmsg.OffsetForLeaderEpoch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
		for _, rt := range req.(*kmsg.OffsetForLeaderEpochRequest).Topics {
			st := kmsg.NewOffsetForLeaderEpochResponseTopic()
			st.Topic = rt.Topic
			for _, rp := range rt.Partitions {
				sp := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
				sp.Partition, sp.LeaderEpoch, sp.EndOffset = rp.Partition, rp.LeaderEpoch, end
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
}

// Silent loss 5, rule 12: a topic that was deleted and created again resumes in the
// middle of a log that has nothing to do with the position.
func TestRecreatedTopic(t *testing.T) { onBoth(t, recreatedTopic) }

func recreatedTopic(t *testing.T, brokers []string, topic string) {
	for _, running := range []bool{false, true} {
		name := map[bool]string{false: "while stopped", true: "while running"}[running]
		t.Run(name, func(t *testing.T) {
			r := newRig(t, brokers, topic+map[bool]string{true: "-running"}[running], 1)
			r.produce(0, 0, 10)
			p := r.start()
			r.waitApplied(10)
			if !running {
				r.must(p.end(t))
			}
			_, err := r.admin.DeleteTopic(t.Context(), r.topic)
			r.must(err)
			eventually(t, "the topic is created again", func() bool {
				resp, err := r.admin.CreateTopic(t.Context(), 1, 1, nil, r.topic)
				return err == nil && resp.Err == nil
			})
			r.client.PurgeTopicsFromClient(r.topic)
			r.produce(0, 1000, 30)
			if !running {
				r.start()
			}
			why := r.halted(0)
			if !strings.Contains(why, "recreated") && !strings.Contains(why, "gone") {
				t.Errorf("halted for another reason: %s", why)
			}
			if got := r.queryInt(`select count(*) from events where id >= 1000`); got != 0 {
				t.Errorf("%d events of the new topic were applied before anybody adopted it", got)
			}
			id := r.topicID()
			r.exec(`select oncesink.adopt($1, $2, $3)`, group, r.topic, id)
			eventually(t, "the new topic is read from its beginning", func() bool {
				return r.queryInt(`select count(*) from events where id >= 1000`) == 30
			})
			if got := r.queryInt(`select count(*) from events`); got != 40 {
				t.Errorf("%d rows, want the old 10 and the new 30", got)
			}
		})
	}
}

func (r *rig) topicID() string {
	r.t.Helper()
	topics, err := r.admin.ListTopics(r.t.Context(), r.topic)
	r.must(err)
	return offsets.Token(topics[r.topic].ID).String()
}

// Silent loss 6, rule 3: what was polled and then dropped must be polled again. An
// operator draws new fences all the time while records flow and members come and go.
func TestDroppedBatchesArePolledAgain(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 4)
	const n = 2500
	r.start(smallBatches)
	for p := range int32(4) {
		r.produce(p, int(p)*n, n/2)
	}
	r.waitApplied(100)
	second := r.start(smallBatches)
	ctx, cancel := context.WithCancel(t.Context())
	churned := make(chan int)
	go func() {
		rounds := 0
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				churned <- rounds
				return
			case <-tick.C:
			}
			if _, err := r.pool.Exec(t.Context(), `update oncesink.offsets set fence = gen_random_uuid() where partition = $1`, rounds%4); err != nil {
				t.Error(err)
			}
			rounds++
		}
	}()
	for p := range int32(4) {
		r.produce(p, int(p)*n+n/2, n/2)
	}
	r.waitApplied(n)
	r.must(second.end(t))
	r.waitApplied(2 * n)
	cancel()
	if rounds := <-churned; rounds < 5 {
		t.Fatalf("only %d fences were drawn while records flowed: the fault did not fire", rounds)
	}
	r.waitApplied(4 * n)
	r.verify(map[int32]int64{0: n, 1: n, 2: n, 3: n})
}

// Records that were deleted before they were read are a gap with a name.
func TestDeletedUnread(t *testing.T) { onBoth(t, deletedUnread) }

func deletedUnread(t *testing.T, brokers []string, topic string) {
	r := newRig(t, brokers, topic, 1)
	r.produce(0, 0, 10)
	r.must(r.start().endAfter(r, 10))
	r.produce(0, 10, 30)
	r.deleteRecords(0, 25)
	r.start()
	if why := r.halted(0); !strings.Contains(why, "offsets 10 to 24 are missing") {
		t.Errorf("the reason does not name the range: %s", why)
	}
	r.exec(`select oncesink.accept_gap($1, $2, 0, 25)`, group, r.topic)
	r.waitApplied(25)
	if got := r.position(0); got != 40 {
		t.Errorf("position %d, want 40", got)
	}
}

// Rule 7: a row that vanishes after it was held stops the partition; it is not made
// again, because where it stood is not known.
func TestRowVanishes(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
	r.produce(0, 0, 10)
	p := r.start()
	r.waitApplied(10)
	r.exec(`delete from oncesink.offsets`)
	r.produce(0, 10, 10)
	eventually(t, "the partition halts", func() bool { return strings.Contains(p.log.String(), "partition halted") })
	if got := r.queryInt(`select count(*) from oncesink.offsets`); got != 0 {
		t.Errorf("%d rows in the ledger, want none", got)
	}
	if got := r.queryInt(`select count(*) from applied`); got != 10 {
		t.Errorf("%d events applied, want 10", got)
	}
}

// Rule 8: pause, resume and rewind are noticed on a topic where nothing happens.
func TestOperator(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 2)
	r.produce(0, 0, 10)
	r.produce(1, 100, 10)
	r.start()
	r.waitApplied(20)
	claim := r.claimOf(0)
	r.exec(`select oncesink.pause($1, $2, 0)`, group, r.topic)
	eventually(t, "the owner claims the paused row", func() bool { return r.claimOf(0) != claim })
	r.produce(0, 10, 10)
	r.produce(1, 110, 10)
	r.waitApplied(30)
	if got := r.position(0); got != 10 {
		t.Errorf("position of the paused partition is %d, want 10", got)
	}
	r.exec(`select oncesink.resume($1, $2, 0)`, group, r.topic)
	r.waitApplied(40)
	r.exec(`select oncesink.rewind($1, $2, 0, 0)`, group, r.topic)
	eventually(t, "every event was applied once more", func() bool { return r.queryInt(`select count(*) from applied where n = 2 and partition = 0`) == 20 })
	if got := r.queryInt(`select count(*) from events`); got != 40 {
		t.Errorf("%d rows after the replay, want 40", got)
	}
}

func (r *rig) claimOf(partition int32) (claim string) {
	r.t.Helper()
	r.must(r.pool.QueryRow(r.t.Context(), `select coalesce(claim::text, '') from oncesink.offsets where sink_group = $1 and topic = $2 and partition = $3`,
		group, r.topic, partition).Scan(&claim))
	return claim
}
