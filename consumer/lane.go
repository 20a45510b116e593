package consumer

import (
	"context"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// state of a lane.
type state uint8

const (
	claiming state = iota // not ours yet, or no longer: whatever is polled is dropped
	running
	paused // by an operator
	halted // by an error that a person has to look at
	closed // revoked, lost or stopped: the end
)

// lane is one partition on its way through this process: polled records queue up, one
// goroutine decodes them into a part, and a writer takes the part when the lane has no
// transaction in flight. So decoding overlaps the commit, and a partition never has
// two transactions at a time.
//
// A lane accepts records only while it is running. Whoever makes it leave that
// state drops what it holds. It begins to run before its first fetch, or in the poll loop,
// together with SetOffsets, so that nothing polled before can slip in behind it.
type lane struct {
	offsets.Partition
	mu      sync.Mutex
	changed *sync.Cond // on mu: any change of the fields below
	state   state
	cause   error // why halted
	turns   int   // how often it left a state
	sight   sight // the ledger's row since it halted

	topicID offsets.Token // of the first claim; set once
	claim   offsets.Claim // what we hold; its position is the last committed one
	next    int64         // offset expected from the next poll

	beyond   bool          // a record past the lane's bound was polled: see Config.Until
	raw      []sink.Record // polled, not decoded
	rawBytes int
	part     *engine.Part // decoded, waiting for a writer

	inFlight bool               // a writer has taken a part
	flying   int                // its bytes
	cancel   context.CancelFunc // ends the transaction in flight
	throttle bool               // fetching is suspended until the lane has drained
}

func newLane(p offsets.Partition) *lane {
	l := &lane{Partition: p, part: new(engine.Part)}
	l.changed = sync.NewCond(&l.mu)
	return l
}

// offer queues polled records. If the lane is full by then it calls suspend, which stops fetching,
// before anybody can find the lane drained: a resume that came first would be undone for good.
func (l *lane) offer(recs []*kgo.Record, limits Config, suspend func(*lane)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != running {
		return
	}
	for len(recs) > 0 && recs[0].Offset < l.next {
		recs = recs[1:]
	}
	if len(recs) == 0 {
		return
	}
	l.raw = slices.Grow(l.raw, len(recs))
	for _, r := range recs {
		l.raw = append(l.raw, ToRecord(r))
		l.rawBytes += rawBytes(len(r.Key), len(r.Value))
	}
	l.next = recs[len(recs)-1].Offset + 1
	l.changed.Broadcast()
	if !l.throttle && (len(l.raw) > 2*limits.MaxBatchRecords || l.rawBytes > limits.MaxBatchBytes) {
		l.throttle = true
		suspend(l)
	}
}

// bounded notes that the log goes on past the lane's bound.
func (l *lane) bounded() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.beyond = true
}

// applied reports whether everything below the bound is committed.
func (l *lane) applied(bound int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.claim.ID.IsZero() || l.state != running {
		return false
	}
	return l.claim.Position.Next >= bound || l.beyond && len(l.raw) == 0 && l.part.Records() == 0 && !l.inFlight
}

// memory is roughly how many bytes the lane holds.
func (l *lane) memory() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(l.rawBytes + l.part.Bytes() + l.flying)
}

// decodeChunk is how many records are decoded before a waiting writer gets its
// turn at the lane's lock.
const decodeChunk = 256

// decode moves records from the queue to the part until the lane is closed.
// It calls ready when there is something for a writer, and drained, under the lane's
// lock, when a throttled lane may be fetched again.
func (l *lane) decode(s *engine.Sink, limits Config, ready, drained func(*lane)) {
	for {
		l.mu.Lock()
		for l.state != closed && (len(l.raw) == 0 || l.part.Records() >= limits.MaxBatchRecords || l.part.Bytes() >= limits.MaxBatchBytes) {
			l.changed.Wait()
		}
		if l.state == closed {
			l.mu.Unlock()
			return
		}
		n := min(decodeChunk, len(l.raw), limits.MaxBatchRecords-l.part.Records())
		if l.part.Records() == 0 {
			l.part.Grow(min(len(l.raw), limits.MaxBatchRecords), l.rawBytes)
		}
		chunk := l.raw[:n]
		for i := range chunk {
			l.rawBytes -= rawBytes(len(chunk[i].Key), len(chunk[i].Value))
		}
		s.Add(l.part, chunk...)
		clear(chunk)
		l.raw = l.raw[n:]
		if len(l.raw) == 0 {
			l.raw = nil
		}
		if l.throttle && len(l.raw) <= limits.MaxBatchRecords && l.rawBytes <= limits.MaxBatchBytes/2 {
			l.throttle = false
			drained(l)
		}
		idle := !l.inFlight
		l.mu.Unlock()
		if idle {
			ready(l)
		}
	}
}

// take hands the part to a writer. It returns nil if there is nothing to write.
func (l *lane) take(cancel context.CancelFunc) *engine.Part {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != running || l.inFlight || l.part.Records() == 0 {
		return nil
	}
	p := l.part
	p.Claim = l.claim
	l.part = new(engine.Part)
	l.inFlight, l.flying, l.cancel = true, p.Bytes(), cancel
	l.changed.Broadcast()
	return p
}

// leave makes the lane drop what it holds and stop accepting records.
// A closed lane stays closed. It reports the state it left.
func (l *lane) leave(to state, cause error) (from state) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from = l.state
	if from == closed {
		return from
	}
	l.state, l.cause, l.sight = to, cause, sight{}
	l.turns++
	l.raw, l.rawBytes, l.part, l.throttle, l.beyond = nil, 0, new(engine.Part), false, false
	l.changed.Broadcast()
	return from
}

// hold notes a claim that was won.
func (l *lane) hold(c offsets.Claim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.topicID.IsZero() {
		l.topicID = c.TopicID
	}
	l.claim = c
}

// start makes the lane run under a claim. It is called before the first fetch of the
// partition (firstClaims), or by the poll loop right after it moved the fetch position
// (begin): what was polled before must not be offered to a lane that runs.
func (l *lane) start(c offsets.Claim) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == closed {
		return false
	}
	l.claim, l.next, l.cause = c, c.Position.Next, nil
	l.raw, l.rawBytes, l.part, l.throttle, l.beyond = nil, 0, new(engine.Part), false, false
	l.state = running
	if c.Paused {
		l.state = paused
	}
	return l.state == running
}

// landed records the end of the transaction in flight.
func (l *lane) landed(c offsets.Claim, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight, l.flying, l.cancel = false, 0, nil
	if ok {
		l.claim = c
	}
	l.changed.Broadcast()
}

// waitIdle waits until no transaction is in flight, or ctx ends.
func (l *lane) waitIdle(ctx context.Context) {
	wake := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.changed.Broadcast()
	})
	defer wake()
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.inFlight && ctx.Err() == nil {
		l.changed.Wait()
	}
}

// abort cancels the transaction in flight, if any.
func (l *lane) abort() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel != nil {
		l.cancel()
	}
}

// see notes the row of a lane that has halted, unless the lane moved on since the look v.
func (l *lane) see(v view, row *offsets.Row) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turns == v.turns && l.state == halted {
		l.sight = sight{known: true, row: row}
	}
}

// view is a consistent look at a lane.
type view struct {
	state    state
	turns    int
	claim    offsets.Claim
	inFlight bool
	next     int64
	cause    error
	sight    sight
}

func (l *lane) view() view {
	l.mu.Lock()
	defer l.mu.Unlock()
	return view{l.state, l.turns, l.claim, l.inFlight, l.next, l.cause, l.sight}
}

// rawBytes is roughly what a record that waits to be decoded holds in memory.
func rawBytes(key, value int) int { return key + value + 200 }
