package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/offsets"
)

// Archive has records of topics that their logs may no longer have. It is safe for concurrent use.
type Archive interface {
	// Span says which offsets of a partition it holds without a gap: first <= offset < end. ok is false if there are none.
	Span(ctx context.Context, topicID offsets.Token, p offsets.Partition) (first, end int64, ok bool, err error)
	// Read yields the records from an offset on, in order and in batches of bounded size, until the end of what is held, or until
	// yield returns false. It never leaves a record out: what it can't read is an error.
	Read(ctx context.Context, topicID offsets.Token, p offsets.Partition, from int64, yield func([]*kgo.Record) bool) error
	// At calls take for the records at offsets that ascend, as far as it has them, and returns how many it read to that end.
	At(ctx context.Context, topicID offsets.Token, p offsets.Partition, at []int64, take func(*kgo.Record)) (read int64, err error)
	// String says where it is.
	String() string
}

// Lasting is an error of an archive that does not pass by itself, such as that of a damaged file.
type Lasting interface {
	error
	Lasting()
}

// Reach is what can be read of a partition: what its log has, and below that what an archive has. Whoever asks whether an offset can be
// read asks it.
type Reach struct {
	Start, End  int64 // of the log: Start <= offset < End
	First, Held int64 // of the archive: First <= offset < Held; equal if it has nothing
}

// ReachOf asks an archive (nil: there is none) what it has of a partition whose log reaches from start to end.
func ReachOf(ctx context.Context, a Archive, topicID offsets.Token, p offsets.Partition, start, end int64) (Reach, error) {
	r := Reach{Start: start, End: end}
	if a == nil || start == 0 {
		return r, nil
	}
	first, held, ok, err := a.Span(ctx, topicID, p)
	if err != nil {
		return r, fmt.Errorf("ask the archive what it has of %s: %w", p, err)
	}
	if ok && first < held {
		r.First, r.Held = first, held
	}
	return r, nil
}

// Beginning is the first offset from which on nothing is missing.
func (r Reach) Beginning() int64 {
	if r.First < r.Start && r.Start <= r.Held {
		return r.First
	}
	return r.Start
}

// Archived is up to which offset a reader that stands at next is given the archive's records: to where the log begins, or to where the
// archive ends. It is next itself if the archive does not have that, or need not be asked.
func (r Reach) Archived(next int64) int64 {
	if r.First <= next && next < min(r.Held, r.Start) {
		return min(r.Held, r.Start)
	}
	return next
}

// Missing is the first range, from <= offset < to, that neither the archive nor the log has, of what a reader that stands at next has still
// to read.
func (r Reach) Missing(next int64) (from, to int64, missing bool) {
	from = r.Archived(next)
	switch {
	case from >= r.Start:
		return 0, 0, false
	case from < r.First && r.First < min(r.Held, r.Start):
		return from, r.First, true
	}
	return from, r.Start, true
}

// Beginnings are those of partitions whose logs begin at starts, by the ids of their topics.
func Beginnings(ctx context.Context, a Archive, ids map[string]offsets.Token, starts kadm.ListedOffsets) (map[offsets.Partition]int64, error) {
	at := map[offsets.Partition]int64{}
	for topic, partitions := range starts {
		for _, start := range partitions {
			p := offsets.Partition{Topic: topic, Partition: start.Partition}
			r, err := ReachOf(ctx, a, ids[topic], p, start.Offset, start.Offset)
			if err != nil {
				return nil, err
			}
			at[p] = r.Beginning()
		}
	}
	return at, nil
}

// Since is the first offset of a record with this time or a later one, of a partition whose log has no older ones: the archive is looked
// through from its beginning.
func Since(ctx context.Context, a Archive, topicID offsets.Token, p offsets.Partition, r Reach, at time.Time) (int64, error) {
	found := r.Start
	if a == nil || r.Beginning() == r.Start {
		return found, nil
	}
	err := a.Read(ctx, topicID, p, r.Beginning(), func(records []*kgo.Record) bool {
		i := slices.IndexFunc(records, func(rec *kgo.Record) bool { return rec.Offset >= r.Start || !rec.Timestamp.Before(at) })
		if i >= 0 {
			found = min(found, records[i].Offset)
		}
		return i < 0
	})
	if err != nil {
		return 0, fmt.Errorf("look through the archive of %s for a time: %w", p, err)
	}
	return found, nil
}

// LookBelow is Look for a stretch that may begin below the log, where an archive (nil: there is none) has its records.
func LookBelow(ctx context.Context, client *kgo.Client, a Archive, s Stretch) (Ahead, error) {
	found, err := Look(ctx, client, s)
	if a == nil || !errors.Is(err, kerr.OffsetOutOfRange) {
		return found, err
	}
	id, p := offsets.Token(s.TopicID), offsets.Partition{Topic: s.Topic, Partition: s.Partition}
	first, end, ok, spanErr := a.Span(ctx, id, p)
	if spanErr != nil || !ok || s.From < first || s.From >= end {
		return found, errors.Join(err, spanErr)
	}
	var next *kgo.Record
	if err := a.Read(ctx, id, p, s.From, func(records []*kgo.Record) bool {
		if len(records) > 0 {
			next = records[0]
		}
		return next == nil
	}); err != nil {
		return Ahead{}, err
	}
	if next == nil {
		s.From = end
		return Look(ctx, client, s)
	}
	r := Record(next)
	return Ahead{Offset: r.Offset, Time: r.Timestamp}, nil
}
