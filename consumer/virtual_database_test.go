//go:build synctests

package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// The database of the tests on virtual time: the ledger's rows, their locks and what was written, in memory. It answers as package
// offsets has PostgreSQL answer (rules 1 to 7), and looks at every commit. That PostgreSQL does answer so, the tests of offsets and of the
// engine show; here the consumer has to make the right thing of it.

// memory is the database that all processes share.
type memory struct {
	mu      sync.Mutex
	rows    map[offsets.Partition]*memoryRow
	applied map[offsets.Partition]int64 // behind the last record that was written, counted apart from the ledger
	commits int
	broken  []string // what must not be
}

type memoryRow struct {
	offsets.Row
	lock *memoryTx // that holds it; nil: nobody
}

// memoryTx is a transaction that holds rows.
type memoryTx struct {
	since  time.Time
	ended  chan struct{}
	over   bool
	killed bool
}

func newMemory() *memory {
	return &memory{rows: map[offsets.Partition]*memoryRow{}, applied: map[offsets.Partition]int64{}}
}

// breaks notes what must not be. It is called under the lock.
func (d *memory) breaks(format string, args ...any) {
	d.broken = append(d.broken, fmt.Sprintf(format, args...))
}

func (d *memory) begin() *memoryTx { return &memoryTx{since: time.Now(), ended: make(chan struct{})} }

// end releases what a transaction holds: rolled back, but for what commit did.
func (d *memory) end(tx *memoryTx) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.release(tx)
}

func (d *memory) release(tx *memoryTx) {
	if tx.over {
		return
	}
	tx.over = true
	for _, r := range d.rows {
		if r.lock == tx {
			r.lock = nil
		}
	}
	close(tx.ended)
}

const (
	memoryLockTimeout = 3 * time.Second // rule 1
	memoryGiveUp      = 5 * time.Second
)

var (
	errMemoryLocked = errors.New("lock timeout")
	errMemoryLost   = errors.New("connection lost")
)

// whenFree calls f under the lock once none of the rows is locked, by others than tx. After a while it ends who holds one, if kill; later it gives up.
func (d *memory) whenFree(ctx context.Context, tx *memoryTx, kill bool, at []offsets.Partition, f func()) error {
	start := time.Now()
	for {
		var holder *memoryTx
		d.mu.Lock()
		for _, p := range at {
			if r := d.rows[p]; r != nil && r.lock != nil && r.lock != tx {
				holder = r.lock
			}
		}
		if holder == nil {
			f()
			d.mu.Unlock()
			return nil
		}
		d.mu.Unlock()
		patience := memoryLockTimeout - time.Since(start)
		if kill && patience <= 0 {
			patience = memoryGiveUp - time.Since(start)
			d.mu.Lock()
			if time.Since(holder.since) >= memoryLockTimeout {
				holder.killed = true
				d.release(holder)
			}
			d.mu.Unlock()
		}
		if patience <= 0 {
			return errMemoryLocked
		}
		timer := time.NewTimer(min(patience, 500*time.Millisecond))
		select {
		case <-holder.ended:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		timer.Stop()
	}
}

// advance is oncesink.advance: it locks the rows, and moves nothing where one does not stand as its claim says. What it moves shows at commit.
func (d *memory) advance(ctx context.Context, tx *memoryTx, parts []*decode.Part) error {
	at := make([]offsets.Partition, len(parts))
	for i, p := range parts {
		at[i] = p.Claim.Partition
	}
	var lost []offsets.Partition
	err := d.whenFree(ctx, tx, false, at, func() {
		for _, p := range parts {
			r := d.rows[p.Claim.Partition]
			if r == nil || r.Fence != p.Claim.Fence || r.Position.Next != p.Claim.Position.Next {
				lost = append(lost, p.Claim.Partition)
			}
		}
		for _, p := range at {
			if r := d.rows[p]; r != nil && len(lost) == 0 {
				r.lock = tx
			}
		}
	})
	switch {
	case errors.Is(err, errMemoryLocked):
		return &offsets.FencedError{Locked: true}
	case err == nil && len(lost) > 0:
		return &offsets.FencedError{Partitions: lost}
	}
	return err
}

// commit makes what a transaction wrote visible, and looks at it: each partition's records follow those that are there, without a gap or an
// overlap, under the fence that was drawn last.
func (d *memory) commit(tx *memoryTx, who string, parts []*decode.Part) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if tx.killed || tx.over {
		return errMemoryLost
	}
	d.commits++
	for _, p := range parts {
		r, next := d.rows[p.Claim.Partition], d.applied[p.Claim.Partition]
		if r.Fence != p.Claim.Fence {
			d.breaks("%s commits %v under a fence that is not the last one", who, p.Claim.Partition)
		}
		for _, rec := range p.Records {
			if rec.Offset < p.Claim.Position.Next {
				continue
			}
			if rec.Offset != next || rec.Topic != p.Claim.Topic || rec.Partition != p.Claim.Partition.Partition {
				d.breaks("%s writes %s/%d offset %d where offset %d of %v is next", who, rec.Topic, rec.Partition, rec.Offset, next, p.Claim.Partition)
			}
			next = rec.Offset + 1
		}
		if next != p.To.Next {
			d.breaks("%s moves %v to %d behind offset %d", who, p.Claim.Partition, p.To.Next, next-1)
		}
		d.applied[p.Claim.Partition] = next
		r.Position, r.Stuck, r.MovedAt = p.To, "", time.Now()
	}
	d.release(tx)
	return nil
}

// order is an operator's command, which draws a new fence; he tries again where the row is locked.
func (d *memory) order(p offsets.Partition, f func(r *memoryRow)) {
	for tries := 0; tries < 20; tries++ {
		err := d.whenFree(context.Background(), nil, false, []offsets.Partition{p}, func() {
			if r := d.rows[p]; r != nil {
				r.Fence = offsets.NewToken()
				r.FenceCount++
				f(r)
			}
		})
		if err == nil {
			return
		}
	}
}

// claim is oncesink.claim of one row.
func (d *memory) claim(ctx context.Context, instance string, w offsets.Want) (c offsets.Claimed) {
	c.Partition = w.Partition
	err := d.whenFree(ctx, nil, true, []offsets.Partition{w.Partition}, func() {
		r := d.rows[w.Partition]
		switch {
		case r == nil:
			c.Err = fmt.Errorf("%v: %w", w.Partition, offsets.ErrNoPosition)
			return
		case r.TopicID != w.TopicID:
			c.Err = &offsets.TopicChangedError{Group: group, Partition: w.Partition, Was: r.TopicID, Is: w.TopicID}
		default:
			r.ClaimID, r.Fence = offsets.NewToken(), offsets.NewToken()
			r.FenceCount++
			r.Owner, r.Instance, r.Halted, r.Stuck = instance, instance, "", ""
		}
		c.Claim = claimOf(r)
	})
	if err != nil {
		c.Err = &offsets.HeldError{Holder: "another session"}
	}
	return c
}

func claimOf(r *memoryRow) offsets.Claim {
	return offsets.Claim{Partition: r.Partition, ID: r.ClaimID, Fence: r.Fence, Position: r.Position, TopicID: r.TopicID, Paused: r.Paused}
}

// memoryLedger is a process's view of the ledger.
type memoryLedger struct {
	*machine
	db *memory
}

var _ ledger = (*memoryLedger)(nil)

func (l *memoryLedger) Instance() string { return l.name }

func (l *memoryLedger) Rows(ctx context.Context, at ...offsets.Partition) (rows []offsets.Row, err error) {
	if err := l.call(ctx); err != nil {
		return nil, err
	}
	l.db.mu.Lock()
	for p, r := range l.db.rows {
		if len(at) == 0 || slices.Contains(at, p) {
			rows = append(rows, r.Row)
		}
	}
	l.db.mu.Unlock()
	slices.SortFunc(rows, func(a, b offsets.Row) int { return cmp.Compare(a.Partition.Partition, b.Partition.Partition) })
	return rows, l.answer(ctx)
}

func (l *memoryLedger) Begin(ctx context.Context, firsts []offsets.First) error {
	if err := l.call(ctx); err != nil {
		return err
	}
	l.db.mu.Lock()
	for _, f := range firsts {
		if l.db.rows[f.Partition] == nil {
			l.db.rows[f.Partition] = &memoryRow{Row: offsets.Row{Partition: f.Partition, TopicID: f.TopicID, ClusterID: "test", Fence: offsets.NewToken(),
				Position: offsets.Position{Next: f.Offset, Epoch: -1}, First: f.Offset}}
			l.db.applied[f.Partition] = f.Offset
		}
	}
	l.db.mu.Unlock()
	return l.answer(ctx)
}

func (l *memoryLedger) Claim(ctx context.Context, wants []offsets.Want) ([]offsets.Claimed, error) {
	if err := l.call(ctx); err != nil {
		return nil, err
	}
	claimed := make([]offsets.Claimed, len(wants))
	var all sync.WaitGroup
	for i, w := range wants {
		all.Go(func() { claimed[i] = l.db.claim(ctx, l.name, w) })
	}
	all.Wait()
	return claimed, l.answer(ctx)
}

func (l *memoryLedger) Alive(context.Context, string) (bool, error) {
	panic("of partitions that are assigned by hand")
}

func (l *memoryLedger) Examine(context.Context, []offsets.Want) ([]error, error) {
	panic("of oncesink check")
}

func (l *memoryLedger) Halt(ctx context.Context, c offsets.Claim, reason string) error {
	if err := l.call(ctx); err != nil {
		return err
	}
	l.db.mu.Lock()
	defer l.db.mu.Unlock()
	if r := l.db.rows[c.Partition]; r != nil && r.ClaimID == c.ID {
		r.Halted = reason
		l.db.breaks("%s halts %v: %s", l.name, c.Partition, reason) // nothing here is a reason to
	}
	return nil
}

func (l *memoryLedger) Stuck(ctx context.Context, _ []offsets.Claim, _ string) error {
	return l.call(ctx)
}

// memorySink writes as [engine.Sink] does. What it does not have is nil, and not asked for here.
type memorySink struct {
	target
	*machine
	db *memory

	lostMu sync.Mutex
	lost   map[offsets.Token]bool // fences of which it has said that they are lost
}

func (s *memorySink) Add(p *decode.Part, records ...sink.Record) (int, error) {
	for _, r := range records {
		if r.Offset < p.To.Next && len(p.Records) > 0 {
			continue
		}
		p.Records = append(p.Records, r)
		p.To = offsets.Position{Next: r.Offset + 1, Epoch: r.Epoch, Time: r.Timestamp}
	}
	return len(records), nil
}

func (s *memorySink) Asked(context.Context) (map[offsets.Partition]bool, error) { return nil, nil }
func (s *memorySink) Ping(ctx context.Context) error                            { return s.call(ctx) }
func (s *memorySink) Stats() sink.Stats                                         { return sink.Stats{} }
func (s *memorySink) Tell()                                                     {}
func (s *memorySink) TellRest()                                                 {}

// Write is [engine.Sink.Write]: fenced partitions are left out, what passes is tried again, and the ledger says what became of a COMMIT
// without an answer (rule 6).
func (s *memorySink) Write(ctx context.Context, parts []*decode.Part) []engine.Outcome {
	s.lostMu.Lock()
	for _, p := range parts {
		if s.lost[p.Claim.Fence] {
			s.db.mu.Lock()
			s.db.breaks("%s writes %v again under a fence of which it was told that it is lost", s.name, p.Claim.Partition)
			s.db.mu.Unlock()
		}
	}
	s.lostMu.Unlock()
	errs := make(map[*decode.Part]error)
	open := slices.Clone(parts)
	fail := func(p *decode.Part, err error) {
		errs[p] = err
		open = slices.DeleteFunc(open, func(q *decode.Part) bool { return q == p })
	}
	for attempt := 0; len(open) > 0; attempt++ {
		var err error
		if attempt == 0 || rest(ctx, 200*time.Millisecond) {
			err = s.transaction(ctx, open)
		} else {
			err = ctx.Err()
		}
		var fenced *offsets.FencedError
		switch {
		case err == nil:
			open = nil
		case ctx.Err() != nil:
			for _, p := range slices.Clone(open) {
				fail(p, ctx.Err())
			}
		case errors.As(err, &fenced):
			for _, p := range slices.Clone(open) {
				if fenced.Locked || slices.Contains(fenced.Partitions, p.Claim.Partition) {
					s.lostMu.Lock()
					s.lost[p.Claim.Fence] = !fenced.Locked
					s.lostMu.Unlock()
					fail(p, &offsets.FencedError{Partitions: []offsets.Partition{p.Claim.Partition}, Locked: fenced.Locked})
				}
			}
		}
	}
	out := make([]engine.Outcome, len(parts))
	for i, p := range parts {
		out[i] = engine.Outcome{Claim: p.Claim, Err: errs[p]}
	}
	return out
}

// transaction is one attempt. After nil the parts' claims stand behind their records.
func (s *memorySink) transaction(ctx context.Context, parts []*decode.Part) (err error) {
	if err := s.call(ctx); err != nil {
		return err
	}
	tx := s.db.begin()
	late := false
	defer func() {
		if !late && !errors.Is(err, errDead) { // the session of a machine that is gone stays until somebody ends it
			s.db.end(tx)
		}
	}()
	if err := s.db.advance(ctx, tx, parts); err != nil {
		return err
	}
	if !rest(ctx, s.some(300*time.Millisecond)) {
		return ctx.Err()
	}
	if err := s.answer(ctx); err != nil { // of the rows
		return err
	}
	switch s.fate() {
	case commitLate: // it arrives, unless its session is ended before
		late = true
		sent := make([]*decode.Part, len(parts))
		for i, p := range parts {
			copied := *p
			sent[i] = &copied
		}
		delay := s.some(8 * time.Second)
		s.background.Go(func() {
			rest(context.Background(), delay)
			_ = s.db.commit(tx, s.name, sent)
			s.db.end(tx)
		})
		return s.resolve(ctx, tx, parts)
	case commitLost:
		s.db.end(tx)
		return s.resolve(ctx, tx, parts)
	case commitUnheard:
		_ = s.db.commit(tx, s.name, parts)
		return s.resolve(ctx, tx, parts)
	}
	if err := s.db.commit(tx, s.name, parts); err != nil {
		return err
	}
	for _, p := range parts {
		p.Claim.Position = p.To
	}
	return s.gate.pass()
}

// resolve is [offsets.Ledger.Resolve] and what the engine makes of it.
func (s *memorySink) resolve(ctx context.Context, tx *memoryTx, parts []*decode.Part) error {
	at := make([]offsets.Partition, len(parts))
	for i, p := range parts {
		at[i] = p.Claim.Partition
	}
	for {
		if err := s.call(ctx); err != nil {
			if ctx.Err() != nil || errors.Is(err, errDead) || !rest(ctx, time.Second) {
				return cmp.Or(ctx.Err(), err)
			}
			continue
		}
		if s.dice(2) == 0 { // pg_terminate_backend came before the COMMIT
			s.db.mu.Lock()
			tx.killed = true
			s.db.release(tx)
			s.db.mu.Unlock()
		}
		committed := false
		var lost []offsets.Partition
		err := s.db.whenFree(ctx, nil, true, at, func() {
			for _, p := range parts {
				r := s.db.rows[p.Claim.Partition]
				committed = committed || r.ClaimID == p.Claim.ID && r.Fence == p.Claim.Fence && r.Position.Next == p.To.Next
			}
			for _, p := range parts {
				r := s.db.rows[p.Claim.Partition]
				expected := r.ClaimID == p.Claim.ID && r.Position.Next == p.Claim.Position.Next
				if r.ClaimID == p.Claim.ID {
					r.Fence = offsets.NewToken()
					r.FenceCount++
					p.Claim = claimOf(r)
				}
				if committed {
					p.Claim.Position = p.To
				} else if !expected {
					lost = append(lost, p.Claim.Partition)
				}
			}
		})
		switch {
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			continue
		case committed:
			return nil
		case len(lost) > 0:
			return &offsets.FencedError{Partitions: lost}
		}
		return errMemoryLost // the same again, under the new fences
	}
}
