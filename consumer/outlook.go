package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/kafka"
	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// outlook is an Outlook that is being made.
type outlook struct {
	wiring.Outlook
	told map[string]bool // see refuse
}

// look is for `oncesink check`, which gets it by wiring.Parts: it reads the ledger and the log as a run does when it begins, in a client's
// own time, and claims, joins and changes nothing. The client needs no group. The error is one
// of a connection, which a run would wait for.
func (c *Consumer) look(ctx context.Context, client *kgo.Client) (*wiring.Outlook, error) {
	m := &member{Consumer: c, client: client, admin: kadm.NewClient(client)}
	topics := sortedTopics(c.cfg.Topics)
	ids, err := m.topicIDs(ctx, topics)
	if err != nil {
		return nil, err
	}
	starts, err := m.admin.ListStartOffsets(ctx, topics...)
	if err = errors.Join(err, starts.Error()); err != nil {
		return nil, fmt.Errorf("list start offsets: %w", err)
	}
	ends, err := m.admin.ListEndOffsets(ctx, topics...)
	if err = errors.Join(err, ends.Error()); err != nil {
		return nil, fmt.Errorf("list end offsets: %w", err)
	}
	rows, err := c.ledger.Rows(ctx)
	if err != nil {
		return nil, err
	}
	o := &outlook{told: map[string]bool{}}
	wants := o.wants(c.cfg, starts, ids)
	answers, err := c.ledger.Examine(ctx, wants)
	if err != nil {
		return nil, err
	}
	var sound []offsets.Partition // those that a run could claim
	for i, w := range wants {
		if answers[i] == nil {
			sound = append(sound, w.Partition)
		} else {
			o.refuse(answers[i])
		}
	}
	cut, err := m.truncated(ctx, rows)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if !slices.Contains(sound, r.Partition) {
			continue
		}
		reach, err := c.reachFrom(ctx, r.Partition, r.TopicID, r.Position.Next, starts, ends)
		if err != nil {
			return nil, err
		}
		outside := c.cfg.outside(r.Partition, r.Position.Next, reach)
		if to, ok := cut[r.Partition]; ok && outside == nil {
			outside = &TruncatedError{Partition: r.Partition, Group: c.cfg.Group, Position: r.Position.Next, End: to}
		}
		switch {
		case outside != nil:
			o.Halted = append(o.Halted, outside)
		case r.Halted != "":
			o.Warnings = append(o.Warnings, fmt.Sprintf("%s is halted, and the next start tries again: %s", r.Partition, wiring.Reason(r.Partition, "halted", r.Halted)))
		}
		if to := reach.Archived(r.Position.Next); to > r.Position.Next {
			o.Warnings = append(o.Warnings, fmt.Sprintf("%s stands at offset %d, and its log begins at %d: what lies between is read from the archive %s", r.Partition, r.Position.Next, reach.Start, c.archive))
		}
		if r.Paused {
			o.Warnings = append(o.Warnings, fmt.Sprintf("%s is paused: %s", r.Partition, offsets.Remedy("resume", c.cfg.Group, r.Topic, r.Partition.Partition)))
		}
	}
	var all []first
	for _, topic := range m.unplaced(sound, rows) {
		firsts, err := m.firsts(ctx, topic, ids[topic], rows)
		if config := (*sink.ConfigError)(nil); errors.As(err, &config) {
			o.Refused = append(o.Refused, err)
		} else if err != nil {
			return nil, err
		}
		all = append(all, firsts...)
	}
	slices.SortFunc(all, func(a, b first) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition.Partition, b.Partition.Partition))
	})
	return &o.Outlook, o.lookAtFirsts(ctx, c, all, starts, ends)
}

// reachFrom is what there is of a partition whose log is listed, for who stands at an offset: in the log the archive is not asked.
func (c *Consumer) reachFrom(ctx context.Context, p offsets.Partition, topicID offsets.Token, next int64, starts, ends kadm.ListedOffsets) (kafka.Reach, error) {
	start, _ := starts.Lookup(p.Topic, p.Partition)
	end, _ := ends.Lookup(p.Topic, p.Partition)
	if next >= start.Offset {
		return kafka.Reach{Start: start.Offset, End: end.Offset}, nil
	}
	return kafka.ReachOf(ctx, c.archive, topicID, p, start.Offset, end.Offset)
}

// truncated asks, as the client does before its first fetch (KIP-320), where the epochs ended in which the rows' last
// records were written, and returns the ends that lie below a position.
func (m *member) truncated(ctx context.Context, rows []offsets.Row) (map[offsets.Partition]int64, error) {
	var epochs kadm.OffsetForLeaderEpochRequest
	for _, r := range rows {
		if _, reads := m.cfg.Topics[r.Topic]; reads && r.Position.Epoch >= 0 {
			epochs.Add(r.Topic, r.Partition.Partition, r.Position.Epoch)
		}
	}
	if len(epochs) == 0 {
		return nil, nil
	}
	found, err := m.admin.OffsetForLeaderEpoch(ctx, epochs)
	if err != nil {
		return nil, fmt.Errorf("look up leader epochs: %w", err)
	}
	cut := map[offsets.Partition]int64{}
	for _, r := range rows {
		at, ok := found[r.Topic][r.Partition.Partition]
		if ok && at.Err == nil && at.EndOffset >= 0 && at.EndOffset < r.Position.Next {
			cut[r.Partition] = at.EndOffset
		}
	}
	return cut, nil
}

// lookAtFirsts looks whether the first positions can be read from, and for which of them the group has committed nothing.
func (o *outlook) lookAtFirsts(ctx context.Context, c *Consumer, firsts []first, starts, ends kadm.ListedOffsets) error {
	for _, f := range firsts {
		o.First = append(o.First, f.First)
		if c.cfg.Topics[f.Topic].At != Committed {
			continue
		}
		reach, err := c.reachFrom(ctx, f.Partition, f.TopicID, f.Offset, starts, ends)
		if err != nil {
			return err
		}
		if outside := c.cfg.outside(f.Partition, f.Offset, reach); outside != nil {
			o.Halted = append(o.Halted, outside)
		}
	}
	missing := missingByTopic(firsts)
	for _, topic := range slices.Sorted(maps.Keys(missing)) {
		o.Missing = append(o.Missing, fmt.Sprintf("start: committed: group %s has committed nothing for %d partition(s) of %s: they begin at their beginning. See that the group's name is right",
			c.cfg.Group, missing[topic], topic))
	}
	return nil
}

// wants are the partitions that a run would be given if it were alone.
func (o *outlook) wants(cfg Config, starts kadm.ListedOffsets, ids map[string]offsets.Token) []offsets.Want {
	var wants []offsets.Want
	want := func(topic string, partition int32) {
		wants = append(wants, offsets.Want{Partition: offsets.Partition{Topic: topic, Partition: partition}, TopicID: ids[topic]})
	}
	if len(cfg.Assign) == 0 {
		for _, l := range starts.Offsets().Sorted() {
			want(l.Topic, l.Partition)
		}
		return wants
	}
	for topic, partitions := range cfg.Assign {
		for _, p := range partitions {
			if _, ok := starts.Lookup(topic, p); !ok {
				o.Refused = append(o.Refused, &sink.ConfigError{Problem: fmt.Sprintf("topic %s has no partition %d", topic, p), Fix: "correct it under kafka.assign"})
				continue
			}
			want(topic, p)
		}
	}
	return wants
}

// refuse sorts a claim's error by what a run does about it. Errors that all partitions
// of a topic share are told once: one statement of an operator mends them all.
func (o *outlook) refuse(err error) {
	var (
		mapping *offsets.MappingError
		cluster *offsets.ClusterChangedError
		topic   *offsets.TopicChangedError
	)
	list, shared := &o.Halted, ""
	switch {
	case errors.As(err, &mapping):
		list, shared = &o.Refused, mapping.Topic+" "+mapping.Target
		err = refusedMapping(err)
	case errors.As(err, &cluster):
		shared = cluster.Topic
	case errors.As(err, &topic):
		shared = topic.Topic
	}
	if shared != "" && o.told[shared] {
		return
	}
	o.told[shared] = true
	*list = append(*list, err)
}

// refusedMapping is the error by which another mapping ends a run.
func refusedMapping(err error) error { return &sink.ConfigError{Problem: err.Error(), Cause: err} }
