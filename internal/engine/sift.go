package engine

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/internal/catalog"
	"github.com/oncesink/oncesink/internal/pgerr"
)

// Most values that the server refuses and the decoder does not break a constraint, are missing, or are none that their column takes. Whoever has met one finds the others of a batch all at once, and tries each of them alone: so no half of
// the batch is written again and again for hundreds of them. Only who is refused alone, for the same reason, is left out. For some batches to
// come the reason is looked for before they are written.

// siftKept sifts out what the tables have refused lately. Nothing of the records is written yet.
func (t *transaction) siftKept(ctx context.Context, records spans) (spans, error) {
	locked := false
	for _, tb := range t.m.tables {
		for _, s := range tb.learn.kept() {
			if !locked { // what is tried may look into a delete memory
				t.w.gather(t.m, records)
				t.w.locks(t.m)
				locked = true
			}
			rest, err := t.sift(ctx, records, tb, s)
			if err != nil || len(rest) == 0 {
				return nil, err
			}
			tb.learn.sifted(s, rest.records() < records.records())
			records = rest
		}
	}
	return records, nil
}

// maxSifts is after how many of them for one batch each reason is looked for once more at most.
const maxSifts = 8

// siftRefused is called when the records failed with err. It sifts out what is refused for that reason, and applies the others,
// as often as there is another reason, or the same finds more.
func (t *transaction) siftRefused(ctx context.Context, records spans, err error) (spans, error) {
	var met []*sieve // that are done with
	for sifts := 0; ; {
		tb, s := refusing(err), sieveOf(err)
		switch {
		case s == nil, slices.ContainsFunc(met, s.is), !s.ofValues() && (t.again != nil || t.single(tb)):
			return records, err
		case s.code == pgerr.ForeignKeyViolation && !t.orphansAreData && !t.m.References:
			return records, err // it is waited for
		}
		if err := t.rollback(ctx); err != nil {
			return nil, err
		}
		if !s.ofValues() {
			if s.Constraint, err = t.constraint(ctx, tb, err); err != nil {
				return nil, err
			}
		}
		rest, fault := t.sift(ctx, records, tb, s)
		if fault != nil {
			return nil, fault
		}
		refused, found := (*copyRefused)(nil), rest.records() < records.records()
		switch {
		case found:
			tb.learn.keep(s)
		case errors.As(err, &refused):
			t.saferThan(refused)
		}
		// Without those that were found, others may be tried in any turn: what they met of their keys is gone.
		if sifts++; !found || sifts >= maxSifts {
			met = append(met, s)
		}
		if records = rest; len(records) == 0 {
			return nil, nil
		}
		err = t.apply(ctx, records)
	}
}

// constraint reads that which an error is about.
func (t *transaction) constraint(ctx context.Context, tb *table, err error) (catalog.Constraint, error) {
	var pg *pgconn.PgError
	errors.As(err, &pg)
	ctx, cancel := context.WithTimeout(ctx, t.s.cfg.StatementTimeout+t.s.slack)
	defer cancel()
	c, err := catalog.ReadConstraint(ctx, t.tx, tb.OID, pg.SchemaName, pg.TableName, pg.ConstraintName)
	if err != nil {
		return c, &writeError{doing{verb: "read constraints", table: tb}, err}
	}
	return c, nil
}

// sift finds those of the records that a table refuses for a reason, makes dead letters of them, and returns the others: there may be none.
// Nothing of the records is written before or afterwards.
func (t *transaction) sift(ctx context.Context, records spans, tb *table, s *sieve) (spans, error) {
	parents := s.code == pgerr.ForeignKeyViolation && t.m.References
	if parents {
		if written, err := t.writeParents(ctx, records, tb); err != nil || !written {
			return records, err
		}
	}
	suspects, err := t.suspects(ctx, records, tb, s)
	if err != nil {
		return nil, err
	}
	refused, err := t.refuseAlone(ctx, suspects, tb, s)
	if err != nil {
		return nil, err
	}
	if parents {
		if err := t.rollback(ctx); err != nil {
			return nil, err
		}
	}
	return records.without(refused), nil
}

// refuseAlone tries the suspects, and makes dead letters of those that the table refuses for the reason. It gives up when of many none is.
func (t *transaction) refuseAlone(ctx context.Context, suspects []suspect, tb *table, s *sieve) (refused spans, err error) {
	var rest spans
	bad := make(map[span][]badValue, len(suspects))
	for _, x := range suspects {
		rest = append(rest, x.record)
		bad[x.record] = x.bad
	}
	waits := s.code == pgerr.ForeignKeyViolation && !t.orphansAreData
	for first := true; len(rest) > 0; first = false {
		ahead := rest.ahead()
		if waits && first {
			ahead = ahead[:1] // one is enough to wait
		}
		rest = rest[len(ahead):]
		errs, err := t.tryAlone(ctx, ahead)
		if err != nil {
			return nil, err
		}
		if errs == nil {
			return refused, t.altered(ctx)
		}
		before := len(refused)
		for i, err := range errs {
			if !s.refuses(tb, err) {
				continue
			}
			column, ok := columnOfBad(tb, bad[ahead[i]], err)
			if s.ofValues() && !ok {
				continue // it is something else that is refused: a trigger's, say, whose turn may matter
			}
			if len(refused) == 0 {
				if err := t.altered(ctx); err != nil {
					return nil, err
				}
			}
			if waits {
				return nil, err
			}
			refused = append(refused, ahead[i])
			d := refusedBy(t.m, ahead[i], err)
			if s.ofValues() {
				d.Column = column
			}
			t.dead = append(t.dead, d)
			if err := t.tryLimits(ctx); err != nil {
				return nil, err
			}
		}
		if len(refused) == before && len(ahead) > 1 {
			break
		}
	}
	return refused, nil
}

// refuses reports whether an error of a table has the reason.
func (s *sieve) refuses(tb *table, err error) bool {
	other := (*sieve)(nil)
	if err != nil {
		other = sieveOf(err)
	}
	return other != nil && refusing(err) == tb && s.is(other)
}

// writeParents writes the rows of the tables before one, under a savepoint, if none of them is to be deleted again.
func (t *transaction) writeParents(ctx context.Context, records spans, tb *table) (written bool, err error) {
	if tb.Parent != nil {
		tb = t.m.tables[tb.Parent.Number]
	}
	for _, p := range t.m.tables {
		if slices.ContainsFunc(t.m.allEventsOf(records, p), func(e bind.Event) bool { return e.Tombstone() }) {
			return false, nil
		}
	}
	w, most, trying := t.w, t.most, t.trying
	t.most, t.trying = byStatement, effects{}
	defer func() { t.most, t.trying = most, trying }()
	w.gather(t.m, records)
	w.exec("savepoint", nil, "savepoint oncesink")
	for _, i := range t.m.Order {
		if t.m.tables[i] == tb {
			break
		}
		for n := range t.turns(i) {
			if err = errors.Join(err, t.upserts(ctx, i, n)); err != nil {
				break
			}
		}
	}
	if err == nil {
		err = t.send(ctx)
	}
	switch {
	case err == nil:
		return true, nil
	case t.conn.Conn().IsClosed() || classOf(err) == pgerr.Transient:
		return false, err
	}
	return false, t.rollback(ctx) // they have an error of their own
}

// refusing is the table that refuses what an error is about; nil if it is none.
func refusing(err error) *table {
	if refused := (*copyRefused)(nil); errors.As(err, &refused) {
		return refused.table
	}
	return tableOf(err)
}
