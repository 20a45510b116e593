package pgtext

import (
	"time"

	"github.com/oncesink/oncesink/internal/fields"
)

// Kind groups the column types by how an event's value becomes their text.
type Kind uint8

const (
	KindOther    Kind = iota // PostgreSQL's input function decides alone
	KindInt                  // smallint, integer, bigint
	KindNumeric              // numeric
	KindFloat                // real, double precision
	kindBool                 // boolean
	KindText                 // text, varchar, char, name, citext
	kindUUID                 // uuid
	KindDate                 // date
	KindTime                 // timestamp without time zone, time
	KindTimeTZ               // timestamp with time zone, timetz
	kindInterval             // interval
	KindJSON                 // json, jsonb: as it came
	KindBytea                // bytea
	kindNested               // ranges, multiranges, composites: their texts are looked into
)

// Type is the type of a column, or of the elements, bounds or attributes of one, with what the configuration
// says of how its values are written.
type Type struct {
	// typ is the declared type with its modifiers, base the same without
	// (varchar(5) -> character varying): values are cast to base, the assignment checks the rest.
	Declared, Base string
	Kind           Kind
	Typmod         int32 // pg_attribute.atttypmod
	// Array says that the column is an array; kind is then its elements'.
	Array bool
	Enum  bool
	// Form says how the type's text is made of those of parts, which are the elements, bounds or
	// attributes; delimiter stands between elements. watched: it, or one of them, is a type whose texts are checked;
	// plain: there is nothing to do for a text at all.
	Form      literalForm
	Parts     []Type
	Delimiter byte
	watched   bool
	plain     bool
	// Deterministic: equal texts are the same bytes by the column's collation.
	Deterministic bool
	// Encoding of bytea ("base64", "hex"); zone of a date read from a time; unit of numbers for a date or time.
	Encoding, Zone, Unit string
	// Scaled: a text is base64 of a whole number in two's complement, of whose digits Scale stand after the point.
	Scaled bool
	Scale  int32
	// Strict: what the column would round is refused.
	Strict   bool
	Location *time.Location // of zone
	// Session is the zone of times that name none; nil if only PostgreSQL knows it.
	Session *time.Location
	json    *fields.Set // checks raw bytes for a JSON column
}

// kindOf maps a base type's name to how an event's value becomes its text.
func kindOf(typeName string) Kind {
	switch typeName {
	case "int2", "int4", "int8":
		return KindInt
	case "numeric":
		return KindNumeric
	case "float4", "float8":
		return KindFloat
	case "bool":
		return kindBool
	case "text", "varchar", "bpchar", "name", "citext":
		return KindText
	case "uuid":
		return kindUUID
	case "date":
		return KindDate
	case "timestamp", "time":
		return KindTime
	case "timestamptz", "timetz":
		return KindTimeTZ
	case "interval":
		return kindInterval
	case "json", "jsonb":
		return KindJSON
	case "bytea":
		return KindBytea
	}
	return KindOther
}
