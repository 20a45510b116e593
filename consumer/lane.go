package consumer

import (
	"context"
	"sync"
	"time"

	"github.com/oncesink/oncesink/internal/decode"
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
// two transactions at a time. Its lock is held for moments: the poll loop, the hooks and the
// writers look at all lanes.
//
// A lane accepts records only while it is running. Whoever makes it leave that
// state drops what it holds. It begins to run before its first fetch, or in the poll loop,
// together with SetOffsets, so that nothing polled before can slip in behind it.
type lane struct {
	offsets.Partition
	assigned time.Time // set once
	mu       sync.Mutex
	changed  *sync.Cond // on mu: any change of the fields below
	state    state
	since    time.Time // in this state
	cause    error     // why halted, or why a claim is still waited for
	turns    int       // how often it left a state
	sight    sight     // the ledger's row, as it last saw it while it halts

	topicID   offsets.Token // of the first claim; set once
	claim     offsets.Claim // what we hold; its position is the last committed one
	committed time.Time     // when its position was moved last
	next      int64         // offset expected from the next poll

	end       int64     // the last stable offset, as last heard; -1 unknown
	heard     bool      // since the ends were last asked for
	ahead     lookAhead // what a look found between the position and the end
	told      change    // of the row that was told of last
	toldSince *known    // the row as it was then; nil once it is claimed

	beyond   bool          // a record past the lane's bound was polled: see wiring.Parts.Until
	raw      []sink.Record // polled, not decoded
	rawBytes int
	decoding int          // bytes of the records that have left the queue and are not in the part yet
	decodeAt time.Time    // of the first of them
	part     *decode.Part // decoded, waiting for a writer

	aside *aside      // not nil: what the client fetches is not for the lane
	wait  *decodeWait // for a schema, or a column, that the records being decoded need; nil: they need none

	inFlight bool               // a writer has taken a part, or dead letters are tried again
	wanted   bool               // whoever tries dead letters again is next
	flying   int                // its bytes
	flyingAt time.Time          // of its first record
	cancel   context.CancelFunc // ends the transaction in flight
	throttle bool               // fetching is suspended until the lane has drained

	unreadable unreadable // the poll loop's own
	retryTold  time.Time  // when it was said last that letters can't be tried: of whoever tries them
}

func newLane(p offsets.Partition) *lane {
	l := &lane{Partition: p, part: new(decode.Part), end: -1, since: time.Now(), assigned: time.Now()}
	l.changed = sync.NewCond(&l.mu)
	return l
}

// take hands the part to a writer. It returns nil if there is nothing to write.
func (l *lane) take(cancel context.CancelFunc) *decode.Part {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != running || l.inFlight || l.wanted || l.part.Len() == 0 {
		return nil
	}
	p := l.part
	p.Claim = l.claim
	l.part = new(decode.Part)
	l.inFlight, l.flying, l.cancel = true, p.Bytes(), cancel
	l.flyingAt = p.Records[0].Timestamp
	l.changed.Broadcast()
	return p
}

// borrow waits until no transaction is in flight and takes the lane for one that moves no position, which cancel ends. It
// reports false if the lane does not run.
func (l *lane) borrow(cancel context.CancelFunc) (offsets.Claim, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wanted = true
	for l.state == running && l.inFlight {
		l.changed.Wait()
	}
	l.wanted = false
	if l.state != running {
		return offsets.Claim{}, false
	}
	l.inFlight, l.cancel = true, cancel
	l.changed.Broadcast()
	return l.claim, true
}

// leave makes the lane drop what it holds, what is being decoded included, and stop accepting
// records. A closed lane stays closed. It reports the state it left.
func (l *lane) leave(to state, cause error) (from state) { return l.leaveAt(to, cause, sight{}) }

// leaveAt is leave for a lane that halts because of what its row says.
func (l *lane) leaveAt(to state, cause error, seen sight) (from state) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from = l.state
	if from == closed {
		return from
	}
	if from != to {
		l.since = time.Now()
	}
	l.state, l.cause, l.sight = to, cause, seen
	l.turns++
	l.endWait()
	l.endAside()
	l.raw, l.rawBytes, l.part, l.throttle, l.beyond = nil, 0, new(decode.Part), false, false
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
	l.claim, l.toldSince = c, nil
}

// start makes the lane run under a claim. It is called before the first fetch of the
// partition (assign), or by the poll loop right after it moved the fetch position
// (begin): what was polled before must not be offered to a lane that runs.
func (l *lane) start(c offsets.Claim) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == closed {
		return false
	}
	l.claim, l.next, l.cause = c, c.Position.Next, nil
	l.raw, l.rawBytes, l.part, l.throttle, l.beyond = nil, 0, new(decode.Part), false, false
	l.state, l.since = running, time.Now()
	if c.Paused {
		l.state = paused
	}
	return l.state == running
}

// waiting is how many records wait for a writer.
func (l *lane) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.part.Len()
}

// landed records the end of the transaction in flight.
func (l *lane) landed(c offsets.Claim, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight, l.flying, l.cancel = false, 0, nil
	if ok {
		if c.Position.Next != l.claim.Position.Next {
			l.committed = time.Now()
		}
		l.claim = c
	}
	l.changed.Broadcast()
}

// waitIdle waits until no transaction is in flight, or ctx ends.
func (l *lane) waitIdle(ctx context.Context) {
	l.waitWhile(ctx, func() bool { return l.inFlight })
}

// waitWritten waits until all that the lane holds is written. It reports false if the lane leaves its state, or ctx ends, before.
func (l *lane) waitWritten(ctx context.Context, turns int) (ours bool) {
	l.waitWhile(ctx, func() bool {
		ours = l.turns == turns && ctx.Err() == nil
		return ours && l.holds()
	})
	return ours
}

// waitWhile waits while busy, which is called under the lock and at least once, reports true, and ctx has not ended.
func (l *lane) waitWhile(ctx context.Context, busy func() bool) {
	wake := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.changed.Broadcast()
	})
	defer wake()
	l.mu.Lock()
	defer l.mu.Unlock()
	for busy() && ctx.Err() == nil {
		l.changed.Wait()
	}
}

// written reports whether all that the lane was given is written.
func (l *lane) written() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.holds()
}

// holds reports whether the lane has records that are not written. It is called under the lane's lock.
func (l *lane) holds() bool {
	return l.inFlight || len(l.raw) > 0 || l.decoding > 0 || l.part.Len() > 0
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
	wait     *decodeWait
	aside    *aside
}

func (l *lane) view() view {
	l.mu.Lock()
	defer l.mu.Unlock()
	return view{l.state, l.turns, l.claim, l.inFlight, l.next, l.cause, l.sight, l.wait, l.aside}
}
