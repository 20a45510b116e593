package engine

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// NotUniformError says that an event can't go into a bulk stage.
type NotUniformError struct{ Table, Why string }

func (e *NotUniformError) Error() string {
	return "the stage of " + e.Table + " can't be loaded in bulk: " + e.Why
}

// uniform returns a *NotUniformError if an event is a tombstone, or fills other columns
// than the stage's others.
func (t *table) uniform(events []bind.Event) error {
	if t.Strategy == sink.Append {
		return nil // an event is a row, whatever it fills
	}
	for i := range events {
		e := &events[i]
		if e.Tombstone() {
			return &NotUniformError{t.Title(), "an event deletes"}
		}
		if e.Withheld() {
			return &NotUniformError{t.Title(), "the source withheld a value of an event"}
		}
		if bits.OnesCount32(uint32(e.Arrays())) < len(t.children) {
			return &NotUniformError{t.Title(), "some events have the arrays of all children and some don't"}
		}
		for k := range t.Filled() {
			if !e.Cell(k).Given() == (t.Stage.Set[k] == statement.Present) {
				return &NotUniformError{t.Title(), fmt.Sprintf("some events have a value for %s and some don't", t.Columns[k].Name)}
			}
		}
	}
	return nil
}

// noteFilled notes which columns the events fill.
func (w *writer) noteFilled(t *table, events []bind.Event) {
	names := make([]string, 0, len(t.Columns))
	for k := range t.Filled() {
		if slices.ContainsFunc(events, func(e bind.Event) bool { return !e.Tombstone() && e.Cell(k).Given() }) {
			names = append(names, t.Columns[k].Name)
		}
	}
	if len(names) == 0 {
		return
	}
	slices.Sort(names) // in one order, as all that locks
	w.params.Strings(names)
	w.exec("note columns", nil, "insert into "+t.Stage.Filled+" select unnest($1::text[]) on conflict do nothing")
}

// Layout is what there is to know of a table for a program that loads it anew.
type Layout struct {
	Schema, Name string
	Strategy     sink.Strategy
	// Columns are those that events may fill, in the order of the table.
	Columns []string
	// Bytewise are those of Columns whose values are equal if and only if they are the same bytes.
	Bytewise []string
	// Key are the columns that name a row: the key of an upsert, the guard columns of
	// an append table; none without either.
	Key     []string
	Version string
	Guarded bool
	// Memory is the delete memory's quoted name; empty without one. VersionedDeletes: it tells which deletions had a version.
	Memory           string
	VersionedDeletes bool
	// Sets is the quoted name of the set memory of a table of children.
	Sets string
	// Others are unique indexes and exclusion constraints besides the key.
	Others []string
	Topics []string
	// ByRecordKey: the key of a record names its row, so that what compaction leaves of a key is what comes last for its row.
	ByRecordKey bool
	// Parent is the entry of the table that this one holds the children of, Children those of this one. OfParent are
	// the columns of children that hold the parent's key, in its order.
	Parent   string
	Children []string
	OfParent []string
	// Lock is the second key of the table's advisory locks.
	Lock int32
	// Distributed: Citus keeps the rows, on other nodes.
	Distributed bool
}

// Layout returns the layout of the table that an entry of the configuration names.
func (s *Sink) Layout(entry string) (Layout, bool) {
	m := s.plan()
	i := slices.IndexFunc(m.tables, func(t *table) bool { return t.Config.Name == entry })
	if i < 0 {
		return Layout{}, false
	}
	t := m.tables[i]
	l := Layout{
		Schema: t.Schema, Name: t.Name, Strategy: t.Strategy, Key: slices.Clone(t.Config.Key), Version: t.Config.Version, Guarded: t.Guarded,
		Memory: t.Memory, VersionedDeletes: t.VersionedDeletes, Others: t.Others, Topics: t.Topics, Lock: t.Lock, Distributed: t.Distributed,
	}
	for k := range t.Filled() {
		l.Columns = append(l.Columns, t.Columns[k].Name)
		if t.Columns[k].EqualsBytewise() {
			l.Bytewise = append(l.Bytewise, t.Columns[k].Name)
		}
	}
	l.ByRecordKey = t.Strategy == sink.Upsert && len(t.RecordKey) > 0
	l.Parent, l.Sets = t.Config.Parent, t.SetsTable
	for _, k := range t.ParentAt {
		l.OfParent = append(l.OfParent, t.Columns[k].Name)
	}
	for _, c := range t.children {
		l.Children = append(l.Children, c.Config.Name)
	}
	if t.Strategy == sink.Append && t.Guarded {
		l.Key = []string{tables.SourceColumn, tables.OffsetColumn}
	}
	return l, true
}

// Quoted is the table's qualified name, as SQL takes it.
func (l *Layout) Quoted() string { return pgx.Identifier{l.Schema, l.Name}.Sanitize() }

// StageName returns the name of the table's stage in schema oncesink.
func (l *Layout) StageName() string { return pgname.Short(l.Schema+"."+l.Name, pgname.StageSuffix) }

// MemoryOf returns the quoted name of the delete memory that [Init] makes for a table.
func MemoryOf(schema, name string) string {
	return pgx.Identifier{"oncesink", mapping.MemoryName(schema, name)}.Sanitize()
}

// SetsOf returns the quoted name of the set memory that [Init] makes for a table of children.
func SetsOf(schema, name string) string {
	return pgx.Identifier{"oncesink", mapping.SetsName(schema, name)}.Sanitize()
}

// StageSet says which columns of a table a record fills: a mark for each column,
// in their order. It is empty if the record fills no row of the table, or one that
// could not be inserted on its own.
func (s *Sink) StageSet(entry string, r sink.Record) string {
	var p decode.Part
	if _, err := s.AddBlindly(&p, r); err != nil {
		return "" // it can't be read: it fills nothing
	}
	for _, row := range p.Rows {
		t := p.DecodedBy.Tables[row.Table]
		if t.Config.Name != entry || row.Tombstone {
			continue
		}
		set := []byte(strings.Repeat(string(statement.Absent), len(t.Filled())))
		for k := range set {
			if p.Cells[int(row.First)+k].Given() {
				set[k] = statement.Present
			}
		}
		if slices.ContainsFunc(t.Required, func(k int) bool { return set[k] == statement.Absent }) {
			return ""
		}
		return string(set)
	}
	return ""
}

// Settings are those of a transaction in which values mean what they mean to the sink's own (rule 15).
func (s *Sink) Settings() mapping.Settings { return mapping.SettingsOf(&s.cfg) }
