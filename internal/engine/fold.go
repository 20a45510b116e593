package engine

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/offsets"
)

// fold brings the events of one table, in the order they are to be applied, into
// rounds: within a round a key occurs once, and the keys are sorted. Applying the
// rounds one after the other leaves the table as applying the events one by one
// would, whatever it held before (rule 11):
//
//   - Of two upserts the one that loses by the order of the guard contributes nothing; but whether the
//     other one is a row at all is for PostgreSQL to say, if it lacks a column that a row can't be without;
//     and if it lacks an array, the loser's children are the last ones (rule 16).
//   - The one that wins replaces the other if it has all its fields; otherwise it
//     starts the next round, over what the other wrote (rule 16).
//   - A tombstone waits for the events before it, whose version it keeps, and the
//     events after it wait for the tombstone. So does a deletion with a version.
//   - With a delete memory, events of different partitions stay apart: which of
//     them a remembered tombstone holds back is a question for each alone.
func (t *table) fold(events []bind.Event, rounds [][]bind.Event) [][]bind.Event {
	slices.SortFunc(events, func(a, b bind.Event) int {
		if c := bytes.Compare(a.Key, b.Key); c != 0 {
			return c
		}
		return cmp.Compare(a.Seq, b.Seq)
	})
	for i := 0; i < len(events); {
		round := 0
		rounds = put(rounds, round, events[i])
		last := &events[i]
		i++
		for ; i < len(events) && bytes.Equal(events[i].Key, last.Key); i++ {
			e := &events[i]
			switch t.merge(last, e) {
			case loses:
				continue
			case covers:
				r := rounds[round]
				r[len(r)-1] = *e
			case follows:
				round++
				rounds = put(rounds, round, *e)
			}
			last = e
		}
	}
	return rounds
}

func put(rounds [][]bind.Event, round int, e bind.Event) [][]bind.Event {
	if round == len(rounds) {
		if round < cap(rounds) {
			rounds = rounds[:round+1]
			rounds[round] = rounds[round][:0]
		} else {
			rounds = append(rounds, nil)
		}
	}
	rounds[round] = append(rounds[round], e)
	return rounds
}

type merged uint8

const (
	follows merged = iota // both are applied, one after the other
	covers                // the later one alone does what both would
	loses                 // the earlier one alone does
)

// merge says what the later event e of a key does to the earlier one.
func (t *table) merge(last, e *bind.Event) merged {
	same := last.Part.Claim.Source == e.Part.Claim.Source
	if last.Tombstone() || e.Tombstone() {
		if last.Tombstone() && e.Tombstone() && same && last.Versioned() == e.Versioned() && (!e.Versioned() || t.order(last, e) < 0) {
			return covers
		}
		return follows
	}
	if t.Memory != "" && !same {
		return follows
	}
	if t.order(last, e) > 0 {
		if !whole(t.Table, last) {
			return follows // where there is no row, the earlier one is refused, and e is not
		}
		if e.Arrays()&^last.Arrays() != 0 {
			return follows // its set may be the last one
		}
		return loses
	}
	for i := range t.Filled() {
		if !e.Cell(i).Given() && last.Cell(i).Given() {
			return follows
		}
	}
	if last.Arrays()&^e.Arrays() != 0 {
		return follows
	}
	return covers
}

// order compares two events of a key that have their versions by the order of the guard. Without engine
// columns the order of arrival decides between equal versions.
func (t *table) order(last, e *bind.Event) int {
	if t.Version >= 0 {
		if c := t.Columns[t.Version].Compare(last.Version(), e.Version()); c != 0 {
			return c
		}
	}
	if !t.Guarded {
		return -1
	}
	a, b := last.Part.Claim.Source, e.Part.Claim.Source
	return cmp.Or(
		cmp.Compare(a>>offsets.SourceBits, b>>offsets.SourceBits),
		cmp.Compare(last.Offset(), e.Offset()),
		cmp.Compare(a, b))
}
