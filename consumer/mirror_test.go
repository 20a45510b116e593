package consumer

import (
	"fmt"
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// A copy of a position that the group did not take is offered again, on a topic where nothing happens;
// a later position is not overwritten by it.
func TestMirrorTriesAgain(t *testing.T) {
	for _, byHand := range []bool{false, true} {
		t.Run(fmt.Sprintf("by hand %t", byHand), func(t *testing.T) {
			t.Parallel()
			cluster := testkafka.Fake(t)
			r := newRig(t, cluster.ListenAddrs(), "orders", 1)
			var refused atomic.Int32
			cluster.ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
				if refused.Add(1) > 3 {
					return nil, nil, false
				}
				cluster.KeepControl()
				return refuseCommit(req.(*kmsg.OffsetCommitRequest)), nil, true
			})
			r.produce(0, 0, 10)
			r.start(func(c *Config, _ *sink.Config) {
				if byHand {
					c.Assign = map[string][]int32{r.topic: {0}}
				}
			})
			r.waitApplied(10)
			eventually(t, "the group has the position", func() bool {
				got, err := r.admin.FetchOffsets(t.Context(), group)
				o, ok := got.Lookup(r.topic, 0)
				return err == nil && ok && o.At == 10
			})
		})
	}
}

// What failed is offered again only while it is the newest of a partition that is still held by that claim.
func TestMirrorKeepsWhatIsNewest(t *testing.T) {
	m := still(t, nil)
	moved := func(l *lane, next int64) offsets.Claim {
		c := l.claim
		c.Position.Next = next
		m.mirror.moved(c)
		return c
	}
	kept, newer, reclaimed, gone := m.runAt(0, 0), m.runAt(1, 0), m.runAt(2, 0), m.runAt(3, 0)
	failed := map[offsets.Partition]offsets.Claim{}
	for _, l := range []*lane{kept, newer, reclaimed, gone} {
		failed[l.Partition] = moved(l, 10)
	}
	clear(m.mirror.dirty) // on their way to the group
	moved(newer, 20)
	reclaimed.start(offsets.Claim{Partition: reclaimed.Partition, ID: offsets.NewToken(), Position: offsets.Position{Next: 5}})
	m.mirror.again(m, failed)
	m.revoked(t.Context(), m.client, map[string][]int32{"orders": {3}})
	m.mirror.again(m, failed)
	got := map[int32]int64{}
	for p, c := range m.mirror.dirty {
		got[p.Partition] = c.Position.Next
	}
	if want := map[int32]int64{0: 10, 1: 20}; !maps.Equal(got, want) {
		t.Errorf("to be offered: %v, want %v", got, want)
	}
}

// The first attempt that waits does so for about 100 ms, later ones for about 10 s.
func TestDelay(t *testing.T) {
	for range 200 {
		if d := delay(1); d < 50*time.Millisecond || d > 150*time.Millisecond {
			t.Fatalf("the second attempt waits %v", d)
		}
		if d := delay(2); d < 75*time.Millisecond || d > 225*time.Millisecond {
			t.Fatalf("the third attempt waits %v", d)
		}
		if d := delay(1000); d < 5*time.Second || d > 15*time.Second {
			t.Fatalf("a late attempt waits %v", d)
		}
	}
}
