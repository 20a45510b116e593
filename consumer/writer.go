package consumer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// pace is the least time between two small transactions. It bounds the commits
// per second of many quiet partitions, whose parts meanwhile gather in one
// transaction; a part that comes alone never waits, and neither does a big one.
const pace = 10 * time.Millisecond

// maxGroup bounds how many partitions share a transaction.
const maxGroup = 256

// readyQueue holds the lanes that have something to write, oldest first, each at
// most once.
type readyQueue struct {
	mu     sync.Mutex
	lanes  []*lane
	queued map[*lane]bool // whether it is among the lanes
	signal chan struct{}  // one token: the queue may not be empty
	last   time.Time      // when the last transaction was begun
}

func newReadyQueue() *readyQueue {
	return &readyQueue{queued: map[*lane]bool{}, signal: make(chan struct{}, 1)}
}

func (q *readyQueue) push(l *lane) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.queued[l] {
		q.queued[l] = true
		q.lanes = append(q.lanes, l)
	}
	q.wake()
}

func (q *readyQueue) wake() {
	select {
	case q.signal <- struct{}{}:
	default:
	}
}

func (q *readyQueue) pop() *lane {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.lanes) == 0 {
		return nil
	}
	l := q.lanes[0]
	q.lanes = q.lanes[1:]
	delete(q.queued, l)
	return l
}

// wait blocks until a lane may be ready and the pace allows a transaction.
func (q *readyQueue) wait(ctx context.Context, big func([]*lane) bool) error {
	for {
		q.mu.Lock()
		n, rest := len(q.lanes), pace-time.Since(q.last)
		if n > 0 && (rest <= 0 || big(q.lanes)) {
			q.last = time.Now()
			q.mu.Unlock()
			return nil
		}
		q.mu.Unlock()
		var timer <-chan time.Time
		if n > 0 {
			timer = time.After(rest)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-q.signal:
		case <-timer:
		}
	}
}

// write is one writer: it takes what is ready, writes it in one transaction,
// and settles with each lane, until ctx ends.
func (m *member) write(ctx context.Context) {
	for m.ready.wait(ctx, m.big) == nil {
		txctx, cancel := context.WithCancel(ctx)
		lanes, parts := m.gather(cancel)
		m.ready.wake() // what was left behind is another writer's
		if len(parts) > 0 {
			m.signs.busy.Add(1)
			for i, o := range m.sink.Write(txctx, parts) {
				m.settle(lanes[i], o)
			}
			m.signs.busy.Add(-1)
			m.claims.wake() // those that were lost are idle now
		}
		cancel()
	}
}

// big reports whether the lanes hold enough that waiting for more is pointless.
func (m *member) big(lanes []*lane) bool {
	n := 0
	for _, l := range lanes[:min(len(lanes), maxGroup)] {
		n += l.waiting()
		if n >= m.cfg.MaxBatchRecords/4 {
			return true
		}
	}
	return false
}

// gather takes parts from ready lanes until a transaction is full.
func (m *member) gather(cancel context.CancelFunc) (lanes []*lane, parts []*decode.Part) {
	records, bytes := 0, 0
	for len(parts) < maxGroup && records < m.cfg.MaxBatchRecords/2 && bytes < m.cfg.MaxBatchBytes/2 {
		l := m.ready.pop()
		if l == nil {
			break
		}
		if p := l.take(cancel); p != nil {
			lanes, parts = append(lanes, l), append(parts, p)
			records += p.Len()
			bytes += p.Bytes()
		}
	}
	return lanes, parts
}

// settle brings the outcome of a transaction home to one of its lanes.
func (m *member) settle(l *lane, o engine.Outcome) {
	var (
		fenced *offsets.FencedError
		config *sink.ConfigError
		halt   *sink.HaltError
	)
	switch {
	case o.Err == nil:
		m.signs.note(&m.signs.postgres)
		m.mirror.moved(o.Claim)
	case errors.As(o.Err, &fenced):
		m.log.Warn("lost the fence", "topic", l.Topic, "partition", l.Partition.Partition, "error", o.Err)
		if fenced.Locked {
			m.tellFenced(l.Partition, sink.FencedByLock)
		}
		m.lose(l)
	case errors.As(o.Err, &config):
		l.leave(halted, o.Err)
		m.fail(o.Err)
	case errors.As(o.Err, &halt):
		m.halt(l, o.Err)
	default:
		// A table was altered, and its records need a schema by now: they are read again, and wait for it as others do.
		// Or cancelled: by a revocation of this lane or of one that shared its
		// transaction, or by the end of the run. Whatever the server did, the
		// ledger says.
		m.lose(l)
	}
	l.landed(o.Claim, o.Err == nil)
	if o.Err == nil && l.waiting() > 0 {
		m.ready.push(l)
	}
}
