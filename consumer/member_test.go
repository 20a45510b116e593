package consumer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// still returns a member that is not run: it has a client without a group, and none
// of its recoveries comes to anything.
func still(t *testing.T, change func(*Config)) *member {
	t.Helper()
	cfg := Config{Brokers: []string{"localhost:1"}, Group: group, Topics: map[string]Start{"orders": {}}, Assign: map[string][]int32{"orders": nil}}
	if change != nil {
		change(&cfg)
	}
	cfg.Assign["orders"] = append(cfg.Assign["orders"], 0)
	c, err := NewWith(cfg, wiring.Parts{})
	if err != nil {
		t.Fatal(err)
	}
	m := newMember(c)
	if err := m.open(); err != nil {
		t.Fatal(err)
	}
	m.endWork()
	m.endLife()
	t.Cleanup(func() {
		m.client.Close()
		m.routine.Wait()
	})
	return m
}

// runAt gives m a running lane at an offset.
func (m *member) runAt(partition int32, next int64) *lane {
	l := newLane(offsets.Partition{Topic: "orders", Partition: partition})
	m.lanes[l.Partition] = l
	l.start(offsets.Claim{Partition: l.Partition, ID: offsets.NewToken(), Position: offsets.Position{Next: next}})
	return l
}

// A revocation waits for the transaction in flight, and cancels it only when the
// grace is over; partitions that are lost have none.
func TestRevocationAndTheRunningTransaction(t *testing.T) {
	gone := map[string][]int32{"orders": {0}}
	revoked := func(m *member) { m.revoked(t.Context(), m.client, gone) }
	lost := func(m *member) { m.lost(t.Context(), m.client, gone) }
	for _, test := range []struct {
		name     string
		grace    time.Duration
		leave    func(*member)
		finishes bool // by itself, in a while; otherwise it ends only when it is cancelled
	}{
		{"revoked, within the grace", time.Hour, revoked, true},
		{"revoked, past the grace", 10 * time.Millisecond, revoked, false},
		{"lost", time.Hour, lost, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := still(t, func(c *Config) { c.RebalanceGrace = test.grace })
			m.life = t.Context()
			l := m.runAt(0, 10)
			tx, cancel := context.WithCancel(t.Context())
			defer cancel()
			l.inFlight, l.cancel = true, cancel
			ended := make(chan error, 1)
			go func() {
				var after <-chan time.Time
				if test.finishes {
					after = time.After(200 * time.Millisecond)
				}
				select {
				case <-after:
				case <-tx.Done():
				case <-time.After(10 * time.Second):
				}
				ended <- tx.Err()
				l.landed(offsets.Claim{}, false)
			}()
			test.leave(m)
			select {
			case err := <-ended:
				if cancelled := err != nil; cancelled == test.finishes {
					t.Errorf("transaction cancelled: %t, want %t", cancelled, !test.finishes)
				}
			default:
				t.Error("the partition was given up while its transaction ran")
			}
			if got := l.view().state; got != closed {
				t.Errorf("state %d, want closed", got)
			}
		})
	}
}

// Silent loss 6: a part that was not committed is gone, so its lane must not go on
// behind it, whatever the reason was.
func TestUncommittedPartStopsItsLane(t *testing.T) {
	for _, test := range []struct {
		err  error
		want state
	}{
		{nil, running},
		{context.Canceled, claiming},
		{context.DeadlineExceeded, claiming},
		{fmt.Errorf("commit: %w", &offsets.FencedError{}), claiming},
		{&decode.MissingSchema{}, claiming},
		{&sink.HaltError{Err: errors.New("a bad record")}, halted},
		{&sink.ConfigError{Problem: "no such table"}, halted},
	} {
		t.Run(fmt.Sprint(test.err), func(t *testing.T) {
			m := still(t, nil)
			l := m.runAt(0, 10)
			l.inFlight = true
			claim := l.claim
			claim.Position.Next = 20
			m.settle(l, engine.Outcome{Claim: claim, Err: test.err})
			v := l.view()
			if v.state != test.want {
				t.Errorf("state %d, want %d", v.state, test.want)
			}
			if v.inFlight {
				t.Error("the transaction is still in flight")
			}
			if moved := v.claim.Position.Next == 20; moved != (test.err == nil) {
				t.Errorf("position %d after %v", v.claim.Position.Next, test.err)
			}
		})
	}
}

// Records that were deleted behind a fetch's back are a gap; offsets that the log
// merely skips are not.
func TestGapInAFetch(t *testing.T) {
	for _, test := range []struct {
		name     string
		logStart int64
		want     state
	}{
		{"deleted", 25, halted},
		{"skipped", 10, running},
		{"skipped, older ones deleted", 3, running},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := still(t, nil)
			l := m.runAt(0, 10)
			m.dispatch(kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: "orders", Partitions: []kgo.FetchPartition{
				{LogStartOffset: test.logStart, Records: []*kgo.Record{{Topic: "orders", Offset: 25}}},
			}}}}})
			v := l.view()
			if v.state != test.want {
				t.Errorf("state %d, want %d", v.state, test.want)
			}
			var gap *GapError
			if test.want == halted && (!errors.As(v.cause, &gap) || gap.From != 10 || gap.To != 25) {
				t.Errorf("halted with %v, want the gap of 10 to 25", v.cause)
			}
			if test.want == running && v.next != 26 {
				t.Errorf("next %d, want 26", v.next)
			}
		})
	}
}

// What was fetched before a gap is written before the partition halts: the statement that goes past the gap would go past it, too.
func TestHaltBehindWhatIsHeld(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 0)
	m := still(t, nil)
	m.work, m.endWork = context.WithCancel(t.Context())
	t.Cleanup(func() { m.endWork() })
	m.ledger = offsets.New(r.pool, group, offsets.Options{ClusterID: "test"})
	l := m.runAt(0, 10)
	fetch := func(logStart int64, records ...*kgo.Record) {
		m.dispatch(kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: "orders", Partitions: []kgo.FetchPartition{{LogStartOffset: logStart, Records: records}}}}}})
	}
	fetch(0, &kgo.Record{Topic: "orders", Offset: 10}, &kgo.Record{Topic: "orders", Offset: 11})
	fetch(25, &kgo.Record{Topic: "orders", Offset: 25})
	if v := l.view(); v.state != running || v.next != 12 {
		t.Fatalf("state %d, next %d: two records wait to be written", v.state, v.next)
	}
	d := *m.decoder
	d.add = func(p *decode.Part, recs ...sink.Record) (int, error) {
		p.Records = append(p.Records, recs...)
		return len(recs), nil
	}
	m.spawn(func() { l.decode(&d) })
	t.Cleanup(func() { l.leave(closed, nil) })
	var part *decode.Part
	eventually(t, "the records are decoded", func() bool {
		part = l.take(func() {})
		return part != nil
	})
	if v := l.view(); part.Len() != 2 || v.state != running {
		t.Fatalf("%d records, state %d: they are in flight", part.Len(), v.state)
	}
	after := part.Claim
	after.Position.Next = 12
	l.landed(after, true)
	eventually(t, "the partition halts", func() bool { return l.view().state == halted })
	var gap *GapError
	if v := l.view(); !errors.As(v.cause, &gap) || gap.From != 12 || gap.To != 25 || v.claim.Position.Next != 12 {
		t.Errorf("halted at %d with %v", v.claim.Position.Next, v.cause)
	}
}

// A lane that holds two batches is not fetched further, nor is anything while all
// lanes together hold more than the buffer limit. It is suspended while its lock is held: the decoder, which
// resumes it, can't come first.
func TestBackPressure(t *testing.T) {
	recs := func(first, n, bytes int) []*kgo.Record {
		rs := make([]*kgo.Record, n)
		for i := range rs {
			rs[i] = &kgo.Record{Topic: "orders", Offset: int64(first + i), Value: make([]byte, bytes)}
		}
		return rs
	}
	limits := &Config{MaxBatchRecords: 10, MaxBatchBytes: 10_000}
	m := still(t, func(c *Config) { c.BufferBytes = 15_000 })
	many, big := m.runAt(0, 0), m.runAt(1, 0)
	offer := func(l *lane, recs []*kgo.Record) (full bool) {
		l.offer(recs, limits, func(*lane) {
			full = true
			if l.mu.TryLock() {
				t.Error("a lane is suspended after others could find it drained")
				l.mu.Unlock()
			}
		})
		return full
	}
	if offer(many, recs(0, 20, 1)) {
		t.Error("a lane with two batches is full")
	}
	if !offer(many, recs(20, 1, 1)) {
		t.Error("a lane with more than two batches is not full")
	}
	if offer(big, recs(0, 1, 5000)) {
		t.Error("a lane with half a batch of bytes is full")
	}
	if !m.room(t.Context()) {
		t.Error("no room below the limit")
	}
	if !offer(big, recs(1, 1, 9000)) {
		t.Error("a lane with more than a batch of bytes is not full")
	}
	if m.room(t.Context()) {
		t.Error("room above the limit")
	}
}

// One transaction of a partition is in flight at a time, and one transaction takes a
// bounded number of partitions.
func TestTakingParts(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 0)
	pool, _, err := offsets.NewPool(t.Context(), r.url, 2)
	r.must(err)
	defer pool.Close()
	m := still(t, nil)
	m.sink, err = engine.Open(t.Context(), pool, offsets.New(pool, group, offsets.Options{ClusterID: "test"}), r.sinkConfig())
	r.must(err)
	record := func(l *lane, offset int64) {
		m.sink.Add(l.part, sink.Record{Topic: "orders", Partition: l.Partition.Partition, Offset: offset, Value: []byte(`{"id":1,"v":"x"}`)})
	}
	for p := range int32(maxGroup + 10) {
		l := m.runAt(p, 0)
		record(l, 0)
		m.ready.push(l)
	}
	cancel := func() {}
	lanes, parts := m.gather(cancel)
	if len(lanes) != maxGroup || len(parts) != maxGroup {
		t.Fatalf("%d parts of %d partitions in a transaction, want %d", len(parts), len(lanes), maxGroup)
	}
	l := lanes[0]
	record(l, 1)
	if l.take(cancel) != nil {
		t.Error("a second transaction of the partition began while one was in flight")
	}
	l.landed(l.claim, true)
	if l.take(cancel) == nil {
		t.Error("nothing to write after the first transaction landed")
	}
}

// Silent loss 5: records of another topic under the same name are not accepted.
func TestFetchOfARecreatedTopic(t *testing.T) {
	was, is := offsets.NewToken(), offsets.NewToken()
	for _, test := range []struct {
		name string
		id   offsets.Token
		want state
	}{
		{"the same", was, running},
		{"a broker that sends no ids", offsets.Token{}, running},
		{"another", is, halted},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := still(t, nil)
			l := m.runAt(0, 10)
			l.topicID = was
			m.dispatch(kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: "orders", TopicID: test.id, Partitions: []kgo.FetchPartition{
				{Records: []*kgo.Record{{Topic: "orders", Offset: 10}}},
			}}}}})
			v := l.view()
			if v.state != test.want {
				t.Errorf("state %d, want %d", v.state, test.want)
			}
			var changed *offsets.TopicChangedError
			if test.want == halted && (!errors.As(v.cause, &changed) || changed.Was != was || changed.Is != is) {
				t.Errorf("halted with %v, want the change of topics", v.cause)
			}
		})
	}
}

// The end is reached when every partition is there or can't go on, in this process
// or in another one.
func TestAtEnd(t *testing.T) {
	p0, p1 := offsets.Partition{Topic: "orders"}, offsets.Partition{Topic: "orders", Partition: 1}
	ends := map[offsets.Partition]int64{p0: 10, p1: 20}
	at := func(p offsets.Partition, next int64) offsets.Row {
		return offsets.Row{Partition: p, Position: offsets.Position{Next: next}}
	}
	now := map[offsets.Partition]int64{p0: 10, p1: 25}
	paused, stopped, stoppedAtEnd, stoppedPast := at(p1, 5), at(p1, 5), at(p1, 20), at(p1, 26)
	paused.Paused, stopped.Halted, stoppedAtEnd.Halted, stoppedPast.Halted = true, "a bad record", "a bad record", "a lost log"
	for _, test := range []struct {
		name string
		rows []offsets.Row
		// dead letters that are to be tried again
		asked map[offsets.Partition]bool
		own   bool // partition 1 has halted here, and the ledger does not say so yet
		done  bool
		why   string
	}{
		{name: "all there", rows: []offsets.Row{at(p0, 10), at(p1, 25)}, done: true},
		{name: "one past what the log has", rows: []offsets.Row{at(p0, 10), at(p1, 26)}},
		{name: "past, and halted", rows: []offsets.Row{at(p0, 10), stoppedPast}, done: true, why: "a lost log"},
		{name: "all there, letters to be tried", rows: []offsets.Row{at(p0, 10), at(p1, 25)}, asked: map[offsets.Partition]bool{p1: true}},
		{name: "halted behind the end, with letters", rows: []offsets.Row{at(p0, 10), stoppedAtEnd}, asked: map[offsets.Partition]bool{p1: true}, done: true},
		{name: "one behind", rows: []offsets.Row{at(p0, 10), at(p1, 19)}},
		{name: "one without a row", rows: []offsets.Row{at(p0, 10)}},
		{name: "paused", rows: []offsets.Row{at(p0, 10), paused}, done: true, why: "paused by an operator at offset 5"},
		{name: "halted, maybe elsewhere", rows: []offsets.Row{at(p0, 10), stopped}, done: true, why: "a bad record"},
		{name: "halted behind the end", rows: []offsets.Row{at(p0, 10), stoppedAtEnd}, done: true},
		{name: "halted here", rows: []offsets.Row{at(p0, 10), at(p1, 5)}, own: true, done: true, why: "a full disk"},
		{name: "halted, the other behind", rows: []offsets.Row{at(p0, 9), stopped}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := still(t, nil)
			m.asked = test.asked
			if m.asked == nil {
				m.asked = map[offsets.Partition]bool{}
			}
			if test.own {
				m.runAt(1, 5).leave(halted, errors.New("a full disk"))
			}
			done, halts := m.atEnd(test.rows, ends, now)
			if done != test.done {
				t.Errorf("done: %t, want %t", done, test.done)
			}
			if got := fmt.Sprint(halts); test.why != "" && !strings.Contains(got, test.why) || test.why == "" && halts != nil {
				t.Errorf("halts %q, want %q", got, test.why)
			}
		})
	}
}
