package consumer

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/offsets"
)

// lose makes a lane drop everything and, in the background, read the ledger and
// claim again if it may.
func (m *member) lose(l *lane) {
	if from := l.leave(claiming, nil); from == closed || from == claiming {
		return
	}
	m.suspend(l)
	m.spawn(func() { m.recover(l) })
}

// recover brings a lane that is not ours, or no longer, back to where the
// ledger says; it ends when the lane runs, is halted or closed.
//
// Rule 3: if the row still names our claim, nobody else has claimed it: an
// operator moved it, or a transaction of ours was cut off, and we may claim at
// once. If it names another claim we may be a zombie that just woke up: only
// a sign of the group that we are a member, asked for after the loss, allows us
// to claim again.
func (m *member) recover(l *lane) {
	l.waitIdle(m.life)
	for attempt := 0; m.pause(attempt) && l.view().state == claiming; attempt++ {
		ctx, cancel := context.WithTimeout(m.work, 30*time.Second)
		done, err := m.tryRecover(ctx, l)
		cancel()
		if err != nil {
			m.log.Warn("claim again", "topic", l.Topic, "partition", l.Partition.Partition, "error", err)
		}
		if done {
			return
		}
	}
}

func (m *member) tryRecover(ctx context.Context, l *lane) (done bool, err error) {
	last := l.view().claim
	if !last.ID.IsZero() {
		rows, err := m.ledger.Rows(ctx, l.Partition)
		if err != nil {
			return false, err
		}
		if len(rows) == 1 && rows[0].ClaimID != last.ID {
			if err := m.mayClaim(ctx, l, rows[0]); err != nil {
				return false, err
			}
		}
	}
	claimed, err := m.claim(ctx, []*lane{l})
	if err != nil {
		return false, err
	}
	if !m.claimEnded(l, claimed[0]) {
		return l.view().state != claiming, nil
	}
	if m.outlived(claimed[0].Claim) {
		return true, nil
	}
	m.control(func() { m.begin(l, claimed[0].Claim) })
	return true, nil
}

// outlived reports whether the claim is for another topic than the one that this life met under the
// name: one that was adopted. The client has the old one in mind, so its life ends.
func (m *member) outlived(c offsets.Claim) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.topics[c.Topic] == c.TopicID {
		return false
	}
	m.fail(errRestart)
	return true
}

// begin sets the fetch position of a claimed lane and lets it run. It runs in the
// poll loop, where no rebalance can come between.
func (m *member) begin(l *lane, c offsets.Claim) {
	if m.lane(l.Partition) != l {
		return // revoked meanwhile
	}
	if !m.setOffset(c) {
		m.log.Debug("the client does not consume the partition yet", "topic", l.Topic, "partition", l.Partition.Partition)
		m.spawn(func() {
			if m.pause(1) {
				m.control(func() { m.begin(l, c) })
			}
		})
		return
	}
	if l.start(c) {
		m.resume(l)
	}
}

// setOffset moves the client's fetch position. The client skips partitions that
// it is not consuming yet, silently, and positions that it thinks it has
// already: so it is moved away first, and asked afterwards.
func (m *member) setOffset(c offsets.Claim) bool {
	at := func(offset int64, epoch int32) map[string]map[int32]kgo.EpochOffset {
		return map[string]map[int32]kgo.EpochOffset{c.Topic: {c.Partition.Partition: {Offset: offset, Epoch: epoch}}}
	}
	m.client.SetOffsets(at(c.Position.Next+1, -1))
	m.client.SetOffsets(at(c.Position.Next, c.Position.Epoch))
	if len(m.cfg.Assign) > 0 {
		return true
	}
	got, ok := m.client.CommittedOffsets()[c.Topic][c.Partition.Partition]
	return ok && got.Offset == c.Position.Next
}

// errNotMember: the group did not confirm the membership that a claim needs.
var errNotMember = errors.New("not confirmed as a member of the group")

// mayClaim returns nil if a lane whose row names another claim may be claimed.
func (m *member) mayClaim(ctx context.Context, l *lane, row offsets.Row) error {
	if len(m.cfg.Assign) > 0 {
		alive, err := m.ledger.Alive(ctx, row.Instance)
		if err != nil {
			return err
		}
		if alive {
			return &TwoOwnersError{Partition: l.Partition, Winner: row.Owner}
		}
		return nil
	}
	return m.mirror.confirm(ctx, m, row)
}

// TwoOwnersError says that two processes were given the same partition by hand.
type TwoOwnersError struct {
	offsets.Partition
	Winner string
}

func (e *TwoOwnersError) Error() string {
	return e.Partition.String() + ": assigned by hand to this process and to " + e.Winner +
		", which claimed it last and is alive: this one stands by. Give each partition to one process"
}

// pause waits before the nth attempt, longer each time, with jitter; it returns
// false when the work has ended. The first attempt does not wait.
func (m *member) pause(attempt int) bool {
	if attempt > 0 {
		select {
		case <-m.work.Done():
		case <-time.After(delay(attempt)):
		}
	}
	return m.work.Err() == nil
}

// delay is how long the nth attempt waits: 100 ms before the second one, give or take half of it.
func delay(attempt int) (d time.Duration) {
	b := backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond), backoff.WithMaxInterval(10*time.Second), backoff.WithMaxElapsedTime(0))
	for range min(attempt, 16) {
		d = b.NextBackOff()
	}
	return d
}
