//go:build heldup

package consumer

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/testkafka"
)

// TestHeldUp is run by TestFetchesGoOn, with a client whose loop of fetches can be held up.
func TestHeldUp(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
	r.produce(0, 0, 10)
	p := r.start()
	r.waitApplied(10)
	// Positions are set twice, each time in a session of the client's own: away, and to where they are to be. The loop that begins in the
	// first session is held up until the second one has begun, and has asked it to go on.
	var held atomic.Bool
	var sessions atomic.Int32
	begun, release := make(chan struct{}), make(chan struct{})
	loop := func() {
		if sessions.Load() >= 1 && held.CompareAndSwap(false, true) {
			close(begun)
			<-release
		}
	}
	session := func() {
		if sessions.Add(1) >= 2 {
			select {
			case <-begun:
			case <-time.After(time.Second): // it begins in a later one
			}
		}
	}
	kgo.HoldLoop.Store(&loop)
	kgo.HoldSession.Store(&session)
	r.exec(`select oncesink.rewind('orders-sink', 'orders', 0, 0)`)
	eventually(t, "the loop is held up where positions are set", held.Load)
	eventually(t, "the partition runs from the beginning", func() bool {
		all := p.Status()
		return len(all) == 1 && all[0].State == Running && all[0].Position == 0
	})
	close(release)
	eventually(t, "it is read again", func() bool { return r.queryInt(`select next_offset from oncesink.offsets`) == 10 })
	r.must(p.end(t))
}
