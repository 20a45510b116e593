package engine

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/internal/pgerr"
)

// Most values that the server refuses and the decoder does not are too long for their column, or have too many digits. Whoever has met
// one finds the others of a batch by counting, once the server has said of the first one alone that it refuses it: so no half of the batch is
// written again and again for hundreds of them.

// suspect is a record that brings a column more than it takes.
type suspect struct {
	record span
	column int
}

// sift is called when the records failed with err. It undoes what they did, makes dead letters of those suspects whose column refuses
// the first of them in the same way when it reads its value alone, and returns the others: there may be none.
func (t *transaction) sift(ctx context.Context, records spans, suspects []suspect, err error) (spans, error) {
	code, tb := pgerr.SQLState(err), refusing(err)
	if err := t.rollback(ctx); err != nil {
		return nil, err
	}
	if err := t.altered(ctx); err != nil {
		return nil, err
	}
	b := &bisection{transaction: t}
	causes := map[int]error{} // by column; nil: it refuses no such value
	for _, x := range suspects {
		cause, known := causes[x.column]
		if !known {
			column, refused, fault := b.read(ctx, x.record, tb, reading{assigned: true, same: func(got *pgconn.PgError) bool { return got.Code == code }})
			if fault != nil {
				return nil, fault
			}
			if column == tb.Columns[x.column].Name {
				cause = refused
			}
			causes[x.column] = cause
		}
		if cause == nil {
			continue
		}
		d := refused(t.m, x.record.part, x.record.lo, cause)
		d.Table, d.Column = tb.Title(), tb.Columns[x.column].Name
		t.dead = append(t.dead, d)
		records = records.without(x.record)
		if err := t.tryLimits(ctx); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// refusing is the table that refuses what an error is about; nil if it is none.
func refusing(err error) *table {
	if refused := (*copyRefused)(nil); errors.As(err, &refused) {
		return refused.table
	}
	return tableOf(err)
}

// suspects are the records that bring the table which refused them a value of more characters or digits than its column takes, if it is
// that which it says.
func (t *transaction) suspects(records spans, err error) (found []suspect) {
	tb := refusing(err)
	if code := pgerr.SQLState(err); tb == nil || code != "22001" && code != "22003" {
		return nil
	}
	for _, x := range records {
		p := x.part
		from, to := x.rows()
		last := int32(-1)
		for i := from; i < to; i++ {
			r := &p.Rows[i]
			if t.m.tables[r.Table] != tb || r.Tombstone || r.Record == last || p.Faulty != nil && p.Faulty[r.Record] {
				continue
			}
			for k := range tb.Columns {
				c, cell := &tb.Columns[k], p.Cells[int(r.First)+k]
				if cell.Len > 0 && c.Computed == nil && c.TooMuch(p.TextOf(r, cell)) {
					found, last = append(found, suspect{span{p, r.Record, r.Record + 1}, k}), r.Record
					break
				}
			}
		}
	}
	return found
}

// without leaves out a record.
func (s spans) without(one span) spans {
	for i, x := range s {
		if x.part != one.part || one.lo < x.lo || one.lo >= x.hi {
			continue
		}
		out := append(spans{}, s[:i]...)
		if x.lo < one.lo {
			out = append(out, span{x.part, x.lo, one.lo})
		}
		if one.hi < x.hi {
			out = append(out, span{x.part, one.hi, x.hi})
		}
		return append(out, s[i+1:]...)
	}
	return s
}
