package rebuild

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// nearby is how many records the stage may be behind when the group's positions are locked.
const nearby = 5000

// load brings the stage near to where the group stands.
func (j *job) load(ctx context.Context) error {
	for again := false; ; {
		if err := j.whole(ctx); err != nil {
			return err
		}
		err := j.fill(ctx, j.bounds())
		var uneven *sink.NotUniformError
		if errors.As(err, &uneven) {
			j.log.Info("loading with an index, from the beginning", "because", uneven.Why)
			j.stage.about.Bulk = ""
			if err := j.stage.create(ctx, j); err != nil {
				return err
			}
			continue
		}
		if outdated(err) && !again {
			j.log.Info("the log moved on from under the stage: loading from the beginning", "because", err)
			again = true
			if err := j.stage.create(ctx, j); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if j.stage.about.Bulk != "" {
			if err := j.endBulk(ctx); err != nil {
				return err
			}
			// It has a memory from now on.
			if _, _, err := j.stage.prepare(ctx, j); err != nil {
				return err
			}
		}
		behind, err := j.behind(ctx)
		if err != nil {
			return err
		}
		if behind <= nearby {
			return nil
		}
	}
}

// whole waits until the group stands behind every event whose row is in the table, and
// reads its positions. A group that was rewound doesn't: rows that lie ahead of it would seem to be nobody's.
func (j *job) whole(ctx context.Context) error {
	for told := false; ; told = true {
		newest := map[int32]int64{}
		if j.layout.Guarded {
			rows, err := j.conn.Query(ctx, fmt.Sprintf("select %[1]s, max(%[2]s) from %[3]s where %[1]s is not null group by 1", sink.SourceColumn, sink.OffsetColumn, j.layout.Quoted()))
			if err != nil {
				return fmt.Errorf("read how far the table is: %w", err)
			}
			var source int32
			var offset int64
			if _, err = pgx.ForEachRow(rows, []any{&source, &offset}, func() error {
				newest[source] = offset
				return nil
			}); err != nil {
				return fmt.Errorf("read how far the table is: %w", err)
			}
		}
		// In this order: the table can't be ahead of positions that are read later.
		if err := j.readFeeds(ctx); err != nil {
			return err
		}
		i := slices.IndexFunc(j.feeds, func(f feed) bool { at, ok := newest[f.source]; return ok && at >= f.next })
		if i < 0 {
			return nil
		}
		f := j.feeds[i]
		if !told {
			j.log.Info("the group was rewound: waiting until it has come back", "partition", f.Partition.String(), "position", f.next, "rows up to", newest[f.source])
		}
		j.progress(fmt.Sprintf("waiting for the group, which was rewound, at offset %d of %s", f.next, f.Partition), 0, 0)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(watchInterval):
		}
	}
}

// outdated reports whether the error is that of a stage whose next records are gone.
func outdated(err error) bool {
	var (
		topic *offsets.TopicChangedError
		gap   *consumer.GapError
		cut   *consumer.TruncatedError
	)
	return errors.As(err, &topic) || errors.As(err, &gap) || errors.As(err, &cut)
}

// bounds are the group's positions, as last read.
func (j *job) bounds() map[offsets.Partition]int64 {
	bounds := make(map[offsets.Partition]int64, len(j.feeds))
	for _, f := range j.feeds {
		bounds[f.Partition] = f.next
	}
	return bounds
}

// fill reads up to the bounds into the stage. A partition that stands there, or beyond, stays.
func (j *job) fill(ctx context.Context, bounds map[offsets.Partition]int64) error {
	sk, ledger, err := j.stage.prepare(ctx, j)
	if err != nil {
		return err
	}
	return j.read(ctx, sk, ledger, bounds)
}

// read is fill with an opened sink.
func (j *job) read(ctx context.Context, sk *sink.Sink, ledger *offsets.Ledger, bounds map[offsets.Partition]int64) error {
	cfg := j.Consumer
	cfg.Group, cfg.InstanceID = j.stage.group, ""
	cfg.Topics, cfg.Assign, cfg.Until, cfg.NoMirror = map[string]consumer.Start{}, map[string][]int32{}, bounds, true
	cfg.UntilEnd = false
	for p := range bounds {
		cfg.Topics[p.Topic] = consumer.Start{At: consumer.Earliest}
		cfg.Assign[p.Topic] = append(cfg.Assign[p.Topic], p.Partition)
	}
	c, err := consumer.New(cfg, ledger, sk)
	if err != nil {
		return err
	}
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { j.watch(ctx, ledger, bounds, done) })
	err = c.Run(ctx)
	close(done)
	watching.Wait()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("load the stage: %w", err)
	}
	return nil
}

// watchInterval is how often progress is told.
const watchInterval = 500 * time.Millisecond

// watch tells how far the stage is.
func (j *job) watch(ctx context.Context, ledger *offsets.Ledger, bounds map[offsets.Partition]int64, done <-chan struct{}) {
	if j.Progress == nil {
		return
	}
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		rows, err := ledger.Rows(ctx)
		if err != nil {
			continue // it is for the eye
		}
		var at, total int64
		for _, b := range bounds {
			total += b
		}
		for _, r := range rows {
			at += min(r.Position.Next, bounds[r.Partition])
		}
		j.progress("loading", at, total)
	}
}

// staged reads where the stage stands.
func (j *job) staged(ctx context.Context) (map[offsets.Partition]int64, error) {
	rows, err := offsets.New(j.Pool, j.stage.group, offsets.Options{}).Rows(ctx)
	if err != nil {
		return nil, err
	}
	at := map[offsets.Partition]int64{}
	for _, r := range rows {
		at[r.Partition] = r.Position.Next
	}
	return at, nil
}

// behind reads the group's positions anew and counts the offsets that the stage lacks.
func (j *job) behind(ctx context.Context) (n int64, err error) {
	if err := j.readFeeds(ctx); err != nil {
		return 0, err
	}
	at, err := j.staged(ctx)
	if err != nil {
		return 0, err
	}
	for _, f := range j.feeds {
		n += max(0, f.next-at[f.Partition])
	}
	return n, nil
}
