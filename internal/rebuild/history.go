package rebuild

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Kinds of a topic's history: what its log can prove of a table (rule 22).
const (
	// Whole: the log has every event that the table could come from.
	Whole = "whole"
	// KeptFrom: it has every event from an offset on; retention, or DeleteRecords, removed the earlier ones.
	KeptFrom = "kept-from"
	// CompactedLog: any event may be gone to which a later one of its record key came.
	CompactedLog = "compacted"
)

// History is what a topic still has of what it had.
type History struct {
	Topic string `json:"topic"`
	Kind  string `json:"kind"` // one of the kinds
	// From are the first offsets of the partitions that don't begin at 0.
	From map[int32]int64 `json:"from,omitempty"`
}

// readHistory asks the brokers what the topics still have.
func (j *job) readHistory(ctx context.Context) error {
	starts, err := j.beginnings(ctx)
	if err != nil {
		return err
	}
	if j.compacted, err = j.readCompacted(ctx); err != nil {
		return err
	}
	j.starts = starts
	return nil
}

// readCompacted finds the topics that are compacted. Where it makes no difference it is no error that nobody may know.
func (j *job) readCompacted(ctx context.Context) (map[string]bool, error) {
	configs, err := j.Admin.DescribeTopicConfigs(ctx, j.layout.Topics...)
	if err != nil {
		return nil, fmt.Errorf("read the topics' configuration: %w", err)
	}
	compacted := map[string]bool{}
	for _, c := range configs {
		if c.Err != nil && (j.layout.Version != "" || !j.layout.ByRecordKey) {
			return nil, fmt.Errorf("read the configuration of topic %s, to know whether it is compacted: %w", c.Name, c.Err)
		}
		for _, kv := range c.Configs {
			if kv.Key == "cleanup.policy" && strings.Contains(kv.MaybeValue(), "compact") {
				compacted[c.Name] = true
			}
		}
	}
	return compacted, nil
}

// histories says for each topic what it still has.
func (j *job) histories() (all []History) {
	for _, topic := range j.layout.Topics {
		h := History{Topic: topic, Kind: Whole}
		for _, f := range j.feeds {
			if first := j.first(f.Partition); f.Topic == topic && first > 0 {
				if h.From == nil {
					h.From = map[int32]int64{}
				}
				h.From[f.Partition.Partition] = first
				h.Kind = KeptFrom
			}
		}
		if j.compacted[topic] {
			h.Kind = CompactedLog
		}
		all = append(all, h)
	}
	return all
}

// first is where the stage's events of a partition begin, or will begin.
func (j *job) first(p offsets.Partition) int64 {
	if at, ok := j.staged[p]; ok {
		return at.first
	}
	return j.starts[p]
}

// partial reports whether there may be rows whose events are gone.
func (j *job) partial() bool {
	return slices.ContainsFunc(j.histories(), func(h History) bool { return h.Kind != Whole })
}

// keeps reports whether what the log can't prove is taken over from the table.
func (j *job) keeps() bool {
	return j.layout.Guarded && (j.partial() || j.older) && !j.accepted(DeleteUnproven)
}

// forgets reports whether the log of a topic may lack the very event that a row comes from. Where the record's key is the row's and events have no
// version the last event of a key is the row's, and that one stays.
func (j *job) forgets(topic string) bool {
	return j.compacted[topic] && (j.layout.Version != "" || !j.layout.ByRecordKey)
}

// proven is the condition that the topics, as the stage reads them, say whether what stands at a place came from there: the place
// lies where the stage reads. Below it, and in a topic that is gone, the table alone knows.
func (j *job) proven(alias string) string {
	var cases strings.Builder
	for _, f := range j.feeds {
		source := f.source
		if at, ok := j.staged[f.Partition]; ok && at.source >= 0 {
			source = at.source
		}
		if source >= 0 {
			fmt.Fprintf(&cases, " when %d then %s.%s >= %d", source, alias, tables.OffsetColumn, j.first(f.Partition))
		}
	}
	if cases.Len() == 0 {
		return "false"
	}
	return fmt.Sprintf("(case %s.%s%s else false end)", alias, tables.SourceColumn, cases.String())
}

// unproven is the condition that a row's event is gone, or was of another topic.
func (j *job) unproven(alias string) string {
	return fmt.Sprintf("(%s.%s is not null and not %s)", alias, tables.SourceColumn, j.proven(alias))
}

// from is the condition that a row's place is in one of the topics.
func (j *job) from(alias string, topics func(topic string) bool) string {
	var sources []string
	for _, f := range j.feeds {
		if f.source >= 0 && topics(f.Topic) {
			sources = append(sources, fmt.Sprint(f.source))
		}
	}
	if len(sources) == 0 {
		return "false"
	}
	return fmt.Sprintf("coalesce(%s.%s in (%s), false)", alias, tables.SourceColumn, strings.Join(sources, ", "))
}

// isCompacted reports whether a topic is compacted.
func (j *job) isCompacted(topic string) bool { return j.compacted[topic] }

// refuseUntold refuses a table whose rows don't say which events they come from, unless the log has all of them.
func (j *job) refuseUntold() error {
	for _, h := range j.histories() {
		if h.Kind == Whole || j.layout.Guarded || h.Kind == CompactedLog && h.From == nil && j.layout.ByRecordKey && j.layout.Version == "" || j.accepted(DeleteUnproven) {
			continue
		}
		return &sink.ConfigError{Problem: fmt.Sprintf("%s: rows of earlier events would be %s, for a table with `guard: none` doesn't say which event a row comes from", h.Words(), j.fate()), Fix: j.fix(DeleteUnproven)}
	}
	return nil
}

// Words say what the history is, for a person.
func (h *History) Words() string {
	switch h.Kind {
	case KeptFrom:
		return fmt.Sprintf("topic %s is kept from %s on", h.Topic, h.offsets())
	case CompactedLog:
		if h.From != nil {
			return fmt.Sprintf("topic %s is compacted, and kept from %s on", h.Topic, h.offsets())
		}
		return fmt.Sprintf("topic %s is compacted", h.Topic)
	}
	return fmt.Sprintf("topic %s is whole", h.Topic)
}

// offsets names the first offsets, of some partitions.
func (h *History) offsets() string {
	var partitions []int32
	for p := range h.From {
		partitions = append(partitions, p)
	}
	slices.Sort(partitions)
	text := fmt.Sprintf("offset %d of partition %d", h.From[partitions[0]], partitions[0])
	if more := len(partitions) - 1; more > 0 {
		text += fmt.Sprintf(" (and others of %d more)", more)
	}
	return text
}
