package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
)

// errEnd is the cause of a run that reached the end.
var errEnd = errors.New("the end is reached")

const endInterval = 200 * time.Millisecond

// untilEnd notes where the topics end now, and stops the life when the ledger has
// come there: its own partitions and those of the group's other members.
func (m *member) untilEnd(ctx context.Context, ends *map[offsets.Partition]int64, stop context.CancelCauseFunc) {
	for attempt := 0; *ends == nil && m.pause(attempt); attempt++ {
		found, err := m.listEnds(ctx)
		if err != nil {
			m.log.Warn("list end offsets", "error", err)
			continue
		}
		*ends = found
	}
	tick := time.NewTicker(endInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		rows, err := m.ledger.Rows(ctx)
		if err != nil {
			continue
		}
		now := *ends
		if past(rows, now) { // of the log as it was: is it past the log as it is?
			if now, err = m.listEnds(ctx); err != nil {
				continue
			}
		}
		if done, halts := m.atEnd(rows, *ends, now); done {
			if halts != nil {
				stop(halts)
			} else {
				stop(errEnd)
			}
			return
		}
	}
}

// boundInterval is short: whoever waits for a bound may hold locks.
const boundInterval = 5 * time.Millisecond

// untilBounds stops the life when every bounded partition has come to its bound.
func (m *member) untilBounds(ctx context.Context, stop context.CancelCauseFunc) {
	tick := time.NewTicker(boundInterval)
	defer tick.Stop()
	for {
		if done, halts := m.atBounds(); done {
			if halts != nil {
				stop(halts)
			} else {
				stop(errEnd)
			}
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// atBounds reports whether every bounded partition has come to its bound or can't.
func (m *member) atBounds() (done bool, halts error) {
	var stopped []error
	for p, bound := range m.until {
		l := m.lane(p)
		switch {
		case l == nil:
			return false, nil
		case l.applied(bound):
		case l.view().state == halted:
			stopped = append(stopped, l.view().cause)
		default:
			return false, nil
		}
	}
	return true, errors.Join(stopped...)
}

// past reports whether a position lies past one of the ends.
func past(rows []offsets.Row, ends map[offsets.Partition]int64) bool {
	return slices.ContainsFunc(rows, func(r offsets.Row) bool {
		end, ok := ends[r.Partition]
		return ok && r.Position.Next > end
	})
}

// atEnd reports whether every partition has reached its end or can't. A position past the end that the
// log has now is no end: its owner has still to find out, and halts.
func (m *member) atEnd(rows []offsets.Row, ends, now map[offsets.Partition]int64) (done bool, halts error) {
	at := map[offsets.Partition]offsets.Row{}
	for _, r := range rows {
		at[r.Partition] = r
	}
	var stopped []error
	for p, end := range ends {
		r, ok := at[p]
		l := m.lane(p)
		switch {
		case l != nil && l.view().state == halted:
			stopped = append(stopped, l.view().cause)
		case ok && r.Position.Next >= end && r.Position.Next <= now[p] && (r.Paused || r.Halted != "" || !m.asking(p)):
		case ok && r.Paused:
			stopped = append(stopped, fmt.Errorf("%s: paused by an operator at offset %d: %s", p, r.Position.Next, offsets.Remedy("resume", m.cfg.Group, p.Topic, p.Partition)))
		case ok && r.Halted != "":
			stopped = append(stopped, errors.New(p.String()+" halted: "+wiring.Reason(p, "halted", r.Halted)))
		default:
			return false, nil
		}
	}
	return true, errors.Join(stopped...)
}

// asking reports whether dead letters of the partition are still to be tried again, or nobody has looked yet.
func (m *member) asking(p offsets.Partition) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked[p] || m.asked == nil
}

// listEnds returns the last stable offset of every partition to be read, where
// the partition has records at all.
func (m *member) listEnds(ctx context.Context) (map[offsets.Partition]int64, error) {
	topics := sortedTopics(m.cfg.Topics)
	listed, err := m.admin.ListCommittedOffsets(ctx, topics...)
	if err = errors.Join(err, listed.Error()); err != nil {
		return nil, err
	}
	ends := map[offsets.Partition]int64{}
	listed.Each(func(o kadm.ListedOffset) {
		if parts, ok := m.cfg.Assign[o.Topic]; (!ok && len(m.cfg.Assign) == 0) || slices.Contains(parts, o.Partition) {
			ends[offsets.Partition{Topic: o.Topic, Partition: o.Partition}] = o.Offset
		}
	})
	return ends, nil
}
