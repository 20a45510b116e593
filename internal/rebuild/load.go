package rebuild

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
)

// nearby is how many records the stage may be behind when the group's positions are locked.
const nearby = 5000

// load brings the stage near to where the group stands, in rounds: each reads what has come during the one before.
func (j *job) load(ctx context.Context) error {
	last, again := int64(math.MaxInt64), false
	for {
		if err := j.located(ctx); err != nil {
			return err
		}
		err := j.fill(ctx)
		var uneven *engine.NotUniformError
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
		behind, err := j.behind(ctx)
		if err != nil {
			return err
		}
		far := behind > nearby && behind <= last/2 // as long as rounds become shorter, what came is cheapest without an index
		last = behind
		if j.stage.about.Bulk != "" {
			if far {
				continue
			}
			if err := j.endBulk(ctx); err != nil {
				return err
			}
			if j.byRow, err = j.stage.prepare(ctx, j); err != nil { // it has a memory from now on
				return err
			}
			if behind, err = j.behind(ctx); err != nil {
				return err
			}
			last = behind
		}
		more, err := j.reap(ctx)
		if err != nil {
			return err
		}
		if !more && behind <= nearby {
			return nil
		}
	}
}

// located reads where the group stands, and makes sure that the table is not ahead of that.
func (j *job) located(ctx context.Context) error {
	if err := j.readFeeds(ctx); err != nil {
		return err
	}
	if j.sure() {
		return nil
	}
	return j.whole(ctx) // takes a look at the whole table
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

// fill reads up to where the group stands into the stage. A partition that stands there, or beyond, stays.
func (j *job) fill(ctx context.Context) (err error) {
	if j.byRow == nil {
		if j.byRow, err = j.stage.prepare(ctx, j); err != nil {
			return err
		}
	}
	seeded, err := j.seed(ctx)
	if err != nil {
		return err
	}
	if seeded { // it has to read what those rows come from
		if err := j.whole(ctx); err != nil {
			return err
		}
	}
	if err := j.reached(ctx); err != nil {
		return err
	}
	return j.advance(ctx)
}

// advance is fill of a stage that is prepared.
func (j *job) advance(ctx context.Context) error {
	if j.stage.about.Tail != "" {
		return j.throughTail(ctx)
	}
	return j.read(ctx, j.byRow)
}

// read reads up to where the group stands.
func (j *job) read(ctx context.Context, w *writer) error {
	bounds := j.bounds()
	cfg := j.Consumer
	cfg.Group, cfg.InstanceID = j.stage.group, ""
	cfg.Topics, cfg.Assign = map[string]consumer.Start{}, map[string][]int32{}
	cfg.UntilEnd = false
	for p := range bounds {
		cfg.Topics[p.Topic] = consumer.Start{At: consumer.Earliest}
		cfg.Assign[p.Topic] = append(cfg.Assign[p.Topic], p.Partition)
	}
	c, err := consumer.NewWith(cfg, wiring.Parts{Ledger: w.ledger, Engine: w.sink, Until: bounds, NoMirror: true, Archive: j.Archive})
	if err != nil {
		return err
	}
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { j.watch(ctx, w.ledger, bounds, done) })
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

// staged is where the stage stands in a partition.
type staged struct {
	first, next int64
	source      int32
}

// readStaged reads where the stage stands.
func (j *job) readStaged(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, "select topic, partition, first_offset, next_offset, coalesce(source, -1) from oncesink.offsets where sink_group = $1::text", j.stage.group)
	if err != nil {
		return fmt.Errorf("read the stage's positions: %w", err)
	}
	j.staged = map[offsets.Partition]staged{}
	var p offsets.Partition
	var s staged
	if _, err := pgx.ForEachRow(rows, []any{&p.Topic, &p.Partition, &s.first, &s.next, &s.source}, func() error {
		j.staged[p] = s
		return nil
	}); err != nil {
		return fmt.Errorf("read the stage's positions: %w", err)
	}
	return nil
}

// behind reads the group's positions anew and counts the offsets that the stage lacks.
func (j *job) behind(ctx context.Context) (n int64, err error) {
	if err := j.readFeeds(ctx); err != nil {
		return 0, err
	}
	if err := j.inTx(ctx, j.readStaged); err != nil {
		return 0, err
	}
	for _, f := range j.feeds {
		n += max(0, f.next-j.staged[f.Partition].next)
	}
	return n, nil
}
