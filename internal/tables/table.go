// Package tables has a table as the configuration and the catalog describe it together: the data that statements are
// made from, records decoded by and rows written with. It is immutable, and does nothing.
package tables

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/sink"
)

// Column is one mapped column of a target table, from the catalog.
type Column struct {
	pgtext.Type
	Name string
	// NotNull without a default, hasDefault with its expression.
	NotNull    bool
	HasDefault bool
	Default    string
	// Source says where the value comes from, computed how it is made instead.
	Source   source.Source
	Computed *Computed
	// Instead is what the column takes where the event has no value for it.
	Instead Instead
	// Hidden: it is none of the table's, but an input of expressions, behind its columns.
	Hidden bool
}

// Instead is what a column takes for null, or where the event does not have the field: a text, as PostgreSQL reads it. The zero value is
// of a column that takes nothing else.
type Instead struct {
	Text         []byte
	Null, Absent bool
}

// Describe says for a person when it counts; "" if never.
func (i *Instead) Describe() string {
	switch {
	case i.Null && i.Absent:
		return "null or absent: its default"
	case i.Null:
		return "null: its default"
	case i.Absent:
		return "absent: its default"
	}
	return ""
}

// Table is one target table, compiled from configuration and catalog once. It is immutable.
type Table struct {
	OID          uint32
	Schema, Name string
	Columns      []Column
	Inputs       int   // how many columns at the end are hidden
	Key          []int // indexes into columns
	Version      int   // index into columns, -1 without
	Strategy     sink.Strategy
	Guarded      bool
	Strict       bool // columns refuse to round, unless they say otherwise
	// RecordKey holds, for each key column, where a tombstone finds it; nil: dead letter.
	RecordKey        []source.Source
	IgnoreTombstones bool

	// When are the conditions that an event has to meet; where Otherwise is set one that does not deletes its row.
	When      []Condition
	Otherwise bool
	// DeleteWhen are conditions that events meet that delete their row; none: no event does by what it says.
	DeleteWhen []Condition
	// Soft are columns that say that a row is deleted. With any of them events that delete it set these, and the row stays.
	Soft            []Soft
	IgnoreTruncates bool
	// NewFields says what is done about fields that no column takes, but for those that are Ignored. A stage has none.
	NewFields sink.NewFields
	Ignored   []string
	// Owner of the table, as SQL has the name.
	Owner string
	// Names of all columns, also of those that events don't fill.
	Names []string
	// Deletes: rows may be deleted.
	Deletes bool
	// VersionedDeletes: a deletion may carry a version (rule 11), and the delete memory knows which did.
	VersionedDeletes bool
	// TombstonesFollow: behind each deletion with a version comes a tombstone that says it again (rule 11).
	TombstonesFollow bool

	// Parent of a table of children, whose columns parentAt are the parent's key; children of a parent.
	Parent    *Table
	ParentAt  []int
	Children  []*Table
	SetsTable string // of children: the quoted, qualified name of the set memory
	Number    int32  // index into the mapping's tables

	// Topics that feed the table, and its configuration.
	Topics []string
	Config sink.TableConfig
	Stage  *Stage // nil if it is none
	// Memory is the quoted, qualified name of the delete memory; "" without.
	Memory string
	// AppendKey are the columns of the unique index over source and offset.
	AppendKey []string
	// Others are unique indexes and exclusion constraints besides the key. A
	// table that has any is written one record at a time (rule 18).
	Others []string
	// IdentityAlways: a mapped column is generated always as identity.
	IdentityAlways bool
	// Required are columns that a row can't be without: not null, no default.
	Required []int
	// CopyRefused says why no row goes by COPY; "" if rows may.
	CopyRefused string
	// Distributed: Citus keeps the rows, on other nodes or on all of them, and those of its memories beside them.
	Distributed bool
	// Lock is the key of the advisory lock between tombstones and upserts.
	Lock int32
}

// Soft is a column of [sink.TableConfig.SoftDelete].
type Soft struct {
	Column int // index into columns
	Source source.Source
}

// Condition is a compiled [sink.Condition].
type Condition struct {
	Source source.Source
	sink.Condition
}

// Met reports whether a text meets the condition, or that there is none; comparable says that what is there has a text.
func (c *Condition) Met(text []byte, there, comparable bool) bool {
	if c.Exists != nil && *c.Exists != there {
		return false
	}
	is := func(s string) bool { return there && comparable && string(text) == s }
	return (c.In == nil || slices.ContainsFunc(c.In, is)) && !slices.ContainsFunc(c.Not, is)
}

// Engine columns of a guarded target: where its last event stood (rule 10).
const (
	SourceColumn = "_oncesink_source"
	OffsetColumn = "_oncesink_offset"
	// VersionedColumn of a delete memory: the deletion that is remembered had a version.
	VersionedColumn = "_oncesink_versioned"
	// OutlivedSourceColumn and OutlivedOffsetColumn of a delete memory say which row a deletion did not take that stands behind the row's event
	// in its partition, and has a lower version. Null if there was none.
	OutlivedSourceColumn = "_oncesink_outlived_source"
	OutlivedOffsetColumn = "_oncesink_outlived_offset"
)

// Severity says how bad a finding is.
type Severity string

// The severities.
const (
	// Changes: the same events, read twice, can leave another result.
	Changes Severity = "error"
	// Surprises: right, and likely to be not what a person expects.
	Surprises Severity = "warning"
)

// Finding is something about a table that keeps the same events from giving the same result, or
// that is legal and surprising. docs/lint.md has a line for each code.
type Finding struct {
	Code     string   `json:"code"`
	Severity Severity `json:"severity"`
	// Object is the column, trigger or constraint, if it is about one.
	Object  string `json:"object,omitempty"`
	Problem string `json:"problem"`
	Why     string `json:"why"`
	Fix     string `json:"fix"`
}

// String is a finding as a person reads it.
func (f Finding) String() string {
	return fmt.Sprintf("%s: %s: %s. %s [%s]", f.Severity, f.Problem, f.Why, f.Fix, f.Code)
}

// Stage says of an entry that its table is the stage of another one, which is loaded anew beside that; it lies in
// schema oncesink.
type Stage struct {
	// Live is the quoted name of the table that it is the stage of, whose values stand where the source withheld them.
	Live string
	// Bulk: the stage has no index yet: every event becomes a row by COPY, and which row of a
	// key counts is found afterwards. That is right as long as every event
	// fills the same columns and none deletes.
	Bulk bool
	// Set are the columns that every event of a bulk stage fills: see [Sink.StageSet].
	Set string
	// Filled is the quoted name of a table (name text primary key) that takes the names of the
	// columns that events fill; "" if nobody asks.
	Filled string
}

// Computed is how a column is made from others of its event.
type Computed struct {
	SQL string
	// Inputs are the columns that it reads. An event that lacks one of them leaves the
	// column as it is (rule 16).
	Inputs []int
}

// Has reports whether the table has a column of the name, whatever fills it.
func (t *Table) Has(column string) bool { return slices.Contains(t.Names, column) }

func (t *Table) Index(name string) int {
	return slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == name })
}

func IsEngine(column string) bool { return strings.HasPrefix(column, "_oncesink_") }

// Filled are the table's own columns that events fill.
func (t *Table) Filled() []Column { return t.Columns[:len(t.Columns)-t.Inputs] }

func (t *Table) Quoted() string { return pgx.Identifier{t.Schema, t.Name}.Sanitize() }

// IsSoft reports whether column i says that the row is deleted.
func (t *Table) IsSoft(i int) bool {
	return slices.ContainsFunc(t.Soft, func(s Soft) bool { return s.Column == i })
}

func (t *Table) IsKey(i int) bool {
	for _, k := range t.Key {
		if k == i {
			return true
		}
	}
	return false
}

// Optional reports whether a flagged statement has a flag for column i.
func (t *Table) Optional(i int) bool {
	return !t.IsKey(i) && i != t.Version && !t.Columns[i].Hidden
}

// Bulk reports whether the table is a stage without an index.
func (t *Table) Bulk() bool { return t.Stage != nil && t.Stage.Bulk }

// InTurn reports whether events of the table can be folded into rounds: those of an append table need not
// be, and where rows may stand in each other's way they are written one by one.
func (t *Table) InTurn() bool { return t.Strategy != sink.Append && len(t.Others) == 0 }

func (t *Table) All() []int {
	all := make([]int, len(t.Columns))
	for i := range all {
		all[i] = i
	}
	return all
}

// Arrays are the OIDs of column i, if its values may go in an array of their binary form instead of their texts. Of tables that Citus distributes
// none does: that was not tried.
func (t *Table) Arrays(i int) (pgtext.Arrays, bool) {
	if t.Distributed {
		return pgtext.Arrays{}, false
	}
	return t.Columns[i].Arrays()
}

func (t *Table) Title() string { return t.Schema + "." + t.Name }
