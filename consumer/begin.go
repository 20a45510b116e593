package consumer

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/offsets"
)

// win is a claim that was won for a lane.
type win struct {
	lane  *lane
	claim offsets.Claim
}

// begin sets the fetch positions of claimed lanes and lets them run. It runs in the
// poll loop, where no rebalance can come between.
func (m *member) begin(won []win) {
	current := won[:0]
	for _, w := range won {
		if m.lane(w.lane.Partition) == w.lane { // not revoked meanwhile
			current = append(current, w)
		}
	}
	taken := m.setOffsets(current)
	var ready, later []win
	for i, w := range current {
		if taken[i] {
			ready = append(ready, w)
		} else {
			later = append(later, w)
		}
	}
	m.letRun(ready)
	if len(later) == 0 {
		return
	}
	m.log.Debug("the client does not consume all partitions yet", "partitions", len(later), "first", later[0].lane.Partition)
	m.spawn(func() {
		if m.pause(1) {
			m.control(func() { m.begin(later) })
		}
	})
}

// letRun lets lanes run whose fetch positions are set, but for those that are paused or were closed.
func (m *member) letRun(won []win) {
	var running []*lane
	for _, w := range won {
		if w.lane.start(w.claim) {
			running = append(running, w.lane)
		}
	}
	m.resume(running...)
}

// setOffsets moves the client's fetch positions and reports which were taken. The client skips
// partitions that it is not consuming yet, silently, and positions that it thinks it has
// already: so they are moved away first, and asked for afterwards.
func (m *member) setOffsets(won []win) (taken []bool) {
	away, to := map[string]map[int32]kgo.EpochOffset{}, map[string]map[int32]kgo.EpochOffset{}
	for _, w := range won {
		c := w.claim
		if away[c.Topic] == nil {
			away[c.Topic], to[c.Topic] = map[int32]kgo.EpochOffset{}, map[int32]kgo.EpochOffset{}
		}
		away[c.Topic][c.Partition.Partition] = kgo.EpochOffset{Offset: c.Position.Next + 1, Epoch: -1}
		to[c.Topic][c.Partition.Partition] = kgo.EpochOffset{Offset: c.Position.Next, Epoch: c.Position.Epoch}
	}
	m.client.SetOffsets(away)
	m.client.SetOffsets(to)
	taken = make([]bool, len(won))
	var now map[string]map[int32]kgo.EpochOffset
	if len(m.cfg.Assign) == 0 {
		now = m.client.CommittedOffsets()
	}
	for i, w := range won {
		got, ok := now[w.claim.Topic][w.claim.Partition.Partition]
		taken[i] = len(m.cfg.Assign) > 0 || ok && got.Offset == w.claim.Position.Next
	}
	return taken
}
