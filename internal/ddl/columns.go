package ddl

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// columns gives each field of the rows a column, where the configuration says nothing else, and each column of the configuration
// its own.
func (t *Table) columns(tc *sink.TableConfig) {
	configured := map[string]source.Source{}
	byField := map[string][]string{} // columns that take a field, or something in it
	taken := map[string]bool{}
	for _, c := range t.Columns {
		taken[c.Name] = true
	}
	var others []string
	for name, from := range Sources(tc) {
		if taken[name] {
			continue
		}
		configured[name] = from
		if first := FirstName(&from); first != "" {
			byField[first] = append(byField[first], name)
		} else {
			others = append(others, name)
		}
	}
	done := map[string]bool{}
	add := func(names []string) {
		slices.Sort(names)
		for _, name := range names {
			if !done[name] {
				done[name] = true
				t.column(tc, name, configured[name])
			}
		}
	}
	for _, r := range t.rows {
		for _, f := range r.at.Fields {
			names, ok := byField[f.Name]
			if !ok {
				names, ok = byField[f.Alias]
			}
			_, other := configured[f.Name]
			switch {
			case ok:
				add(names)
			case done[f.Name] || taken[f.Name] || around(r.envelope, f.Name) || slices.Contains(tc.IgnoreFields, f.Name):
			case other:
				done["."+f.Name] = true
				if !slices.Contains(t.LeftOut, clash(f.Name)) {
					t.LeftOut = append(t.LeftOut, clash(f.Name))
				}
			case Unnamable(f.Name) != "":
				done[f.Name] = true
				t.LeftOut = append(t.LeftOut, clean(f.Name)+": "+Unnamable(f.Name))
			default:
				done[f.Name] = true
				t.column(tc, f.Name, source.Source{Path: fields.Escape(f.Name)})
			}
		}
	}
	var missing []string
	for _, names := range byField {
		missing = append(missing, names...)
	}
	add(missing)
	add(others)
}

func clash(name string) string { return clean(name) + ": the column of this name takes something else" }

// Sources are the columns that the configuration speaks of, and where they find their values.
func Sources(tc *sink.TableConfig) map[string]source.Source {
	out := map[string]source.Source{}
	parse := source.Parse
	if tc.Strategy == sink.Children {
		parse = source.ParseChild
	}
	for name, c := range tc.Columns {
		if from, err := parse(c.From, name); err == nil {
			if c.SQL != "" {
				from = source.Source{Meta: source.Value}
			}
			out[name] = from
		}
	}
	for name, text := range tc.SoftDelete {
		if from, err := parse(text, name); err == nil {
			out[name] = from
		}
	}
	return out
}

// FirstName is the field of the row that a source leads to, or through; "" if it leads elsewhere.
func FirstName(from *source.Source) string {
	if from.Meta != source.Field {
		return ""
	}
	names, err := fields.Split(from.Path)
	if err != nil || len(names) == 0 {
		return ""
	}
	return names[0]
}

// around reports whether a field is the envelope's, and none of the row.
func around(e *sink.Envelope, name string) bool {
	return e != nil && (e.Prefix != "" && strings.HasPrefix(name, e.Prefix) || e.After == "" && e.Op == fields.Escape(name))
}

// Unnamable says why no column can have a field's name; "" if one can.
func Unnamable(name string) string {
	switch {
	case len(name) > pgname.MaxName:
		return "the name is longer than a column's may be"
	case name == "":
		return "it has no name"
	case pgname.System(name), tables.IsEngine(name):
		return "the name is a system column's"
	case strings.ContainsRune(name, 0):
		return "the name has a character that no column's has"
	}
	return ""
}

// column adds a column, or says what has to be decided about it.
func (t *Table) column(tc *sink.TableConfig, name string, from source.Source) {
	x := tc.Columns[name]
	typ, why := "", ""
	switch {
	case x.SQL != "":
		why = "`sql:` computes it: give it the type of the expression"
	default:
		typ, why = t.typeOf(x, from)
	}
	if typ == "" {
		t.Open = append(t.Open, Open{name, why})
		return
	}
	if typ == "text" && name == tc.Version {
		typ = `text collate "C"` // versions are compared byte for byte
	}
	t.Columns = append(t.Columns, Column{Name: name, Type: typ, Why: clean(why)})
}

// typeOf is the type of a column that takes what stands at a source; "" if a person has to say it, and why.
func (t *Table) typeOf(x sink.ColumnConfig, from source.Source) (typ, why string) {
	shape := t.shapeAt(from)
	switch {
	case x.Encoding == pgtext.EncodingJSON:
		return "jsonb", "a text with JSON in it"
	case x.Encoding != "":
		return "bytea", x.Encoding
	case x.Scale != nil:
		return "numeric", fmt.Sprintf("scale %d", *x.Scale)
	case x.Zone != "", x.Unit == "days":
		return "date", strings.TrimSpace(x.Unit + " " + x.Zone)
	case x.Unit != "":
		return "timestamptz", x.Unit + " since 1970"
	}
	switch from.Meta {
	case source.Topic, source.Schema, source.Header:
		return "text", ""
	case source.Key:
		if from.Path == "" {
			return "text", "the record key as it is"
		}
	case source.Partition, source.Index:
		return "integer", ""
	case source.Offset:
		return "bigint", ""
	case source.Timestamp:
		return "timestamptz", "the record's time"
	case source.Value:
		return "", "the value as it is: choose text, bytea or jsonb"
	}
	if shape == nil {
		return "", "the schema has nothing there: correct `from:`, or choose a type"
	}
	typ, why = pgtext.ColumnFor(shape)
	if typ == "" {
		return "", cmp.Or(shape.Said, why) + ": choose a type, such as text or jsonb"
	}
	return typ, shape.Said
}

// shapeAt is what the schemas of all topics say of what stands at a source; nil if none says anything.
func (t *Table) shapeAt(from source.Source) (found *event.Shape) {
	for _, r := range t.rows {
		of, path := r.at, from.Path
		switch from.Meta {
		case source.Field, source.Element:
		case source.Envelope:
			of = r.Value
		case source.Event:
			of = r.event
		case source.Key, source.KeyJSON:
			of = r.Key
		default:
			return nil
		}
		var names []string
		if path != "" {
			var err error
			if names, err = fields.Split(path); err != nil {
				return nil
			}
		}
		if of == nil {
			continue
		}
		switch s := of.At(names...); {
		case s == nil:
		case found == nil:
			found = s
		default:
			found = event.Merge(found, s)
		}
	}
	return found
}
