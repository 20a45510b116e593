package rebuild

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// feed is a partition that feeds the table, and where the group stands in it.
type feed struct {
	offsets.Partition
	topicID    offsets.Token
	next       int64
	generation int32
	source     int32 // -1: nobody has claimed it yet
	fence      offsets.Token
	mapping    string // fingerprint
}

const feedsSQL = `
		select o.topic, o.partition, coalesce(o.topic_id, '00000000-0000-0000-0000-000000000000'), o.next_offset, o.generation, coalesce(o.source, -1), o.fence, m.fingerprint
		  from oncesink.offsets o join oncesink.mappings m using (sink_group, topic, partition)
		 where m.sink_group = $1::text and m.target = $2::text order by o.topic, o.partition`

// collectFeeds reads which partitions feed the table, and where the group stands in them.
func (j *job) collectFeeds(ctx context.Context, tx pgx.Tx, suffix string) error {
	rows, err := tx.Query(ctx, feedsSQL+suffix, j.Consumer.Group, j.result.Table)
	if err != nil {
		return err
	}
	j.feeds, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (f feed, err error) {
		return f, row.Scan(&f.Topic, &f.Partition.Partition, &f.topicID, &f.next, &f.generation, &f.source, &f.fence, &f.mapping)
	})
	for _, f := range j.feeds {
		if j.met[f.Partition] != f.fence {
			delete(j.met, f.Partition)
		}
	}
	return err
}

// readFeeds reads where the group stands, without a lock.
func (j *job) readFeeds(ctx context.Context) error {
	return j.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := j.collectFeeds(ctx, tx, ""); err != nil {
			return fmt.Errorf("read the group's positions: %w", err)
		}
		for _, f := range j.feeds {
			j.highest[f.Partition] = max(j.highest[f.Partition], f.next)
		}
		others, err := texts(ctx, tx, "select distinct sink_group from oncesink.mappings join oncesink.offsets using (sink_group, topic, partition) where target = $1::text and sink_group <> $2::text and fingerprint <> '' order by 1", j.result.Table, j.Consumer.Group)
		switch {
		case err != nil:
			return fmt.Errorf("read the groups of the table: %w", err)
		case len(j.feeds) == 0:
			return &sink.ConfigError{Problem: fmt.Sprintf("group %s has never written table %s", j.Consumer.Group, j.result.Table), Fix: "start it with `oncesink run`: it reads the topics from their beginning anyhow"}
		case len(others) > 0:
			return &sink.ConfigError{Problem: fmt.Sprintf("table %s is fed by group %s, too", j.result.Table, others[0]), Fix: "what one group reads again would undo the other's rows"}
		}
		return nil
	})
}

// The cut must not lie below what the table has: readers would see rows go back in time. A position
// falls by a rewind only, and each rewind draws a new fence, as each claim does. So where the fence is
// one under which the table was seen not to be ahead, it is not ahead: rows and positions move together.
// Where it is another one the table has to be looked at.

// sure reports whether all fences are known to be sound.
func (j *job) sure() bool {
	return !j.layout.Guarded || !slices.ContainsFunc(j.feeds, func(f feed) bool { return j.met[f.Partition] != f.fence })
}

// whole waits until the group stands behind every event whose row, or deletion, is in the table, and
// reads its positions. A group that was rewound doesn't: rows that lie ahead of it would seem to be nobody's.
func (j *job) whole(ctx context.Context) error {
	for told := false; ; told = true {
		if err := j.readFeeds(ctx); err != nil {
			return err
		}
		before := j.feeds
		var newest map[int32]int64
		if err := j.inTx(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
			newest, err = j.newest(ctx, tx, before)
			return err
		}); err != nil {
			return fmt.Errorf("read how far the table is: %w", err)
		}
		// In this order: the table, as it was, can't be ahead of positions that are read later, if the fence is
		// the same on both sides.
		if err := j.readFeeds(ctx); err != nil {
			return err
		}
		ahead := j.ahead(newest)
		if ahead == nil {
			for _, f := range j.feeds {
				if slices.ContainsFunc(before, func(b feed) bool { return b.Partition == f.Partition && b.fence == f.fence }) {
					j.met[f.Partition] = f.fence
				}
			}
			return nil
		}
		if !told {
			j.log.Info("the group was rewound: waiting until it has come back", "partition", ahead.Partition.String(), "position", ahead.next, "rows up to", newest[ahead.source])
		}
		j.progress(fmt.Sprintf("waiting for the group, which was rewound, at offset %d of %s", ahead.next, ahead.Partition), 0, 0)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(watchInterval):
		}
	}
}

// ahead returns a feed that stands before rows of the table.
func (j *job) ahead(newest map[int32]int64) *feed {
	i := slices.IndexFunc(j.feeds, func(f feed) bool { at, ok := newest[f.source]; return ok && at >= f.next })
	if i < 0 {
		return nil
	}
	return &j.feeds[i]
}

// newest reads the highest offset that table and memory have of each of the feeds' sources.
func (j *job) newest(ctx context.Context, tx pgx.Tx, feeds []feed) (map[int32]int64, error) {
	l := &j.layout
	newest := map[int32]int64{}
	if !l.Guarded || len(feeds) == 0 {
		return newest, nil
	}
	var sources []int32
	for _, f := range feeds {
		sources = append(sources, f.source)
	}
	names := []string{l.Quoted()}
	if l.Memory != "" {
		names = append(names, l.Memory)
	}
	for _, c := range j.children { // an event may bring children without winning its row
		names = append(names, c.layout.Sets)
	}
	for _, t := range names {
		rows, err := tx.Query(ctx, fmt.Sprintf("select %[1]s, max(%[2]s) from %[3]s where %[1]s = any ($1::int[]) and %[2]s is not null group by 1", tables.SourceColumn, tables.OffsetColumn, t), sources)
		if err != nil {
			return nil, err
		}
		var source int32
		var offset int64
		if _, err = pgx.ForEachRow(rows, []any{&source, &offset}, func() error {
			newest[source] = max(newest[source], offset)
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return newest, nil
}

// notBelow makes sure, under the lock, that the cut does not lie below what the table has.
func (j *job) notBelow(ctx context.Context, tx pgx.Tx) error {
	var unsure []feed
	for _, f := range j.feeds {
		if at := j.highest[f.Partition]; !j.layout.Guarded && f.next < at { // nothing else can tell
			return &errLater{fmt.Sprintf("the group was rewound, from offset %d of %s to %d: waiting until it has come back", at, f.Partition, f.next)}
		}
		if j.met[f.Partition] != f.fence {
			unsure = append(unsure, f)
		}
	}
	newest, err := j.newest(ctx, tx, unsure)
	if err != nil {
		return err
	}
	if f := j.ahead(newest); f != nil {
		return &errLater{fmt.Sprintf("the group was rewound to offset %d of %s, and the table has rows up to %d: waiting until it has come back", f.next, f.Partition, newest[f.source])}
	}
	for _, f := range j.feeds {
		j.met[f.Partition] = f.fence
	}
	return nil
}
