package draft

import (
	"strings"

	"github.com/oncesink/oncesink/internal/connect"
)

// types gives the fields the types that the records' schemas say. Where only some records have one, what a schema makes of a value
// and what it looks like without are both texts.
func (t *topic) types() {
	said, some, all := map[string]connect.Written{}, false, true
	for _, r := range t.records {
		if r.row == nil {
			continue
		}
		schema := within(r.schema, t.base)
		if schema == nil {
			all = false
			continue
		}
		some = true
		for _, s := range schema.Fields {
			if before, ok := said[s.Field]; ok {
				s = wider(before, s)
			}
			said[s.Field] = s
		}
	}
	if !some {
		return
	}
	for name, s := range said {
		f := t.fields.fields[name]
		if f == nil {
			continue
		}
		f.takes(s)
		switch {
		case all:
		case f.plain:
			f.typed = ""
		default:
			f.typed, f.typedWhy = "text", "values with their schema and without"
		}
	}
}

// within follows a path into a schema.
func within(s *connect.Written, names []string) *connect.Written {
	for _, name := range names {
		s = s.Member(name)
	}
	return s
}

// wider is a schema for values of both.
func wider(a, b connect.Written) connect.Written {
	order := []string{"int8", "int16", "int32", "int64"}
	at := func(s connect.Written) int {
		for i, typ := range order {
			if s.Type == typ && s.Name == "" {
				return i
			}
		}
		return -1
	}
	i, j := at(a), at(b)
	switch {
	case i >= 0 && j >= 0:
		return map[bool]connect.Written{true: a, false: b}[i > j]
	case a.Type == b.Type && (a.Name == b.Name || a.Type == "struct"):
		return b
	}
	return connect.Written{Field: b.Field, Type: "string"}
}

// takes takes a schema for what a field's values are.
func (f *field) takes(s connect.Written) {
	f.typed, f.typedWhy = typeOf(s)
	f.plain = s.Plain()
	if f.typed == "jsonb" && f.wild {
		f.typed = "text"
	}
	for _, o := range []*object{f.inner, f.elements} {
		of := &s
		if o == f.elements {
			of = s.Items
		}
		if o == nil || of == nil {
			continue
		}
		for _, in := range of.Fields {
			if g := o.fields[in.Field]; g != nil {
				g.takes(in)
			}
		}
	}
}

// base are the types of what a schema without a known name has.
var base = map[string]string{ // it never changes
	"boolean": "boolean", "int8": "smallint", "int16": "smallint", "int32": "integer", "int64": "bigint",
	"float": "real", "double": "double precision", "string": "text", "bytes": "bytea",
}

// named are those that the names say, but for io.debezium and org.apache.kafka.connect before them.
var named = map[string]string{ // it never changes
	"kafka.data.Decimal": "numeric", "kafka.data.Date": "date", "kafka.data.Time": "time", "kafka.data.Timestamp": "timestamptz",
	"data.VariableScaleDecimal": "numeric", "data.Json": "jsonb", "data.Bits": "bit varying", "data.Uuid": "uuid", "data.Tsvector": "tsvector",
	"data.FloatVector": "real[]", "data.DoubleVector": "double precision[]", "data.geometry.Point": "point",
	"data.geometry.Geometry": "text", "data.geometry.Geography": "text", "data.SparseVector": "text",
	"time.Date": "date", "time.Time": "time", "time.MicroTime": "time", "time.NanoTime": "time",
	"time.Timestamp": "timestamp", "time.MicroTimestamp": "timestamp", "time.NanoTimestamp": "timestamp",
	"time.ZonedTimestamp": "timestamptz", "time.ZonedTime": "timetz", "time.Interval": "interval",
	"time.IsoDate": "date", "time.IsoTime": "time", "time.IsoTimestamp": "timestamp",
	"time.MicroDuration": "interval", "time.NanoDuration": "interval",
}

// typeOf is the type of a column that takes the values of a schema, and why.
func typeOf(s connect.Written) (typ, why string) {
	short := strings.TrimPrefix(s.Name, "io.debezium.")
	if rest, ok := strings.CutPrefix(s.Name, "org.apache.kafka.connect."); ok {
		short = "kafka." + rest
	}
	if typ := named[short]; typ != "" && short != s.Name {
		if _, ok := connect.TypeOf(s.Name, s.Parameters); ok {
			return typ, short[strings.LastIndexByte(short, '.')+1:] + ", says the schema"
		}
	}
	if typ := base[s.Type]; typ != "" {
		return typ, s.Type + ", says the schema"
	}
	if s.Type == "array" && s.Items != nil {
		element, _ := typeOf(*s.Items)
		switch element {
		case "boolean", "smallint", "integer", "bigint", "real", "double precision", "text", "numeric", "uuid", "date", "timestamp", "timestamptz":
			return element + "[]", "an array, says the schema"
		}
	}
	if s.Type == "struct" && !s.Plain() { // a type of Debezium that is seldom met: as PostgreSQL would write it
		return "text", "a struct that has a type of its own, says the schema"
	}
	return "jsonb", map[string]string{"array": "an array", "map": "a map", "struct": "an object"}[s.Type] + ", says the schema"
}
