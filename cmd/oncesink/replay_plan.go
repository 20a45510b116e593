package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/oncesink/oncesink/offsets"
)

// replayPlan says where each partition is to go, whatever its position is by then.
type replayPlan struct {
	group string
	from  replayFrom
	start map[offsets.Partition]int64 // of the logs
	want  map[offsets.Partition]int64 // at or above the start
}

// planReplay asks the brokers where the logs begin, and which offsets a time has.
func (s *session) planReplay(ctx context.Context, from replayFrom, rows []offsets.Row) (*replayPlan, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var topics []string
	for _, r := range rows {
		if !slices.Contains(topics, r.Topic) {
			topics = append(topics, r.Topic)
		}
	}
	p := &replayPlan{group: s.consumer.Group, from: from}
	found, err := s.admin.ListStartOffsets(ctx, topics...)
	if err != nil {
		return nil, s.kafkaError(err)
	}
	if p.start, err = listed(rows, found); err != nil {
		return nil, err
	}
	p.want = p.start
	if !from.time.IsZero() {
		if found, err = s.admin.ListOffsetsAfterMilli(ctx, from.time.UnixMilli(), topics...); err != nil {
			return nil, s.kafkaError(err)
		}
		if p.want, err = listed(rows, found); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// to is where a partition goes: never below the log, which would halt it, and never forward.
func (p *replayPlan) to(r offsets.Row) int64 {
	want := p.want[r.Partition]
	if p.from.offset != nil {
		want = *p.from.offset
	}
	return min(max(want, p.start[r.Partition]), r.Position.Next)
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
	start := p.start[at.Partition]
	switch {
	case at.Position.Next < start:
		return fmt.Sprintf("the log begins above it, at %d", start)
	case at.Position.Next == start:
		return "the log begins there"
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
	start, next := p.start[at.Partition], at.Position.Next
	// What was asked for and is gone: from where the group began, or from the offset that was named.
	asked := at.First
	if p.from.offset != nil {
		asked = *p.from.offset
	}
	if asked < min(start, next) && at.To <= start {
		warn("the log no longer has %s: not read again, and what was written stays as it is", events(asked, min(start, next)))
	}
	if next < start {
		warn("the log lost %s unread, which halts the partition. If they can be done without: %s", events(next, start),
			offsets.Remedy("accept_gap", p.group, at.Topic, at.Partition.Partition, start))
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
