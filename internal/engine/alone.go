package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/internal/pgerr"
)

// Records by themselves, many of them in one round trip: suspects, which are tried and undone, and the records of tables that are written one
// record at a time, each under a savepoint of its own. Each has the statements that it would have alone, and an error of its own.

// What bounds the records that are on their way to the server before one of them is judged; the bytes are of their values.
const (
	maxAhead      = 128
	maxAheadBytes = 4 << 20
)

// ahead are the next of single records that go together.
func (s spans) ahead() spans {
	n, size := 0, 0
	for n < min(len(s), maxAhead) && (n == 0 || size < maxAheadBytes) {
		size += len(s[n].part.Records[s[n].lo].Value)
		n++
	}
	return s[:n]
}

// waiting is a statement that is not sent yet.
type waiting struct {
	doing
	values  [][]byte
	formats []int16
}

// alone are the statements that write the rows of one record, and nothing else.
func (t *transaction) alone(ctx context.Context, one span) ([]waiting, error) {
	w := t.w
	send, most, trying := w.send, t.most, t.trying
	var all []waiting
	w.send, w.aside, t.most, t.trying = nil, &all, byStatement, effects{}
	w.gather(t.m, spans{one})
	if t.m.Deferrable {
		w.exec("set constraints", nil, "set constraints all deferred")
	}
	err := t.rows(ctx)
	if t.m.Deferrable {
		w.exec("check deferred constraints", nil, "set constraints all immediate")
	}
	w.send, w.aside, t.most, t.trying = send, nil, most, trying
	return all, err
}

// say is a statement without parameters.
func say(verb, sql string) waiting { return waiting{doing: doing{verb: verb, sql: sql}} }

// planOften is the plan_cache_mode for statements that come again and again, each for one record: to plan one takes longer than to execute it. Citus
// can't plan one whose values it doesn't know, of tables that it distributes.
func (m *plan) planOften() string {
	if m.anyDistributed() {
		return "force_custom_plan"
	}
	return "force_generic_plan"
}

// anyDistributed reports whether Citus distributes any of the tables.
func (m *plan) anyDistributed() bool {
	return slices.ContainsFunc(m.tables, func(tb *table) bool { return tb.Distributed })
}

// sections executes groups of statements in one round trip, and returns the error of each group: the first one that it
// met. A group that fails does not keep the next from being sent. The last result is an error that is none of a group's.
func (t *transaction) sections(ctx context.Context, all [][]waiting) ([]error, error) {
	if err := t.send(ctx); err != nil { // what is queued comes first
		return nil, err
	}
	ctx, alive, stop := t.watch(ctx)
	defer stop()
	p := t.conn.Conn().PgConn().StartPipeline(ctx)
	names := prepare(p, all)
	for _, section := range all {
		for i := range section {
			if s, name := &section[i], names[section[i].sql]; name != "" {
				p.SendQueryPrepared(name, s.values, s.formats, nil)
			} else {
				p.SendQueryParams(s.sql, s.values, s.oids, s.formats, nil)
			}
		}
		p.SendPipelineSync()
	}
	for _, name := range names { // a session that others get has none of ours
		p.SendDeallocate(name)
	}
	if err := p.Sync(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	errs := make([]error, len(all)+2)
	at, done := 0, 0
	sum := t.trying
	defer func() { t.trying = sum }()
	t.trying = effects{} // of a group
	for at < len(errs) {
		result, err := p.GetResults()
		switch r := result.(type) {
		case *pgconn.PipelineSync:
			if errs[at] == nil {
				sum.merge(t.trying)
			}
			clear(t.trying)
			at, done = at+1, 0
			alive()
			continue
		case *pgconn.ResultReader:
			if err = t.result(r, all[at-1][done].doing); err == nil {
				done++
			}
		}
		pg := (*pgconn.PgError)(nil)
		switch {
		case err == nil && result == nil:
			return nil, errors.Join(errors.New("the server has answered less than it was asked"), p.Close())
		case err == nil:
		case !errors.As(err, &pg):
			return nil, errors.Join(err, p.Close())
		case at == 0 || at > len(all):
			errs[at] = &writeError{doing{verb: "prepare statements"}, err}
		case errs[at] == nil:
			d := all[at-1][min(done, len(all[at-1])-1)].doing
			d.distributed(err)
			errs[at] = &writeError{d, err}
		}
	}
	return errs[1 : len(all)+1], errors.Join(errs[0], errs[len(all)+1], p.Close())
}

// prepare prepares the statements that come again and again, and returns their names.
func prepare(p *pgconn.Pipeline, all [][]waiting) map[string]string {
	counts, names := map[string]int{}, map[string]string{}
	for _, section := range all {
		for i := range section {
			s := &section[i]
			if counts[s.sql]++; counts[s.sql] == 2 && len(s.oids) > 0 {
				names[s.sql] = fmt.Sprintf("oncesink_%d", len(names))
				p.SendPrepare(names[s.sql], s.sql, s.oids)
			}
		}
	}
	p.SendPipelineSync()
	return names
}

// tryAlone applies each of the records, of which there are few, by itself to what the tables have now, undoes it, and returns its error. It returns no
// errors at all if that can't be done.
func (t *transaction) tryAlone(ctx context.Context, records spans) ([]error, error) {
	all := make([][]waiting, 0, len(records))
	for _, one := range records {
		statements, err := t.alone(ctx, one)
		if err != nil {
			return nil, err
		}
		all = append(all, statements)
	}
	return t.undone(ctx, all)
}

// undone executes groups of statements in one round trip, each on what the tables have now, undoes each, and returns their errors. It returns no errors
// at all if that can't be done.
func (t *transaction) undone(ctx context.Context, groups [][]waiting) ([]error, error) {
	all := [][]waiting{{say("plan", "set local plan_cache_mode = "+t.m.planOften()),
		say("set constraints", "set constraints all immediate"), say("savepoint", "savepoint oncesink_one")}}
	undo := say("roll back", "rollback to savepoint oncesink_one")
	for _, statements := range groups {
		all = append(all, append([]waiting{undo}, statements...))
	}
	t.w.exec("savepoint", nil, "savepoint oncesink") // before anything that may fail
	trying := t.trying
	t.trying = effects{}
	errs, err := t.sections(ctx, all)
	t.trying = trying
	fails := func(err error) bool {
		return err != nil && (t.conn.Conn().IsClosed() || classOf(err) == pgerr.Transient)
	}
	if i := slices.IndexFunc(errs, fails); i >= 0 {
		err = errs[i]
	}
	if fails(err) {
		return nil, err
	}
	if back := t.rollback(ctx); back != nil {
		return nil, back
	}
	if err != nil || errs[0] != nil { // statements that the server does not understand, of a table as it was
		return nil, nil
	}
	return errs[1:], nil
}

// single reports whether the records are to be written one by one because the table that refuses some is written so anyway (rule 18).
// Handlers are called for batches: where there are any, it is left to the bisection.
func (t *transaction) single(tb *table) bool {
	return t.again == nil && len(t.s.cfg.Handlers) == 0 && tb != nil && tb.Parent == nil && !tb.InTurn()
}

// oneByOne applies the records one by one, in their order, each under a savepoint, and makes dead letters of those that the tables refuse.
// On any other error it undoes all of it.
func (t *transaction) oneByOne(ctx context.Context, records spans) error {
	dead := len(t.dead)
	clear(t.trying)
	w := t.w
	w.gather(t.m, records)
	w.locks(t.m)
	w.exec("savepoint", nil, "savepoint oncesink")
	w.exec("plan", nil, "set local plan_cache_mode = "+t.m.planOften())
	w.exec("set constraints", nil, "set constraints all immediate")
	b := &bisection{transaction: t}
	rest := records.each()
	for len(rest) > 0 {
		ahead := rest.ahead()
		var all [][]waiting
		for _, one := range ahead {
			statements, err := t.alone(ctx, one)
			if err != nil {
				return err
			}
			statements = slices.Insert(statements, 0, say("savepoint", "savepoint oncesink_one"))
			all = append(all, append(statements, say("release savepoint", "release savepoint oncesink_one")))
		}
		errs, err := t.sections(ctx, all)
		if err != nil {
			return err
		}
		failed := slices.IndexFunc(errs, func(err error) bool { return err != nil })
		if failed < 0 {
			rest = rest[len(ahead):]
			continue
		}
		if err := b.refuse(ctx, ahead[failed], errs[failed], len(t.dead) == dead); err != nil {
			t.dead = t.dead[:dead]
			return err
		}
		rest = rest[failed+1:]
	}
	for tb := range t.trying {
		tb.learn.sick(len(t.dead) > dead)
	}
	w.exec("plan", nil, "set local plan_cache_mode to default")
	w.exec("set constraints", nil, "set constraints all deferred")
	return t.keep(ctx)
}

// refuse makes a dead letter of a record that failed alone, in its turn, or returns what is to be done about its error.
func (b *bisection) refuse(ctx context.Context, one span, err error, first bool) error {
	t := b.transaction
	if t.conn.Conn().IsClosed() || classOf(err) == pgerr.Transient {
		return err
	}
	t.w.exec("roll back", nil, "rollback to savepoint oncesink_one")
	t.w.exec("release savepoint", nil, "release savepoint oncesink_one")
	if err := t.send(ctx); err != nil {
		return err
	}
	if first {
		if err := t.altered(ctx); err != nil {
			return err
		}
		if err := t.shared(ctx, err); err != nil {
			return err
		}
	}
	if pgerr.Classify(err) != pgerr.Data || !t.arguable(err) {
		return err
	}
	if err := b.judge(ctx, one, err); err != nil {
		return err
	}
	return t.tryLimits(ctx)
}
