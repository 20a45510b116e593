package mapping

import (
	"fmt"
	"maps"
	"slices"

	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/sink"
)

// maxChildren is how many tables of children a parent may have: a bit each in row.arrays.
const maxChildren = 16

// children checks entry i, which holds children.
func (c *checker) children(i int) {
	tc := c.table
	if tc.Each == "" {
		c.add("each", "is required", "the path of the array whose elements are the children, such as items")
	} else if err := source.CheckPath(tc.Each); err != nil {
		c.refusedSource("each", err)
	}
	if len(tc.Key) == 0 {
		c.add("key", "is required", "the parent's key and what tells its children apart, such as [order_id, line]")
	}
	if tc.Parent == "" {
		c.add("parent", "is required", "the table of the events' own rows, listed before")
		return
	}
	var before []string
	var parent *sink.TableConfig
	siblings := 0
	for k := range c.cfg.Tables[:i] {
		switch other := &c.cfg.Tables[k]; {
		case other.Name == tc.Parent:
			parent = other
		case other.Strategy == sink.Children && other.Parent == tc.Parent:
			siblings++
		}
		before = append(before, c.cfg.Tables[k].Name)
	}
	switch {
	case parent == nil:
		p := c.add("parent", "is no table that is listed before", "list the parent first: its rows are written before its children")
		p.Given, p.Known = tc.Parent, before
		return
	case parent.Strategy != sink.Upsert && parent.Strategy != "" || parent.Guard == sink.GuardNone:
		c.add("parent", "is not an upsert with a guard", "only the guard tells whether the parent's event won").Given = tc.Parent
		return
	case siblings >= maxChildren:
		c.add("parent", "has a table of children too many", fmt.Sprintf("a parent has at most %d", maxChildren)).Given = tc.Parent
	}
	c.parentKey(parent)
}

// parentKey checks that the key of children has the parent's in it.
func (c *checker) parentKey(parent *sink.TableConfig) {
	tc := c.table
	for _, k := range parent.Key {
		own := OwnColumn(tc, k)
		if !slices.Contains(tc.Key, own) && len(tc.Key) > 0 {
			c.add("key", fmt.Sprintf("has no column for %s of %s", k, parent.Name), "it begins with the parent's; say under parent_key which column it is, if it has another name")
		}
		if mapped, ok := tc.Columns[own]; ok && !only(mapped, sink.ColumnConfig{}) {
			c.excess("columns."+own, "is the parent's key and is mapped as well", "leave it out of columns")
		}
	}
	for _, own := range slices.Sorted(maps.Keys(tc.ParentKey)) {
		if theirs := tc.ParentKey[own]; !slices.Contains(parent.Key, theirs) {
			p := c.add("parent_key."+own, "is no key column of "+parent.Name, "it maps a column of the children to a key column of the parent")
			p.Given, p.Known = theirs, parent.Key
		}
	}
}

// OwnColumn names the column of children that has a key column of their parent.
func OwnColumn(tc *sink.TableConfig, parents string) string {
	for own, theirs := range tc.ParentKey {
		if theirs == parents {
			return own
		}
	}
	return parents
}
