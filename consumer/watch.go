package consumer

import (
	"context"
	"time"

	"github.com/oncesink/oncesink/offsets"
)

// watchInterval is how often the ledger's rows are looked at: a rewind, a pause
// or a restored database is noticed on a topic where nothing happens.
const watchInterval = time.Second

func (m *member) watch(ctx context.Context) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		m.watchOnce(ctx)
	}
}

// watchOnce compares every lane that rests with its row, in one query.
func (m *member) watchOnce(ctx context.Context) {
	before := map[offsets.Partition]view{}
	var at []offsets.Partition
	for _, l := range m.all() {
		v := l.view()
		if v.inFlight || v.claim.ID.IsZero() || v.state == claiming || v.state == closed {
			continue
		}
		before[l.Partition] = v
		at = append(at, l.Partition)
	}
	if len(at) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	rows, err := m.ledger.Rows(ctx, at...)
	if err != nil {
		m.log.Warn("look at the ledger", "error", err)
		return
	}
	for _, r := range rows {
		v := before[r.Partition]
		delete(before, r.Partition)
		if r.Fence == v.claim.Fence && r.Position.Next == v.claim.Position.Next {
			continue
		}
		if l := m.rested(r.Partition, v); l != nil {
			m.log.Info("the ledger was changed: reading it again", "topic", r.Topic, "partition", r.Partition.Partition)
			m.lose(l)
		}
	}
	for p, v := range before {
		if l := m.rested(p, v); l != nil && v.state != halted {
			m.halt(l, offsets.ErrNoPosition)
		}
	}
}

// rested returns the lane if nothing happened to it since the look v.
func (m *member) rested(p offsets.Partition, v view) *lane {
	l := m.lane(p)
	if l == nil {
		return nil
	}
	now := l.view()
	if now.inFlight || now.state != v.state || now.claim.Fence != v.claim.Fence || now.claim.Position.Next != v.claim.Position.Next {
		return nil
	}
	return l
}
