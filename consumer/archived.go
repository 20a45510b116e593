package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/kafka"
	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// A position that lies below the log is read from the archive, if there is one that has it. The lane stands aside meanwhile: the client's
// fetches of the partition are suspended, and what comes of them is not the lane's. A goroutine gives it the archive's records
// instead, up to where the log began when that was found out, the seam. There the poll loop sets the client's position, and the client goes
// on. If the log begins further up by then, the fetch is out of range, and all of it begins anew. So the position decides what is read
// next, and nothing else does.

const (
	// archiveReaders bounds how many partitions read the archive at once: each has a batch in its hands beside the buffers.
	archiveReaders = 4
	// archivePatience is after how long a reader whose lane takes nothing lets another one read.
	archivePatience = 5 * time.Second
)

// aside is a lane to which what the client fetches is not given.
type aside struct {
	cancel context.CancelFunc // ends what is done instead
	err    error              // of the last attempt to read the archive; nil: it can be read, as far as is known
}

// ArchiveError says that records that only the archive has can't be read from it, and that another attempt would not help.
type ArchiveError struct {
	offsets.Partition
	Group string
	Next  int64 // the first offset that was not read
	Err   error
}

func (e *ArchiveError) Error() string {
	return fmt.Sprintf("%s: the log begins above offset %d, and the archive can't be read from there: %v. It goes on from there after %s",
		e.Partition, e.Next, e.Err, offsets.Remedy("resume", e.Group, e.Topic, e.Partition.Partition))
}

func (e *ArchiveError) Unwrap() error { return e.Err }

// stray has the place of a lane found out whose position is not in the log, by all that is known. It is called in the poll loop: from then
// on nothing that was fetched reaches the lane.
func (m *member) stray(l *lane) {
	m.suspend(l) // otherwise the same error comes back thousands of times a second
	if ctx, turns, ok := l.stepAside(m.work); ok {
		m.spawn(func() { m.findPlace(ctx, l, turns) })
	}
}

// stepAside begins it, unless it has begun, for as long as the lane runs: ctx ends when it leaves this state.
func (l *lane) stepAside(work context.Context) (ctx context.Context, turns int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != running || l.aside != nil {
		return nil, 0, false
	}
	ctx, cancel := context.WithCancel(work)
	l.aside = &aside{cancel: cancel}
	return ctx, l.turns, true
}

// endAside is called under the lock.
func (l *lane) endAside() {
	if l.aside != nil {
		l.aside.cancel()
		l.aside = nil
	}
}

// findPlace finds out where the position of a lane lies, and has the archive read, or the client go on, or halts.
func (m *member) findPlace(ctx context.Context, l *lane, turns int) {
	told := false
	for attempt := 0; pause(ctx, attempt); attempt++ {
		next := l.view().next
		bound, bounded := m.until[l.Partition]
		if bounded && next >= bound {
			l.bounded()
			return
		}
		reach, err := m.whatThereIs(ctx, l.Partition, l.topicID)
		if err != nil {
			m.notHad(ctx, l, turns, err)
			continue
		}
		to := reach.Archived(next)
		if to == next {
			if outside := m.cfg.outside(l.Partition, next, reach); l.view().turns != turns {
				return
			} else if outside != nil {
				m.haltBehind(l, outside)
			} else { // a passing state of a leader change: read the ledger and go on
				m.lose(l)
			}
			return
		}
		if bounded {
			to = min(to, bound)
		}
		if !told {
			told = true
			m.log.Info("reading from the archive what the log no longer has", "topic", l.Topic, "partition", l.Partition.Partition, "from", next, "to", to-1, "archive", m.archive.String())
		}
		whole, err := m.readArchive(ctx, l, turns, next, to)
		var lasting kafka.Lasting
		switch {
		case ctx.Err() != nil:
			return
		case whole && to == reach.Start && !(bounded && to == bound):
			m.comeBack(ctx, l, turns, to)
			return
		case errors.As(err, &lasting):
			m.haltBehind(l, &ArchiveError{Partition: l.Partition, Group: m.cfg.Group, Next: l.view().next, Err: err})
			return
		case err != nil:
			m.notHad(ctx, l, turns, err)
		}
		if l.view().next > next {
			attempt = -1 // it goes on without a pause
		}
	}
}

// whatThereIs asks the brokers and the archive.
func (m *member) whatThereIs(ctx context.Context, p offsets.Partition, topicID offsets.Token) (kafka.Reach, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	starts, err1 := m.admin.ListStartOffsets(ctx, p.Topic)
	ends, err2 := m.admin.ListEndOffsets(ctx, p.Topic)
	start, ok1 := starts.Lookup(p.Topic, p.Partition)
	end, ok2 := ends.Lookup(p.Topic, p.Partition)
	err := errors.Join(err1, err2, start.Err, end.Err)
	if err == nil && (!ok1 || !ok2) {
		err = errors.New("the brokers don't know the partition")
	}
	if err != nil {
		return kafka.Reach{}, fmt.Errorf("list offsets: %w", err)
	}
	return kafka.ReachOf(ctx, m.archive, topicID, p, start.Offset, end.Offset)
}

// readArchive gives a lane the archive's records from <= offset < to. It reports whether the lane has them all: without an error it has not where others
// are to read first, or the lane has left its state.
func (m *member) readArchive(ctx context.Context, l *lane, turns int, from, to int64) (whole bool, err error) {
	select {
	case m.archiveTurns <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { <-m.archiveTurns }()
	patient := true
	err = m.archive.Read(ctx, l.topicID, l.Partition, from, func(records []*kgo.Record) bool {
		beyond := slices.IndexFunc(records, func(r *kgo.Record) bool { return r.Offset >= to })
		if beyond >= 0 {
			records = records[:beyond]
		}
		patient = m.awaitRoom(ctx, l) && l.offerArchived(turns, records, &m.cfg)
		return patient && beyond < 0
	})
	if err != nil || !patient {
		return false, err
	}
	// Where it yielded nothing there is no record, if it has the whole range, as it had before.
	first, end, ok, err := m.archive.Span(ctx, l.topicID, l.Partition)
	switch {
	case err != nil:
		return false, err
	case !ok || first > from || end < to:
		return false, fmt.Errorf("offsets %d to %d were in the archive a moment ago, and it has %d to %d now", from, to-1, first, end-1)
	}
	return l.passOver(turns, to), nil
}

// awaitRoom waits until the lane takes records, and the buffers have room. It reports false if that takes too long, or the lane has left its
// state.
func (m *member) awaitRoom(ctx context.Context, l *lane) bool {
	ctx, cancel := context.WithTimeout(ctx, archivePatience)
	defer cancel()
	l.waitWhile(ctx, func() bool { return l.throttle })
	for ctx.Err() == nil && m.memory() > m.cfg.BufferBytes {
		rest(ctx, roomInterval)
	}
	return ctx.Err() == nil
}

// offerArchived is offer for a lane that stands aside. It reports false if the lane does not any more.
func (l *lane) offerArchived(turns int, records []*kgo.Record, limits *Config) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turns != turns || l.aside == nil {
		return false
	}
	l.aside.err = nil
	l.queue(records)
	l.throttle = l.throttle || l.full(limits)
	return true
}

// passOver moves the lane past offsets of which there is no record, as the marker at the end of a transaction does. In which epoch they were
// written nobody knows.
func (l *lane) passOver(turns int, to int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turns != turns || l.aside == nil {
		return false
	}
	l.aside.err = nil
	if l.next < to {
		l.raw = append(l.raw, sink.Record{Topic: l.Topic, Partition: l.Partition.Partition, Offset: to - 1, Epoch: -1, Control: true})
		l.rawBytes += rawBytes(0, 0)
		l.next = to
		l.changed.Broadcast()
	}
	return true
}

// comeBack has the client go on at the seam. The position is set by the poll loop.
func (m *member) comeBack(ctx context.Context, l *lane, turns int, seam int64) {
	m.control(func() {
		v := l.view()
		if v.turns != turns || m.lane(l.Partition) != l {
			return
		}
		v.claim.Position = offsets.Position{Next: seam, Epoch: -1}
		if m.setOffsets([]win{{l, v.claim}})[0] {
			m.log.Info("the log goes on where the archive was left", "topic", l.Topic, "partition", l.Partition.Partition, "offset", seam)
			l.joinLog(turns, func(l *lane) { m.resume(l) })
			return
		}
		m.spawn(func() {
			if pause(ctx, 1) {
				m.comeBack(ctx, l, turns, seam)
			}
		})
	})
}

// joinLog ends standing aside. A lane that is full is resumed when it has drained.
func (l *lane) joinLog(turns int, resume func(*lane)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turns != turns {
		return
	}
	l.endAside()
	if !l.throttle {
		resume(l)
	}
}

// notHad tells of records that can't be had just now. In the ledger it is noted each time: what came before them may be written meanwhile, which takes
// the note away.
func (m *member) notHad(ctx context.Context, l *lane, turns int, why error) {
	const waiting = wiring.WaitsForRecords
	if ctx.Err() != nil {
		return
	}
	v := l.view()
	if l.notice(turns, why) {
		m.log.Warn(waiting, "topic", l.Topic, "partition", l.Partition.Partition, "offset", v.next, "error", why, "steps", wiring.WaitSteps(waiting))
	}
	if err := m.ledger.Stuck(ctx, []offsets.Claim{v.claim}, waiting+": "+why.Error()); err != nil && ctx.Err() == nil {
		m.log.Warn("note what a partition waits for", "topic", l.Topic, "partition", l.Partition.Partition, "error", err)
	}
}

// notice notes why the archive can't be read, and reports whether that is news.
func (l *lane) notice(turns int, err error) (news bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turns != turns || l.aside == nil {
		return false
	}
	news = l.aside.err == nil || l.aside.err.Error() != err.Error()
	l.aside = &aside{l.aside.cancel, err} // a view has the one that was
	return news
}
