// Package ddl writes the statement that creates a table, by what the schemas of its topics say and by its entry in the configuration. A type
// comes from a schema, or from what the configuration says of a column, never from a value; what neither says is left to a person.
package ddl

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// Shapes are what the schemas of a topic's records say.
type Shapes struct {
	// Value of the events, with what stands around a row; Key of the record keys, nil if nobody knows.
	Value, Key *event.Shape
	// From says where they come from, for people.
	From string
}

// Table is a table that its topics' schemas make.
type Table struct {
	Name    string // as the configuration has it
	Columns []Column
	Key     []string
	// From says where the types come from, and Open what a person has to decide; LeftOut are fields that can have no column of their name.
	From    []string
	Open    []Open
	LeftOut []string

	rows []row // of its topics
}

// Column is one of a table.
type Column struct {
	Name, Type, Why string
	NotNull         bool
}

// Open is a column that has no type without doubt.
type Open struct{ Column, Why string }

// row is what a topic's schema says of rows.
type row struct {
	*Shapes
	topic    string
	at       *event.Shape // the row in an event; an element, of children
	event    *event.Shape // of children: the row that their parent's events have
	envelope *sink.Envelope
}

// New makes a table of the configuration. The entry has to be right, see [mapping.Check]. An error is a *[sink.ConfigError].
func New(cfg sink.Config, entry string, shapes map[string]*Shapes) (*Table, error) {
	cfg = mapping.WithDefaults(cfg)
	i := slices.IndexFunc(cfg.Tables, func(t sink.TableConfig) bool { return t.Name == entry })
	if i < 0 {
		return nil, &sink.ConfigError{Problem: "the configuration has no table " + entry}
	}
	tc := &cfg.Tables[i]
	t := &Table{Name: tc.Name}
	var parent *Table
	topics := tc.Topics
	if of := mapping.ParentOf(cfg.Tables, tc); of != nil {
		var err error
		if parent, err = New(cfg, of.Name, shapes); err != nil {
			return nil, err
		}
		topics = of.Topics
	}
	for _, topic := range topics {
		r, err := rowOf(&cfg, tc, topic, shapes[topic])
		if err != nil {
			return nil, err
		}
		t.rows = append(t.rows, r)
		if !slices.Contains(t.From, r.From) {
			t.From = append(t.From, r.From)
		}
	}
	if parent != nil {
		t.ofParent(tc, parent)
	}
	t.columns(tc)
	return t, t.key(tc)
}

// rowOf finds the row in what a topic's schema says of an event.
func rowOf(cfg *sink.Config, tc *sink.TableConfig, topic string, s *Shapes) (row, error) {
	r := row{Shapes: s, topic: topic, envelope: cfg.Topics[topic].Envelope}
	if s == nil || s.Value == nil {
		return r, &sink.ConfigError{Problem: "no schema says what the records of topic " + topic + " have", Fix: "write the table's statement by hand"}
	}
	r.at = s.Value
	if r.envelope != nil && r.envelope.After != "" {
		names, _ := fields.Split(r.envelope.After) // the configuration was checked
		r.at = s.Value.At(names...)
	}
	where := "of topic " + topic
	if tc.Strategy == sink.Children {
		r.event = r.at
		names, _ := fields.Split(tc.Each)
		array := r.at.At(names...)
		if array == nil || array.Kind != event.Array || array.Element == nil {
			return r, &sink.ConfigError{Problem: fmt.Sprintf("the schema of topic %s has no array %s whose elements it describes", topic, tc.Each), Fix: "correct `each:`, or write the table's statement by hand"}
		}
		r.at, where = array.Element, "of "+tc.Each+" in topic "+topic
	}
	if r.at == nil || len(r.at.Fields) == 0 && tc.Strategy != sink.Children {
		return r, &sink.ConfigError{Problem: "the schema " + where + " has no row with fields in it", Fix: "see the topic's `envelope:`, or write the table's statement by hand"}
	}
	return r, nil
}

// ofParent takes the types of the parent's key.
func (t *Table) ofParent(tc *sink.TableConfig, parent *Table) {
	of := map[string]string{} // parent's column -> own
	for _, k := range parent.Key {
		of[k] = k
	}
	for own, k := range tc.ParentKey {
		of[k] = own
	}
	for _, k := range parent.Key {
		if i := slices.IndexFunc(parent.Columns, func(c Column) bool { return c.Name == k }); i >= 0 {
			t.Columns = append(t.Columns, Column{Name: of[k], Type: parent.Columns[i].Type, Why: "the key of " + parent.Name})
		}
	}
}

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

// key marks the columns of the key.
func (t *Table) key(tc *sink.TableConfig) error {
	if tc.Strategy == sink.Append {
		return nil
	}
	t.Key = tc.Key
	for _, k := range t.Key {
		i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == k })
		if i < 0 {
			return &sink.ConfigError{Problem: fmt.Sprintf("key column %q of table %s gets no type from the schema of its topic", k, t.Name),
				Fix: "correct `key:`, say under `columns:` where it comes from, or write the statement by hand"}
		}
		t.Columns[i].NotNull = true
		if !keys[t.Columns[i].Type] {
			return &sink.ConfigError{Problem: fmt.Sprintf("key column %q of table %s would have type %s, which no key has", k, t.Name, t.Columns[i].Type),
				Fix: "a key is made of integer, numeric, text, uuid, boolean, date or time columns: choose another, or write the statement by hand"}
		}
	}
	return nil
}

// keys are the types that keys may have, of those that shapes lead to.
var keys = map[string]bool{ // it never changes
	"smallint": true, "integer": true, "bigint": true, "numeric": true, "text": true, "uuid": true, "boolean": true, "date": true, "time": true, "timestamp": true, "timestamptz": true,
}
