// Package statement writes the SQL of a compiled table: what its rows are looked for, written and deleted with. It
// sends nothing.
package statement

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// A statement's parameters are arrays with one element per event: the values of
// the columns in the order of the table, in binary or as texts, then, in a flagged statement, the
// presence flags of all columns, a bit each, then source and offset. Every form
// below starts from the same rows e, typed, in the order of the arrays, which is
// the order of the keys: the one lock order of all writers.

// Shape says which columns a statement writes: those of a set of present
// fields, or all of them with flags.
type Shape struct {
	Columns []int // indexes into the table's columns, ascending
	Flagged bool  // columns that are not the key or the version are present by flag
	Winning bool  // the events are known, or expected, to win: no look before the write
	// Typed are those of the columns, by their place in Columns, whose values come as what they are, and not as texts; nil: none.
	Typed []bool
	// Withheld are columns whose values the source has and did not send: the events need a row (see [Require]), and are none.
	Withheld []int
}

// castType is the type that texts of a column are cast to. The length of text and
// bit types is left to the assignment, which refuses what a cast truncates (rule
// 15). The precision of keys and versions is applied at once, so that what is compared
// is what will be stored (rule 14).
func castType(t *tables.Table, i int) string {
	c := &t.Columns[i]
	if c.Typmod != -1 && !c.Array && (t.IsKey(i) || i == t.Version) {
		switch c.Kind {
		case pgtext.KindNumeric, pgtext.KindTime, pgtext.KindTimeTZ:
			return c.Declared
		}
	}
	return c.Base
}

// eventRows writes the typed rows.
func eventRows(t *tables.Table, b *strings.Builder, s Shape, numbered bool) {
	var out, args, names []string
	add := func(name, typ, expr, as string) {
		if typ != "" {
			args = append(args, fmt.Sprintf("$%d::%s[]", len(args)+1, typ))
		}
		names = append(names, name)
		out = append(out, "a."+expr+" as "+as)
	}
	for j, i := range s.Columns {
		if t.Columns[i].Computed != nil {
			continue
		}
		c, typ := fmt.Sprintf("c%d", j+1), "text"
		if s.Typed != nil && s.Typed[j] {
			typ = t.Columns[i].Base
		}
		add(c, typ, c+"::"+castType(t, i), pgname.Quote(t.Columns[i].Name))
	}
	if s.Flagged {
		add("has", "bytea", "has", flags)
	}
	if t.Guarded {
		add("source", "integer", "source", tables.SourceColumn)
		add(`"offset"`, "bigint", `"offset"`, tables.OffsetColumn)
	}
	ordinality := ""
	if numbered {
		ordinality = " with ordinality"
		add("n", "", "n", "_oncesink_n")
	}
	rows := fmt.Sprintf("(\n  select %s\n  from unnest(%s)%s as a(%s)\n)",
		strings.Join(out, ", "), strings.Join(args, ", "), ordinality, strings.Join(names, ", "))
	if computes := computedValues(t, s); computes != "" {
		rows = "(\n  select v.*" + computes + "\n  from " + rows + " v\n)"
	}
	b.WriteString(rows)
}

// flags is the column with the presence flags of an event: one for all, since a statement may name no
// more than 1,664 columns, and a table has up to 1,600.
const flags = "_oncesink_has"

// hasColumn is the condition that row e has column i.
func hasColumn(e string, i int) string { return fmt.Sprintf("get_bit(%s.%s, %d) = 1", e, flags, i) }

// SameKey is the condition that rows a and b have one key.
func SameKey(t *tables.Table, a, b string) string {
	var conds []string
	for _, k := range t.Key {
		q := pgname.Quote(t.Columns[k].Name)
		conds = append(conds, a+"."+q+" = "+b+"."+q)
	}
	return strings.Join(conds, " and ")
}

func keyList(t *tables.Table, alias string) string {
	var names []string
	for _, k := range t.Key {
		names = append(names, prefix(alias)+pgname.Quote(t.Columns[k].Name))
	}
	return strings.Join(names, ", ")
}

func prefix(alias string) string {
	if alias == "" {
		return ""
	}
	return alias + "."
}

// remembered is the condition that no remembered deletion comes after the
// event: neither in the order of the guard, nor, if it has no version, in the event's own partition.
func remembered(t *tables.Table) string {
	return fmt.Sprintf("(select %s\n         from %s m where %s) is not false", afterMemory(t, "m"), t.Memory, SameKey(t, "m", "e"))
}

// afterMemory is whether the event e comes after the deletion that row m of the memory has.
func afterMemory(t *tables.Table, m string) string {
	versioned := ""
	if t.VersionedDeletes {
		versioned = m + "." + tables.VersionedColumn + " or "
	}
	return fmt.Sprintf("%s and (%se.%s <> %s.%s or e.%s > %s.%s)",
		newer(t, "e", m), versioned, tables.SourceColumn, m, tables.SourceColumn, tables.OffsetColumn, m, tables.OffsetColumn)
}

// notOutdone are the conditions of an insert: look before you write, so that events that are
// there already lock and write nothing (rule 20). Correlated subqueries keep the
// order of the rows, and look up the key's index whatever the statistics say.
func notOutdone(t *tables.Table, s Shape) []string {
	var conds []string
	if t.Bulk() {
		return nil
	}
	if t.Guarded && !s.Winning {
		conds = append(conds, fmt.Sprintf("(select %s\n         from %s t where %s) is not false", newer(t, "e", "t"), t.Quoted(), SameKey(t, "t", "e")))
	}
	if t.Memory != "" {
		conds = append(conds, remembered(t))
	}
	return conds
}

func where(conds []string) string {
	if len(conds) == 0 {
		return ""
	}
	return "\n where " + strings.Join(conds, "\n   and ")
}

func insertHead(t *tables.Table, b *strings.Builder, s Shape) {
	var names []string
	for _, i := range s.Columns {
		if !t.Columns[i].Hidden {
			names = append(names, pgname.Quote(t.Columns[i].Name))
		}
	}
	names = append(names, s.withheldNames(t)...)
	if t.Guarded {
		names = append(names, tables.SourceColumn, tables.OffsetColumn)
	}
	fmt.Fprintf(b, "insert into %s as t (%s)\n", t.Quoted(), strings.Join(names, ", "))
	if t.IdentityAlways {
		b.WriteString("overriding system value\n")
	}
}

// valueList lists what an insert selects from e. In a flagged statement an absent
// column takes its default, as it would by not being named.
func valueList(t *tables.Table, s Shape) string {
	var out []string
	for _, i := range s.Columns {
		c := &t.Columns[i]
		if c.Hidden {
			continue
		}
		v := "e." + pgname.Quote(c.Name)
		if s.Flagged && t.Optional(i) {
			if c.HasDefault {
				v = fmt.Sprintf("case when %s then %s else %s end", hasColumn("e", i), v, c.Default)
			} // without one the cell is null
		}
		out = append(out, v)
	}
	for _, name := range s.withheldNames(t) {
		out = append(out, fmt.Sprintf("(select l.%s from %s l where %s)", name, t.Stage.Live, SameKey(t, "l", "e")))
	}
	if t.Guarded {
		out = append(out, "e."+tables.SourceColumn, "e."+tables.OffsetColumn)
	}
	return strings.Join(out, ", ")
}

// assignments lists those of an update from row e.
func assignments(t *tables.Table, s Shape, e string) string {
	var out []string
	for _, i := range s.Columns {
		if t.IsKey(i) || t.Columns[i].Hidden {
			continue
		}
		q := pgname.Quote(t.Columns[i].Name)
		if s.Flagged && t.Optional(i) {
			out = append(out, fmt.Sprintf("%s = case when %s then %s.%s else t.%s end", q, hasColumn(e, i), e, q, q))
			continue
		}
		out = append(out, fmt.Sprintf("%s = %s.%s", q, e, q))
	}
	if t.Guarded {
		out = append(out, fmt.Sprintf("%s = %s.%s", tables.SourceColumn, e, tables.SourceColumn), fmt.Sprintf("%s = %s.%s", tables.OffsetColumn, e, tables.OffsetColumn))
	}
	return strings.Join(out, ", ")
}

func onConflict(t *tables.Table, b *strings.Builder, s Shape) {
	if t.Bulk() {
		return
	}
	fmt.Fprintf(b, "\n    on conflict (%s) ", keyList(t, ""))
	sets := assignments(t, s, "excluded")
	if sets == "" {
		b.WriteString("do nothing")
		return
	}
	fmt.Fprintf(b, "do update set %s", sets)
	if n := newer(t, "excluded", "t"); n != "true" {
		fmt.Fprintf(b, "\n where %s", n)
	}
}

// Upsert writes events that have every column an insert needs.
func Upsert(t *tables.Table, s Shape) string {
	if t.Distributed {
		q := spreadInsert(t, s, false)
		onConflict(t, &q.Builder, s)
		return q.String()
	}
	var b strings.Builder
	insertHead(t, &b, s)
	fmt.Fprintf(&b, "select %s\n  from ", valueList(t, s))
	eventRows(t, &b, s, false)
	b.WriteString(" e" + where(notOutdone(t, s)))
	onConflict(t, &b, s)
	return b.String()
}

// lockedRows is a part of a statement that locks the rows of the events e in
// their order, whatever the plan of the rest (rule 4).
func lockedRows(t *tables.Table) string {
	return fmt.Sprintf(", locked as materialized (\n  select e._oncesink_n from e join %s t on %s\n   order by e._oncesink_n for update of t\n)\n", t.Quoted(), SameKey(t, "t", "e"))
}

// Update writes partial events over rows that exist. It locks them in the
// order of the keys first.
func Update(t *tables.Table, s Shape) string {
	sets := assignments(t, s, "e")
	if sets == "" {
		return ""
	}
	if t.Distributed {
		return spreadUpdate(t, s, sets)
	}
	var b strings.Builder
	b.WriteString("with e as materialized ")
	eventRows(t, &b, s, true)
	b.WriteString(lockedRows(t))
	fmt.Fprintf(&b, "update %s t set %s\n  from e join locked using (_oncesink_n)\n where %s", t.Quoted(), sets, SameKey(t, "t", "e"))
	if n := newer(t, "e", "t"); n != "true" {
		fmt.Fprintf(&b, "\n   and %s", n)
	}
	if t.Memory != "" {
		fmt.Fprintf(&b, "\n   and %s", remembered(t))
	}
	return b.String()
}

// InsertRest follows Update: it inserts the partial events whose row does
// not exist. A row that another transaction inserts meanwhile is updated.
func InsertRest(t *tables.Table, s Shape) string {
	b := &strings.Builder{}
	if t.Distributed {
		b = &spreadInsert(t, s, true).Builder
	} else {
		insertHead(t, b, s)
		fmt.Fprintf(b, "select %s\n  from ", valueList(t, s))
		eventRows(t, b, s, false)
		conds := []string{fmt.Sprintf("(select false from %s t where %s) is not false", t.Quoted(), SameKey(t, "t", "e"))}
		if t.Memory != "" {
			conds = append(conds, remembered(t))
		}
		b.WriteString(" e" + where(conds))
	}
	if s.Flagged {
		// The flags are out of reach here; Update runs once more.
		fmt.Fprintf(b, "\n    on conflict (%s) do nothing", keyList(t, ""))
	} else {
		onConflict(t, b, s)
	}
	return b.String()
}

// Require fails where there is no row for an event of which the source withheld values; but for those that a remembered deletion holds back. In
// a stage the row may be the table's own, whose values an insert then takes: what was withheld is what the table has.
func Require(t *tables.Table, s Shape) string {
	if t.Distributed {
		return spreadRequire(t, s)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "select oncesink.withheld(%s)\n  from ", pgname.Literal(strings.Join(namesOf(t, s.Withheld), ", ")))
	eventRows(t, &b, s, false)
	conds := []string{fmt.Sprintf("not exists (select from %s t where %s)", t.Quoted(), SameKey(t, "t", "e"))}
	if t.Stage != nil {
		conds = append(conds, fmt.Sprintf("not exists (select from %s l where %s)", t.Stage.Live, SameKey(t, "l", "e")))
	}
	if t.Memory != "" {
		conds = append(conds, remembered(t))
	}
	b.WriteString(" e" + where(conds))
	return b.String()
}

// withheldNames are the quoted names of columns that an insert into a stage takes from the table.
func (s *Shape) withheldNames(t *tables.Table) []string {
	if t.Stage == nil {
		return nil
	}
	return pgname.QuoteAll(namesOf(t, s.Withheld))
}

func namesOf(t *tables.Table, columns []int) (names []string) {
	for _, i := range columns {
		names = append(names, t.Columns[i].Name)
	}
	return names
}

// Delete applies deletions to a table without a guard; those with a version where the row's is not higher.
func Delete(t *tables.Table, s Shape) string {
	if t.Distributed {
		return spreadDelete(t, s)
	}
	var b strings.Builder
	b.WriteString("with e as materialized ")
	eventRows(t, &b, s, true)
	b.WriteString(lockedRows(t))
	fmt.Fprintf(&b, "delete from %s t\n using e join locked using (_oncesink_n)\n where %s", t.Quoted(), SameKey(t, "t", "e"))
	if n := newer(t, "e", "t"); versioned(t, s) && n != "true" {
		fmt.Fprintf(&b, "\n   and %s", n)
	}
	return b.String()
}

// Append writes events of an append table: an event that is there stays.
func Append(t *tables.Table, s Shape) string {
	var b strings.Builder
	insertHead(t, &b, s)
	fmt.Fprintf(&b, "select %s\n  from ", valueList(t, s))
	eventRows(t, &b, s, false)
	b.WriteString(" e")
	if t.Distributed && !t.Guarded && len(t.Others) == 0 {
		b.WriteString("\n    on conflict do nothing") // there is none: so Citus does not write by COPY, whose errors have no codes
	}
	if t.Guarded && !t.Bulk() {
		var names []string
		for _, c := range t.AppendKey {
			names = append(names, pgname.Quote(c))
		}
		fmt.Fprintf(&b, "\n    on conflict (%s) do nothing", strings.Join(names, ", "))
	}
	return b.String()
}

// Lock takes the table's advisory lock: shared to write rows, alone to apply
// tombstones. A memory and the rows that look into it are so never changed at
// the same time by transactions of different partitions.
func Lock(t *tables.Table, alone bool) string {
	f := "pg_advisory_xact_lock_shared"
	if alone {
		f = "pg_advisory_xact_lock"
	}
	return "select " + f + "($1::integer, $2::integer)"
}

// LockMemory does the same on the nodes of a distributed table, by a lock of the memory as a table. A node that was lost between the two
// phases of a commit keeps this lock for the transaction until it is committed there, too, while an advisory lock ends on the
// coordinator: whoever looks into the memory afterwards waits for what it is to have.
func LockMemory(t *tables.Table, alone bool) string {
	mode := "row share"
	if alone {
		mode = "exclusive"
	}
	return "lock table " + t.Memory + " in " + mode + " mode"
}

// LockClass is the first key of all advisory locks of the program: "once".
const LockClass = 0x6f6e6365

// computedValues lists the expressions of a statement's columns, over its typed rows.
func computedValues(t *tables.Table, s Shape) string {
	var b strings.Builder
	for _, i := range s.Columns {
		if c := t.Columns[i].Computed; c != nil {
			fmt.Fprintf(&b, ", (%s)::%s as %s", c.SQL, castType(t, i), pgname.Quote(t.Columns[i].Name))
		}
	}
	return b.String()
}

// Copy is the statement that takes rows of new keys. What a text becomes in COPY is
// what it becomes in the upsert: it goes through the type's input function, or is
// sent as that function would have read it; and the length is left to the column (rule 15).
func Copy(t *tables.Table, s Shape, options string) string {
	var names []string
	for _, i := range s.Columns {
		names = append(names, pgname.Quote(t.Columns[i].Name))
	}
	if t.Guarded {
		names = append(names, tables.SourceColumn, tables.OffsetColumn)
	}
	return fmt.Sprintf("copy %s (%s) from stdin with (%s)", t.Quoted(), strings.Join(names, ", "), options)
}

// Marks of a set of present fields: a text with a mark for each column of a table, in their order.
const (
	Present  = '1'
	Absent   = '0'
	Withheld = '?'
)

// ShapeOf has the columns that are present in a set. A row of an append table may have none: without the guard's columns
// it is written by a column that takes its default.
func ShapeOf(t *tables.Table, set string) Shape {
	var s Shape
	for i := range set {
		switch set[i] {
		case Present:
			s.Columns = append(s.Columns, i)
		case Withheld:
			s.Withheld = append(s.Withheld, i)
		}
	}
	if len(s.Columns) == 0 && t.Strategy == sink.Append && !t.Guarded {
		if i := slices.IndexFunc(t.Filled(), func(c tables.Column) bool { return c.Computed == nil }); i >= 0 {
			return Shape{Columns: []int{i}, Flagged: true}
		}
	}
	return s
}

// Complete reports whether an insert of these columns can succeed.
func Complete(t *tables.Table, s Shape) bool {
	return len(s.Withheld) == 0 && !slices.ContainsFunc(t.Required, func(i int) bool { return !slices.Contains(s.Columns, i) })
}

// Options of COPY.
const (
	TextOptions   = "encoding 'UTF8'"
	BinaryOptions = "format binary"
)
