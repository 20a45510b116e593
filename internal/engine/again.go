package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Dead letters are tried again when somebody has asked for it in their table. The owner of the partition does it, in
// transactions of its own kind: they hold the partition's row of the ledger as any transaction of its does, move no
// position, and settle the letters with the rows. So a letter is written once, or is still asked for.

// Requests are dead letters of one partition that somebody wants to be tried again: of one topic id and generation, and alike in Late.
type Requests struct {
	// Claim under which they are written.
	Claim   offsets.Claim
	Records []sink.Record // in offset order
	// Late: write them whatever came after them.
	Late bool
}

// RetryRate is how many letters of a partition are tried again in a second.
func (s *Sink) RetryRate() int { return s.cfg.DeadLetters.RetryRate }

// Asked returns the partitions of which letters are to be tried again.
func (s *Sink) Asked(ctx context.Context) (map[offsets.Partition]bool, error) {
	rows, err := s.pool.Query(ctx, statement.ListRequests, s.ledger.Group())
	if err != nil {
		return nil, fmt.Errorf("look for dead letters to try again: %s", pgerr.Safe(err))
	}
	asked := map[offsets.Partition]bool{}
	var p offsets.Partition
	if _, err = pgx.ForEachRow(rows, []any{&p.Topic, &p.Partition}, func() error {
		asked[p] = true
		return nil
	}); err != nil {
		return nil, fmt.Errorf("look for dead letters to try again: %s", pgerr.Safe(err))
	}
	return asked, nil
}

// Requests returns the oldest letters of the claim's partition that are to be tried again, within these bounds; one at least, if there are
// any.
func (s *Sink) Requests(ctx context.Context, claim offsets.Claim, records int, bytes int64) ([]Requests, error) {
	rows, err := s.pool.Query(ctx, statement.ReadRequests, s.ledger.Group(), claim.Topic, claim.Partition.Partition, int32(records), bytes)
	if err != nil {
		return nil, fmt.Errorf("read dead letters to try again: %s", pgerr.Safe(err))
	}
	var all []Requests
	var (
		id         offsets.Token
		generation int32
		recorded   *time.Time
		headers    []byte
		late       bool
	)
	rec := sink.Record{}
	_, err = pgx.ForEachRow(rows, []any{&id, &generation, &rec.Offset, &recorded, &rec.Key, &rec.Value, &headers, &late}, func() error {
		r := sink.Record{Topic: claim.Topic, Partition: claim.Partition.Partition, Offset: rec.Offset, Epoch: -1, Key: rec.Key, Value: rec.Value}
		rec.Key, rec.Value = nil, nil
		if recorded != nil {
			r.Timestamp = *recorded
		}
		var err error
		if r.Headers, err = bind.ReadHeaders(headers); err != nil {
			return fmt.Errorf("%s at offset %d: %w", claim.Partition, r.Offset, err)
		}
		last := len(all) - 1
		if last < 0 || all[last].Claim.TopicID != id || all[last].Claim.Generation != generation || all[last].Late != late {
			c := claim
			c.TopicID, c.Generation = id, generation
			all = append(all, Requests{Claim: c, Late: late})
			last++
		}
		all[last].Records = append(all[last].Records, r)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read dead letters to try again: %s", pgerr.Safe(err))
	}
	for i := range all {
		c := &all[i].Claim
		if c.Generation == claim.Generation && c.TopicID == claim.TopicID {
			continue
		}
		// Of a topic that was recreated since: its events come before those of the new one (rule 12).
		err := s.pool.QueryRow(ctx, statement.SourceOf, c.Topic, c.TopicID.String(), c.Partition.Partition, c.Generation).Scan(&c.Source)
		if err != nil {
			return nil, fmt.Errorf("dead letters of %s: look up generation %d of the topic: %s", c.Partition, c.Generation, pgerr.Safe(err))
		}
	}
	return all, nil
}

// again is what a job that tries letters again knows beside their records.
type again struct {
	late              bool
	Resolved, Refused int
}

// errSettled says that somebody settled some of the letters meanwhile: read them again.
var errSettled = errors.New("some of the dead letters are no longer to be tried again")

// Retry writes dead letters, which the caller has added to a part, under the part's claim, as Write does: an error is one of an
// Outcome's. Where the outcome of a COMMIT is unknown it is an *offsets.FencedError, too: the partition is claimed again, which waits until
// the transaction is over, and the letters are read again. What is expected to pass is not waited for, since all that comes new would
// wait as well: the letters are still asked for. It says how many letters were written and how many were refused once more.
//
// The caller sees to it that the partition has no other transaction in flight.
func (s *Sink) Retry(ctx context.Context, p *decode.Part, late bool) (resolved, refused int, err error) {
	j := &job{s: s, parts: []*decode.Part{p}, retry: newBackOff(), failed: make(map[*decode.Part]error), again: &again{late: late},
		orphans: true} // a parent was waited for when they were read
	j.decode(ctx, s.plan())
	j.seal(ctx)
	j.commit(ctx, spans{{p, 0, int32(len(p.Records))}})
	if err = j.failed[p]; errors.Is(err, errSettled) {
		err = nil // what is asked for now is read next
	}
	return j.again.Resolved, j.again.Refused, err
}

// applyAgain applies letters, after it has made sure that they are still asked for. Records whose lateness has to be looked at go
// one by one, in their turn.
func (t *transaction) applyAgain(ctx context.Context) error {
	if err := t.takeRequests(ctx); err != nil {
		return err
	}
	for _, x := range t.records {
		for from := x.lo; from < x.hi; {
			to := from
			for to < x.hi && !t.mayBeLate(x.part, to) {
				to++
			}
			if to == from {
				to++
			}
			if err := t.applyOrBisect(ctx, spans{{x.part, from, to}}); err != nil {
				return err
			}
			from = to
		}
	}
	return nil
}

// takeRequests locks the letters.
func (t *transaction) takeRequests(ctx context.Context) error {
	if err := t.send(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, t.s.cfg.StatementTimeout+t.s.slack)
	defer cancel()
	for _, x := range t.records {
		var at []int64
		for i := x.lo; i < x.hi; i++ {
			at = append(at, x.part.Records[i].Offset)
		}
		var n int
		c := x.part.Claim
		if err := t.tx.QueryRow(ctx, statement.TakeRequests, t.s.ledger.Group(), c.TopicID.String(), c.Partition.Partition, at, t.again.late).Scan(&n); err != nil {
			return &writeError{doing{verb: "lock dead letters"}, err}
		}
		if n != len(at) {
			return errSettled
		}
	}
	return nil
}

// lateCode is of a record that came too late, and would have been written, had nobody refused it in its time.
const lateCode = "ONS31"

// lateError says why a record is not written now.
type lateError struct {
	table *table // nil: none is concerned
	why   string
}

func (e *lateError) Error() string {
	return "late: " + e.why
}

// mayBeLate reports whether what the record does may depend on what came after it: where the order of the guard does not
// decide alone.
func (t *transaction) mayBeLate(p *decode.Part, record int32) bool {
	if t.again.late || p.Faulty != nil && p.Faulty[record] {
		return false
	}
	if len(t.s.cfg.Handlers) > 0 {
		return true
	}
	from, to := span{p, record, record + 1}.rows()
	for i := from; i < to; i++ {
		r := &p.Rows[i]
		if tb := t.m.tables[r.Table]; tb.Parent == nil && tb.Strategy == sink.Upsert && (!tb.Guarded || !r.Tombstone && lacks(tb, p, r)) {
			return true
		}
	}
	return false
}

// lacks reports whether an event has not all the columns that events fill.
func lacks(tb *table, p *decode.Part, r *decode.Row) bool {
	return slices.ContainsFunc(p.Cells[r.First:int(r.First)+len(tb.Columns)], func(c decode.Cell) bool { return !c.Given() })
}

// inTime returns a *lateError, marked as the record's fault, if what is being applied is one record and comes too late.
func (t *transaction) inTime(ctx context.Context) error {
	if t.again.late || len(t.trial) != 1 || t.trial.records() != 1 || !t.mayBeLate(t.trial[0].part, t.trial[0].lo) {
		return nil
	}
	if err := t.send(ctx); err != nil { // there has to be a savepoint to go back to
		return err
	}
	if len(t.s.cfg.Handlers) > 0 {
		return tooLate(nil, "the handlers have been called for later records")
	}
	for i, events := range t.w.tables {
		tb := t.m.tables[i]
		if len(events) == 0 || tb.Strategy != sink.Upsert {
			continue
		}
		if !tb.Guarded {
			return tooLate(tb, "the table has no guard that tells whether a later event has written the row")
		}
		if err := t.inTimeFor(ctx, tb, events); err != nil {
			return err
		}
	}
	return nil
}

// inTimeFor looks at the rows of a partial event.
func (t *transaction) inTimeFor(ctx context.Context, tb *table, events []bind.Event) error {
	if events[0].Tombstone() || !lacks(tb, events[0].Part, &events[0].Part.Rows[events[0].Row]) {
		return nil
	}
	w := t.w
	w.answers = w.answers[:0]
	w.ask(tb, statement.LookAgain, statement.LookShape(tb.Table), events)
	if err := t.send(ctx); err != nil {
		return err
	}
	if slices.Contains(w.answers, statement.SaysLoses) {
		return tooLate(tb, "it does not have all columns, and a later event has written the row: what it has would be lost. `oncesink rebuild` of the table applies events in their order")
	}
	return nil
}

func tooLate(tb *table, why string) error { return pgerr.Mark(&lateError{tb, why}, pgerr.Data) }
