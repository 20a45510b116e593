package engine

import (
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/tables"
)

// writer turns records into the statements of a transaction. It holds buffers
// that the transactions of a Sink use in turn; one transaction at a time has it.
type writer struct {
	params bind.Params
	tables [][]bind.Event   // of the records at hand, by table
	rounds [][][]bind.Event // by table
	sets   bind.Sets

	rest, fresh, asked []bind.Event // of the round at hand: see shortcut
	winning            bool         // the round's events are expected to win
	answers            []byte       // of the last look
	copyText           []byte

	aside  *[]waiting // where statements go that are not for the batch
	batch  *pgconn.Batch
	doing  []doing // what each statement of the batch does
	queued int     // bytes of the batch's parameters

	// send executes the batch: run does where it has grown large. Its error is kept, and nothing more is
	// built, until the transaction sends.
	send func() error
	err  error
}

// doing says for an error what failed.
type doing struct {
	verb  string
	table *table // nil if no table is concerned
	asks  bool   // its result is appended to the writer's answers
	// beside: it writes to a table of the engine's beside this one.
	beside bool
	gone   int // how many tombstones it applies
	// resolves: the rows that it changes are dead letters that are none any more.
	resolves bool
	// sql and the types of its parameters; empty where nobody is to try it again.
	sql  string
	oids []uint32
}

func (d *doing) String() string {
	if d.table == nil {
		return d.verb
	}
	return d.verb + " " + d.table.Title()
}

// maxSets is how many sets of present fields a round writes a statement each;
// with more of them all its events go into one statement with presence flags.
const maxSets = 8

func (w *writer) reset() {
	w.batch, w.doing, w.queued, w.err = &pgconn.Batch{}, w.doing[:0], 0, nil
}

// forget lets go of the parts that the last transaction wrote.
func (w *writer) forget() {
	w.batch, w.send = nil, nil
	for i := range w.tables {
		clear(w.tables[i][:cap(w.tables[i])])
	}
	for _, rounds := range w.rounds {
		for _, events := range rounds[:cap(rounds)] {
			clear(events[:cap(events)])
		}
	}
	w.sets.Forget()
	for _, events := range [][]bind.Event{w.rest, w.fresh, w.asked} {
		clear(events[:cap(events)])
	}
}

// exec adds a statement with the parameters at hand.
func (w *writer) exec(verb string, t *table, sql string) {
	w.do(doing{verb: verb, table: t}, sql)
}

func (w *writer) do(d doing, sql string) {
	p := &w.params
	if w.aside != nil {
		d.sql, d.oids = sql, slices.Clone(p.OIDs)
		s := waiting{doing: d, formats: slices.Clone(p.Formats[:len(p.Values)])}
		for _, v := range p.Values {
			s.values = append(s.values, slices.Clone(v))
		}
		*w.aside = append(*w.aside, s)
		p.Reset()
		return
	}
	for _, v := range p.Values {
		w.queued += len(v)
	}
	w.batch.ExecParams(sql, p.Values, p.OIDs, p.Formats[:len(p.Values)], nil)
	d.sql, d.oids = sql, slices.Clone(p.OIDs)
	w.doing = append(w.doing, d)
	p.Reset()
}

// gather collects the events of the records by table.
func (w *writer) gather(m *plan, records spans) {
	for len(w.tables) < len(m.tables) {
		w.tables = append(w.tables, nil)
	}
	for i := range w.tables {
		w.tables[i] = w.tables[i][:0]
	}
	seq := int32(0)
	for _, x := range records {
		p := x.part
		from, to := x.rows()
		for i := from; i < to; i++ {
			r := &p.Rows[i]
			if p.Faulty != nil && p.Faulty[r.Record] || m.tables[r.Table].Parent != nil {
				continue // children are written with their parents
			}
			w.tables[r.Table] = append(w.tables[r.Table], bind.Event{Key: p.Keys[i].KeyIn(p.KeyText), Part: p, Row: int32(i), Seq: seq})
			seq++
		}
	}
}

// locks adds the advisory locks of the tables with a delete memory, in the order
// of their names. It must come before anything else of the batch.
func (w *writer) locks(m *plan) {
	for _, i := range m.ByName {
		t, events := m.tables[i], w.tables[i]
		if t.Memory == "" || len(events) == 0 {
			continue
		}
		alone := slices.ContainsFunc(events, func(e bind.Event) bool { return e.Tombstone() })
		w.params.Ints(statement.LockClass, t.Lock)
		w.exec("lock", t, statement.Lock(t.Table, alone))
		if t.Distributed {
			w.exec("lock the memory of", t, statement.LockMemory(t.Table, alone))
		}
	}
}

// tombstones applies those among events of distinct keys, which are sorted: all that delete.
func (w *writer) tombstones(t *table, events []bind.Event) {
	if !slices.ContainsFunc(events, func(e bind.Event) bool { return e.Deletes(t.Table) }) {
		return
	}
	w.sets.Split(t.Table, events)
	sql := statement.Delete
	if t.Memory != "" {
		sql = statement.Remember
	}
	gone, versioned := w.sets.Of(bind.Tombstones), w.sets.Of(bind.VersionedDeletes)
	w.run(doing{verb: "write", table: t, gone: len(gone)}, sql, statement.DeleteShape(t.Table, false), gone)
	if len(versioned) > 0 {
		w.run(doing{verb: "write", table: t, gone: len(versioned)}, sql, statement.DeleteShape(t.Table, true), versioned)
	}
}

// round writes events of distinct keys, which are sorted, without the tombstones among them.
func (w *writer) round(t *table, events []bind.Event) {
	w.sets.Split(t.Table, events)
	sets := w.sets.Names()
	if len(sets) > maxSets || len(sets) > 1 && t.learn.ordered.Load() {
		w.flagged(t, events, sets)
		return
	}
	for _, set := range sets {
		s, events := statement.ShapeOf(t.Table, set), w.sets.Of(set)
		if statement.Complete(t.Table, s) {
			s.Winning = w.winning
			w.statement(t, statement.Upsert, s, events)
			continue
		}
		w.require(t, s, events)
		w.statement(t, statement.Update, s, events)
		w.insertRest(t, s, events)
	}
}

// flagged writes events of many sets in one form of statement.
func (w *writer) flagged(t *table, events []bind.Event, sets []string) {
	s := statement.Shape{Columns: flagged(t.Table, sets), Flagged: true}
	var rest, whole []bind.Event
	for i := range events {
		if !events[i].Tombstone() {
			rest = append(rest, events[i])
			if !events[i].Withheld() {
				whole = append(whole, events[i])
			}
		}
	}
	for _, set := range sets {
		w.require(t, statement.ShapeOf(t.Table, set), w.sets.Of(set))
	}
	w.statement(t, statement.Update, s, rest)
	w.statement(t, statement.InsertRest, s, whole)
	for _, set := range sets {
		if s := statement.ShapeOf(t.Table, set); len(s.Withheld) > 0 {
			w.insertRest(t, s, w.sets.Of(set))
		}
	}
	w.statement(t, statement.Update, s, rest)
}

// require lets the events of a set fail that have no row to leave as it is what their source withheld. What they need to update is looked for
// afterwards, so that it is not missed.
func (w *writer) require(t *table, s statement.Shape, events []bind.Event) {
	if len(s.Withheld) > 0 {
		looks := statement.LookShape(t.Table)
		looks.Withheld = s.Withheld
		w.statement(t, statement.Require, looks, events)
	}
}

// insertRest inserts events of a set that have no row. Those that need one have it by now, but in a stage, where it is made of what the table has.
func (w *writer) insertRest(t *table, s statement.Shape, events []bind.Event) {
	if len(s.Withheld) == 0 || t.Stage != nil {
		w.statement(t, statement.InsertRest, s, events)
	}
}

// insert writes events as rows of their own, in their order, by one form of statement.
func (w *writer) insert(t *table, form func(*tables.Table, statement.Shape) string, events []bind.Event) {
	w.sets.Split(t.Table, events)
	sets := w.sets.Names()
	if len(sets) > maxSets {
		w.statement(t, form, statement.Shape{Columns: flagged(t.Table, sets), Flagged: true}, events)
		return
	}
	for _, set := range sets {
		w.statement(t, form, statement.ShapeOf(t.Table, set), w.sets.Of(set))
	}
}

// statement adds one form for the events, in as many statements as their size asks for.
func (w *writer) statement(t *table, form func(*tables.Table, statement.Shape) string, s statement.Shape, events []bind.Event) {
	w.run(doing{verb: "write", table: t}, form, s, events)
}

// ask adds a look at the events; its answers follow each other in w.answers.
func (w *writer) ask(t *table, form func(*tables.Table, statement.Shape) string, s statement.Shape, events []bind.Event) {
	w.run(doing{verb: "look at", table: t, asks: true}, form, s, events)
}

func (w *writer) run(d doing, form func(*tables.Table, statement.Shape) string, s statement.Shape, events []bind.Event) {
	if form(d.table.Table, s) == "" {
		return
	}
	for len(events) > 0 && w.err == nil {
		n, size := 0, 0
		for n < min(len(events), bind.MaxStatementRows) && (n == 0 || size < bind.MaxStatementBytes) {
			for _, i := range s.Columns {
				size += 4 + max(0, int(events[n].Cell(i).Len))
			}
			n++
		}
		if d.gone > 0 {
			d.gone = n
		}
		w.do(d, form(d.table.Table, w.params.Typed(d.table.Table, s, events[:n])))
		events = events[n:]
		if w.queued >= bind.MaxStatementBytes && w.send != nil {
			w.err = w.send()
		}
	}
}

// wide is from how many columns on a statement with flags names only those that some event has: the time to
// plan it goes with their square. Below, all such statements of a table are one.
const wide = 100

// flagged are the columns of a statement with flags, over events of these sets.
func flagged(t *tables.Table, sets []string) []int {
	if len(t.Columns) < wide {
		return t.All()
	}
	var some []int
	for i := range t.Columns {
		if slices.ContainsFunc(sets, func(set string) bool { return set[i] == statement.Present }) {
			some = append(some, i)
		}
	}
	return some
}
