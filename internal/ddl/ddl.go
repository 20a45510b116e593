// Package ddl writes the statement that creates a table, by what the schemas of its topics say and by its entry in the configuration. A type
// comes from a schema, or from what the configuration says of a column, never from a value; what neither says is left to a person.
package ddl

import (
	"fmt"
	"slices"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
	"github.com/oncesink/oncesink/internal/mapping"
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
