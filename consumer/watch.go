package consumer

import (
	"context"
	"fmt"
	"time"

	"github.com/oncesink/oncesink/offsets"
)

// watchInterval is how often the ledger's rows are looked at: a rewind, a pause
// or a restored database is noticed on a topic where nothing happens.
const watchInterval = time.Second

func (m *member) watch(ctx context.Context) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	var told seldom
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		m.signs.note(&m.signs.watched)
		m.nudge()
		m.seeJoined()
		if err := m.watchOnce(ctx); err != nil && told.due() {
			m.log.Warn("look at the ledger", "error", err)
		}
		m.touch(ctx)
		m.sink.Tell()
	}
}

// nudge has the client look whether there is something to fetch. Its loop for a broker may end at the moment in which positions are set, or
// partitions assigned, and miss that it was told to go on (franz-go 1.22: loopFetch looks at the session before it counts itself among its
// workers): then nothing of that broker is fetched until somebody resumes partitions. To resume none is enough, and costs nothing where
// the loop runs.
func (m *member) nudge() { m.client.ResumeFetchPartitions(nil) }

// sight is the row of a halted lane as the lane last saw it, which any change of it is compared
// with. It is known from the moment in which the lane halts if that is because of the row; a lane may
// have halted without ever having claimed it. Otherwise the row is what the claim left, until the first look.
type sight struct {
	known bool
	row   *offsets.Row // nil: there is none
}

// watchOnce compares every lane that rests with its row, in one query. Its error is that the ledger could not be looked at.
func (m *member) watchOnce(ctx context.Context) error {
	before := map[offsets.Partition]view{}
	var at []offsets.Partition
	for _, l := range m.all() {
		v := l.view()
		if v.inFlight || v.state == claiming || v.state == closed {
			continue
		}
		before[l.Partition] = v
		at = append(at, l.Partition)
	}
	if len(at) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	found, err := m.ledger.Rows(ctx, at...)
	if err != nil {
		return err
	}
	m.signs.note(&m.signs.postgres)
	rows := map[offsets.Partition]*offsets.Row{}
	for i := range found {
		rows[found[i].Partition] = &found[i]
	}
	var changed []*lane
	said := changes{}
	for p, v := range before {
		l, row := m.rested(p, v), rows[p]
		switch {
		case l == nil:
		case row == nil && v.state != halted:
			m.haltAt(l, fmt.Errorf("%s: %w", p, offsets.ErrNoPosition), sight{known: true})
		case v.changed(row):
			changed = append(changed, l)
			said.add(m, l, v.known(), row)
		case v.state == halted:
			l.see(v, row)
		}
	}
	if len(changed) > 0 {
		said.log(m.log)
		m.lose(changed...)
	}
	return nil
}

// changed reports whether the row (nil: none) differs from what the lane knows of it.
func (v view) changed(row *offsets.Row) bool {
	if v.state != halted {
		return !unmoved(row, v.claim)
	}
	was := v.sight.row
	switch {
	case !v.sight.known:
		return row != nil && !unmoved(row, v.claim)
	case was == nil || row == nil:
		return row != nil // one that is gone can't be claimed; once it is back it can
	}
	return row.Fence != was.Fence || row.ClaimID != was.ClaimID || row.TopicID != was.TopicID || row.ClusterID != was.ClusterID ||
		// Who else owns the row may move it; our own is moved by people.
		row.ClaimID == v.claim.ID && row.Position.Next != was.Position.Next
}

// unmoved reports whether the row is as the claim's owner left it.
func unmoved(row *offsets.Row, c offsets.Claim) bool {
	return row.Fence == c.Fence && row.Position.Next == c.Position.Next
}

// rested returns the lane if nothing happened to it since the look v.
func (m *member) rested(p offsets.Partition, v view) *lane {
	l := m.lane(p)
	if l == nil {
		return nil
	}
	now := l.view()
	if now.inFlight || now.turns != v.turns || now.state != v.state || now.claim.Fence != v.claim.Fence || now.claim.Position.Next != v.claim.Position.Next {
		return nil
	}
	return l
}

// seldom keeps what repeats each second, such as that a server is away, from being told each second.
type seldom struct{ at time.Time }

// due reports whether it is to be told now.
func (s *seldom) due() bool {
	if time.Since(s.at) < unreadableQuiet {
		return false
	}
	s.at = time.Now()
	return true
}
