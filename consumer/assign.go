package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/offsets"
)

// claimBudget bounds the claims inside a rebalance: what isn't won by then is won
// in the background, with the partition suspended meanwhile.
const claimBudget = 7 * time.Second

// adjust is the client's hook between an assignment and its first fetch: it
// claims the partitions and says where to read on. It must answer for every
// partition it is given: one left out would never be read, and nobody would
// notice. It never returns an error: the client takes a context's error for the
// end of its life, and any other for the end of the session.
func (m *member) adjust(ctx context.Context, assigned map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	<-m.opened
	var lanes []*lane
	for topic, partitions := range assigned {
		for p := range partitions {
			lanes = append(lanes, m.add(offsets.Partition{Topic: topic, Partition: p}))
		}
	}
	starts := m.firstClaims(ctx, lanes)
	for topic, partitions := range assigned {
		for p := range partitions {
			partitions[p] = kgoOffset(starts[offsets.Partition{Topic: topic, Partition: p}])
		}
	}
	return assigned, nil
}

func kgoOffset(p offsets.Position) kgo.Offset {
	return kgo.NewOffset().At(p.Next).WithEpoch(p.Epoch)
}

// assignByHand gives the configured partitions to a client without a group.
func (m *member) assignByHand() {
	var lanes []*lane
	for topic, partitions := range m.cfg.Assign {
		for _, p := range partitions {
			lanes = append(lanes, m.add(offsets.Partition{Topic: topic, Partition: p}))
		}
	}
	starts := m.firstClaims(m.work, lanes)
	assign := map[string]map[int32]kgo.Offset{}
	for p, pos := range starts {
		if assign[p.Topic] == nil {
			assign[p.Topic] = map[int32]kgo.Offset{}
		}
		assign[p.Topic][p.Partition] = kgoOffset(pos)
	}
	m.client.AddConsumePartitions(assign)
}

// add opens a lane, suspended until it is claimed.
func (m *member) add(p offsets.Partition) *lane {
	l := newLane(p)
	m.mu.Lock()
	old := m.lanes[p]
	m.lanes[p] = l
	m.mu.Unlock()
	if old != nil { // assigned again without having been revoked
		old.leave(closed, nil)
		old.abort()
	}
	m.suspend(l)
	m.spawn(func() { l.decode(m.sink, m.cfg, m.ready.push, m.resume) })
	return l
}

// firstClaims claims new lanes within the budget and returns where each starts.
// Lanes that it could not win are recovered in the background.
func (m *member) firstClaims(ctx context.Context, lanes []*lane) map[offsets.Partition]offsets.Position {
	ctx, cancel := context.WithTimeout(ctx, claimBudget)
	defer cancel()
	starts := make(map[offsets.Partition]offsets.Position, len(lanes))
	for _, l := range lanes {
		starts[l.Partition] = offsets.Position{Epoch: -1}
	}
	if len(lanes) == 0 {
		return starts
	}
	claimed, err := m.claim(ctx, lanes)
	if err != nil {
		m.log.Warn("claim partitions: trying again in the background", "partitions", len(lanes), "error", err)
	}
	for i, l := range lanes {
		if err != nil {
			m.spawn(func() { m.recover(l) })
			continue
		}
		starts[l.Partition] = claimed[i].Position
		if m.claimEnded(l, claimed[i]) {
			if !m.outlived(claimed[i].Claim) && l.start(claimed[i].Claim) {
				m.resume(l)
			}
		} else if l.view().state == claiming {
			m.spawn(func() { m.recover(l) })
		}
	}
	return starts
}

// claim asks the ledger for lanes, in one call, making first positions where
// there are none.
func (m *member) claim(ctx context.Context, lanes []*lane) ([]offsets.Claimed, error) {
	topics := map[string]bool{}
	for _, l := range lanes {
		topics[l.Topic] = true
	}
	names := make([]string, 0, len(topics))
	for t := range topics {
		names = append(names, t)
	}
	ids, err := m.topicIDs(ctx, names)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	for topic, id := range ids {
		if m.topics[topic].IsZero() {
			m.topics[topic] = id
		}
	}
	m.mu.Unlock()
	if err := m.firstPositions(ctx, lanes, ids); err != nil {
		return nil, err
	}
	wants := make([]offsets.Want, len(lanes))
	for i, l := range lanes {
		id := ids[l.Topic]
		if id.IsZero() {
			return nil, fmt.Errorf("topic %q does not exist", l.Topic)
		}
		wants[i] = offsets.Want{Partition: l.Partition, TopicID: id}
	}
	return m.ledger.Claim(ctx, wants)
}

// claimEnded looks at one answer: true means that the lane is ours. Otherwise the
// lane is halted, or still claiming.
func (m *member) claimEnded(l *lane, c offsets.Claimed) bool {
	if c.WaitedFor != "" {
		m.log.Warn("ended a stopped session that held a partition", "topic", l.Topic, "partition", l.Partition.Partition, "session", c.WaitedFor)
	}
	var (
		held    *offsets.HeldError
		mapping *offsets.MappingError
	)
	switch {
	case c.Err == nil:
		m.setHeld(l.Partition)
		l.hold(c.Claim)
		return true
	case errors.As(c.Err, &held):
		m.log.Warn("a partition is still held: trying again in the background", "topic", l.Topic, "partition", l.Partition.Partition, "holder", held.Holder)
	case errors.As(c.Err, &mapping):
		l.leave(halted, c.Err)
		m.fail(refusedMapping(c.Err))
	default: // another topic under the name, or a row that vanished
		m.halt(l, c.Err)
	}
	return false
}

// revoked waits for the transactions of the lanes that move on, within the
// grace, and then cancels them: endless retries never hold up the group.
func (m *member) revoked(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	m.drop(gone, m.cfg.RebalanceGrace)
}

// lost cancels at once: somebody else may own the partitions already.
func (m *member) lost(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	m.drop(gone, 0)
}

func (m *member) drop(gone map[string][]int32, grace time.Duration) {
	<-m.opened
	var lanes []*lane
	m.mu.Lock()
	for topic, partitions := range gone {
		for _, p := range partitions {
			at := offsets.Partition{Topic: topic, Partition: p}
			if l := m.lanes[at]; l != nil {
				lanes = append(lanes, l)
				delete(m.lanes, at)
			}
		}
	}
	m.mu.Unlock()
	if len(lanes) == 0 {
		return // callbacks often come with nothing
	}
	for _, l := range lanes {
		l.leave(closed, nil)
	}
	impatience := time.AfterFunc(grace, func() {
		for _, l := range lanes {
			l.abort()
		}
	})
	defer impatience.Stop()
	for _, l := range lanes {
		l.waitIdle(m.life)
	}
	m.client.ResumeFetchPartitions(partitionsOf(lanes...)) // suspension outlives an assignment
	if grace > 0 {
		m.mirror.flush(m.life, m)
	}
	for _, l := range lanes {
		m.mirror.forget(l.Partition) // the next owner's position is the group's
	}
}
