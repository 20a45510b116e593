package sample

import (
	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/internal/tables"
)

// takes is a tree of the fields that a topic's tables take.
type takes struct {
	all      bool // the whole value is taken
	below    map[string]*takes
	elements *takes // of an array of children
}

// takenBy gathers what columns take of a value.
func takenBy(tables []*tables.Table) *takes {
	root := &takes{}
	for _, t := range tables {
		from := root
		if t.Parent != nil {
			array := root.at(t.Config.Each)
			if array.elements == nil {
				array.elements = &takes{}
			}
			from = array.elements
		}
		for i := range t.When {
			if src := &t.When[i].Source; src.Meta == source.Field {
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

// count calls found for each field that is not taken, of a valid value and of what is one level below it, once a value.
func (t *takes) count(value []byte, found func(path string)) {
	document := fields.Document(value)
	if t.all || document.Kind != event.Object {
		return
	}
	var met map[string]bool // in several elements of an array
	for name, v := range fields.Members(document.Raw) {
		at, path := t.below[string(name)], fields.Escape(string(name))
		switch {
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
