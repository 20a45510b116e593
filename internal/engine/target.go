package engine

import (
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/sink"
)

// column is one mapped column of a target table, from the catalog.
type column struct {
	pgtext.Type
	name string
	// notNull without a default, hasDefault with its expression.
	notNull     bool
	hasDefault  bool
	defaultExpr string
	// source says where the value comes from, computed how it is made instead.
	source   source.Source
	computed *computed
	// hidden: it is none of the table's, but an input of expressions, behind its columns.
	hidden bool
}

// tableData is one target table, compiled from configuration and catalog once. It is immutable.
type tableData struct {
	oid          uint32
	schema, name string
	columns      []column
	inputs       int   // how many columns at the end are hidden
	key          []int // indexes into columns
	version      int   // index into columns, -1 without
	strategy     sink.Strategy
	guarded      bool
	strict       bool // columns refuse to round, unless they say otherwise
	// recordKey holds, for each key column, where a tombstone finds it; nil: dead letter.
	recordKey        []source.Source
	ignoreTombstones bool

	// parent of a table of children, whose columns parentAt are the parent's key; children of a parent.
	parent    *tableData
	parentAt  []int
	children  []*tableData
	setsTable string // of children: the quoted, qualified name of the set memory
	place     int32  // index into mapping.tables

	// topics that feed the table, and its configuration.
	topics []string
	cfg    sink.TableConfig
	stage  *Stage // nil if it is none
	// memory is the quoted, qualified name of the delete memory; "" without.
	memory string
	// appendKey are the columns of the unique index over source and offset.
	appendKey []string
	// others are unique indexes and exclusion constraints besides the key. A
	// table that has any is written one record at a time (rule 18).
	others []string
	// identityAlways: a mapped column is generated always as identity.
	identityAlways bool
	// required are columns that a row can't be without: not null, no default.
	required []int
	// copyRefused says why no row goes by COPY; "" if rows may.
	copyRefused string
	// lock is the key of the advisory lock between tombstones and upserts.
	lock     int32
	findings []Finding
}

// Engine columns of a guarded target: where its last event stood (rule 10).
const (
	SourceColumn = "_oncesink_source"
	OffsetColumn = "_oncesink_offset"
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

// Stage says of an entry that its table is the stage of another one, which is loaded anew beside that; it lies in
// schema oncesink.
type Stage struct {
	// Bulk: the stage has no index yet: every event becomes a row by COPY, and which row of a
	// key counts is found afterwards. That is right as long as every event
	// fills the same columns and none deletes.
	Bulk bool
	// Set are the columns that every event of a bulk stage fills: see [Sink.StageSet].
	Set string
	// Seen is the quoted name of a table (name text primary key) that takes the names of the
	// columns that events fill; "" if nobody asks.
	Seen string
}

// computed is how a column is made from others of its event.
type computed struct {
	sql string
	// inputs are the columns that it reads. An event that lacks one of them leaves the
	// column as it is (rule 16).
	inputs []int
}

func (t *tableData) index(name string) int {
	return slices.IndexFunc(t.columns, func(c column) bool { return c.name == name })
}

func isEngine(column string) bool { return strings.HasPrefix(column, "_oncesink_") }

// filled are the table's own columns that events fill.
func (t *tableData) filled() []column { return t.columns[:len(t.columns)-t.inputs] }

func (t *tableData) quoted() string { return pgx.Identifier{t.schema, t.name}.Sanitize() }

func (t *tableData) isKey(i int) bool {
	for _, k := range t.key {
		if k == i {
			return true
		}
	}
	return false
}

// optional reports whether a flagged statement has a flag for column i.
func (t *tableData) optional(i int) bool {
	return !t.isKey(i) && i != t.version && !t.columns[i].hidden
}

// bulk reports whether the table is a stage without an index.
func (t *tableData) bulk() bool { return t.stage != nil && t.stage.Bulk }

// inTurn reports whether events of the table can be folded into rounds: those of an append table need not
// be, and where rows may stand in each other's way they are written one by one.
func (t *tableData) inTurn() bool { return t.strategy != sink.Append && len(t.others) == 0 }

func (t *tableData) all() []int {
	all := make([]int, len(t.columns))
	for i := range all {
		all[i] = i
	}
	return all
}

func (t *tableData) title() string { return t.schema + "." + t.name }
