package mapping

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oncesink/oncesink/internal/catalog"
	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/internal/target"
	"github.com/oncesink/oncesink/sink"
)

// maxChildren is how many tables of children a parent may have: a bit each in row.arrays.
const maxChildren = 16

// checkChildren checks what an entry of children needs, without the catalog.
func checkChildren(cfg sink.TableConfig, ps *Problems) {
	in := "table " + cfg.Name
	if cfg.Strategy != sink.Children {
		if cfg.Parent != "" || cfg.Each != "" || len(cfg.ParentKey) > 0 {
			ps.Add(in+" has parent, each or parent_key", "they are for `strategy: children`")
		}
		return
	}
	switch {
	case cfg.Parent == "" || cfg.Each == "":
		ps.Add(in+" holds children, and has no parent or no array", "name the parent's table as `parent:` and the path of the array as `each:`")
	case source.CheckPath(cfg.Each) != nil:
		ps.Add(fmt.Sprintf("%s: each %q is no path", in, cfg.Each), "write a path of fields such as items")
	}
	if len(cfg.Key) == 0 {
		ps.Add(in+" has no key", "name the columns that tell one child from another: the parent's key and more, such as [order_id, line]")
	}
	if cfg.Version != "" || len(cfg.RecordKey) > 0 || cfg.Guard == "none" {
		ps.Add(in+" holds children, and has a version, record_key or guard", "the parent's event decides: leave them out")
	}
}

// adopt makes the table one of the parent's children.
func adoptChildren(t *target.Table, parent *target.Table, r *catalog.Relation, ps *Problems) {
	in := "table " + t.Title()
	switch {
	case parent == nil:
		ps.Add(fmt.Sprintf("%s: there is no table %q before it", in, t.Config.Parent), "list the parent first: its rows are written before its children")
		return
	case parent.Strategy != sink.Upsert || !parent.Guarded || parent.Bulk():
		ps.Add(fmt.Sprintf("%s: its parent %s is not an upsert with a guard", in, parent.Title()), "only the guard tells whether the parent's event won")
		return
	case len(parent.Children) == maxChildren:
		ps.Add(in+" is one table of children too many", fmt.Sprintf("a parent has at most %d", maxChildren))
		return
	case len(t.Others) > 0:
		ps.Add(fmt.Sprintf("%s has %s besides the key", in, strings.Join(t.Others, " and ")), "children of different parents would stand in each other's way: leave it out")
	}
	t.Parent, t.Topics = parent, parent.Topics
	for _, k := range parent.Key {
		name := parent.Columns[k].Name
		for own, theirs := range t.Config.ParentKey {
			if theirs == name {
				name = own
			}
		}
		i := t.Index(name)
		switch {
		case i < 0 || !slices.Contains(t.Key, i):
			ps.Add(fmt.Sprintf("%s has no key column for %s of %s", in, parent.Columns[k].Name, parent.Title()),
				"its key begins with the parent's; say under `parent_key` which column it is, if it has another name")
		case t.Columns[i].Declared != parent.Columns[k].Declared:
			ps.Add(fmt.Sprintf("%s: column %s has type %s, and %s of %s has type %s", in, name, t.Columns[i].Declared, parent.Columns[k].Name, parent.Title(), parent.Columns[k].Declared), "give them one type")
		case !only(t.Config.Columns[name], sink.ColumnConfig{}):
			ps.Add(fmt.Sprintf("%s: column %s is the parent's key and is mapped as well", in, name), "leave it out of `columns:`")
		}
		t.ParentAt = append(t.ParentAt, i)
	}
	for own, theirs := range t.Config.ParentKey {
		if i := parent.Index(theirs); r.Column(own) == nil || i < 0 || !parent.IsKey(i) {
			ps.Add(fmt.Sprintf("%s: parent_key %s: %s", in, own, theirs), "it maps a column of the children to a key column of the parent")
		}
	}
	m := setMemoryOf(t)
	t.SetsTable = m.Quoted()
	parent.Children = append(parent.Children, t)
}

func setMemoryOf(t *target.Table) Memory {
	return SetMemory(t.Schema, t.Name, &t.Config, t.Parent.Schema, t.Parent.Name, &t.Parent.Config)
}
