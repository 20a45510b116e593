package mapping

import (
	"fmt"
	"strings"

	"github.com/oncesink/oncesink/internal/tables"
)

// attach makes the table one of the parent's children.
func attach(t, parent *tables.Table, ps *Problems) {
	in := "table " + t.Title()
	if len(t.Others) > 0 {
		ps.Add(fmt.Sprintf("%s has %s besides the key", in, strings.Join(t.Others, " and ")), "children of different parents would stand in each other's way: leave it out")
	}
	t.Parent, t.Topics = parent, parent.Topics
	for _, k := range parent.Key {
		theirs := &parent.Columns[k]
		i := t.Index(OwnColumn(&t.Config, theirs.Name))
		if i >= 0 && t.Columns[i].Declared != theirs.Declared {
			ps.Add(fmt.Sprintf("%s: column %s has type %s, and %s of %s has type %s", in, t.Columns[i].Name, t.Columns[i].Declared, theirs.Name, parent.Title(), theirs.Declared), "give them one type")
		}
		t.ParentAt = append(t.ParentAt, i)
	}
	m := setMemoryOf(t)
	t.SetsTable = m.Quoted()
	parent.Children = append(parent.Children, t)
}

func setMemoryOf(t *tables.Table) Memory {
	return SetMemory(t.Schema, t.Name, &t.Config, t.Parent.Schema, t.Parent.Name, &t.Parent.Config)
}
