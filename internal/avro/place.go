package avro

import (
	"slices"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
)

// tree is the paths of a plan, by the names of fields.
type tree struct {
	wants    []int // paths that end here
	children map[string]*tree
}

// grow makes a tree of paths; named are those that ask for the schema's name.
func grow(paths []string) (root *tree, named []int, err error) {
	root = &tree{}
	for i, path := range paths {
		switch path {
		case event.SchemaName:
			named = append(named, i)
			continue
		case event.NewFields:
			continue
		}
		var names []string
		if path != "" {
			if names, err = fields.Split(path); err != nil {
				return nil, nil, err
			}
		}
		at := root
		for _, name := range names {
			next := at.children[name]
			if next == nil {
				if at.children == nil {
					at.children = map[string]*tree{}
				}
				next = &tree{}
				at.children[name] = next
			}
			at = next
		}
		at.wants = append(at.wants, i)
	}
	return root, named, nil
}

// place is a type where a path leads to, or through. It is immutable.
type place struct {
	typ   *typ
	wants []int
	// converted: Kafka Connect says of something in a container that it means more.
	converted bool
	steps     []step // a record's fields, if a path leads to one of them
	// branches are a union's: nil where none leads to a path.
	branches []*place
}

// step is a field that is read, or skipped if nothing in it is wanted.
type step struct {
	typ   *typ
	place *place
}

// placer finds the places of a schema. The same type in the same place of the tree is one place, however many unions lead to it.
type placer map[placed]*place

type placed struct {
	typ  *typ
	tree *tree
}

// place is nil if no path leads into values of the type.
func (ps placer) place(t *typ, at *tree) *place {
	if at == nil {
		return nil
	}
	if p, ok := ps[placed{t, at}]; ok {
		return p
	}
	p := &place{typ: t, wants: at.wants}
	found := len(p.wants) > 0
	if found {
		p.converted = t.converted(map[*typ]bool{})
	}
	switch t.kind {
	case record:
		steps := make([]step, len(t.fields))
		some := false
		for i := range t.fields {
			f := &t.fields[i]
			steps[i] = step{f.typ, ps.place(f.typ, at.children[f.name])}
			some = some || steps[i].place != nil
		}
		if some {
			p.steps, found = steps, true
		}
	case union:
		for _, branch := range t.branches {
			p.branches = append(p.branches, ps.place(branch, at))
		}
		found = slices.ContainsFunc(p.branches, func(b *place) bool { return b != nil })
	}
	if !found {
		p = nil
	}
	ps[placed{t, at}] = p
	return p
}

// program is what a plan does with records of a schema.
type program struct {
	typ  *typ
	root *place // nil if no path leads anywhere
	// named are the paths that want the name of the schema.
	named []int
	// verdict is the judge's of the schema.
	verdict int64
}
