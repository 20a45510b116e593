package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// pace bounds how much is looked at in a second. What was not used up is not saved up.
type pace struct {
	rate float64
	next time.Time
}

// spend counts n.
func (p *pace) spend(n int) {
	if p.rate <= 0 {
		return
	}
	if now := time.Now(); p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(time.Duration(float64(n) / p.rate * float64(time.Second)))
}

// wait returns when there is something to spend, or until is reached, or the context ends: then false.
func (p *pace) wait(ctx context.Context, until time.Time) bool {
	pause := time.Until(p.next)
	if !until.IsZero() && time.Until(until) <= max(0, pause) {
		return false
	}
	if pause <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// maxChunk is how much is looked at together.
const maxChunk = 500

// chunk is maxChunk, or what may be looked at in about a second.
func (c *checker) chunk() int {
	if c.Rate <= 0 {
		return maxChunk
	}
	return min(maxChunk, max(1, int(c.Rate)))
}

// station is one of the walk's stretches: everything in it is looked at in one order.
type station struct {
	name  string
	about int64
	look  func(ctx context.Context, at *cursor) (found []Mismatch, looked int, more bool, err error)
}

// stations of a pass. Partitions that come later are the next pass's.
func (c *checker) stations() []station {
	all := []station{{"rows", c.result.RowsAbout, func(ctx context.Context, at *cursor) ([]Mismatch, int, bool, error) {
		return c.lookAtRows(ctx, c.rows(), at, &c.result.Rows)
	}}}
	if c.table.Strategy == sink.Append {
		all = append(all, station{"rows of no topic", 0, func(ctx context.Context, _ *cursor) ([]Mismatch, int, bool, error) {
			found, err := c.foreignOnes(ctx)
			return found, 0, false, err
		}})
	}
	if c.table.Memory != "" {
		all = append(all, station{"remembered deletions", 0, func(ctx context.Context, at *cursor) ([]Mismatch, int, bool, error) {
			return c.lookAtRows(ctx, c.deletions(), at, &c.result.Deletions)
		}})
	}
	for _, t := range c.table.Children {
		title := t.Title()
		all = append(all, station{"children in " + title, 0, func(ctx context.Context, at *cursor) ([]Mismatch, int, bool, error) {
			child := c.child(title)
			if child == nil {
				return nil, 0, false, nil
			}
			found, last, looked, err := c.orphans(ctx, child, at.Key, c.chunk())
			if err != nil || looked == 0 {
				return nil, 0, false, err
			}
			at.Key = last
			return found, looked, looked == c.chunk(), nil
		}})
	}
	for i := range c.feeds {
		p, about := c.feeds[i].Partition, c.feeds[i].next-c.feeds[i].first
		all = append(all, station{"events of " + p.String(), about, func(ctx context.Context, at *cursor) ([]Mismatch, int, bool, error) {
			return c.lookAtEvents(ctx, p, at)
		}})
	}
	return all
}

// child finds a table of children as it is now: a table may have been read anew.
func (c *checker) child(title string) *tables.Table {
	for _, t := range c.table.Children {
		if t.Title() == title {
			return t
		}
	}
	return nil
}

// lookAtRows looks at the rows of a relation that follow.
func (c *checker) lookAtRows(ctx context.Context, of relation, at *cursor, looked *int64) ([]Mismatch, int, bool, error) {
	key := statement.KeyColumns(c.table)
	where, args := following(key, at.Key)
	n := c.chunk()
	all, err := c.readHeld(ctx, of, where+there(key), fmt.Sprintf("order by %s limit %d", names(key, "t"), n), args...)
	if err != nil || len(all) == 0 {
		return nil, 0, false, err
	}
	found, err := c.judge(ctx, of, all)
	if err != nil {
		return nil, 0, false, err
	}
	at.Key = all[len(all)-1].key
	*looked += int64(len(all))
	return found, len(all), len(all) == n, nil
}

// there is the condition that a row has a key.
func there(key []statement.KeyColumn) (and string) {
	for _, c := range key {
		and += " and t." + c.Name + " is not null"
	}
	return and
}

// lookAtEvents looks at the events of a partition that follow, up to where the group stands.
func (c *checker) lookAtEvents(ctx context.Context, p offsets.Partition, at *cursor) ([]Mismatch, int, bool, error) {
	f := c.byPartition(p)
	if f == nil {
		return nil, 0, false, nil
	}
	own := *f
	list, next, err := c.some(ctx, &own, at.Offset, c.chunk())
	if err != nil {
		return nil, 0, false, err
	}
	found, err := c.judgeEvents(ctx, p, list)
	if err != nil {
		return nil, 0, false, err
	}
	at.Offset = next
	c.result.Events += int64(len(list))
	return found, len(list), next < own.next, nil
}

// foreignOnes counts rows of an append table that no topic made: nothing tells them apart.
func (c *checker) foreignOnes(ctx context.Context) ([]Mismatch, error) {
	ages, err := c.columnAges(ctx, c.table.Quoted())
	if err != nil {
		return nil, err
	}
	var n, older int64
	if err := c.scan(ctx, fmt.Sprintf("select count(*) filter (where age(xmin) <= $1::bigint), count(*) filter (where age(xmin) > $1::bigint) from %s where %s is null", c.table.Quoted(), tables.SourceColumn),
		[]any{ages[tables.SourceColumn]}, &n, &older); err != nil {
		return nil, fmt.Errorf("count rows that no topic made: %w", err)
	}
	c.result.Rows += n + older
	if older > 0 {
		c.result.untold(Older, older)
	}
	switch {
	case n == 0:
		return nil, nil
	case c.Foreign:
		c.result.untold(Accepted, n)
		return nil, nil
	}
	return []Mismatch{{Kind: Foreign, Table: c.title, Problem: fmt.Sprintf("no topic made %d row(s)", n)}}, nil
}

// estimate asks how much there is.
func (c *checker) estimate(ctx context.Context) (blocks int64, err error) {
	if err := c.scan(ctx, `select coalesce(sum(case when k.reltuples >= 0 then k.reltuples else pg_relation_size(k.oid) / 100 end), 0)::bigint,
			(coalesce(sum(pg_relation_size(k.oid)), 0) / current_setting('block_size')::int)::bigint
		  from (select relid from pg_partition_tree($1::text::regclass) union select $1::text::regclass) p join pg_class k on k.oid = p.relid where k.relkind <> 'p'`, []any{c.table.Quoted()}, &c.result.RowsAbout, &blocks); err != nil {
		return 0, fmt.Errorf("estimate the table: %w", err)
	}
	c.result.EventsAbout = 0
	err = c.patiently(ctx, func() error {
		for i := range c.feeds {
			for _, held := range c.held(&c.feeds[i]) {
				c.result.EventsAbout += held[1] - held[0]
			}
		}
		return nil
	})
	return blocks, err
}

// walk looks at everything, from where the last walk stands.
func (c *checker) walk(ctx context.Context) (*Result, error) {
	var until time.Time
	if c.For > 0 {
		until = time.Now().Add(c.For)
	}
	w, err := c.take(ctx)
	if err != nil {
		return nil, configuration(err)
	}
	for {
		if w.Began.IsZero() {
			if err := c.begin(ctx, w); err != nil {
				return nil, err
			}
		}
		c.result.Pass, c.result.Tally, c.result.Complete = w.pass, w.Tally, false
		if c.result.Untold == nil {
			c.result.Untold = map[string]int64{}
		}
		ended, err := c.pass(ctx, w, until)
		if ctx.Err() != nil { // it was told to stop: what is kept is where it stands
			err = nil
		}
		if err != nil {
			return nil, err
		}
		result, err := c.report(context.WithoutCancel(ctx), w.Seconds)
		if err != nil || !ended || !c.Continuous {
			return result, err
		}
		if c.Passed != nil {
			if err := c.Passed(result); err != nil {
				return nil, err
			}
		}
		w.pass, w.cursor = w.pass+1, cursor{}
		c.result.Mended = 0
		c.pace.spend(c.chunk()) // an empty table would be looked at without a pause
		if err := c.readFeeds(ctx); err != nil {
			return nil, err
		}
	}
}

// pass goes on with the pass until it ends, which it reports, or the time does.
func (c *checker) pass(ctx context.Context, w *turn, until time.Time) (ended bool, err error) {
	c.topics = nil
	if _, err := c.estimate(ctx); err != nil {
		return false, err
	}
	all := c.stations()
	first := max(0, slices.IndexFunc(all, func(s station) bool { return s.name == w.Station }))
	for _, s := range all[first:] {
		if w.Station != s.name {
			w.Station, w.Key, w.Offset = s.name, nil, 0
		}
		for more, done := true, int64(0); more; {
			if !c.pace.wait(ctx, until) {
				return false, nil
			}
			began := time.Now()
			var found []Mismatch
			var looked int
			err := c.passing(ctx, func() (err error) {
				before, at := c.result.Tally.clone(), w.cursor
				if found, looked, more, err = s.look(ctx, &w.cursor); err != nil {
					c.result.Tally, w.cursor = before, at
				}
				return err
			})
			if err != nil {
				return false, err
			}
			c.pace.spend(looked)
			c.result.Mismatches += int64(len(found))
			w.Tally, w.Seconds = c.result.Tally, w.Seconds+time.Since(began).Seconds()
			if err := c.save(ctx, w, found); err != nil {
				return false, configuration(err)
			}
			if done += int64(looked); c.Progress != nil {
				c.Progress(Progress{s.name, done, max(done, s.about)})
			}
		}
	}
	mended, err := c.finish(ctx, w)
	c.result.Mended += mended
	c.result.Complete = err == nil
	return err == nil, err
}

// passing calls f again where its error should pass, for as long as a broker's may take.
func (c *checker) passing(ctx context.Context, f func() error) error {
	b := backoff.WithContext(backoff.NewExponentialBackOff(backoff.WithMaxElapsedTime(kafkaPatience)), ctx)
	return backoff.Retry(func() error {
		err := f()
		var config *sink.ConfigError
		if err != nil && (errors.As(err, &config) || pgerr.Classify(err) != pgerr.Transient) {
			err = backoff.Permanent(err)
		}
		return passes(err)
	}, b)
}

func (t *Tally) clone() Tally {
	c := *t
	c.Untold = map[string]int64{}
	for why, n := range t.Untold {
		c.Untold[why] = n
	}
	return c
}

// report ends the result of what was looked at, in so many seconds.
func (c *checker) report(ctx context.Context, seconds float64) (*Result, error) {
	states, err := States(ctx, c.Pool, c.Group)
	if err != nil {
		return nil, err
	}
	c.result.Kept = 0
	for i := range states {
		if states[i].Table == c.title {
			c.result.Kept = states[i].Sum()
		}
	}
	r := c.result
	r.Tally, r.Seconds = c.result.Tally.clone(), seconds
	if r.Found, err = Kept(ctx, c.Pool, c.Group, c.title, maxFound); err != nil {
		return nil, err
	}
	return &r, nil
}
