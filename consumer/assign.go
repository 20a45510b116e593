package consumer

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// claimBudget bounds the claims inside a rebalance: what isn't won by then is won
// in the background, with the partition suspended meanwhile.
const claimBudget = 7 * time.Second

// adjust is the client's hook between an assignment and its first fetch: it has
// the partitions claimed and says where to read on. It must answer for every
// partition it is given: one left out would never be read, and nobody would
// notice. It never returns an error: the client takes a context's error for the
// end of its life, and any other for the end of the session.
func (m *member) adjust(ctx context.Context, assigned map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	<-m.opened
	var at []offsets.Partition
	for topic, partitions := range assigned {
		for p := range partitions {
			at = append(at, offsets.Partition{Topic: topic, Partition: p})
		}
	}
	m.tellRebalanced(sink.Assigned, slices.Clone(at))
	for p, position := range m.assign(ctx, at) {
		assigned[p.Topic][p.Partition] = kgoOffset(position)
	}
	return assigned, nil
}

func kgoOffset(p offsets.Position) kgo.Offset {
	return kgo.NewOffset().At(p.Next).WithEpoch(p.Epoch)
}

// assignByHand gives the configured partitions to a client without a group.
func (m *member) assignByHand() {
	var at []offsets.Partition
	for topic, partitions := range m.cfg.Assign {
		for _, p := range partitions {
			at = append(at, offsets.Partition{Topic: topic, Partition: p})
		}
	}
	starts := map[string]map[int32]kgo.Offset{}
	for p, position := range m.assign(m.work, at) {
		if starts[p.Topic] == nil {
			starts[p.Topic] = map[int32]kgo.Offset{}
		}
		starts[p.Topic][p.Partition] = kgoOffset(position)
	}
	m.client.AddConsumePartitions(starts)
}

// assign opens lanes for partitions, waits within the budget for the first answers about
// them, lets those run that were won, and returns where each of them starts. Whatever is
// won later begins in the poll loop.
func (m *member) assign(ctx context.Context, at []offsets.Partition) map[offsets.Partition]offsets.Position {
	ctx, cancel := context.WithTimeout(ctx, claimBudget)
	defer cancel()
	a := &assignment{starts: make(map[offsets.Partition]offsets.Position, len(at)), unanswered: len(at), answered: make(chan struct{})}
	for _, p := range at {
		a.starts[p] = offsets.Position{Epoch: -1}
	}
	if len(at) == 0 {
		return a.starts
	}
	var requests []*request
	for _, l := range m.add(at...) {
		requests = append(requests, newRequest(l, a))
	}
	m.claims.add(requests...)
	select {
	case <-a.answered:
	case <-ctx.Done():
		m.log.Warn("claim partitions: no answer yet, going on in the background", "partitions", len(at))
	case <-m.work.Done():
	}
	m.letRun(a.end())
	return a.starts
}

// assignment is a set of lanes that were assigned together, and wait together to be claimed
// before their first fetch.
type assignment struct {
	mu         sync.Mutex
	over       bool                                   // nobody waits any more
	unanswered int                                    // lanes
	answered   chan struct{}                          // closed when each has an answer
	starts     map[offsets.Partition]offsets.Position // of each lane
	won        []win
}

// answer notes what became of the first attempt for a lane. It reports false if nobody waits
// for it any more.
func (a *assignment) answer(l *lane, c offsets.Claim, won bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return false
	}
	a.starts[l.Partition] = c.Position
	if won {
		a.won = append(a.won, win{l, c})
	}
	if a.unanswered--; a.unanswered == 0 {
		close(a.answered)
	}
	return true
}

// end returns what was won so far. From then on the poll loop lets lanes run.
func (a *assignment) end() []win {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
	return a.won
}

// add opens lanes, suspended until they are claimed.
func (m *member) add(at ...offsets.Partition) []*lane {
	lanes := make([]*lane, len(at))
	for i, p := range at {
		lanes[i] = newLane(p)
		m.mu.Lock()
		old := m.lanes[p]
		m.lanes[p] = lanes[i]
		m.mu.Unlock()
		if old != nil { // assigned again without having been revoked
			old.leave(closed, nil)
			old.abort()
		}
	}
	m.suspend(lanes...)
	for _, l := range lanes {
		m.spawn(func() { l.decode(m.decoder) })
	}
	return lanes
}

// revoked waits for the transactions of the lanes that move on, within the
// grace, and then cancels them: endless retries never hold up the group.
func (m *member) revoked(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	m.drop(gone, m.cfg.RebalanceGrace, sink.Revoked)
}

// lost cancels at once: somebody else may own the partitions already.
func (m *member) lost(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	m.drop(gone, 0, sink.Lost)
}

func (m *member) drop(gone map[string][]int32, grace time.Duration, kind string) {
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
	at := make([]offsets.Partition, len(lanes))
	for i, l := range lanes {
		at[i] = l.Partition
	}
	m.tellRebalanced(kind, at)
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
