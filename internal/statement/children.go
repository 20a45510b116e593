package statement

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/tables"
)

// ofParent is the condition that a row of the children, or an event, belongs to a row that has the parent's key.
func ofParent(t *tables.Table, child, parent string) string {
	var conds []string
	for k, i := range t.ParentAt {
		conds = append(conds, fmt.Sprintf("%s.%s = %s.%s", child, pgname.Quote(t.Columns[i].Name), parent, pgname.Quote(t.Parent.Columns[t.Parent.Key[k]].Name)))
	}
	return strings.Join(conds, " and ")
}

// ClaimSet notes for the given events of the parent that the set is theirs, where they come after the event that has
// it. It locks and writes nothing else. An event that a remembered tombstone holds back has no set, nor has one
// without a row.
func ClaimSet(t *tables.Table, c *tables.Table, s Shape) string {
	columns := slices.Clone(t.Key)
	if t.Version >= 0 {
		columns = append(columns, t.Version)
	}
	var names, values, sets []string
	for _, i := range columns {
		q := pgname.Quote(t.Columns[i].Name)
		names, values = append(names, q), append(values, "e."+q)
		if !t.IsKey(i) {
			sets = append(sets, q+" = excluded."+q)
		}
	}
	for _, q := range []string{tables.SourceColumn, tables.OffsetColumn} {
		names, values, sets = append(names, q), append(values, "e."+q), append(sets, q+" = excluded."+q)
	}
	head := fmt.Sprintf("insert into %s as m (%s)\n", c.SetsTable, strings.Join(names, ", "))
	conflict := fmt.Sprintf("\n    on conflict (%s) do update set %s\n where %s", keyList(t, ""), strings.Join(sets, ", "), newer(t, "excluded", "m"))
	if t.Distributed {
		return spreadClaim(t, s, head, strings.Join(values, ", ")) + conflict
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%sselect %s\n  from ", head, strings.Join(values, ", "))
	eventRows(t, &b, s, false)
	b.WriteString(" e" + where(claims(t, c)) + conflict)
	return b.String()
}

// claims are the conditions under which the event e of the parent takes the set of its children.
func claims(t, c *tables.Table) []string {
	conds := []string{
		fmt.Sprintf("(select true from %s t where %s)", t.Quoted(), SameKey(t, "t", "e")),
		fmt.Sprintf("(select %s\n         from %s m where %s) is not false", newer(t, "e", "m"), c.SetsTable, SameKey(t, "m", "e")),
	}
	if t.Memory != "" {
		conds = append(conds, remembered(t))
	}
	return conds
}

// DeleteStale deletes children that another event brought, of the sets that the given events have. Only
// sets that have such children are locked, so that one that another event is taking at this moment is looked at
// again: a replay has none.
func DeleteStale(t *tables.Table, c *tables.Table, s Shape) string {
	if t.Distributed {
		return spreadDeleteStale(t, c, s)
	}
	stale := fmt.Sprintf("%s and (c.%s, c.%s) is distinct from (m.%s, m.%s)", ofParent(c, "c", "m"), tables.SourceColumn, tables.OffsetColumn, tables.SourceColumn, tables.OffsetColumn)
	var b strings.Builder
	b.WriteString("with e as materialized ")
	eventRows(t, &b, s, true)
	fmt.Fprintf(&b, ", m as materialized (\n  select m.* from e join %s m on %s and %s\n   where exists (select from %s c where %s)\n   order by e._oncesink_n for share of m\n)\n",
		c.SetsTable, SameKey(t, "m", "e"), SamePlace("m", "e"), c.Quoted(), stale)
	fmt.Fprintf(&b, "delete from %s c using m\n where %s", c.Quoted(), stale)
	return b.String()
}

// InsertChildren inserts the children of events that have the set, unless they are there.
func InsertChildren(t *tables.Table, s Shape) string {
	if t.Distributed {
		return spreadInsertChildren(t, s)
	}
	var b strings.Builder
	insertHead(t, &b, s)
	fmt.Fprintf(&b, "select %s\n  from ", valueList(t, s))
	eventRows(t, &b, s, false)
	fmt.Fprintf(&b, " e join %s m on %s and %s\n", t.SetsTable, ofParent(t, "e", "m"), SamePlace("m", "e"))
	fmt.Fprintf(&b, " where not exists (select from %s c where %s and %s)\n   for share of m\n    on conflict (%s) do nothing",
		t.Quoted(), SameKey(t, "c", "e"), SamePlace("c", "e"), keyList(t, ""))
	return b.String()
}
