package archiver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/oncesink/oncesink/internal/archive"
	"github.com/oncesink/oncesink/offsets"
)

// Task is a partition: what the log has, what the archive holds, and where the archive goes on.
type Task struct {
	Partition  offsets.Partition
	TopicID    offsets.Token
	Start, End int64 // of the log: its first offset, and the last stable one
	Held       []archive.Span
	// Earlier are ids of topics of this name that were before, of which the archive has files as well.
	Earlier []offsets.Token
	// Next is the offset from which on records are to be archived.
	Next int64
	// Problem is what keeps the partition from being archived; nil: nothing.
	Problem error
}

// GapError says that offsets are gone from the log that the archive does not have.
type GapError struct {
	Partition   offsets.Partition
	First, Last int64
}

func (e *GapError) Error() string {
	return fmt.Sprintf("%s: the log has lost offsets %d to %d, which the archive does not hold: run the archive more often than retention deletes, or longer retention. `oncesink archive run --accept-gap` goes on behind them", e.Partition, e.First, e.Last)
}

// plan asks the brokers and the archive, once.
func (a *archiver) plan(ctx context.Context) (map[offsets.Partition]*Task, kadm.Metadata, error) {
	meta, err := a.admin.Metadata(ctx, a.Topics...)
	if err != nil {
		return nil, meta, err
	}
	starts, err1 := a.admin.ListStartOffsets(ctx, a.Topics...)
	ends, err2 := a.admin.ListCommittedOffsets(ctx, a.Topics...)
	if err := errors.Join(err1, err2); err != nil {
		return nil, meta, err
	}
	tasks := map[offsets.Partition]*Task{}
	for _, topic := range a.Topics {
		files, err := a.Archive.Topics(ctx, topic)
		if err != nil {
			return nil, meta, err
		}
		detail := meta.Topics[topic]
		if detail.Err != nil {
			return nil, meta, fmt.Errorf("topic %s: %w", topic, detail.Err)
		}
		for number := range detail.Partitions {
			t := &Task{Partition: offsets.Partition{Topic: topic, Partition: number}, TopicID: offsets.Token(detail.ID)}
			start, _ := starts.Lookup(topic, number)
			end, _ := ends.Lookup(topic, number)
			if err := errors.Join(start.Err, end.Err); err != nil {
				return nil, meta, fmt.Errorf("%s: %w", t.Partition, err)
			}
			t.Start, t.End = start.Offset, end.Offset
			t.of(files)
			t.settle(a.AcceptGap)
			tasks[t.Partition] = t
		}
	}
	return tasks, meta, nil
}

// of takes what the files of a topic say of the partition.
func (t *Task) of(files []archive.File) {
	var own []archive.File
	earlier := map[offsets.Token]bool{}
	for _, f := range files {
		switch {
		case f.TopicID != t.TopicID:
			earlier[f.TopicID] = true
		case f.Partition == t.Partition:
			own = append(own, f)
		}
	}
	t.Held = archive.Spans(own)
	t.Earlier = slices.SortedFunc(maps.Keys(earlier), func(x, y offsets.Token) int { return slices.Compare(x[:], y[:]) })
}

// settle decides where the archive goes on.
func (t *Task) settle(acceptGap bool) {
	t.Next = t.Start
	if len(t.Held) == 0 {
		return
	}
	held := t.Held[len(t.Held)-1].End
	switch {
	case held > t.End:
		t.Next = held
		t.Problem = lost(t.Partition, held, t.End)
	case held >= t.Start:
		t.Next = held
	case !acceptGap:
		t.Problem = &GapError{t.Partition, held, t.Start - 1}
	}
}

// lost says that a log ends below what was read of it.
func lost(p offsets.Partition, next, end int64) error {
	return fmt.Errorf("%s: the archive holds offsets up to %d, and the log ends at %d: it has lost records that were committed, as after an unclean election of a leader, so what comes next is not what follows. Archive the topic into another location from here on", p, next-1, end)
}
