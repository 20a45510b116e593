package consumer

import (
	"slices"
	"strings"

	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Observer is told what becomes of partitions, for a page, or a log of events: see Config.Observer. A function that is nil is not called.
// Halts are told by Config.OnHalt, transactions by Config.Sink.Observer, and what is to be counted by [Consumer.Stats].
//
// The functions are called when it happens, by goroutines that claim, watch or rebalance, with no lock held; several at a time. The group
// waits for some of them: they have to be quick, and must ask no server.
type Observer struct {
	// Claimed is called for each partition for which the ledger was asked.
	Claimed func(Claimed)
	// Rebalanced is called when the group gives partitions to this process, or takes them.
	Rebalanced func(Rebalance)
	// Fenced is called when the ledger has told why a partition was lost while it ran.
	Fenced func(Fence)
	// SessionEnded is called when a session that had stopped was ended, since it held the partition's row.
	SessionEnded func(p offsets.Partition, session string)
}

// And returns an observer that tells both, o first; either may be nil.
func (o *Observer) And(next *Observer) *Observer {
	switch {
	case o == nil:
		return next
	case next == nil:
		return o
	}
	return &Observer{
		Claimed: both(o.Claimed, next.Claimed), Rebalanced: both(o.Rebalanced, next.Rebalanced), Fenced: both(o.Fenced, next.Fenced),
		SessionEnded: func(p offsets.Partition, session string) {
			for _, f := range []func(offsets.Partition, string){o.SessionEnded, next.SessionEnded} {
				if f != nil {
					f(p, session)
				}
			}
		},
	}
}

func both[T any](first, second func(T)) func(T) {
	switch {
	case first == nil:
		return second
	case second == nil:
		return first
	}
	return func(x T) { first(x); second(x) }
}

// Claimed is what came of asking the ledger for a partition.
type Claimed struct {
	offsets.Partition
	// Outcome is sink.ClaimWon, sink.ClaimHeld, sink.ClaimRefused or sink.ClaimFailed.
	Outcome string
	// Position from which it is read on, if it was won.
	Position int64
	// Err is why it was not.
	Err error
}

// Rebalance is partitions that the group gives or takes.
type Rebalance struct {
	// Kind is sink.Assigned, sink.Revoked or sink.Lost.
	Kind       string
	Partitions []offsets.Partition // by topic and number
}

// Fence is a partition that was lost while it ran.
type Fence struct {
	offsets.Partition
	// Cause is sink.FencedByOperator, sink.FencedByClaim or sink.FencedByLock.
	Cause string
}

// tally counts what becomes of partitions, and tells Config.Observer. It is safe for concurrent use.
func (c *Consumer) tally(add func(*sink.Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	add(&c.counts)
}

func count(m *map[string]int64, key string) {
	if *m == nil {
		*m = map[string]int64{}
	}
	(*m)[key]++
}

func (c *Consumer) tellClaimed(x Claimed) {
	c.tally(func(s *sink.Stats) { count(&s.Claims, x.Outcome) })
	if o := c.cfg.Observer; o != nil && o.Claimed != nil {
		o.Claimed(x)
	}
}

func (c *Consumer) tellRebalanced(kind string, at []offsets.Partition) {
	if len(at) == 0 {
		return
	}
	c.tally(func(s *sink.Stats) { count(&s.Rebalances, kind) })
	if o := c.cfg.Observer; o != nil && o.Rebalanced != nil {
		slices.SortFunc(at, comparePartitions)
		o.Rebalanced(Rebalance{kind, at})
	}
}

func (c *Consumer) tellFenced(p offsets.Partition, cause string) {
	c.tally(func(s *sink.Stats) { count(&s.Fenced, cause) })
	if o := c.cfg.Observer; o != nil && o.Fenced != nil {
		o.Fenced(Fence{p, cause})
	}
}

func (c *Consumer) tellEnded(p offsets.Partition, session string) {
	c.tally(func(s *sink.Stats) { s.StuckSessions++ })
	if o := c.cfg.Observer; o != nil && o.SessionEnded != nil {
		o.SessionEnded(p, session)
	}
}

func comparePartitions(a, b offsets.Partition) int {
	if c := strings.Compare(a.Topic, b.Topic); c != 0 {
		return c
	}
	return int(a.Partition) - int(b.Partition)
}

// tellFences counts lanes that were lost while they ran, once the row tells why.
func (c *Consumer) tellFences(was known, row *offsets.Row) {
	if row == nil || was.none || was.halted || was.claim.Paused || row.Fence == was.claim.Fence {
		return
	}
	cause := sink.FencedByOperator
	if row.ClaimID != was.claim.ID {
		cause = sink.FencedByClaim
	}
	c.tellFenced(row.Partition, cause)
}
