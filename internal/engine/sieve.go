package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/internal/catalog"
	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// valueClass are the errors that a column has for a value, whatever else there is: none of its type, too long, too many digits.
const valueClass = "22"

// sieve is a reason for which a table refuses rows, by which those that it may refuse for it can be told without trying them.
type sieve struct {
	code string // an SQLSTATE, or a class of them
	name string // of the constraint, or of the column that is null
	catalog.Constraint
	quiet int // batches in which it has found nothing, since it found something
}

func (s *sieve) is(other *sieve) bool { return s.code == other.code && s.name == other.name }

// ofValues: what is refused is one value by itself, whatever the tables have.
func (s *sieve) ofValues() bool { return s.code == valueClass }

// sieveOf is the reason that an error of a table gives, as far as it is one for which there are suspects; nil if it is none.
func sieveOf(err error) *sieve {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || refusing(err) == nil || pgerr.Classify(err) != pgerr.Data {
		return nil
	}
	if strings.HasPrefix(pg.Code, valueClass) {
		return &sieve{code: valueClass}
	}
	s := &sieve{code: pg.Code}
	switch {
	case pg.DataTypeName != "": // a domain refuses it
		return nil
	case pg.Code == "23502":
		s.name = pg.ColumnName
	case pg.Code == "23514" || pg.Code == pgerr.ForeignKeyViolation:
		s.name = pg.ConstraintName
	}
	if s.name == "" {
		return nil
	}
	return s
}

// maxSieves bounds the reasons that are kept in mind of a table, and patientFor is for how many batches each of them is.
const (
	maxSieves  = 8
	patientFor = 16
)

// keep keeps a reason in mind: the next batches are looked through for it before they are written.
func (l *learner) keep(s *sieve) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(l.sieves) == maxSieves || slices.ContainsFunc(l.sieves, s.is):
	case s.ofValues(): // it comes first: nobody is asked about a constraint of what is no value
		l.sieves = slices.Insert(l.sieves, 0, s)
	default:
		l.sieves = append(l.sieves, s)
	}
}

// kept are the reasons that are kept in mind.
func (l *learner) kept() []*sieve {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.sieves)
}

// sifted learns whether a batch had any that are refused for a reason.
func (l *learner) sifted(s *sieve, found bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.quiet++; found {
		s.quiet = 0
	}
	if s.quiet >= patientFor {
		l.sieves = slices.DeleteFunc(l.sieves, s.is)
	}
}

// suspect is a record that a table may refuse; bad are its values that are refused by themselves.
type suspect struct {
	record span
	bad    []badValue
}

// suspects are the records that a table may refuse for a reason. What is asked of the server must not change anything.
func (t *transaction) suspects(ctx context.Context, records spans, tb *table, s *sieve) (found []suspect, err error) {
	switch {
	case s.ofValues():
		found, err = t.badValues(ctx, t.m.eventsOf(records, tb), tb)
	case s.Replaced || tb.Bulk():
		return nil, nil // what is written may be something else
	case s.code == "23502":
		if i := tb.Index(s.name); i >= 0 && tb.Columns[i].Computed == nil {
			found = suspectsAmong(t.m.eventsOf(records, tb), func(e *bind.Event) bool {
				n := e.Cell(i).Len
				return n == decode.CellNull || n == decode.CellAbsent && !tb.Columns[i].HasDefault
			})
		}
	default:
		found, err = t.askFor(ctx, records, tb, s)
	}
	return t.m.inAnyTurn(records, tb, found, !s.ofValues()), err
}

// askFor asks the server which of the events break a constraint by their own values. Those that lack one of its columns are not asked about.
func (t *transaction) askFor(ctx context.Context, records spans, tb *table, s *sieve) ([]suspect, error) {
	var columns []int
	for _, name := range s.Columns {
		columns = append(columns, tb.Index(name))
	}
	if len(columns) == 0 || slices.Contains(columns, -1) {
		return nil, nil
	}
	placeless := *tb.Table // where an event stands makes no difference
	placeless.Guarded = false
	var form func(*tables.Table, statement.Shape) string
	orphans := s.code == pgerr.ForeignKeyViolation
	switch {
	case s.Kind == "c" && !orphans:
		form = func(tb *tables.Table, shape statement.Shape) string {
			return statement.BreakCheck(tb, shape, columns, s.Check)
		}
	case s.Kind == "f" && orphans && t.m.parentIsThere(tb, s):
		form = func(tb *tables.Table, shape statement.Shape) string {
			return statement.LackParent(tb, shape, columns, s.ParentName, s.ParentColumns)
		}
	default:
		return nil, nil
	}
	shape := statement.SuspectShape(tb.Table, columns)
	events := slices.DeleteFunc(t.m.eventsOf(records, tb), func(e bind.Event) bool {
		return slices.ContainsFunc(shape.Columns, func(i int) bool {
			n := e.Cell(i).Len
			return n == decode.CellAbsent || n == decode.CellNull && orphans || n > 0 && tb.Columns[i].TooMuch(e.Text(e.Cell(i)))
		})
	})
	if len(events) == 0 {
		return nil, nil
	}
	w := t.w
	w.answers = w.answers[:0]
	err := t.attempt(ctx, func() {
		for some := range slices.Chunk(events, bind.MaxStatementRows) {
			w.params.Rows(&placeless, shape, some)
			w.do(doing{verb: "look for suspects for", table: tb, asks: true}, form(&placeless, shape))
		}
	})
	if err != nil {
		if t.conn.Conn().IsClosed() || classOf(err) == pgerr.Transient {
			return nil, err
		}
		return nil, nil // a value that is none of its type, a table that may not be read: then it is searched for
	}
	asked := make([]bool, len(events))
	for k, numbers := range bytes.Split(w.answers, []byte{';'}) {
		for _, n := range bytes.Fields(numbers) {
			i, err := strconv.Atoi(string(n))
			if err != nil {
				return nil, fmt.Errorf("look for suspects for %s: %w", tb.Title(), err)
			}
			asked[k*bind.MaxStatementRows+i-1] = true
		}
	}
	k := -1
	return suspectsAmong(events, func(*bind.Event) bool {
		k++
		return asked[k]
	}), nil
}

// parentIsThere reports whether the rows that a foreign key asks for don't come later, or go, with the batch: they are written by nobody
// here, or before the table and by the key that is asked for.
func (m *plan) parentIsThere(tb *table, s *sieve) bool {
	at := slices.IndexFunc(m.tables, func(p *table) bool { return p.OID == s.Parent })
	if at < 0 {
		return true
	}
	p, own := m.tables[at], tb
	if tb.Parent != nil {
		own = m.tables[tb.Parent.Number]
	}
	return p.Parent == nil && p.Strategy == sink.Upsert && slices.Index(m.Order, at) < slices.Index(m.Order, int(own.Number)) &&
		mapping.SameSet(s.ParentColumns, p.Config.Key)
}

// eventsOf are the events that a table gets of the records, without tombstones, in their order.
func (m *plan) eventsOf(records spans, tb *table) []bind.Event {
	return slices.DeleteFunc(m.allEventsOf(records, tb), func(e bind.Event) bool { return e.Tombstone() })
}

func (m *plan) allEventsOf(records spans, tb *table) (events []bind.Event) {
	for _, x := range records {
		p := x.part
		from, to := x.rows()
		for i := from; i < to; i++ {
			r := &p.Rows[i]
			if m.tables[r.Table] == tb && (p.Faulty == nil || !p.Faulty[r.Record]) {
				events = append(events, bind.Event{Key: p.Keys[i].KeyIn(p.KeyText), Part: p, Row: int32(i)})
			}
		}
	}
	return events
}

// suspectsAmong are the records of those events of which something is true.
func suspectsAmong(events []bind.Event, is func(*bind.Event) bool) (found []suspect) {
	for i := range events {
		one := recordOf(&events[i])
		if n := len(found); is(&events[i]) && (n == 0 || found[n-1].record != one) {
			found = append(found, suspect{record: one})
		}
	}
	return found
}

// recordOf is the record of an event.
func recordOf(e *bind.Event) span {
	record := e.Part.Rows[e.Row].Record
	return span{e.Part, record, record + 1}
}

// inAnyTurn are those of the suspects for which it is the same whether they are tried in their turn or before the others: what an event
// finds of its key then and now makes no difference to whether it is written, and what with, if that matters. (If it is a good one, it is written
// in its turn.)
func (m *plan) inAnyTurn(records spans, tb *table, suspects []suspect, whole bool) []suspect {
	if tb.Parent != nil {
		tb = m.tables[tb.Parent.Number]
	}
	if len(suspects) == 0 || tb.Strategy == sink.Append {
		return suspects
	}
	suspected := make(map[span]bool, len(suspects))
	for _, x := range suspects {
		suspected[x.record] = true
	}
	before := map[string][]bind.Event{} // by the keys of suspects
	events := m.allEventsOf(records, tb)
	for i := range events {
		if e := &events[i]; suspected[recordOf(e)] {
			before[string(e.Key)] = nil
		}
	}
	for i := range events {
		e := &events[i]
		earlier, ok := before[string(e.Key)]
		if !ok {
			continue
		}
		if x := recordOf(e); suspected[x] && slices.ContainsFunc(earlier, func(last bind.Event) bool {
			return !tb.wins(&last, e) || whole && lacks(tb, e.Part, &e.Part.Rows[e.Row])
		}) {
			delete(suspected, x)
		}
		before[string(e.Key)] = append(earlier, *e)
	}
	return slices.DeleteFunc(suspects, func(x suspect) bool { return !suspected[x.record] })
}

// wins reports whether e, which comes after last, is written whatever becomes of last, if it would be written without it.
func (t *table) wins(last, e *bind.Event) bool {
	if e.Tombstone() || last.Part.Claim.Source != e.Part.Claim.Source {
		return false
	}
	return last.Tombstone() || t.order(last, e) <= 0
}
