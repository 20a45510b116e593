package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Write commits the parts, of distinct partitions, in one transaction, and answers
// each. It retries what is transient for as long as ctx lives, with backoff and
// jitter, resolves commits of unknown outcome, and when some partitions are
// fenced, writes the others without them. A batch that is too much for the server's
// limits is written in halves, each a transaction.
//
// A part whose records need a schema by now, since a table was altered, gets a *[decode.MissingSchema], and one whose records have new fields by
// now a *[decode.NewFields].
//
// When ctx ends, the parts that are not known to be committed get its error; a
// COMMIT that was on its way may or may not have arrived, as the ledger tells
// whoever claims next.
func (s *Sink) Write(ctx context.Context, parts []*decode.Part) []Outcome {
	j := &job{s: s, parts: parts, retry: newBackOff(), failed: make(map[*decode.Part]error)}
	j.decode(ctx, s.plan())
	j.seal(ctx)
	var records spans
	for _, p := range parts {
		next := p.Claim.Position.Next
		lo := sort.Search(len(p.Records), func(i int) bool { return p.Records[i].Offset >= next })
		if p.To.Next > next {
			records = append(records, span{p, int32(lo), int32(len(p.Records))})
		}
	}
	j.commit(ctx, records)
	out := make([]Outcome, len(parts))
	for i, p := range parts {
		out[i] = Outcome{p.Claim, j.failed[p]}
	}
	return out
}

func newBackOff() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(50*time.Millisecond),
		backoff.WithMultiplier(2),
		backoff.WithMaxInterval(5*time.Second),
		backoff.WithMaxElapsedTime(0)) // never give up
}

// job is one call of Write.
type job struct {
	s     *Sink
	parts []*decode.Part
	// plan that all parts are decoded by.
	plan   *plan
	retry  *backoff.ExponentialBackOff
	failed map[*decode.Part]error
	// orphansSince is when a missing parent row was first met.
	orphansSince time.Time
	orphans      bool          // it was waited for long enough
	again        *again        // the records are dead letters
	began        time.Time     // of the last attempt
	done         attempted     // last
	dead         []bind.Letter // of the last attempt
	// repeats is the text of the last transient error, which came first at since, and of which was told at told.
	repeats     string
	since, told time.Time
}

// decode makes the parts those of a mapping: what was decoded by another one is decoded again.
func (j *job) decode(ctx context.Context, m *plan) {
	j.plan = m
	for _, p := range j.parts {
		if j.failed[p] != nil {
			continue
		}
		err := m.decode.Redecode(p)
		for news := (*decode.NewFields)(nil); errors.As(err, &news) && news.Table.NewFields == sink.WarnOfNewFields; err = m.decode.Redecode(p) {
			j.s.warnOf(ctx, news)
		}
		var unusable *decode.SchemaError
		if errors.As(err, &unusable) {
			err = j.s.stop(err)
		}
		if err != nil { // a schema, or a column, that the mapping before could do without is the caller's to find
			j.failed[p] = err
		}
	}
}

// recompile goes on with the tables as they are now. It returns an error that stops the records: a person's to
// mend, or the context's.
func (j *job) recompile(ctx context.Context) error {
	for {
		m, err := j.s.recompile(ctx, j.plan)
		var config *sink.ConfigError
		switch {
		case err == nil:
			j.decode(ctx, m)
			j.seal(ctx)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &config):
			return err
		case classOf(err) != pgerr.Transient:
			return j.s.stop(err)
		}
		j.delayed(ctx, err, spans{{j.parts[0], 0, int32(len(j.parts[0].Records))}})
		j.wait(ctx)
	}
}

// seal makes the keys of the parts canonical. What PostgreSQL must be asked for is
// asked for before a transaction is begun.
func (j *job) seal(ctx context.Context) {
	known := decode.Spellings{}
	for _, p := range j.parts {
		if j.failed[p] != nil {
			continue
		}
		for open := p.Seal(known); len(open) > 0; {
			err := j.s.spell(ctx, open, known)
			switch {
			case err == nil:
				open = p.Seal(known)
			case ctx.Err() != nil:
				j.failed[p], open = ctx.Err(), nil
			case classOf(err) == pgerr.Transient:
				j.delayed(ctx, err, spans{{p, 0, int32(len(p.Records))}})
				j.wait(ctx)
			default:
				j.failed[p], open = j.s.stop(err), nil
			}
		}
	}
}

// commit writes the records and moves their parts' claims, or marks the parts as failed.
func (j *job) commit(ctx context.Context, records spans) {
	for {
		records = slices.DeleteFunc(slices.Clone(records), func(x span) bool { return j.failed[x.part] != nil })
		if len(records) == 0 {
			return
		}
		var steps []offsets.Step
		if j.again == nil {
			steps = stepsOf(records)
		}
		err := j.attempt(ctx, records, steps)
		var (
			fenced  *offsets.FencedError
			unknown *unknownError
		)
		switch {
		case err == nil:
			for i := range steps {
				records[i].part.Claim.Position = steps[i].To
			}
			j.committed(records)
			j.retry.Reset()
			return
		case ctx.Err() != nil:
			j.ended(sink.Cancelled, records, err)
			j.fail(records, ctx.Err())
		case errors.As(err, &fenced):
			j.ended(sink.Fenced, records, err)
			j.fence(records, fenced)
		case j.flooded(err, records):
			j.ended(sink.Halted, records, err)
		case errors.As(err, &unknown) && j.again != nil:
			// The next claim waits until it is over, and the letters tell then.
			j.s.countUnknown(0)
			j.ended(sink.Unknown, records, err)
			j.fail(records, &offsets.FencedError{Partitions: []offsets.Partition{records[0].part.Claim.Partition}})
		case errors.Is(err, errSettled):
			j.ended(sink.Retried, records, err)
			j.fail(records, err)
		case errors.As(err, &unknown):
			j.s.countUnknown(1)
			j.ended(sink.Unknown, records, err)
			if j.resolve(ctx, records, steps, unknown) {
				j.committed(records)
				return
			}
		case errors.Is(err, errAltered):
			j.ended(sink.Retried, records, err)
			if err := j.recompile(ctx); err != nil {
				j.fail(records, err)
			}
		case j.tooMuch(err) && records.records() > 1:
			j.ended(sink.Retried, records, err)
			j.s.warn("writing a batch in halves", err, records)
			left, right := records.halve()
			j.commit(ctx, left)
			j.commit(ctx, right)
			return
		case j.again != nil && classOf(err) == pgerr.Transient:
			// What comes new would wait with them. They are still asked for.
			deadlocked(err)
			j.ended(sink.Retried, records, err)
			j.s.countRetry(err)
			first := records[0]
			j.fail(records, fmt.Errorf("from offset %d on: %s", first.part.Records[first.lo].Offset, describe(err)))
		case j.orphaned(err):
			j.ended(sink.Retried, records, err)
			if !j.orphans {
				j.delayed(ctx, err, records)
				j.wait(ctx)
			}
		case classOf(err) == pgerr.Transient:
			deadlocked(err)
			j.ended(sink.Retried, records, err)
			j.delayed(ctx, err, records)
			j.wait(ctx)
		case len(records) > 1:
			j.ended(sink.Retried, records, err)
			// Whatever it is, it stops the partitions that it concerns and no others.
			for i := range records {
				j.commit(ctx, records[i:i+1])
			}
			return
		default:
			j.ended(sink.Halted, records, err)
			j.fail(records, j.s.stop(err))
		}
	}
}

// attempt is one transaction.
func (j *job) attempt(ctx context.Context, records spans, steps []offsets.Step) error {
	w := j.s.writers.Get().(*writer)
	defer func() {
		w.forget()
		j.s.writers.Put(w)
	}()
	w.reset()
	t := &transaction{s: j.s, m: j.plan, w: w, records: records, steps: steps, again: j.again, most: byCopy, orphansAreData: j.orphans, trying: effects{}, stands: effects{}}
	if j.again == nil {
		j.plan.meet(j.s.claims, records)
	} else {
		t.most = byStatement
	}
	j.began = time.Now()
	err := t.run(ctx)
	j.dead = t.dead
	j.done = attempted{effects: t.stands, resolved: t.resolved, again: j.again != nil, took: time.Since(j.began), commit: t.committing}
	return err
}

// committed tells what the last attempt did.
func (j *job) committed(records spans) {
	if j.again != nil {
		j.again.Resolved += j.done.resolved
		j.again.Refused += len(j.dead)
	}
	j.done.refused = tally(j.dead)
	j.done.effects.teach()
	j.s.count(records, j.done)
	j.ended(sink.Committed, records, nil)
}

// meet makes the tables look first at what comes under a claim that is new.
func (m *plan) meet(claims *claims, records spans) {
	claims.Lock()
	defer claims.Unlock()
	for _, x := range records {
		c := x.part.Claim
		if claims.met[c.Partition].fence == c.Fence {
			continue
		}
		claims.met[c.Partition] = met{fence: c.Fence}
		for _, i := range m.Topics[c.Topic] {
			m.tables[i].learn.again()
		}
	}
}

// stepsOf says how the records move their partitions' positions.
func stepsOf(records spans) []offsets.Step {
	steps := make([]offsets.Step, len(records))
	for i, x := range records {
		steps[i] = offsets.Step{Claim: x.part.Claim, To: x.to()}
	}
	return steps
}

// fence fails the parts that lost their fence. The others are written without them.
func (j *job) fence(records spans, err *offsets.FencedError) {
	for _, x := range records {
		if len(err.Partitions) == 0 || slices.Contains(err.Partitions, x.part.Claim.Partition) {
			j.fail(spans{x}, &offsets.FencedError{Partitions: []offsets.Partition{x.part.Claim.Partition}, Locked: err.Locked})
		}
	}
	if !slices.ContainsFunc(records, func(x span) bool { return j.failed[x.part] != nil }) {
		j.fail(records, err) // it names none of ours: nothing to go on with
	}
}

// resolve asks the ledger what became of a COMMIT, until it answers (rule 6).
// It reports whether the records are committed; if not, the parts that are still
// ours and stand where they stood hold new fences, under which the same records may be sent again.
func (j *job) resolve(ctx context.Context, records spans, steps []offsets.Step, unknown *unknownError) bool {
	began := time.Now()
	defer j.s.countUnknown(-1)
	for {
		r, err := j.s.ledger.Resolve(ctx, steps, unknown.pid)
		if err == nil {
			j.s.resolution(r.Committed, time.Since(began))
			return j.resolved(records, steps, r)
		}
		if ctx.Err() != nil {
			j.fail(records, ctx.Err())
			return false
		}
		j.s.warn("a commit of unknown outcome is being resolved", err, records)
		j.wait(ctx)
	}
}

func (j *job) resolved(records spans, steps []offsets.Step, r offsets.Resolution) bool {
	for i, x := range records {
		now := r.Partitions[i]
		if now.Ours {
			x.part.Claim = now.Claim
		}
		switch {
		case r.Committed:
			x.part.Claim.Position = steps[i].To
		case !now.Ours || !now.AsExpected:
			j.fail(spans{x}, &offsets.FencedError{Partitions: []offsets.Partition{x.part.Claim.Partition}})
		}
	}
	return r.Committed
}

// tooMuch reports whether less at once might pass.
func (j *job) tooMuch(err error) bool {
	switch pgerr.SQLState(err) {
	case "57014", "53200", "53400": // out of time, of memory, of what the configuration allows
		return true
	}
	return false
}

// orphaned reports whether to wait for a parent row that is missing (rule 18).
func (j *job) orphaned(err error) bool {
	if pgerr.SQLState(err) != pgerr.ForeignKeyViolation || classOf(err) != pgerr.Data || j.orphans {
		return false
	}
	if j.orphansSince.IsZero() {
		j.orphansSince = time.Now()
	}
	j.orphans = time.Since(j.orphansSince) >= j.s.cfg.ForeignKeyWait
	return true
}

// deadlocked makes a table that deadlocked be written in one order of locks.
func deadlocked(err error) {
	var w *writeError
	if pgerr.SQLState(err) == "40P01" && errors.As(err, &w) && w.doing.table != nil {
		w.doing.table.learn.ordered.Store(true)
	}
}

func (j *job) fail(records spans, err error) {
	for _, x := range records {
		j.failed[x.part] = err
	}
}

func (j *job) wait(ctx context.Context) {
	pause := j.retry.NextBackOff()
	if !j.orphansSince.IsZero() && !j.orphans {
		pause = min(pause, max(0, j.s.cfg.ForeignKeyWait-time.Since(j.orphansSince)))
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
