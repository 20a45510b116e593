package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/oncesink/oncesink/internal/kafka"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// topicIDs asks the cluster for the topics' ids; a topic that does not exist has
// the zero id.
func (m *member) topicIDs(ctx context.Context, topics []string) (map[string]offsets.Token, error) {
	details, err := m.admin.ListTopics(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("look up topics: %w", err)
	}
	ids := map[string]offsets.Token{}
	for _, d := range details {
		if d.Err == nil {
			ids[d.Topic] = offsets.Token(d.ID)
		}
	}
	return ids, nil
}

// unplaced are the topics of those partitions that have no row and are given a first position: a row
// that vanished after we held it is not made again.
func (c *Consumer) unplaced(partitions []offsets.Partition, rows []offsets.Row) (topics []string) {
	known := map[offsets.Partition]bool{}
	for _, r := range rows {
		known[r.Partition] = true
	}
	for _, p := range partitions {
		if !known[p] && !c.wasHeld(p) {
			topics = append(topics, p.Topic)
		}
	}
	slices.Sort(topics)
	return slices.Compact(topics)
}

// firsts resolves where the partitions of a topic begin that have no row; the rows are all of the
// group's. They are resolved together, so that one that is added later is told from
// one that merely had no member: it begins at its beginning.
func (m *member) firsts(ctx context.Context, topic string, id offsets.Token, rows []offsets.Row) ([]first, error) {
	known := map[offsets.Partition]bool{}
	for _, r := range rows {
		if r.Topic == topic {
			known[r.Partition] = true
		}
	}
	start := m.cfg.Topics[topic]
	why := start.policy()
	if len(known) > 0 {
		start, why = Start{At: Earliest}, "the partition is new in a topic that is known: its beginning"
	}
	at, missing, err := m.resolve(ctx, topic, id, start)
	if err != nil {
		return nil, err
	}
	var firsts []first
	for p, offset := range at {
		if known[p] || m.wasHeld(p) {
			continue
		}
		f := first{offsets.First{Partition: p, TopicID: id, Offset: offset}, why, missing[p]}
		if f.missing {
			f.why += ", which the group has not: its beginning"
		}
		firsts = append(firsts, f)
	}
	return firsts, nil
}

// first is a first position, and why it is that one.
type first struct {
	offsets.First
	why     string
	missing bool // nothing was committed for it, as `start: committed` wants
}

func byPartition(firsts []first) map[offsets.Partition]first {
	m := make(map[offsets.Partition]first, len(firsts))
	for _, f := range firsts {
		m[f.Partition] = f
	}
	return m
}

// policy is the start as the configuration has it.
func (s Start) policy() string {
	switch s.At {
	case Latest:
		return "start: latest"
	case Timestamp:
		return "start: " + s.Time.UTC().Format(time.RFC3339Nano)
	case Committed:
		return "start: committed"
	}
	return "start: earliest"
}

// resolve turns a start policy into an offset for each partition of a topic; missing are those for which nothing was committed.
func (m *member) resolve(ctx context.Context, topic string, id offsets.Token, s Start) (at map[offsets.Partition]int64, missing map[offsets.Partition]bool, err error) {
	var chosen kadm.ListedOffsets
	switch s.At {
	case Latest:
		chosen, err = m.admin.ListEndOffsets(ctx, topic)
	case Timestamp:
		chosen, err = m.admin.ListOffsetsAfterMilli(ctx, s.Time.UnixMilli(), topic)
	default:
		beginnings, err := m.beginnings(ctx, topic, id)
		if err == nil && s.At == Committed {
			return m.committed(ctx, topic, beginnings)
		}
		return beginnings, nil, err
	}
	if err = errors.Join(err, chosen.Error()); err != nil {
		return nil, nil, fmt.Errorf("list offsets of %s: %w", topic, err)
	}
	at = map[offsets.Partition]int64{}
	chosen.Each(func(o kadm.ListedOffset) {
		at[offsets.Partition{Topic: o.Topic, Partition: o.Partition}] = o.Offset
	})
	return at, nil, nil
}

// beginnings are the offsets from which on nothing is missing, of each partition of a topic.
func (m *member) beginnings(ctx context.Context, topic string, id offsets.Token) (map[offsets.Partition]int64, error) {
	starts, err := m.admin.ListStartOffsets(ctx, topic)
	if err = errors.Join(err, starts.Error()); err != nil {
		return nil, fmt.Errorf("list start offsets of %s: %w", topic, err)
	}
	return kafka.Beginnings(ctx, m.archive, map[string]offsets.Token{topic: id}, starts)
}

// committed reads where the Kafka group stands, once: to take over from another
// consumer. Our own mirrored copies are refused: they would turn a lost ledger
// into a silent gap.
func (m *member) committed(ctx context.Context, topic string, beginnings map[offsets.Partition]int64) (at map[offsets.Partition]int64, missing map[offsets.Partition]bool, err error) {
	offs, err := m.stands(ctx, topic)
	if err != nil {
		return nil, nil, err
	}
	at, missing = map[offsets.Partition]int64{}, map[offsets.Partition]bool{}
	var mirrored error
	for p, beginning := range beginnings {
		at[p], missing[p] = beginning, true
	}
	offs.Each(func(o kadm.OffsetResponse) {
		if o.Topic != topic || o.At < 0 {
			return // never committed: from the beginning
		}
		if o.Metadata == mirrorMark {
			mirrored = &sink.ConfigError{
				Problem: fmt.Sprintf("start: committed: group %s was committed for %s by oncesink itself, as a copy of a ledger that has no rows for it now", m.cfg.Group, topic),
				Fix:     "restore the ledger, or choose earliest or a timestamp",
			}
		}
		p := offsets.Partition{Topic: o.Topic, Partition: o.Partition}
		at[p] = o.At
		delete(missing, p)
	})
	return at, missing, mirrored
}

// stands returns what the Kafka group has committed for a topic. A group that nobody knows has
// committed nothing.
func (m *member) stands(ctx context.Context, topic string) (kadm.OffsetResponses, error) {
	offs, err := m.admin.FetchOffsetsForTopics(ctx, m.cfg.Group, topic)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil, nil
	}
	if err = errors.Join(err, offs.Error()); err != nil {
		return nil, fmt.Errorf("fetch the offsets of group %s: %w", m.cfg.Group, err)
	}
	return offs, nil
}
