package sink

import (
	"sync/atomic"
	"time"

	"github.com/oncesink/oncesink/internal/fields"
)

// kind groups the column types by how an event's value becomes their text.
type kind uint8

const (
	kindOther    kind = iota // PostgreSQL's input function decides alone
	kindInt                  // smallint, integer, bigint
	kindNumeric              // numeric
	kindFloat                // real, double precision
	kindBool                 // boolean
	kindText                 // text, varchar, char, name, citext
	kindUUID                 // uuid
	kindDate                 // date
	kindTime                 // timestamp without time zone, time
	kindTimeTZ               // timestamp with time zone, timetz
	kindInterval             // interval
	kindJSON                 // json, jsonb: as it came
	kindBytea                // bytea
	kindNested               // ranges, multiranges, composites: their texts are looked into
)

// column is one mapped column of a target table, from the catalog.
type column struct {
	name string
	// typ is the declared type with its modifiers, base the same without
	// (varchar(5) -> character varying): values are cast to base, the assignment checks the rest.
	typ, base string
	kind      kind
	typmod    int32 // pg_attribute.atttypmod
	// array says that the column is an array; kind is then its elements'.
	array bool
	enum  bool
	// form says how the type's text is made of those of parts, which are the elements, bounds or
	// attributes; delimiter stands between elements. watched: it, or one of them, is a type whose texts are checked;
	// plain: there is nothing to do for a text at all.
	form      literalForm
	parts     []column
	delimiter byte
	watched   bool
	plain     bool
	// deterministic: equal texts are the same bytes by the column's collation.
	deterministic bool
	// notNull without a default, hasDefault with its expression.
	notNull     bool
	hasDefault  bool
	defaultExpr string
	// source says where the value comes from, computed how it is made instead.
	source   source
	computed *computed
	// hidden: it is none of the table's, but an input of expressions, behind its columns.
	hidden bool
	// encoding of bytea ("base64", "hex"); zone of a date read from a time; unit of numbers for a date or time.
	encoding, zone, unit string
	// strict: what the column would round is refused.
	strict   bool
	location *time.Location // of zone
	// session is the zone of times that name none; nil if only PostgreSQL knows it.
	session *time.Location
	json    *fields.Set // checks raw bytes for a JSON column
}

// source is a compiled ColumnConfig.From.
type source struct {
	meta   meta   // where to look
	path   string // inside the value or the key; "" for the whole
	header string // for metaHeader
}

type meta uint8

const (
	metaField   meta = iota // a field of the value
	metaValue               // the whole value
	metaKey                 // the record key, whole or by path
	metaKeyJSON             // what the record key says as JSON
	metaHeader
	metaTopic
	metaPartition
	metaOffset
	metaTimestamp
	metaEvent   // of children: a field of the event, not of the element
	metaElement // the element
	metaIndex   // its number, from 1
)

// table is one target table, compiled from configuration and catalog once.
type table struct {
	oid          uint32
	schema, name string
	columns      []column
	inputs       int   // how many columns at the end are hidden
	key          []int // indexes into columns
	version      int   // index into columns, -1 without
	strategy     Strategy
	guarded      bool
	strict       bool // columns refuse to round, unless they say otherwise
	// recordKey holds, for each key column, where a tombstone finds it; nil: dead letter.
	recordKey        []source
	ignoreTombstones bool

	// parent of a table of children, whose columns parentAt are the parent's key; children of a parent.
	parent    *table
	parentAt  []int
	children  []*table
	setsTable string // of children: the quoted, qualified name of the set memory
	place     int32  // index into mapping.tables

	// topics that feed the table, and its configuration.
	topics []string
	cfg    TableConfig
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
	// inText is for how many COPYs to come the rows go in text, since one had a value that Go does not read.
	inText atomic.Int32
	learn  *learner
	// lock is the key of the advisory lock between tombstones and upserts.
	lock     int32
	findings []Finding

	// ordered: writers of this table deadlocked, because each set of present
	// fields has statements of its own. From then on a round is one statement.
	ordered atomic.Bool
}
