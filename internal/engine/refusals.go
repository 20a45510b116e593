package engine

import (
	"cmp"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/oncesink/oncesink/docs"
	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Who runs a sink is told of dead letters when they are committed: of the first of each kind at once, with its place and
// reason, of the others by number, at most once a minute. What is told has nothing of a record: neither a value that a message
// quotes, nor the text of a handler's error.

// maxRefusals bounds how many kinds are told apart: codes of triggers and names of partitions may be many.
const maxRefusals = 1000

// refusalPause is how far apart the numbers of one kind are.
const refusalPause = time.Minute

// tallied are the dead letters of one kind in a transaction.
type tallied struct {
	letters     int64
	first, last refusedAt
}

// refusedAt is a dead letter, without anything of its record.
type refusedAt struct {
	offsets.Partition
	offset             int64
	reason, constraint string
}

// before orders dead letters: those of the tables come before those that could not be decoded.
func (at refusedAt) before(other refusedAt) bool {
	return cmp.Or(cmp.Compare(at.Partition.Partition, other.Partition.Partition), cmp.Compare(at.offset, other.offset)) < 0
}

// kindOf is what is told apart.
func kindOf(d *bind.Letter) sink.Refusal {
	return sink.Refusal{Topic: d.Entry().Topic, Code: d.Code, Table: d.Table, Column: d.Column}
}

// tally counts dead letters by their kinds.
func tally(letters []bind.Letter) map[sink.Refusal]tallied {
	if len(letters) == 0 {
		return nil
	}
	kinds := map[sink.Refusal]tallied{}
	for i := range letters {
		d := &letters[i]
		r := d.Entry()
		kind := kindOf(d)
		x := kinds[kind]
		x.letters++
		at := refusedAt{offsets.Partition{Topic: r.Topic, Partition: r.Partition}, r.Offset, reasonOf(d), d.Constraint}
		if x.letters == 1 || at.before(x.first) {
			x.first = at
		}
		if x.letters == 1 || x.last.before(at) {
			x.last = at
		}
		kinds[kind] = x
	}
	return kinds
}

// reasonOf says why a record is refused, in words that have nothing of it.
func reasonOf(d *bind.Letter) string {
	if d.Plain {
		return d.Message
	}
	return pgerr.Meaning(d.Code)
}

// refusals are the kinds of dead letters that were met. They are guarded by the lock of their stats.
type refusals struct {
	kinds map[sink.Refusal]*refusalStats
	// fresh are to be told at once; untold is how many kinds have letters that were not told.
	fresh  []*refusalStats
	untold int
}

type refusalStats struct {
	sink.RefusedStats
	first, last refusedAt
	untold      int64
	told        time.Time
}

// add counts the dead letters of a transaction that is committed.
func (rs *refusals) add(all *sink.Stats, done map[sink.Refusal]tallied) {
	for kind, x := range done {
		all.DeadLetters += x.letters
		c := rs.kinds[kind]
		if c == nil && len(rs.kinds) >= maxRefusals {
			kind = sink.Refusal{}
			c = rs.kinds[kind]
		}
		more := x.letters
		if c == nil {
			c = &refusalStats{RefusedStats: sink.RefusedStats{Refusal: kind}, first: x.first}
			rs.kinds[kind] = c
			rs.fresh = append(rs.fresh, c)
			more-- // the first is told by itself
		}
		if c.untold == 0 && more > 0 {
			rs.untold++
		}
		c.DeadLetters += x.letters
		c.untold += more
		c.last = x.last
	}
}

// stats are the counts by kind, the most frequent first.
func (rs *refusals) stats() (all []sink.RefusedStats) {
	for _, c := range rs.kinds {
		all = append(all, c.RefusedStats)
	}
	slices.SortFunc(all, func(a, b sink.RefusedStats) int {
		return cmp.Or(cmp.Compare(b.DeadLetters, a.DeadLetters), compareRefusals(a.Refusal, b.Refusal))
	})
	return all
}

func compareRefusals(a, b sink.Refusal) int {
	return cmp.Or(strings.Compare(a.Topic, b.Topic), strings.Compare(a.Table, b.Table), strings.Compare(a.Column, b.Column), strings.Compare(a.Code, b.Code))
}

// due takes the kinds that are to be told now: new ones, and those of which there are more, a minute after they were told last or,
// at the end, at once.
func (rs *refusals) due(now time.Time, end bool) (fresh, more []refusalStats) {
	for _, c := range rs.fresh {
		c.told = now
		fresh = append(fresh, *c)
	}
	rs.fresh = nil
	if rs.untold == 0 {
		return fresh, nil
	}
	for _, c := range rs.kinds {
		if c.untold > 0 && (end || now.Sub(c.told) >= refusalPause) {
			more = append(more, *c)
			c.untold, c.told = 0, now
			rs.untold--
		}
	}
	order := func(a, b refusalStats) int { return compareRefusals(a.Refusal, b.Refusal) }
	slices.SortFunc(fresh, order)
	slices.SortFunc(more, order)
	return fresh, more
}

// Tell logs how many records were refused since it was told last, of each kind at most once a minute. It is to be called now and
// then: nothing else tells of letters after which no others come.
func (s *Sink) Tell() { s.tell(time.Now(), false) }

// TellRest is Tell at the end: nothing is left untold.
func (s *Sink) TellRest() { s.tell(time.Now(), true) }

func (s *Sink) tell(now time.Time, end bool) {
	s.stats.Lock()
	fresh, more := s.stats.refusals.due(now, end)
	s.stats.Unlock()
	if len(s.stages) > 0 {
		return // a stage is loaded from what the group has read: its letters are told of by whoever loads it
	}
	for _, c := range fresh {
		if c.Refusal == (sink.Refusal{}) {
			s.log.Warn("records are refused for too many different reasons: those to come are counted together", slog.Int("reasons", maxRefusals))
		}
		s.log.Warn("a record is refused: it is kept as a dead letter", append(c.attrs(c.first), slog.String("steps", docs.Runbook("oncesinkdeadletters")))...)
	}
	for _, c := range more {
		s.log.Warn("more records are refused", append([]any{slog.Int64("dead_letters", c.untold)}, c.attrs(c.last)...)...)
	}
}

// attrs say what a kind is, and where one of its records is found.
func (c *refusalStats) attrs(at refusedAt) []any {
	attrs := []any{slog.String("topic", at.Topic), slog.Int("partition", int(at.Partition.Partition)), slog.Int64("offset", at.offset)}
	for _, a := range [][2]string{{"code", c.Code}, {"table", c.Table}, {"column", c.Column}, {"constraint", at.constraint}, {"reason", at.reason}} {
		if a[1] != "" {
			attrs = append(attrs, slog.String(a[0], a[1]))
		}
	}
	return attrs
}
