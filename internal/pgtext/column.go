package pgtext

import "github.com/oncesink/oncesink/internal/event"

// ColumnFor is the type of a column that takes all values of a shape as they are, and loses nothing of them. It is "" if that is a person's to
// decide, and why says why.
func ColumnFor(s *event.Shape) (typ, why string) {
	switch s.Sense {
	case event.UUIDText:
		return "uuid", ""
	case event.IntervalText:
		return "interval", ""
	case event.JSONText:
		return "jsonb", ""
	case event.ZonedTimeText:
		return "timetz", ""
	case event.PointText:
		return "point", ""
	case event.SearchText:
		return "tsvector", ""
	}
	switch s.Kind {
	case event.Bool:
		return "boolean", ""
	case event.Int:
		return whole(s.Bits), ""
	case event.Uint:
		if s.Bits > 32 {
			return "numeric", ""
		}
		return whole(2 * s.Bits), ""
	case event.Float:
		if s.Bits == 32 {
			return "real", ""
		}
		return "double precision", ""
	case event.Decimal, event.Number:
		return "numeric", "" // with a precision it would round what a later schema has more of
	case event.Text, event.String:
		return "text", ""
	case event.Bytes:
		return "bytea", ""
	case event.Date:
		return "date", ""
	case event.Time:
		return "time", ""
	case event.Timestamp:
		return "timestamp", ""
	case event.TimestampTZ:
		return "timestamptz", ""
	case event.Bits:
		return "bit varying", ""
	case event.Object:
		return "jsonb", ""
	case event.Array:
		if s.Element != nil {
			if element, _ := ColumnFor(s.Element); arrays[element] {
				return element + "[]", ""
			}
		}
		return "jsonb", ""
	case event.Null:
		return "", "the schema has nothing but null there"
	}
	return "", "values of several kinds"
}

// whole is the type of integers of so many bits.
func whole(bits int32) string {
	switch {
	case bits <= 16:
		return "smallint"
	case bits <= 32:
		return "integer"
	}
	return "bigint"
}

// arrays are types of elements that arrays in JSON are sure to have in a form which PostgreSQL reads as the same value.
var arrays = map[string]bool{ // it never changes
	"boolean": true, "smallint": true, "integer": true, "bigint": true, "real": true, "double precision": true, "numeric": true,
	"text": true, "uuid": true, "date": true, "timestamp": true, "timestamptz": true,
}
