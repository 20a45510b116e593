package sample

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// try has the server try the rows of a part, in one transaction that is rolled back, and adds what it refuses to the
// faults.
func (x *Sample) try(ctx context.Context, p *decode.Part, topic *topicSample, faults map[int32]decode.Fault) error {
	tx, err := x.sink.Begin(ctx)
	if err != nil {
		return fmt.Errorf("try a sample: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	byTable := make([][]bind.Event, len(x.mapping.Tables))
	for i := range p.Rows {
		if r := &p.Rows[i]; !r.Tombstone {
			byTable[r.Table] = append(byTable[r.Table], bind.Event{Part: p, Row: int32(i)})
		}
	}
	for i, events := range byTable {
		t := x.mapping.Tables[i]
		events = slices.DeleteFunc(events, func(e bind.Event) bool { _, refused := faults[p.Rows[e.Row].Record]; return refused })
		if len(events) == 0 {
			continue
		}
		a := &attempt{tx: tx, of: t, faults: faults, culprits: map[string]int{}}
		a.strict, a.lax, err = copyOf(ctx, tx, t)
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pgerr.Classify(err) != pgerr.Transient {
			x.Untried = fmt.Sprintf("table %s can't be copied: %s", t.Title(), pgerr.Full(err))
			return nil
		}
		if err == nil {
			err = a.all(ctx, topic, events)
		}
		if err != nil {
			return fmt.Errorf("try a sample in %s: %w", t.Title(), err)
		}
	}
	return nil
}

// attempt is the rows of a part on their way into the copies of one table.
type attempt struct {
	tx          pgx.Tx
	of          *tables.Table
	strict, lax *tables.Table
	faults      map[int32]decode.Fault
	culprits    map[string]int // the column that had an error of this code last
}

func (a *attempt) all(ctx context.Context, topic *topicSample, events []bind.Event) error {
	var sets bind.Sets
	sets.Split(a.of, events)
	names := sets.Names()
	// Those that make rows before those that need one.
	slices.SortStableFunc(names, func(x, y string) int { return cmp.Compare(a.partial(x), a.partial(y)) })
	for _, set := range names {
		s, events := statement.ShapeOf(a.of, set), sets.Of(set)
		if a.of.Strategy != sink.Upsert {
			if err := a.some(ctx, a.strict, s, events); err != nil {
				return err
			}
			continue
		}
		if statement.Complete(a.of, s) {
			if err := a.some(ctx, a.strict, s, events); err != nil {
				return err
			}
			for i := range events {
				topic.keys[a.key(&events[i])] = true
			}
			continue
		}
		if err := a.update(ctx, topic, s, events); err != nil {
			return err
		}
	}
	return nil
}

// key is the text of an event's key, near enough to tell whether an earlier event made its row.
func (a *attempt) key(e *bind.Event) string {
	key := a.of.Title()
	for _, i := range a.of.Key {
		key += "\x00"
		if c := e.Cell(i); c.Len > 0 {
			key += string(e.Text(c))
		}
	}
	return key
}

// partial is 1 of a set whose events need a row, and else 0.
func (a *attempt) partial(set string) int {
	if statement.Complete(a.of, statement.ShapeOf(a.of, set)) {
		return 0
	}
	return 1
}

// update tries events that lack a column which a new row can't be without: each needs a row to update.
func (a *attempt) update(ctx context.Context, topic *topicSample, s statement.Shape, events []bind.Event) error {
	var there []bind.Event
	for len(events) > 0 {
		n := min(len(events), bind.MaxStatementRows)
		exist, err := a.exist(ctx, events[:n])
		if err != nil {
			return err
		}
		for i := range events[:n] {
			if exist == nil || exist[i] == statement.SaysWins || topic.keys[a.key(&events[i])] {
				there = append(there, events[i])
				continue
			}
			a.refuse(&events[i], a.noRow(s))
		}
		events = events[n:]
	}
	return a.some(ctx, a.lax, s, there)
}

// noRow is the fault of an event that needs a row, and has none.
func (a *attempt) noRow(s statement.Shape) decode.Fault {
	f := decode.Fault{Table: a.of.Title(), Plain: true}
	if len(s.Withheld) > 0 {
		f.Column, f.Code, f.Message = a.of.Columns[s.Withheld[0]].Name, decode.Unavailable, "the source withheld it, and there is no row of its key yet"
		return f
	}
	missing := a.of.Required[slices.IndexFunc(a.of.Required, func(i int) bool { return !slices.Contains(s.Columns, i) })]
	f.Column, f.Code, f.Message = a.of.Columns[missing].Name, notNullViolation, "the event lacks it, and there is no row of its key yet"
	return f
}

const notNullViolation = "23502"

// exist asks which events have a row; nil if a key can't be read, which is found out later.
func (a *attempt) exist(ctx context.Context, events []bind.Event) ([]byte, error) {
	t := a.of
	keys := statement.Shape{Columns: t.Key}
	sql := statement.LookForKey(t, keys)
	var answer []byte
	err := a.run(ctx, t, keys, sql, events, func(row []byte) { answer = row })
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pgerr.Classify(err) == pgerr.Data {
		return nil, nil
	}
	if err == nil && len(answer) != len(events) {
		err = fmt.Errorf("%d answers for %d events", len(answer), len(events))
	}
	return answer, err
}

// some inserts events into a copy, and finds those that are refused by halving.
func (a *attempt) some(ctx context.Context, into *tables.Table, s statement.Shape, events []bind.Event) error {
	for len(events) > bind.MaxStatementRows {
		if err := a.some(ctx, into, s, events[:bind.MaxStatementRows]); err != nil {
			return err
		}
		events = events[bind.MaxStatementRows:]
	}
	if len(events) == 0 {
		return nil
	}
	sql := statement.Append(into, s)
	if !slices.ContainsFunc(s.Columns, func(i int) bool { return !into.Columns[i].Hidden }) {
		// In the table such a row has its guard columns, which the copy does not fill.
		sql = "insert into " + into.Quoted() + " default values"
		s = statement.Shape{}
	}
	err := a.run(ctx, into, s, sql, events, nil)
	var pg *pgconn.PgError
	if err == nil || !errors.As(err, &pg) || pgerr.Classify(err) == pgerr.Transient {
		return err
	}
	if len(events) > 1 {
		half := len(events) / 2
		if err := a.some(ctx, into, s, events[:half]); err != nil {
			return err
		}
		return a.some(ctx, into, s, events[half:])
	}
	f := decode.Fault{Table: a.of.Title(), Column: pg.ColumnName, Constraint: pg.ConstraintName, Code: pg.Code}
	if f.Column == "" && f.Constraint == "" {
		if f.Column, err = a.culprit(ctx, s, &events[0], pg.Code); err != nil {
			return err
		}
	}
	f.Message, f.Plain = pgerr.Meaning(pg.Code), true
	a.refuse(&events[0], f)
	return nil
}

// culprit finds the column that alone has the same error: first the one that had it last.
func (a *attempt) culprit(ctx context.Context, s statement.Shape, e *bind.Event, code string) (string, error) {
	columns := slices.Clone(s.Columns)
	if last, ok := a.culprits[code]; ok && slices.Contains(columns, last) {
		columns = append([]int{last}, columns...)
	}
	for _, i := range columns {
		if a.of.Columns[i].Computed != nil {
			continue
		}
		alone, form := statement.Shape{Columns: []int{i}}, statement.Append
		if c := &a.of.Columns[i]; c.Hidden { // there is nothing to insert it into
			form = func(t *tables.Table, s statement.Shape) string {
				return statement.Ask(t, s, "(e."+pgname.Quote(c.Name)+" is null)::text")
			}
		}
		err := a.run(ctx, a.lax, alone, form(a.lax, alone), []bind.Event{*e}, nil)
		var pg *pgconn.PgError
		switch {
		case err == nil:
		case !errors.As(err, &pg) || pgerr.Classify(err) == pgerr.Transient:
			return "", err
		case pg.Code == code:
			a.culprits[code] = i
			return a.of.Columns[i].Name, nil
		}
	}
	return "", nil
}

// refuse notes why a record would be a dead letter: the first reason counts.
func (a *attempt) refuse(e *bind.Event, f decode.Fault) {
	f.Record = e.Part.Rows[e.Row].Record
	if _, refused := a.faults[f.Record]; !refused {
		a.faults[f.Record] = f
	}
}

// run executes a statement under a savepoint, and undoes it. Answer gets the first value of each row.
func (a *attempt) run(ctx context.Context, t *tables.Table, s statement.Shape, sql string, events []bind.Event, answer func([]byte)) (err error) {
	nested, err := a.tx.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if undo := nested.Rollback(context.WithoutCancel(ctx)); err == nil {
			err = undo
		}
	}()
	p := &bind.Params{}
	p.Rows(t, s, events)
	result := nested.Conn().PgConn().ExecParams(ctx, sql, p.Values, p.OIDs, p.Formats[:len(p.Values)], nil)
	for result.NextRow() {
		if answer != nil {
			answer(slices.Clone(result.Values()[0]))
		}
	}
	_, err = result.Close()
	return err
}
