package engine

import (
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

// table is a target table that is written.
type table struct {
	*tableData
	learn *learner
	// children are written with it.
	children []*table
}
