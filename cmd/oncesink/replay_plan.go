package main

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/oncesink/oncesink/internal/kafka"
	"github.com/oncesink/oncesink/offsets"
)

// replayPlan says where each partition is to go, whatever its position is by then.
type replayPlan struct {
	group string
	from  replayFrom
	reach map[offsets.Partition]kafka.Reach // what there is to read
	want  map[offsets.Partition]int64       // of a time
}

// planReplay asks the brokers, and the archive, what there is to read, and which offsets a time has.
func (s *session) planReplay(ctx context.Context, from replayFrom, rows []offsets.Row) (*replayPlan, error) {
	archive, err := s.archive(ctx)
	if err != nil {
		return nil, err
	}
	asking, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var topics []string
	for _, r := range rows {
		if !slices.Contains(topics, r.Topic) {
			topics = append(topics, r.Topic)
		}
	}
	p := &replayPlan{group: s.consumer.Group, from: from, reach: map[offsets.Partition]kafka.Reach{}}
	found, err := s.admin.ListStartOffsets(asking, topics...)
	if err != nil {
		return nil, s.kafkaError(err)
	}
	starts, err := listed(rows, found)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if p.reach[r.Partition], err = kafka.ReachOf(asking, archive, offsets.Token(s.meta.Topics[r.Topic].ID), r.Partition, starts[r.Partition], math.MaxInt64); err != nil {
			return nil, &environmentError{s.cfg.Scrub(err.Error())}
		}
	}
	if from.time.IsZero() {
		return p, nil
	}
	if found, err = s.admin.ListOffsetsAfterMilli(asking, from.time.UnixMilli(), topics...); err != nil {
		return nil, s.kafkaError(err)
	}
	if p.want, err = listed(rows, found); err != nil {
		return nil, err
	}
	for _, r := range rows {
		if p.want[r.Partition] > starts[r.Partition] { // the log has older records: so has the archive
			continue
		}
		if p.want[r.Partition], err = kafka.Since(ctx, archive, offsets.Token(s.meta.Topics[r.Topic].ID), r.Partition, p.reach[r.Partition], from.time); err != nil {
			return nil, &environmentError{s.cfg.Scrub(err.Error())}
		}
	}
	return p, nil
}

// to is where a partition goes: never below what there is, which would halt it, and never forward.
func (p *replayPlan) to(r offsets.Row) int64 {
	beginning := p.reach[r.Partition].Beginning()
	want := beginning
	switch {
	case p.from.offset != nil:
		want = *p.from.offset
	case p.want != nil:
		want = p.want[r.Partition]
	}
	return min(max(want, beginning), r.Position.Next)
}

// carryOut rewinds, or says what that would do.
func (p *replayPlan) carryOut(ctx context.Context, ledger *offsets.Ledger, rows []offsets.Row, dryRun bool) ([]offsets.Rewound, error) {
	var partitions []offsets.Partition
	var foreseen []offsets.Rewound
	for _, r := range rows {
		partitions = append(partitions, r.Partition)
		foreseen = append(foreseen, offsets.Rewound{Row: r, To: p.to(r)})
	}
	if dryRun {
		return foreseen, nil
	}
	return ledger.Rewind(ctx, p.to, partitions...)
}

// report says what was done, and what a person should know of it.
func (p *replayPlan) report(done []offsets.Rewound) *replayReport {
	r := &replayReport{Partitions: []partitionReplay{}, Warnings: []string{}}
	for _, at := range done {
		one := partitionReplay{Topic: at.Topic, Partition: at.Partition.Partition, From: at.Position.Next, To: at.To}
		if at.Moved() {
			r.moved = append(r.moved, at)
			one.Archived = min(at.Position.Next, p.reach[at.Partition].Archived(at.To)) - at.To
		} else {
			one.Stays = p.stays(at)
		}
		r.Partitions = append(r.Partitions, one)
		r.Warnings = append(r.Warnings, p.warnings(at)...)
	}
	return r
}

// stays says why a partition was left alone.
func (p *replayPlan) stays(at offsets.Rewound) string {
	reach := p.reach[at.Partition]
	beginning, what := reach.Beginning(), "the log"
	if beginning < reach.Start {
		what = "the archive"
	}
	switch {
	case at.Position.Next < beginning:
		return fmt.Sprintf("%s begins above it, at %d", what, beginning)
	case at.Position.Next == beginning:
		return what + " begins there"
	case p.from.offset != nil:
		return fmt.Sprintf("that is not above %d", *p.from.offset)
	}
	return "it has applied nothing of " + p.from.text + " or later"
}

func (p *replayPlan) warnings(at offsets.Rewound) []string {
	var out []string
	warn := func(format string, args ...any) {
		out = append(out, fmt.Sprintf("%s: ", at.Partition)+fmt.Sprintf(format, args...))
	}
	reach, next := p.reach[at.Partition], at.Position.Next
	start, who := reach.Beginning(), "the log no longer has"
	if reach.First < reach.Held {
		who = "neither the log nor the archive has"
	}
	// What was asked for and is gone: from where the group began, or from the offset that was named.
	asked := at.First
	if p.from.offset != nil {
		asked = *p.from.offset
	}
	if asked < min(start, next) && at.To <= start {
		warn("%s %s: not read again, and what was written stays as it is", who, events(asked, min(start, next)))
	}
	if from, to, missing := reach.Missing(next); missing {
		warn("the log lost %s unread, which halts the partition. If they can be done without: %s", events(from, to),
			offsets.Remedy("accept_gap", p.group, at.Topic, at.Partition.Partition, to))
	}
	if !at.Moved() {
		if at.Halted != "" {
			warn("it has halted, and a replay does not change that: correct the cause, then %s", offsets.Remedy("resume", p.group, at.Topic, at.Partition.Partition))
		}
		return out
	}
	if at.To < at.First {
		warn("the group began at %d: %s will be written for the first time", at.First, events(at.To, at.First))
	}
	if at.Paused {
		warn("it is paused. To have it read again: %s", offsets.Remedy("resume", p.group, at.Topic, at.Partition.Partition))
	}
	return out
}

// events names a range of them, the end not included.
func events(from, end int64) string {
	if end == from+1 {
		return fmt.Sprintf("offset %d", from)
	}
	return fmt.Sprintf("offsets %d to %d", from, end-1)
}
