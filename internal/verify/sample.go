package verify

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/sink"
)

// sample looks at rows, remembered deletions and events that are drawn at random. It keeps no place.
func (c *checker) sample(ctx context.Context) (*Result, error) {
	began := time.Now()
	blocks, err := c.estimate(ctx)
	if err != nil {
		return nil, err
	}
	for _, of := range []relation{c.rows(), c.deletions()} {
		if of.memory && c.table.Memory == "" {
			continue
		}
		if err := c.sampleRows(ctx, of, blocks); err != nil {
			return nil, err
		}
	}
	if c.table.Strategy == sink.Append {
		found, err := c.foreignOnes(ctx)
		if err == nil {
			err = c.sampled(ctx, found)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := c.sampleEvents(ctx); err != nil {
		return nil, err
	}
	return c.report(ctx, time.Since(began).Seconds())
}

// sampled notes what a chunk of the sample found.
func (c *checker) sampled(ctx context.Context, found []Mismatch) error {
	c.result.Mismatches += int64(len(found))
	return configuration(c.looked(ctx, found))
}

// leastBlocks is how many blocks a sample is drawn from at least, so that it is not of one place alone.
const leastBlocks = 50

// sampleRows draws rows from blocks that are drawn.
func (c *checker) sampleRows(ctx context.Context, of relation, blocks int64) error {
	from := 100.0
	if about := c.result.RowsAbout; about > 0 && blocks > 0 && !of.memory {
		from = min(100, max(200*float64(c.Sample)/float64(about), 100*leastBlocks/float64(blocks)))
	}
	key := statement.KeyColumns(c.table)
	all, err := c.readHeld(ctx, of, fmt.Sprintf("tablesample system (%f) where true", from)+there(key), fmt.Sprintf("order by random() limit %d", c.Sample))
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(all, c.chunk()) {
		if !c.pace.wait(ctx, time.Time{}) {
			return ctx.Err()
		}
		found, err := c.judge(ctx, of, chunk)
		if err != nil {
			return err
		}
		c.pace.spend(len(chunk))
		if of.memory {
			c.result.Deletions += int64(len(chunk))
		} else {
			c.result.Rows += int64(len(chunk))
		}
		if err := c.sampled(ctx, found); err != nil {
			return err
		}
	}
	return nil
}

// sampleEvents draws offsets from all that the table has events of, each with the same chance.
func (c *checker) sampleEvents(ctx context.Context) error {
	type part struct {
		feed
		low, n int64
	}
	var parts []part
	var all int64
	if err := c.patiently(ctx, func() error {
		parts, all = nil, 0
		for _, f := range c.feeds {
			for _, held := range c.held(&f) {
				parts, all = append(parts, part{f, held[0], held[1] - held[0]}), all+held[1]-held[0]
			}
		}
		return nil
	}); err != nil {
		return err
	}
	drawn := make([][]int64, len(parts))
	if all <= int64(c.Sample) {
		for i, p := range parts {
			for o := range p.n {
				drawn[i] = append(drawn[i], p.low+o)
			}
		}
	} else {
		for range c.Sample {
			at := rand.Int64N(all)
			for i, p := range parts {
				if at < p.n {
					drawn[i] = append(drawn[i], p.low+at)
					break
				}
				at -= p.n
			}
		}
	}
	for i, list := range drawn {
		slices.Sort(list)
		for chunk := range slices.Chunk(slices.Compact(list), c.chunk()) {
			if !c.pace.wait(ctx, time.Time{}) {
				return ctx.Err()
			}
			records, err := c.these(ctx, &parts[i].feed, chunk)
			if err != nil {
				return err
			}
			found, err := c.judgeEvents(ctx, parts[i].Partition, records)
			if err != nil {
				return err
			}
			c.pace.spend(len(chunk))
			c.result.Events += int64(len(records))
			if err := c.sampled(ctx, found); err != nil {
				return err
			}
		}
	}
	return nil
}
