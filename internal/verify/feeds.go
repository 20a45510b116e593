package verify

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// feed is a partition that feeds the table, and where the group stands in it.
type feed struct {
	offsets.Partition
	next, first int64 // what lies between is in the table
	source      int32 // -1: nobody has claimed it yet
	topicID     string
	// by says for the table and each table of its children which mapping writes it, and since which position.
	by map[string]written
}

type written struct {
	fingerprint string
	since       int64
}

// readFeeds reads which partitions feed the table. Positions only grow, but for a rewind, which takes nothing away: what lies below one is
// in the table whenever that is looked at later.
func (c *checker) readFeeds(ctx context.Context) error {
	targets := []string{c.title}
	for _, t := range c.table.Children {
		targets = append(targets, t.Title())
	}
	var feeds []feed
	err := c.reading(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `select o.topic, o.partition, o.next_offset, greatest(o.first_offset, m.since), coalesce(o.source, -1), coalesce(o.topic_id::text, ''),
				m.target, m.fingerprint, m.written_since
			  from oncesink.offsets o join oncesink.mappings m using (sink_group, topic, partition)
			 where m.sink_group = $1::text and m.target = any ($2::text[]) order by o.topic, o.partition, m.target <> $3::text`, c.Group, targets, c.title)
		if err != nil {
			return err
		}
		var f feed
		var target string
		var w written
		_, err = pgx.ForEachRow(rows, []any{&f.Topic, &f.Partition.Partition, &f.next, &f.first, &f.source, &f.topicID, &target, &w.fingerprint, &w.since}, func() error {
			if target == c.title {
				f.by = map[string]written{}
				feeds = append(feeds, f)
			}
			if n := len(feeds) - 1; n >= 0 && feeds[n].Partition == f.Partition {
				feeds[n].by[target] = w
			}
			return nil
		})
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("read the group's positions: %w", err)
	case len(feeds) == 0:
		return &sink.ConfigError{Problem: fmt.Sprintf("group %s has never written table %s", c.Group, c.title), Fix: "start it with `oncesink run`"}
	}
	c.feeds = feeds
	return nil
}

// bySource returns the feed of a source number; nil if the group reads no such one.
func (c *checker) bySource(source int32) *feed {
	for i := range c.feeds {
		if c.feeds[i].source == source {
			return &c.feeds[i]
		}
	}
	return nil
}

func (c *checker) byPartition(p offsets.Partition) *feed {
	for i := range c.feeds {
		if c.feeds[i].Partition == p {
			return &c.feeds[i]
		}
	}
	return nil
}

// ours reports whether an event at an offset of the feed was written into the table by the mapping of this configuration.
func (c *checker) ours(f *feed, t *tables.Table, offset int64) bool {
	w, known := f.by[t.Title()]
	if !known || offset < w.since {
		return false
	}
	for _, m := range c.mappings {
		if m.Target == t.Title() && m.Topic == f.Topic {
			return m.Fingerprint == w.fingerprint
		}
	}
	return false
}
