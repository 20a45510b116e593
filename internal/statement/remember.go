package statement

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/tables"
)

// DeleteShape has the columns that a deletion has values for: those of the key, and its version if it carries one.
func DeleteShape(t *tables.Table, versioned bool) Shape {
	s := Shape{Columns: t.Key}
	if versioned {
		s.Columns = append(slices.Clone(t.Key), t.Version)
	}
	return s
}

// versioned reports whether a shape of deletions has their version.
func versioned(t *tables.Table, s Shape) bool {
	return t.Version >= 0 && slices.Contains(s.Columns, t.Version)
}

// Remember applies deletions to a table with a delete memory (rule 13): tombstones, or those that carry a version. A
// set of children is deleted with the row, or if
// it comes before the deletion as a deleted row would. The transaction holds the table's advisory lock
// alone, so that what the snapshot shows cannot change underneath.
//
// It answers with one row: how many deletions did something, and how many of those met no row, nor an earlier deletion of it.
func Remember(t *tables.Table, s Shape) string {
	r := tombstone(t)
	if versioned(t, s) {
		r = versionedDelete(t)
	}
	key := pgname.Quote(t.Columns[t.Key[0]].Name)
	var b, joins strings.Builder
	b.WriteString("with e as materialized ")
	eventRows(t, &b, s, true)
	if t.Distributed {
		b.WriteString(metByDeletions(t))
	}
	fmt.Fprintf(&b, ", s as materialized (\n  select e.*, %st.%s is null and m.%s is null as rowless,\n         %s as latest,\n         %s as deletes", r.carried, key, key, r.latest, r.deletes("t"))
	for i, c := range t.Children {
		set := fmt.Sprintf("s%d", i+1)
		fmt.Fprintf(&b, ",\n         %s as deletes_%s", r.deletes(set), set)
		joins.WriteString("\n    " + joined(t, c.SetsTable, set))
	}
	fmt.Fprintf(&b, "\n    from e %s %s%s\n", joined(t, t.Quoted(), "t"), joined(t, t.Memory, "m"), joins.String())
	b.WriteString(")")
	for i, c := range t.Children { // before the row: Citus does the parts one after the other, each with its foreign keys
		goes := fmt.Sprintf("(s.deletes or s.deletes_s%d)", i+1)
		fmt.Fprintf(&b, ", d%d as (\n  delete from %s c using s where %s and %s\n)", i+1, c.Quoted(), goes, ofParent(c, "c", "s"))
		fmt.Fprintf(&b, ", s%d as (\n  delete from %s m using s where %s and %s\n)", i+1, c.SetsTable, goes, SameKey(t, "m", "s"))
	}
	fmt.Fprintf(&b, ", d as (\n  delete from %s t using s where s.deletes and %s\n)", t.Quoted(), SameKey(t, "t", "s"))
	names, values, sets := "", "", ""
	if t.Version >= 0 {
		v := pgname.Quote(t.Columns[t.Version].Name)
		names, values = v+", ", r.version+", "
		sets = fmt.Sprintf("%s = greatest(m.%s, excluded.%s),\n       ", v, v, v)
	}
	fmt.Fprintf(&b, ", m as (\n  insert into %s as m (%s, %s%s, %s%s)\n", t.Memory, keyList(t, ""), names, tables.SourceColumn, tables.OffsetColumn, r.names)
	fmt.Fprintf(&b, "  select %s, %ss.%s, %s%s\n    from s where s.latest or s.deletes%s order by s._oncesink_n\n", keyList(t, "s"), values, tables.SourceColumn, r.offset, r.values, r.also)
	fmt.Fprintf(&b, "      on conflict (%s) do update set %s", keyList(t, ""), sets)
	fmt.Fprintf(&b, "%s = case when %s then excluded.%s else m.%s end,\n       ", tables.SourceColumn, r.later, tables.SourceColumn, tables.SourceColumn)
	fmt.Fprintf(&b, "%s = case when %s then excluded.%s else m.%s end", tables.OffsetColumn, r.later, tables.OffsetColumn, tables.OffsetColumn)
	if t.VersionedDeletes {
		fmt.Fprintf(&b, ",\n       %s = case when %s then excluded.%s else m.%s end", tables.VersionedColumn, r.later, tables.VersionedColumn, tables.VersionedColumn)
	}
	b.WriteString(r.sets)
	b.WriteString("\n)\nselect count(*), count(*) filter (where s.rowless) from s where s.latest or s.deletes")
	return b.String()
}

// joined joins events with the rows of their keys, which are found apart where the table is distributed.
func joined(t *tables.Table, table, alias string) string {
	if t.Distributed {
		return fmt.Sprintf("left join met_%s %s using (_oncesink_n)", alias, alias)
	}
	return fmt.Sprintf("left join %s %s on %s", table, alias, SameKey(t, alias, "e"))
}

// metByDeletions are the parts of a statement that find the rows which deletions e meet, in the table, its memory and those of its children's sets.
func metByDeletions(t *tables.Table) string {
	var b strings.Builder
	meet := func(table, alias string, columns ...string) {
		fmt.Fprintf(&b, ", met_%[1]s as materialized (\n  select e._oncesink_n, %[1]s.%[2]s\n    from e join %[3]s %[1]s on %[4]s\n)", alias, strings.Join(columns, ", "+alias+"."), table, SameKey(t, alias, "e"))
	}
	columns := []string{pgname.Quote(t.Columns[t.Key[0]].Name), tables.SourceColumn, tables.OffsetColumn}
	if t.Version >= 0 {
		columns = append(columns, pgname.Quote(t.Columns[t.Version].Name))
	}
	meet(t.Quoted(), "t", columns...)
	for i, c := range t.Children {
		meet(c.SetsTable, fmt.Sprintf("s%d", i+1), columns...)
	}
	if t.VersionedDeletes {
		columns = append(columns, tables.VersionedColumn, tables.OutlivedSourceColumn, tables.OutlivedOffsetColumn)
	}
	meet(t.Memory, "m", columns...)
	return b.String()
}

// remembering is what a kind of deletion does to a row, a set and the memory, as conditions and expressions of the statement.
type remembering struct {
	carried       string                // columns that s has besides
	latest        string                // the memory takes it, whatever becomes of the row
	also          string                // the memory takes something else of it
	deletes       func(r string) string // it comes after the event that wrote a row of the target, or brought a set
	version       string                // that the memory takes
	offset        string                // the same
	names, values string                // of other columns of the memory that it takes
	later         string                // its place comes instead of the one that the memory has
	sets          string                // what else it changes in the memory
}

// tombstone: a tombstone that is the latest of its key is remembered. It deletes the row if it
// comes after the row's event and is not an old one seen again; the offset order
// within a partition always stands. The memory takes the deleted row's version
// (rule 11), and nothing lowers what it holds. A row that outlived the deletion before the tombstone outlives that, too.
func tombstone(t *tables.Table) (r remembering) {
	key := pgname.Quote(t.Columns[t.Key[0]].Name)
	if t.Version >= 0 {
		r.carried = "t." + pgname.Quote(t.Columns[t.Version].Name) + " as _oncesink_version,\n         "
		r.version = "case when s.deletes then s._oncesink_version end"
	}
	r.latest = fmt.Sprintf("m.%s is null or (%s) > (%s)", key, Place("e", false), Place("m", true))
	r.deletes = func(row string) string {
		return fmt.Sprintf("%s.%s is not null and (%s) > (%s)\n         and (%s or e.%s = %s.%s)",
			row, key, Place("e", false), Place(row, true), r.latest, tables.SourceColumn, row, tables.SourceColumn)
	}
	r.later = fmt.Sprintf("(%s) > (%s)", Place("excluded", false), Place("m", true))
	if t.TombstonesFollow {
		deletes := r.deletes
		r.deletes = func(row string) string { return deletes(row) + "\n         and not " + outlived() }
	}
	if t.VersionedDeletes {
		r.names, r.values = ", "+tables.VersionedColumn, ", false"
	}
	r.offset = "s." + tables.OffsetColumn
	return r
}

// outlived is whether the memory says of the row t that it outlived a deletion which stands behind its event in the partition of e.
func outlived() string {
	return fmt.Sprintf("((m.%[3]s, m.%[4]s, e.%[1]s) = (t.%[1]s, t.%[2]s, t.%[1]s)) is true",
		tables.SourceColumn, tables.OffsetColumn, tables.OutlivedSourceColumn, tables.OutlivedOffsetColumn)
}

// versionedDelete: a deletion with a version is decided as an upsert would be. Where the row stays, it need not be remembered: the row is a
// later one than whatever comes before the deletion; but for sets, which the row does not stand for. What is remembered without a
// version keeps its place, if that is a later one: it holds back what came before it in its partition.
//
// A row that stays although its event stands before the deletion, in its partition, has outlived it: the deletion is an old one that was sent
// again. Where a tombstone follows each deletion, which has no version to be told by, the memory says which row that is, once. If nothing was
// remembered of the key, that takes the place of the row's own event, without a version, and holds back nothing.
func versionedDelete(t *tables.Table) (r remembering) {
	key := pgname.Quote(t.Columns[t.Key[0]].Name)
	r.latest = fmt.Sprintf("(m.%s is null or %s)", key, newer(t, "e", "m"))
	if len(t.Children) == 0 {
		r.latest += fmt.Sprintf(" and t.%s is null", key)
	}
	r.deletes = func(row string) string {
		return fmt.Sprintf("%s.%s is not null and %s", row, key, newer(t, "e", row))
	}
	v := pgname.Quote(t.Columns[t.Version].Name)
	r.version, r.offset = "s."+v, "s."+tables.OffsetColumn
	r.later = fmt.Sprintf("(m.%s and %s or (%s) > (%s))", tables.VersionedColumn, newer(t, "excluded", "m"), Place("excluded", false), Place("m", true))
	r.names, r.values = ", "+tables.VersionedColumn, ", true"
	if !t.TombstonesFollow {
		return r
	}
	outlives := fmt.Sprintf("t.%[1]s = e.%[1]s and t.%[2]s < e.%[2]s and not %[3]s and not %[4]s", tables.SourceColumn, tables.OffsetColumn, newer(t, "e", "t"), outlived())
	r.carried = fmt.Sprintf("case when %s\n         then t.%s end as %s,\n         ", outlives, tables.OffsetColumn, tables.OutlivedOffsetColumn)
	r.also = fmt.Sprintf(" or s.%s is not null", tables.OutlivedOffsetColumn)
	r.version = "case when s.latest or s.deletes then s." + v + " end" // null tells in what is excluded that it is a row's place
	r.offset = fmt.Sprintf("case when s.latest or s.deletes then s.%s else s.%s end", tables.OffsetColumn, tables.OutlivedOffsetColumn)
	r.later = fmt.Sprintf("excluded.%s is not null and %s", v, r.later)
	r.names += fmt.Sprintf(", %s, %s", tables.OutlivedSourceColumn, tables.OutlivedOffsetColumn)
	r.values += fmt.Sprintf(", case when s.%[2]s is not null then s.%[1]s end, s.%[2]s", tables.SourceColumn, tables.OutlivedOffsetColumn)
	for _, c := range []string{tables.OutlivedSourceColumn, tables.OutlivedOffsetColumn} {
		r.sets += fmt.Sprintf(",\n       %[1]s = coalesce(excluded.%[1]s, m.%[1]s)", c)
	}
	return r
}
