package sample

import (
	"encoding/json"
	"strings"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// takes is a tree of the fields that a topic's tables take.
type takes struct {
	all      bool // the whole value is taken
	below    map[string]*takes
	elements *takes // of an array of children
}

// image is where in a value the row is whose fields are taken.
type image struct {
	opaque  bool // values are no JSON
	payload bool // there may be a schema beside it
	path    []string
	prefix  string // of fields that are the event's; "" without
}

func imageOf(topic sink.TopicConfig) (x image) {
	format, _ := mapping.FormatsOf(topic)
	x.opaque = format != sink.JSON && format != sink.ConnectJSON
	x.payload = format == sink.ConnectJSON
	if topic.Envelope != nil && topic.Envelope.After != "" {
		x.path, _ = fields.Split(topic.Envelope.After) // Open has compiled it
	}
	if topic.Envelope != nil {
		x.prefix = topic.Envelope.Prefix
	}
	return x
}

// of returns the row; nothing if there is none, or the value, which perhaps nothing has read, is no JSON.
func (x *image) of(value []byte) event.Value {
	if len(value) > framing && value[0] == 0 {
		value = value[framing:]
	}
	if x.opaque || !json.Valid(value) {
		return event.Value{}
	}
	v := fields.Document(value)
	if x.payload {
		if payload := member(v, "payload"); payload.Kind != event.Absent && member(v, "schema").Kind != event.Absent {
			v = payload
		}
	}
	for _, name := range x.path {
		v = member(v, name)
	}
	return v
}

// framing is how many bytes a serializer of JSON Schema writes before a document.
const framing = 5

func member(of event.Value, name string) (found event.Value) {
	if of.Kind == event.Object {
		for n, v := range fields.Members(of.Raw) {
			if string(n) == name {
				found = v
			}
		}
	}
	return found
}

// takenBy gathers what columns take of a value.
func takenBy(fed []*tables.Table) *takes {
	root := &takes{}
	for _, t := range fed {
		from := root
		if t.Parent != nil {
			array := root.at(t.Config.Each)
			if array.elements == nil {
				array.elements = &takes{}
			}
			from = array.elements
		}
		for _, conditions := range [][]tables.Condition{t.When, t.DeleteWhen} {
			for i := range conditions {
				if src := &conditions[i].Source; src.Meta == source.Field {
					root.at(src.Path).all = true
				}
			}
		}
		for i := range t.Soft {
			if src := &t.Soft[i].Source; src.Meta == source.Field {
				root.at(src.Path).all = true
			}
		}
		for i := range t.Columns {
			switch c := &t.Columns[i]; {
			case c.Computed != nil:
			case c.Source.Meta == source.Field:
				from.at(c.Source.Path).all = true
			case c.Source.Meta == source.Element:
				from.all = true
			case c.Source.Meta == source.Event:
				root.at(c.Source.Path).all = true
			case c.Source.Meta == source.Value:
				root.all = true
			}
		}
	}
	return root
}

// at is the node of a path.
func (t *takes) at(path string) *takes {
	names, _ := fields.Split(path) // Open has compiled it
	for _, name := range names {
		if t.below == nil {
			t.below = map[string]*takes{}
		}
		next := t.below[name]
		if next == nil {
			next = &takes{}
			t.below[name] = next
		}
		t = next
	}
	return t
}

// count calls found for each field that is not taken, of a row and of what is one level below it, once a row. Fields with the prefix are none
// of the row's.
func (t *takes) count(document event.Value, prefix string, found func(path string)) {
	if t.all || document.Kind != event.Object {
		return
	}
	var met map[string]bool // in several elements of an array
	for name, v := range fields.Members(document.Raw) {
		at, path := t.below[string(name)], fields.Escape(string(name))
		switch {
		case at == nil && prefix != "" && strings.HasPrefix(path, prefix):
		case at == nil:
			found(path)
		case at.all:
		case v.Kind == event.Object:
			for name := range fields.Members(v.Raw) {
				if at.below[string(name)] == nil {
					found(path + "." + fields.Escape(string(name)))
				}
			}
		case v.Kind == event.Array && at.elements != nil && !at.elements.all:
			for element := range fields.Elements(v.Raw) {
				if element.Kind != event.Object {
					continue
				}
				for name := range fields.Members(element.Raw) {
					below := path + "[]." + fields.Escape(string(name))
					if at.elements.below[string(name)] == nil && !met[below] {
						if met == nil {
							met = map[string]bool{}
						}
						met[below] = true
						found(below)
					}
				}
			}
		}
	}
}
