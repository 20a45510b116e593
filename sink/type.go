package sink

import (
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

// Type is the type of a column, or of the elements, bounds or attributes of one, with what the configuration
// says of how its values are written.
type Type struct {
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
	parts     []Type
	delimiter byte
	watched   bool
	plain     bool
	// deterministic: equal texts are the same bytes by the column's collation.
	deterministic bool
	// encoding of bytea ("base64", "hex"); zone of a date read from a time; unit of numbers for a date or time.
	encoding, zone, unit string
	// strict: what the column would round is refused.
	strict   bool
	location *time.Location // of zone
	// session is the zone of times that name none; nil if only PostgreSQL knows it.
	session *time.Location
	json    *fields.Set // checks raw bytes for a JSON column
}
