package consumer

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// slowLane is a running lane whose decoder stands still with each chunk until it is let go.
type slowLane struct {
	*lane
	m       *member
	entered chan int // records of a chunk that is about to be decoded
	release chan struct{}
	resumed chan struct{} // one token each time that it was drained
}

func newSlowLane(t *testing.T) *slowLane {
	t.Helper()
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 0)
	pool, _, err := offsets.NewPool(t.Context(), r.url, 2)
	r.must(err)
	t.Cleanup(pool.Close)
	m := still(t, func(c *Config) { c.MaxBatchRecords, c.BufferBytes = 400, 1<<30 })
	m.sink, err = engine.Open(t.Context(), pool, offsets.New(pool, group, offsets.Options{ClusterID: "test"}), r.sinkConfig())
	r.must(err)
	s := &slowLane{lane: m.runAt(0, 0), m: m, entered: make(chan int, 100), release: make(chan struct{}), resumed: make(chan struct{}, 100)}
	d := *m.decoder
	d.add = func(p *decode.Part, records ...sink.Record) (int, error) {
		s.entered <- len(records)
		<-s.release
		return m.sink.Add(p, records...)
	}
	d.drained = func(*lane) { s.resumed <- struct{}{} }
	m.spawn(func() { s.decode(&d) })
	t.Cleanup(func() {
		close(s.release)
		s.leave(closed, nil)
	})
	return s
}

func (s *slowLane) poll(first, n int) {
	recs := make([]*kgo.Record, n)
	for i := range recs {
		recs[i] = &kgo.Record{Topic: "orders", Offset: int64(first + i), Value: fmt.Appendf(nil, `{"id":%d,"v":"x"}`, first+i)}
	}
	s.offer(recs, &s.m.cfg, func(*lane) {})
}

// soon fails the test if f waits for something.
func soon(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s waits for the decoder", what)
	}
}

// While records are decoded neither the poll loop nor the hooks nor the writers wait for the lane.
func TestNobodyWaitsForTheDecoder(t *testing.T) {
	s := newSlowLane(t)
	s.poll(0, decodeChunk)
	whole := s.memory()
	if n := <-s.entered; n != decodeChunk {
		t.Fatalf("%d records are decoded at once, want %d", n, decodeChunk)
	}
	soon(t, "a look at the lane", func() {
		if got := s.memory(); got < whole {
			t.Errorf("%d bytes are held while they are decoded, were %d before", got, whole)
		}
		s.bounded()
		if s.applied(1000) {
			t.Error("everything is said to be applied while records are decoded")
		}
	})
	m, idle := s.m, s.m.runAt(1, 0)
	m.ready.push(idle)
	m.ready.push(s.lane)
	soon(t, "the poll loop", func() {
		m.room(t.Context())
		m.dispatch(kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: "orders", Partitions: []kgo.FetchPartition{{Records: []*kgo.Record{{Topic: "orders", Offset: decodeChunk}}}}}}}})
	})
	soon(t, "a writer", func() {
		if err := m.ready.wait(t.Context(), m.big); err != nil {
			t.Error(err)
		}
		if lanes, _ := m.gather(func() {}); len(lanes) != 0 {
			t.Errorf("a writer took %d parts, which are not decoded yet", len(lanes))
		}
	})
	soon(t, "a revocation", func() { m.revoked(t.Context(), m.client, map[string][]int32{"orders": {0}}) })
	if got := s.view().state; got != closed {
		t.Errorf("state %d, want closed", got)
	}
}

// What is being decoded when the lane drops everything is dropped as well, and what comes after is not.
func TestChunkOfADroppedLane(t *testing.T) {
	s := newSlowLane(t)
	s.poll(0, 300)
	<-s.entered
	claim := s.view().claim
	s.leave(claiming, nil)
	claim.Position.Next = 100
	s.start(claim)
	s.poll(100, 10)
	s.release <- struct{}{}
	if n := <-s.entered; n != 10 {
		t.Fatalf("%d records are decoded after those that were dropped, want 10", n)
	}
	if n := s.waiting(); n != 0 {
		t.Errorf("%d records of the dropped chunk wait for a writer", n)
	}
	s.release <- struct{}{}
	eventually(t, "the later records are decoded", func() bool { return s.waiting() == 10 })
	part := s.take(func() {})
	if part.To.Next != 110 || part.Claim.Position.Next != 100 {
		t.Errorf("the part leads from %d to %d, want 100 to 110", part.Claim.Position.Next, part.To.Next)
	}
	if got := s.memory(); got != int64(part.Bytes()) {
		t.Errorf("the lane holds %d bytes, want the %d that are written", got, part.Bytes())
	}
}

// A part never exceeds its bound, although a writer may take it between two chunks; a lane is fetched again once it is drained.
func TestChunksKeepTheBounds(t *testing.T) {
	s := newSlowLane(t)
	s.poll(0, 900) // more than two batches: throttled
	var chunks []int
	next := func() {
		chunks = append(chunks, <-s.entered)
		s.release <- struct{}{}
	}
	next()
	next()
	eventually(t, "a batch is decoded", func() bool { return s.waiting() == 400 })
	if got := len(s.resumed); got != 0 {
		t.Errorf("resumed %d times with more than a batch in the queue", got)
	}
	chunk := s.take(func() {})
	if chunk.Len() != 400 {
		t.Fatalf("%d records taken, want 400", chunk.Len())
	}
	next()
	next()
	eventually(t, "a batch is decoded", func() bool { return s.waiting() == 400 })
	s.landed(s.view().claim, true)
	s.take(func() {})
	next()
	eventually(t, "the rest is decoded", func() bool { return s.waiting() == 100 })
	if want := []int{256, 144, 256, 144, 100}; !slices.Equal(chunks, want) {
		t.Errorf("decoded %v at a time, want %v", chunks, want)
	}
	if got := len(s.resumed); got != 1 {
		t.Errorf("resumed %d times, want once", got)
	}
}

// A writer and the end of a partition are not kept apart by a chunk: closing ends the decoder after it.
func TestDecoderEnds(t *testing.T) {
	s := newSlowLane(t)
	s.poll(0, 300)
	<-s.entered
	s.leave(closed, nil)
	s.release <- struct{}{}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.m.routine.Wait()
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	select {
	case n := <-s.entered:
		t.Errorf("%d records of a closed lane are decoded", n)
	case <-ended:
	case <-ctx.Done():
		t.Error("the decoder of a closed lane does not end")
	}
}
