package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/internal/catalog"
	"github.com/oncesink/oncesink/internal/pgerr"
)

// Whose fault an error is, is found out by experiment (rule 17). The class of its SQLSTATE says what to
// expect: [Classify]. But types of extensions, and PostgreSQL's own, raise codes of any class for a value,
// and a statement that fails with no rows at all can't be a record's fault, whatever the class:
//
//	the statement fails without rows as well       configuration
//	the class is data                              the record's, if it fails alone
//	any other class, and it fails alone:
//	  a type's input function refuses a value      the record's
//	  neighbours of the batch wrote their rows     the record's
//	  none did                                     what the class says: a person's to mend, or a halt

// applyOrBisect writes the rows of the records and runs the handlers over them. What a record is to blame for
// becomes a dead letter: all it would have written, in every table, or nothing.
func (t *transaction) applyOrBisect(ctx context.Context, records spans) (err error) {
	if t.again == nil {
		if records, err = t.siftKept(ctx, records); err != nil || len(records) == 0 {
			return err
		}
	}
	ill := slices.ContainsFunc(t.m.tables, func(tb *table) bool { return t.single(tb) && tb.learn.isSick() })
	if !ill {
		err = t.apply(ctx, records)
		if records, err = t.siftRefused(ctx, records, err); err == nil || len(records) == 0 {
			return err
		}
		if !t.single(tableOf(err)) || pgerr.Classify(err) != pgerr.Data {
			if err = t.bySaferRoutes(ctx, records, err); err == nil || !t.arguable(err) {
				return err
			}
		}
		if err := t.rollback(ctx); err != nil {
			return err
		}
		ill = t.single(tableOf(err)) && pgerr.Classify(err) == pgerr.Data
	}
	if ill {
		var shared *sharedError
		if err = t.oneByOne(ctx, records); err == nil || !t.arguable(err) || errors.As(err, &shared) {
			return err
		}
		if err := t.rollback(ctx); err != nil {
			return err
		}
	}
	t.most = byStatement
	if err := t.altered(ctx); err != nil {
		return err
	}
	if err := t.shared(ctx, err); err != nil {
		return err
	}
	if pgerr.SQLState(err) == pgerr.ForeignKeyViolation && !t.orphansAreData && !t.m.References {
		return err // the parent is waited for; it can't be one of this batch
	}
	t.s.countBisection()
	b := &bisection{transaction: t}
	if err := b.split(ctx, records, err); err != nil {
		return err
	}
	return b.verdict()
}

// bySaferRoutes applies the records, which failed with err, by ever safer routes, as long as a COPY is undone.
func (t *transaction) bySaferRoutes(ctx context.Context, records spans, err error) error {
	for refused := (*copyRefused)(nil); errors.As(err, &refused); err = t.apply(ctx, records) {
		t.saferThan(refused)
		if err := t.rollback(ctx); err != nil {
			return err
		}
	}
	return err
}

// saferThan leaves out the route on which a COPY was refused.
func (t *transaction) saferThan(refused *copyRefused) {
	refused.table.learn.failed()
	if t.most == byCopy && pgerr.SQLState(refused) == pgerr.UniqueViolation {
		t.most = byLook
	} else {
		t.most = byStatement
	}
}

// arguable reports whether a record may be to blame for the error.
func (t *transaction) arguable(err error) bool {
	var (
		ledger  *ledgerError
		handler *handlerError
		pg      *pgconn.PgError
		marked  *pgerr.Marked
	)
	if t.again != nil && errors.As(err, &handler) && !t.conn.Conn().IsClosed() && classOf(err) == pgerr.Unknown {
		return true // of a letter, whatever it is: what comes next in the log is not to wait for it
	}
	if t.conn.Conn().IsClosed() || errors.As(err, &ledger) || !errors.As(err, &pg) && !errors.As(err, &marked) {
		return false
	}
	switch pgerr.Classify(err) {
	case pgerr.Transient:
		return false
	case pgerr.Data:
		return true
	}
	return !errors.As(err, &handler) && !pgerr.OwnTable(pg) && !pgerr.NoPartition(pg)
}

// shared tries the statement that failed without any rows. It returns an error that no record is to blame
// for, if that fails, too.
func (t *transaction) shared(ctx context.Context, err error) error {
	var failed *writeError
	if !errors.As(err, &failed) || failed.doing.sql == "" {
		return nil
	}
	d := failed.doing
	if slices.ContainsFunc(d.oids, func(oid uint32) bool { return bind.Elements[oid] == 0 }) {
		return nil
	}
	err = t.attempt(ctx, func() {
		for _, oid := range d.oids { // arrays without dimensions
			t.w.params.End(binary.BigEndian.AppendUint32(make([]byte, 8, 12), bind.Elements[oid]), oid)
		}
		t.w.exec(d.verb, d.table, d.sql)
	})
	if err == nil || t.conn.Conn().IsClosed() || classOf(err) == pgerr.Transient {
		return err
	}
	return &sharedError{err}
}

// attempt sends statements under a savepoint of its own, undoes them, and returns their error.
func (t *transaction) attempt(ctx context.Context, queue func()) error {
	t.w.exec("savepoint", nil, "savepoint oncesink")
	queue()
	err := t.send(ctx)
	if t.conn.Conn().IsClosed() {
		return err
	}
	return errors.Join(err, t.rollback(ctx))
}

// sharedError is an error that a statement has without any rows.
type sharedError struct{ err error }

func (e *sharedError) Error() string {
	var w *writeError
	if !errors.As(e.err, &w) {
		return pgerr.Text(e.err)
	}
	return w.doing.String() + ": " + pgerr.Full(w.err)
}
func (e *sharedError) Unwrap() error { return e.err }

// bisection finds the records that are to blame for an error, by halving, in the order of their offsets.
// Each half is folded anew (rule 17: folding a good and a bad event of one key would lose the good one).
type bisection struct {
	*transaction
	// alone are records that fail alone, for a reason that may not be theirs; causes are the errors.
	alone  []bind.Letter
	causes []error
	// wrote are the tables to which other records of the batch wrote.
	wrote map[*table]bool
	// culprits are the columns that were to blame last, by table.
	culprits map[*table]int
}

// maxAlone bounds the patience with records that fail alone, while none passes.
const maxAlone = 16

// split is called when the records failed with err, and were rolled back.
func (b *bisection) split(ctx context.Context, records spans, err error) error {
	if records.records() == 1 {
		return b.judge(ctx, records[0], err)
	}
	if err := b.tryLimits(ctx); err != nil {
		return err
	}
	left, right := records.halve()
	for _, half := range []spans{left, right} {
		err := b.bySaferRoutes(ctx, half, b.apply(ctx, half))
		if err == nil {
			b.passed()
			continue
		}
		if !b.arguable(err) {
			return err
		}
		if err := b.rollback(ctx); err != nil {
			return err
		}
		if err := b.split(ctx, half, err); err != nil {
			return err
		}
	}
	return nil
}

// passed notes which tables the half that was applied last wrote to.
func (b *bisection) passed() {
	for t, e := range b.trying {
		if e.rows > 0 {
			if b.wrote == nil {
				b.wrote = map[*table]bool{}
			}
			b.wrote[t] = true
		}
	}
}

// judge decides about a record that fails alone.
func (b *bisection) judge(ctx context.Context, one span, err error) error {
	d := refusedBy(b.m, one, err)
	if pgerr.Classify(err) == pgerr.Data {
		if pgerr.SQLState(err) == pgerr.ForeignKeyViolation && !b.orphansAreData {
			return err
		}
		if d.Column, err = b.columnOf(ctx, one, err); err != nil {
			return err
		}
		b.dead = append(b.dead, d)
		return nil
	}
	if handler := (*handlerError)(nil); b.again != nil && errors.As(err, &handler) {
		b.dead = append(b.dead, d)
		return nil
	}
	column, cause, fault := b.refusedValue(ctx, one, err)
	if fault != nil {
		return fault
	}
	if cause != nil {
		d = refusedBy(b.m, one, cause)
		d.Table, d.Column = tableOf(err).Title(), column
		b.dead = append(b.dead, d)
		return nil
	}
	b.alone, b.causes = append(b.alone, d), append(b.causes, err)
	if len(b.alone) >= maxAlone {
		return b.verdict()
	}
	return nil
}

// verdict decides about the records that fail alone: they are to blame if others of the batch wrote to
// the table where they fail. Otherwise the first one's error is returned.
func (b *bisection) verdict() error {
	for i, d := range b.alone {
		if t := tableOf(b.causes[i]); len(b.wrote) == 0 || t != nil && !b.wrote[t] {
			return b.causes[i]
		}
		b.dead = append(b.dead, d)
	}
	b.alone, b.causes = nil, nil
	return nil
}

// tableOf is the table whose statement failed; nil if it was none of a table's.
func tableOf(err error) *table {
	var w *writeError
	if errors.As(err, &w) {
		return w.doing.table
	}
	return nil
}

// refusedBy is the dead letter of a record that the tables or a handler refuse.
func refusedBy(m *plan, one span, err error) bind.Letter {
	d := bind.Letter{Part: one.part, Record: one.lo, Code: pgerr.SQLState(err)}
	var w *writeError
	if errors.As(err, &w) && w.doing.table != nil {
		d.Table = w.doing.table.Title()
	}
	var (
		pg      *pgconn.PgError
		handler *handlerError
	)
	switch {
	case errors.As(err, &pg):
		d.Message, d.Column, d.Constraint = pg.Message, pg.ColumnName, pg.ConstraintName
		if pg.TableName != "" && !(d.Table != "" && pg.SchemaName == catalog.ChunkSchema) {
			d.Table = pg.SchemaName + "." + pg.TableName
		}
	case errors.As(err, &handler):
		d.Message = handler.whole()
	default:
		d.Message = err.Error()
	}
	if late := (*lateError)(nil); errors.As(err, &late) {
		d.Code = lateCode
		if late.table != nil {
			d.Table = late.table.Title()
		}
	}
	return d
}
