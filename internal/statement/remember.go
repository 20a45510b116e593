package statement

import (
	"fmt"
	"strings"

	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/tables"
)

// Remember applies tombstones to a table with a delete memory (rule 13). A
// tombstone that is the latest of its key is remembered. It deletes the row if it
// comes after the row's event and is not an old one seen again; the offset order
// within a partition always stands. The memory takes the deleted row's version
// (rule 11), and nothing lowers what it holds. A set of children is deleted with the row, or if
// it comes before the tombstone as a deleted row would. The transaction holds the table's advisory lock
// alone, so that what the snapshot shows cannot change underneath.
//
// It answers with one row: how many tombstones did something, and how many of those met no row.
func Remember(t *tables.Table, s Shape) string {
	key := pgname.Quote(t.Columns[t.Key[0]].Name)
	version, deleted, value, raised := "", "", "", ""
	if t.Version >= 0 {
		v := pgname.Quote(t.Columns[t.Version].Name)
		version = v + ", "
		deleted = "t." + v + " as _oncesink_version,\n         "
		value = "case when s.deletes then s._oncesink_version end, "
		raised = fmt.Sprintf("%s = greatest(m.%s, excluded.%s),\n       ", v, v, v)
	}
	latest := fmt.Sprintf("m.%s is null or (%s) > (%s)", key, Place("e", false), Place("m", true))
	// deletes is whether a tombstone comes after the event that wrote a row of the target, or brought a set.
	deletes := func(r string) string {
		return fmt.Sprintf("%s.%s is not null and (%s) > (%s)\n         and (%s or e.%s = %s.%s)",
			r, key, Place("e", false), Place(r, true), latest, tables.SourceColumn, r, tables.SourceColumn)
	}
	var b, joins strings.Builder
	b.WriteString("with e as materialized ")
	eventRows(t, &b, s, true)
	fmt.Fprintf(&b, ", s as materialized (\n  select e.*, %st.%s is null as rowless,\n         %s as latest,\n         %s as deletes", deleted, key, latest, deletes("t"))
	for i, c := range t.Children {
		set := fmt.Sprintf("s%d", i+1)
		fmt.Fprintf(&b, ",\n         %s as deletes_%s", deletes(set), set)
		fmt.Fprintf(&joins, "\n    left join %s %s on %s", c.SetsTable, set, SameKey(t, set, "e"))
	}
	fmt.Fprintf(&b, "\n    from e left join %s t on %s left join %s m on %s%s\n", t.Quoted(), SameKey(t, "t", "e"), t.Memory, SameKey(t, "m", "e"), joins.String())
	fmt.Fprintf(&b, "), d as (\n  delete from %s t using s where s.deletes and %s\n)", t.Quoted(), SameKey(t, "t", "s"))
	for i, c := range t.Children {
		goes := fmt.Sprintf("(s.deletes or s.deletes_s%d)", i+1)
		fmt.Fprintf(&b, ", d%d as (\n  delete from %s c using s where %s and %s\n)", i+1, c.Quoted(), goes, ofParent(c, "c", "s"))
		fmt.Fprintf(&b, ", s%d as (\n  delete from %s m using s where %s and %s\n)", i+1, c.SetsTable, goes, SameKey(t, "m", "s"))
	}
	fmt.Fprintf(&b, ", m as (\n  insert into %s as m (%s, %s%s, %s)\n", t.Memory, keyList(t, ""), version, tables.SourceColumn, tables.OffsetColumn)
	fmt.Fprintf(&b, "  select %s, %ss.%s, s.%s\n    from s where s.latest or s.deletes order by s._oncesink_n\n", keyList(t, "s"), value, tables.SourceColumn, tables.OffsetColumn)
	later := fmt.Sprintf("(%s) > (%s)", Place("excluded", false), Place("m", true))
	fmt.Fprintf(&b, "      on conflict (%s) do update set %s", keyList(t, ""), raised)
	fmt.Fprintf(&b, "%s = case when %s then excluded.%s else m.%s end,\n       ", tables.SourceColumn, later, tables.SourceColumn, tables.SourceColumn)
	fmt.Fprintf(&b, "%s = case when %s then excluded.%s else m.%s end\n)\n", tables.OffsetColumn, later, tables.OffsetColumn, tables.OffsetColumn)
	b.WriteString("select count(*), count(*) filter (where s.rowless) from s where s.latest or s.deletes")
	return b.String()
}
