package checker

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Gap is a range of offsets, [From, To), that somebody gave up: what lies in it need not be there.
type Gap struct {
	Topic     string
	Partition int32
	From, To  int64
}

// Rules is what a check may take for granted.
type Rules struct {
	Ends map[Place]int64 // where each log ends, by partition: every position has to be there. nil: not asked
	Gaps []Gap
	// OnlyLatest leaves out the table of all events, which a run has not written.
	OnlyLatest bool
}

// Verdict is what is wrong: nothing, in a database that holds what was produced.
type Verdict struct {
	Events   int      `json:"events"`   // that had to be there
	Lost     int      `json:"lost"`     // acknowledged, below the position, and without their effect
	Doubled  int      `json:"doubled"`  // an effect that is there twice
	Wrong    int      `json:"wrong"`    // a row that is older than its key's last event, was for a moment, or is otherwise than it was produced
	Order    int      `json:"order"`    // a position that is not behind the last event that was applied, or not at the log's end
	Phantoms int      `json:"phantoms"` // what nobody produced, or what was aborted
	Examples []string `json:"examples,omitempty"`
}

// Clean tells whether nothing is wrong.
func (v Verdict) Clean() bool { return v.Lost+v.Doubled+v.Wrong+v.Order+v.Phantoms == 0 }

// String says what is wrong, with examples.
func (v Verdict) String() string {
	return fmt.Sprintf("L=%d D=%d V=%d O=%d P=%d of %d events\n%s", v.Lost, v.Doubled, v.Wrong, v.Order, v.Phantoms, v.Events, strings.Join(v.Examples, "\n"))
}

const mostExamples = 20

func (v *Verdict) add(n *int, format string, args ...any) {
	*n++
	if len(v.Examples) < mostExamples {
		v.Examples = append(v.Examples, fmt.Sprintf(format, args...))
	}
}

// identity is an event's. A recreated topic, or a log that was truncated, has two at one place.
type identity struct {
	Place
	Key, Version int64
}

// Check compares a database with a history.
func Check(history []Op, d Database, rules Rules) (v Verdict) {
	c := &check{v: &v, d: d, rules: rules, produced: map[identity]Op{}, letters: map[Place]int{}}
	for _, op := range history {
		if op.Kind != Read {
			c.ops = append(c.ops, op)
		}
	}
	c.events()
	c.deadLetters()
	c.latest()
	c.positions()
	c.reads(history)
	for range d.Backward {
		v.add(&v.Wrong, "a row was overwritten by an older event")
	}
	return v
}

type check struct {
	v        *Verdict
	d        Database
	rules    Rules
	ops      []Op
	produced map[identity]Op
	letters  map[Place]int
}

func (c *check) givenUp(at Place) bool {
	return slices.ContainsFunc(c.rules.Gaps, func(g Gap) bool {
		return g.Topic == at.Topic && g.Partition == at.Partition && g.From <= at.Offset && at.Offset < g.To
	})
}

func (op Op) place() Place { return Place{op.Topic, op.Partition, op.Offset} }

// position of a partition; -1 where the ledger has none.
func (c *check) position(at Place) int64 {
	at.Offset = 0
	next, ok := c.d.Positions[at]
	if !ok {
		return -1
	}
	return next
}

// events: each that was produced is there once, as it was.
func (c *check) events() {
	for _, op := range c.ops {
		if op.Kind == Upsert {
			c.produced[identity{op.place(), op.Key, op.Version}] = op
		}
	}
	c.v.Events = len(c.produced)
	if c.rules.OnlyLatest {
		return
	}
	places := map[Place]bool{}
	for id := range c.produced {
		places[id.Place] = true
	}
	seen := map[identity]int{}
	for _, row := range c.d.Events {
		id := identity{row.Place, row.Key, row.Version}
		op, ok := c.produced[id]
		switch {
		case ok && op.Value == row.Value:
		case ok || places[row.Place]:
			c.v.add(&c.v.Wrong, "the event %v is otherwise than it was produced", id)
		default:
			c.v.add(&c.v.Phantoms, "nobody produced, or let stand, the event %v", id)
		}
		if seen[id]++; seen[id] == 2 {
			c.v.add(&c.v.Doubled, "the event %v is there more than once", id)
		}
	}
	for id := range c.produced {
		if seen[id] == 0 && id.Offset < c.position(id.Place) && !c.givenUp(id.Place) {
			c.v.add(&c.v.Lost, "the event %v lies below the position %d, and is not there", id, c.position(id.Place))
		}
	}
}

// deadLetters: each poison is kept, once, and nothing else is.
func (c *check) deadLetters() {
	poison := map[Place]bool{}
	for _, op := range c.ops {
		if op.Kind == Poison {
			poison[op.place()] = true
		}
	}
	c.v.Events += len(poison)
	for _, at := range c.d.Letters {
		if c.letters[at]++; c.letters[at] == 2 {
			c.v.add(&c.v.Doubled, "the dead letter %v is there twice", at)
		}
		if !poison[at] {
			c.v.add(&c.v.Phantoms, "the record at %v is a dead letter, and need not be", at)
		}
	}
	for at := range poison {
		if c.letters[at] == 0 && at.Offset < c.position(at) && !c.givenUp(at) {
			c.v.add(&c.v.Lost, "the record at %v can't be written, and is no dead letter", at)
		}
	}
}

// latest: each key has the row of its last event. The last is the one with the highest version, and of equal ones the one that lies later;
// a tombstone deletes what lies before it in its partition.
func (c *check) latest() {
	type state struct {
		op    Op
		there bool
		least int64 // a version that a row has to have after a deletion
	}
	want := map[int64]state{}
	ops := slices.Clone(c.ops)
	slices.SortStableFunc(ops, func(a, b Op) int {
		return cmp.Or(cmp.Compare(a.Begun, b.Begun), cmp.Compare(a.Offset, b.Offset))
	})
	for _, op := range ops {
		if op.Offset >= c.position(op.place()) || c.givenUp(op.place()) {
			continue
		}
		s := want[op.Key]
		switch {
		case op.Kind == Tombstone:
			if s.there {
				s.least = s.op.Version
			}
			s.there = false
		case op.Kind == Upsert && op.Version >= s.least && (!s.there || op.Version >= s.op.Version):
			s = state{op: op, there: true}
		default:
			continue
		}
		want[op.Key] = s
	}
	have := map[int64]Row{}
	for _, row := range c.d.Latest {
		if _, twice := have[row.Key]; twice {
			c.v.add(&c.v.Doubled, "the key %d has two rows", row.Key)
		}
		have[row.Key] = row
	}
	for key, s := range want {
		row, ok := have[key]
		delete(have, key)
		switch {
		case s.there && !ok:
			c.v.add(&c.v.Lost, "the key %d has no row, and its last event is %v", key, s.op)
		case !s.there && ok:
			c.v.add(&c.v.Wrong, "the key %d was deleted, and has the row %v", key, row)
		case s.there && (row.Version != s.op.Version || row.Value != s.op.Value || row.Partition != s.op.Partition || row.Offset != s.op.Offset):
			c.v.add(&c.v.Wrong, "the key %d has the row %v, and its last event is %v", key, row, s.op)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(have)) {
		c.v.add(&c.v.Phantoms, "no event is of the row %v", have[key])
	}
}

// positions: nothing above one was applied, and all are at the end.
func (c *check) positions() {
	last := map[Place]int64{}
	above := func(at Place) {
		partition := Place{at.Topic, at.Partition, 0}
		last[partition] = max(last[partition], at.Offset)
	}
	for _, row := range c.d.Events {
		above(row.Place)
	}
	for _, at := range c.d.Letters {
		above(at)
	}
	for at, offset := range last {
		if next := c.position(at); offset >= next && !c.givenUp(Place{at.Topic, at.Partition, offset}) {
			c.v.add(&c.v.Order, "offset %d of %v was applied, and the position is %d", offset, at, next)
		}
	}
	for at, end := range c.rules.Ends {
		if next := c.position(at); next != end {
			c.v.add(&c.v.Order, "the position of %v is %d, and the log ends at %d", at, next, end)
		}
	}
}

// reads: no reader saw a row of a key that is older than what was read before it began.
func (c *check) reads(history []Op) {
	byKey := map[int64][]Op{}
	for _, op := range history {
		if op.Kind == Read {
			byKey[op.Key] = append(byKey[op.Key], op)
		}
	}
	for key, ops := range byKey {
		slices.SortFunc(ops, func(a, b Op) int { return cmp.Compare(a.Begun, b.Begun) })
		highest := int64(0)
		for i, op := range ops {
			if i > 0 && ops[i-1].Ended <= op.Begun {
				highest = max(highest, ops[i-1].Version)
			}
			if op.Version < highest {
				c.v.add(&c.v.Wrong, "a reader saw the key %d at version %d, after %d", key, op.Version, highest)
			}
		}
	}
}
