package sinktest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/oncesink/oncesink/offsets"
)

// runner checks one case.
type runner struct {
	c         Case
	in        *input
	scratch   *scratch
	catalog   *catalog
	reference snapshot
	refused   string // why there is no replay; empty: there is
}

func newRunner(ctx context.Context, url string, c Case) (*runner, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	in, err := newInput(c.Records)
	if err != nil {
		return nil, err
	}
	s, err := newScratch(ctx, url, &c)
	return &runner{c: c, in: in, scratch: s}, err
}

func (r *runner) close(ctx context.Context) error { return r.scratch.close(ctx) }

// check runs the reference and all perturbations.
func (r *runner) check(ctx context.Context) error {
	r.c.Logf("sinktest: seed %d", r.c.Seed)
	if err := r.run(ctx, "", 0, r.refer); err != nil {
		return err
	}
	r.c.Logf("sinktest: reference: %d records of %d partitions, %d rows in %d tables, %d dead letters",
		len(r.in.listed), len(r.in.partitions), r.reference.rows(), len(r.catalog.tables)-1, len(r.reference[deadLetters]))
	if !slices.Contains(r.c.Skip, Repetition) {
		if err := r.run(ctx, Repetition, 0, r.repeat); err != nil {
			return err
		}
	}
	var failed error
	for _, p := range []struct {
		name Perturbation
		run  func(context.Context, *try) error
		moot string // why it can't be tried
	}{
		{name: Redelivery, run: r.redeliver},
		{name: Reordering, run: r.reorder, moot: r.single()},
		{name: Replay, run: r.replay, moot: r.refused},
	} {
		switch {
		case slices.Contains(r.c.Skip, p.name):
			r.c.Logf("sinktest: %s: skipped", p.name)
			continue
		case p.moot != "":
			r.c.Logf("sinktest: %s: not tried: %s", p.name, p.moot)
			continue
		}
		var err error
		for round := 0; round < r.c.Rounds && err == nil && ctx.Err() == nil; round++ {
			err = r.run(ctx, p.name, round, p.run)
		}
		failed = errors.Join(failed, err)
		r.c.Logf("sinktest: %s: %s", p.name, outcome(err, fmt.Sprintf("%d rounds", r.c.Rounds)))
	}
	if !slices.Contains(r.c.Skip, Crash) {
		failed = errors.Join(failed, r.crashes(ctx))
	}
	if ctx.Err() != nil {
		return fmt.Errorf("sinktest: %w", context.Cause(ctx))
	}
	return failed
}

func outcome(err error, passed string) string {
	if err != nil {
		return "failed"
	}
	return passed
}

// single says why partitions can't be interleaved.
func (r *runner) single() string {
	if len(r.in.partitions) > 1 {
		return ""
	}
	return "all records are of one partition"
}

// try is one run in a database of its own.
type try struct {
	*database
	rng   *rand.Rand
	round int
	steps []string
}

func (t *try) note(format string, args ...any) {
	t.steps = append(t.steps, fmt.Sprintf(format, args...))
}

// run calls f in a fresh database and compares the tables afterwards.
func (r *runner) run(ctx context.Context, p Perturbation, round int, f func(context.Context, *try) error) (err error) {
	d, err := r.scratch.database(ctx)
	if err != nil {
		return fmt.Errorf("sinktest: %w", err)
	}
	defer func() { err = errors.Join(err, d.close(ctx)) }()
	t := &try{database: d, rng: r.c.random(p, round), round: round}
	fail := func(tables []TableDiff, err error) error {
		return &Failure{Perturbation: p, Round: t.round, Seed: r.c.Seed, Steps: t.steps, Tables: tables, Err: err, replaySafe: r.c.Config.HandlersReplaySafe}
	}
	var differs *differs
	err = f(ctx, t)
	if err == nil {
		err = r.compare(ctx, t)
	}
	switch {
	case errors.As(err, &differs):
		return fail(differs.tables, nil)
	case err != nil:
		return fail(nil, err)
	}
	return nil
}

// differs says that tables aren't as in the reference.
type differs struct{ tables []TableDiff }

func (d *differs) Error() string { return "the tables differ" }

// compare compares the tables with the reference.
func (r *runner) compare(ctx context.Context, t *try) error {
	got, err := r.catalog.read(ctx, t.conn, &r.c)
	if err != nil {
		return err
	}
	if tables := diff(r.reference, got, r.catalog.tables); len(tables) > 0 {
		return &differs{tables}
	}
	return nil
}

func (r *runner) start(ctx context.Context, t *try) (*process, error) {
	return start(ctx, t.database, &r.c, r.in)
}

// batches is the plan of the reference.
func (r *runner) batches() plan { return r.in.inOrder(func() int { return r.c.Batch }) }

// writeAll writes a plan with one process.
func (r *runner) writeAll(ctx context.Context, t *try, pl plan) error {
	p, err := r.start(ctx, t)
	if err != nil {
		return err
	}
	defer p.close()
	r.refused = p.sink.ReplayRefused()
	for _, tx := range pl {
		t.note("write %s", tx)
		if err := p.write(ctx, tx, 0); err != nil {
			return err
		}
	}
	return nil
}

// refer writes the records as listed, and takes the tables as the reference.
func (r *runner) refer(ctx context.Context, t *try) error {
	if err := r.writeAll(ctx, t, r.batches()); err != nil {
		return err
	}
	var err error
	if r.catalog, err = readCatalog(ctx, t.conn, &r.c); err != nil {
		return err
	}
	if r.reference, err = r.catalog.read(ctx, t.conn, &r.c); err != nil {
		return err
	}
	if letters := r.reference[deadLetters]; len(letters) != r.c.DeadLetters {
		var why string
		_ = t.conn.QueryRow(ctx, "select ', the first: '||message from oncesink.dead_letters order by topic, partition, \"offset\" limit 1").Scan(&why)
		return fmt.Errorf("%d records are dead letters, want %d (Case.DeadLetters)%s", len(letters), r.c.DeadLetters, why)
	}
	if r.reference.rows() == 0 {
		return errors.New("all tables are empty: there is nothing to compare")
	}
	return nil
}

func (r *runner) repeat(ctx context.Context, t *try) error { return r.writeAll(ctx, t, r.batches()) }

// reorder interleaves the partitions otherwise.
func (r *runner) reorder(ctx context.Context, t *try) error {
	if t.round == 0 {
		return r.writeAll(ctx, t, r.in.apart(r.c.Batch))
	}
	return r.writeAll(ctx, t, r.in.shuffled(t.rng, r.size(t)))
}

// size is how many records a round takes at once: with a big Batch and few records all
// rounds would be alike otherwise.
func (r *runner) size(t *try) int {
	return 1 + t.rng.IntN(min(r.c.Batch, max(1, len(r.in.listed)/2)))
}

// replay writes everything again over the filled tables, and looks at them after
// each transaction: a reader must not see a row go back in time.
func (r *runner) replay(ctx context.Context, t *try) error {
	p, err := r.start(ctx, t)
	if err != nil {
		return err
	}
	defer p.close()
	for _, tx := range r.batches() {
		if err := p.write(ctx, tx, 0); err != nil {
			return err
		}
	}
	t.note("write everything, rewind everything to 0")
	for _, partition := range r.in.partitions {
		if err := t.rewind(ctx, partition, 0); err != nil {
			return err
		}
	}
	if err := p.claim(ctx); err != nil {
		return err
	}
	pl := r.batches()
	if t.round > 0 {
		pl = r.in.shuffled(t.rng, r.size(t))
	}
	for _, tx := range pl {
		t.note("write again %s", tx)
		if err := p.write(ctx, tx, 0); err != nil {
			return err
		}
		if err := r.compare(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// rewind moves a partition back as an operator does. Its owner has to claim it again.
func (t *try) rewind(ctx context.Context, p offsets.Partition, to int64) error {
	_, err := t.conn.Exec(ctx, "select oncesink.rewind($1::text, $2::text, $3::int, $4::bigint)", group, p.Topic, p.Partition, to)
	return err
}
