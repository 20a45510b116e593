package engine

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/statement"
)

// PostgreSQL names the column of a value that is missing, and none of a value that it can't read, that is too long, or that
// a domain refuses. So the columns of a record that is refused are read once more, each by itself, as its table would read
// them: all in one round trip, of which the server's first error tells the first column. That is one more pass over a
// record for which there were several already, and in a flood, where one column is to blame for all of them, that one is
// read first and the others not at all.

// columnOf returns the column whose value alone has the error for which a record is refused; "" if there is none, or if the
// error names its column, or a constraint of the table, already. The error returned is one of the connection.
func (b *bisection) columnOf(ctx context.Context, one span, err error) (string, error) {
	var pg *pgconn.PgError
	tb := tableOf(err)
	switch {
	case !errors.As(err, &pg):
		return "", nil
	case pg.ColumnName != "" || tb == nil:
		return pg.ColumnName, nil
	}
	ofDomain := pg.DataTypeName != ""
	switch class := pg.Code[:min(2, len(pg.Code))]; {
	case class == "22", class == "54", class == "23" && ofDomain:
	default:
		return "", nil
	}
	column, _, fault := b.read(ctx, one, tb, reading{nulls: ofDomain, assigned: true, same: func(got *pgconn.PgError) bool {
		return got.Code == pg.Code && got.DataTypeName == pg.DataTypeName && got.ConstraintName == pg.ConstraintName
	}})
	return column, fault
}

// refusedValue reads the values of a record's rows, each by itself, as the table that refuses it would. It
// returns the column whose type has an error for its value, and that error; fault is one of the connection.
func (b *bisection) refusedValue(ctx context.Context, one span, err error) (column string, cause, fault error) {
	tb := tableOf(err)
	if tb == nil {
		return "", nil, nil
	}
	return b.read(ctx, one, tb, reading{same: func(*pgconn.PgError) bool { return true }})
}

// reading says how values are read.
type reading struct {
	nulls    bool                       // also those that are missing, which a domain may refuse
	assigned bool                       // as a column takes them, with their length and what is computed of them; else as a cast does
	same     func(*pgconn.PgError) bool // whether this is the error that is looked for
}

// maxReadings bounds how often the columns behind one with another error are read.
const maxReadings = 4

// read reads the columns of a record's rows in a table, and returns the first whose error is the one that is looked
// for, and that error; fault is one of the connection.
func (b *bisection) read(ctx context.Context, one span, tb *table, how reading) (column string, cause, fault error) {
	columns := b.columnsToRead(tb, how)
	for range maxReadings {
		var asked []int
		err := b.attempt(ctx, func() {
			for _, i := range columns {
				if b.queueReading(one, tb, i, how) {
					asked = append(asked, i)
				}
			}
		})
		if b.conn.Conn().IsClosed() || err != nil && classOf(err) == pgerr.Transient {
			return "", nil, err
		}
		var (
			write *writeError
			pg    *pgconn.PgError
		)
		if !errors.As(err, &write) || !errors.As(err, &pg) {
			return "", nil, err
		}
		at := slices.IndexFunc(asked, func(i int) bool { return reads+tb.Columns[i].Name == write.doing.verb })
		if at < 0 {
			return "", nil, err
		}
		if how.same(pg) {
			b.culprits[tb] = asked[at]
			return tb.Columns[asked[at]].Name, err, nil
		}
		if columns = asked[at+1:]; len(columns) == 0 {
			break
		}
	}
	return "", nil, nil
}

// columnsToRead are those of a table: the one that was to blame last, those with a value of their own, those that are computed.
func (b *bisection) columnsToRead(tb *table, how reading) (columns []int) {
	if b.culprits == nil {
		b.culprits = map[*table]int{}
	}
	last, known := b.culprits[tb]
	if known {
		columns = append(columns, last)
	}
	for _, computed := range []bool{false, true} {
		for i := range tb.Columns {
			if (tb.Columns[i].Computed != nil) == computed && (!computed || how.assigned) && (!known || i != last) {
				columns = append(columns, i)
			}
		}
	}
	return columns
}

// reads begins the verb of a statement that reads a column's values.
const reads = "read a value of column "

// queueReading queues the statement that reads a column of a record's rows, if any has a value for it.
func (b *bisection) queueReading(one span, tb *table, i int, how reading) bool {
	c := &tb.Columns[i]
	events := b.eventsToRead(one, tb, i, how)
	if len(events) == 0 {
		return false
	}
	w := b.w
	if c.Computed == nil {
		w.params.Column(events, i)
		w.exec(reads+c.Name, tb, statement.Read(&c.Type, how.assigned))
		return true
	}
	s := statement.Shape{Columns: append(slices.Clone(c.Computed.Inputs), i)}
	slices.Sort(s.Columns)
	w.params.Rows(tb.Table, s, events)
	w.exec(reads+c.Name, tb, statement.ReadComputed(tb.Table, s, i))
	return true
}

// eventsToRead are the rows of a record that have something to read for a column.
func (b *bisection) eventsToRead(one span, tb *table, i int, how reading) (events []bind.Event) {
	from, to := one.rows()
	for k := from; k < to; k++ {
		r := &one.part.Rows[k]
		if b.m.tables[r.Table] == tb && how.reads(tb, r, i, one.part.Cells[int(r.First)+i]) {
			events = append(events, bind.Event{Part: one.part, Row: int32(k)})
		}
	}
	return events
}

// reads reports whether there is something to read for column i of a row.
func (how reading) reads(tb *table, r *decode.Row, i int, x decode.Cell) bool {
	c := &tb.Columns[i]
	switch {
	case r.Tombstone && !tb.IsKey(i):
		return false
	case c.Computed != nil:
		return x.Given()
	case x.Len >= 0:
		return true
	}
	return how.nulls && (x.Len == decode.CellNull || !x.Given() && !c.HasDefault)
}
