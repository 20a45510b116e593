package draft

import (
	"cmp"
	"strings"

	"github.com/oncesink/oncesink/internal/connect"
	"github.com/oncesink/oncesink/internal/pgtext"
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

// typeOf is the type of a column that takes the values of a schema, and why.
func typeOf(s connect.Written) (typ, why string) {
	shape := s.Shape()
	typ, why = pgtext.ColumnFor(shape)
	if typ == "" {
		return "text", why
	}
	if _, named := connect.ShapeOf(s.Name, s.Parameters); named {
		return typ, s.Name[strings.LastIndexByte(s.Name, '.')+1:] + ", says the schema"
	}
	return typ, cmp.Or(map[string]string{"array": "an array", "map": "a map", "struct": "an object"}[s.Type], s.Type) + ", says the schema"
}
