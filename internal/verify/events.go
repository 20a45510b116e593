package verify

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/internal/kafka"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/offsets"
)

// An event that lies below the group's position is in the table, or a later one of its key is: the engine's look before a replay would
// leave it out (rule 20). So whoever would write it finds that it is missing. Row and memory are read in one statement.

// some reads the events of a partition from an offset on, n of them at most, and says where the next ones begin. There are no more where
// that is not below the feed's position.
func (c *checker) some(ctx context.Context, f *feed, from int64, n int) (list []*kgo.Record, next int64, err error) {
	err = c.patiently(ctx, func() error {
		s, ok := c.stretch(f)
		if !ok {
			list, next = nil, f.next
			return nil
		}
		begin := max(from, f.first)
		if first, held := c.archived(f); first < held && begin < held {
			list, next, err = c.someArchived(ctx, f, s, max(begin, first), min(held, f.next), n)
			return err
		}
		s.From, s.To = max(begin, s.From), min(f.next, s.To)
		if s.From >= s.To {
			list, next = nil, f.next
			return nil
		}
		var all kafka.Fetched
		list, next, all, err = kafka.Some(ctx, c.Client, s, n)
		c.count(all)
		return err
	})
	return list, next, err
}

// someArchived is some for what the archive alone has: from <= offset < to.
func (c *checker) someArchived(ctx context.Context, f *feed, s kafka.Stretch, from, to int64, n int) (list []*kgo.Record, next int64, err error) {
	next = to
	if from >= to {
		return nil, next, nil
	}
	err = c.Archive.Read(ctx, s.TopicID, f.Partition, from, func(records []*kgo.Record) bool {
		c.result.Archived += int64(len(records))
		for _, r := range records {
			if r.Offset >= to {
				return false
			}
			if len(list) == n {
				next = r.Offset
				return false
			}
			list = append(list, r)
		}
		return true
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read from the archive: %w", err)
	}
	return list, next, nil
}

// these reads the events at offsets of a partition that ascend, as far as they are there.
func (c *checker) these(ctx context.Context, f *feed, at []int64) (list []*kgo.Record, err error) {
	err = c.patiently(ctx, func() error {
		list = nil
		s, ok := c.stretch(f)
		if !ok {
			return nil
		}
		s.To = min(f.next, s.To)
		return c.at(ctx, f, s, at, func(r *kgo.Record) { list = append(list, r) })
	})
	return list, err
}

// judgeEvents finds the events that are missing, each after a second look.
func (c *checker) judgeEvents(ctx context.Context, at offsets.Partition, list []*kgo.Record) ([]Mismatch, error) {
	found, err := c.judgeEventsOnce(ctx, at, list)
	if err == nil && len(found) == 0 || err != nil && !altered(err) {
		return nil, err
	}
	if err == nil {
		suspected := map[int64]bool{}
		for i := range found {
			suspected[found[i].Offset] = true
		}
		var again []*kgo.Record
		for _, r := range list {
			if suspected[r.Offset] {
				again = append(again, r)
			}
		}
		list = again
	}
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	if err := c.readFeeds(ctx); err != nil {
		return nil, err
	}
	return c.judgeEventsOnce(ctx, at, list)
}

func (c *checker) judgeEventsOnce(ctx context.Context, at offsets.Partition, list []*kgo.Record) ([]Mismatch, error) {
	f := c.byPartition(at)
	if f == nil || f.source < 0 || len(list) == 0 {
		return nil, nil
	}
	was := *f
	d, err := c.decode(ctx, &records{at: map[offsets.Partition][]*kgo.Record{at: list}})
	if err != nil {
		return nil, err
	}
	var pending []reason
	for _, fault := range d.faults {
		why := unreadable(fault)
		if why == Refused {
			why = DeadLetter
		}
		pending = append(pending, reason{why, 1})
	}
	var events []bind.Event
	for _, r := range list {
		if e := d.events[place{f.source, r.Offset}]; e != nil && (e.Deletes(c.table) || !e.Tombstone()) {
			events = append(events, *e)
		}
	}
	missing, refused, err := c.missing(ctx, events)
	if err != nil {
		return nil, err
	}
	if refused > 0 {
		pending = append(pending, reason{Refused, refused})
	}
	found, more, err := c.reallyMissing(ctx, &was, missing)
	if err != nil {
		return nil, err
	}
	for _, r := range append(pending, more...) {
		c.result.untold(r.why, r.n)
	}
	return found, nil
}

// absent is an event that is missing.
type absent struct {
	event bind.Event
	kind  string
	table string
	why   string
}

// missing finds the events that would still do something, and counts those of which PostgreSQL does not take the key.
func (c *checker) missing(ctx context.Context, events []bind.Event) (missing []absent, refused int64, err error) {
	t := c.table
	look := func(s statement.Shape, sql string, events []bind.Event, each func(e *bind.Event, says byte)) error {
		for len(events) > 0 {
			n := min(len(events), bind.MaxStatementRows)
			says, err := c.says(ctx, t, s, sql, events[:n])
			if err != nil {
				return err
			}
			for i := range says {
				if says[i] == '?' {
					refused++
					continue
				}
				each(&events[i], says[i])
			}
			events = events[n:]
		}
		return nil
	}
	var sets bind.Sets
	sets.Split(t, events)
	shape := statement.LookShape(t)
	for _, name := range sets.Names() {
		if err := look(shape, statement.Look(t, shape), sets.Of(name), func(e *bind.Event, says byte) {
			switch says {
			case statement.SaysAbsent:
				missing = append(missing, absent{*e, Missing, c.title, "there is no row of it"})
			case statement.SaysWins:
				missing = append(missing, absent{*e, Missing, c.title, "the row is an earlier event's"})
			}
		}); err != nil {
			return nil, 0, err
		}
		for bit, child := range t.Children {
			var with []bind.Event
			for _, e := range sets.Of(name) {
				if e.Arrays()&(1<<bit) != 0 {
					with = append(with, e)
				}
			}
			if err := look(shape, statement.LookSets(t, child, shape), with, func(e *bind.Event, says byte) {
				if says == statement.SaysWins {
					missing = append(missing, absent{*e, Children, child.Title(), "the children are an earlier event's, or nobody's"})
				}
			}); err != nil {
				return nil, 0, err
			}
		}
	}
	if t.Memory == "" {
		return missing, refused, nil
	}
	for name, versioned := range deletions {
		if len(sets.Of(name)) == 0 {
			continue
		}
		s := statement.DeleteShape(t, versioned)
		if err := look(s, statement.LookDeletions(t, s), sets.Of(name), func(e *bind.Event, says byte) {
			if says == statement.SaysWins {
				missing = append(missing, absent{*e, Deletion, c.title, "it is not remembered, or the row is still there"})
			}
		}); err != nil {
			return nil, 0, err
		}
	}
	return missing, refused, nil
}

// reallyMissing leaves out what must not be told.
func (c *checker) reallyMissing(ctx context.Context, was *feed, missing []absent) (found []Mismatch, why []reason, err error) {
	if len(missing) == 0 {
		return nil, nil, nil
	}
	// The partition may belong to another topic by now, or to another mapping.
	if err := c.readFeeds(ctx); err != nil {
		return nil, nil, err
	}
	f := c.byPartition(was.Partition)
	if f == nil || f.source != was.source || f.topicID != was.topicID {
		return nil, []reason{{Source, int64(len(missing))}}, nil
	}
	places := make([]place, len(missing))
	for i := range missing {
		places[i] = c.placeOf(&missing[i].event)
	}
	kept, err := c.letters(ctx, places)
	if err != nil {
		return nil, nil, err
	}
	byTitle := map[string]*tables.Table{c.title: c.table}
	for _, t := range c.table.Children {
		byTitle[t.Title()] = t
	}
	var told []absent
	for i, m := range missing {
		switch {
		case kept[places[i]]:
			why = append(why, reason{DeadLetter, 1})
		case !c.ours(f, c.table, places[i].offset), !c.ours(f, byTitle[m.table], places[i].offset):
			why = append(why, reason{Mapping, 1})
		case c.triggers[c.title] || c.triggers[m.table]:
			why = append(why, reason{Trigger, 1})
		default:
			told = append(told, m)
		}
	}
	found, err = c.named(ctx, f, told)
	return found, why, err
}

// named finds the keys of the events as PostgreSQL writes them, and who wrote the rows that are there instead.
func (c *checker) named(ctx context.Context, f *feed, told []absent) ([]Mismatch, error) {
	if len(told) == 0 {
		return nil, nil
	}
	t := c.table
	s := statement.Shape{Columns: t.Key}
	events := make([]bind.Event, len(told))
	for i := range told {
		events[i] = told[i].event
	}
	keys := make([][]string, len(told))
	if err := c.ask(ctx, t, s, statement.KeyTexts(t, s), events, nil, func(i int, _ string, key []string) { keys[i] = key }); err != nil {
		return nil, err
	}
	for i := range keys {
		if keys[i] == nil {
			return nil, fmt.Errorf("the key of offset %d of %s can't be read", events[i].Offset(), f.Partition)
		}
	}
	writers, err := c.writers(ctx, t.Quoted(), statement.KeyColumns(t), keys)
	if err != nil {
		return nil, err
	}
	found := make([]Mismatch, len(told))
	for i, m := range told {
		found[i] = Mismatch{Kind: m.kind, Table: m.table, Key: keys[i], Problem: m.why, of: keys[i]}
		found[i].event(f.Partition, events[i].Offset())
		if w := writers[i]; w != nil {
			found[i].Transaction, found[i].Written = w.transaction, w.at
		}
	}
	return found, nil
}
