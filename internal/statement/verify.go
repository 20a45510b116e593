package statement

import (
	"fmt"
	"strings"

	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// What a comparison says of a row and the event at its place.
const (
	SaysGone    = "gone"    // there is no such row by now
	SaysMoved   = "moved"   // another event wrote it meanwhile
	SaysOther   = "other"   // the event is of another key
	SaysUnlike  = "unlike"  // a value is not what the event says
	SaysStray   = "stray"   // of children: the row is another event's
	SaysCorrect = "correct" // each value that the event has is the row's
)

// KeyColumn names a row, as text and by the type that the text is read as.
type KeyColumn struct{ Name, Type string }

// KeyColumns are those that name a row of the table: its key, or its place where it appends.
func KeyColumns(t *tables.Table) (key []KeyColumn) {
	if t.Strategy == sink.Append {
		return []KeyColumn{{tables.SourceColumn, "integer"}, {tables.OffsetColumn, "bigint"}}
	}
	for _, k := range t.Key {
		key = append(key, KeyColumn{pgname.Quote(t.Columns[k].Name), castType(t, k)})
	}
	return key
}

// Keys are rows k of keys, typed, of parameters from the given one on: an array of texts for each column. They are numbered.
func Keys(key []KeyColumn, from int) string {
	var out, args, names []string
	for i, c := range key {
		args = append(args, fmt.Sprintf("$%d::text[]", from+i))
		names = append(names, fmt.Sprintf("k%d", i+1))
		out = append(out, fmt.Sprintf("a.k%d::%s as %s", i+1, c.Type, c.Name))
	}
	return fmt.Sprintf("(\n  select %s, a.n as _oncesink_n from unnest(%s) with ordinality as a(%s, n)\n)", strings.Join(out, ", "), strings.Join(args, ", "), strings.Join(names, ", "))
}

// Texts are the key of the row r as an array of texts.
func Texts(key []KeyColumn, r string) string {
	var out []string
	for _, c := range key {
		out = append(out, r+"."+c.Name+"::text")
	}
	return "array[" + strings.Join(out, ", ") + "]"
}

// SameKeys is the condition that two rows have one key.
func SameKeys(key []KeyColumn, a, b string) string {
	var conds []string
	for _, c := range key {
		conds = append(conds, fmt.Sprintf("%s.%s = %s.%s", a, c.Name, b, c.Name))
	}
	return strings.Join(conds, " and ")
}

// CompareRows compares events with the rows that say they are theirs: the number of the event, from 1, what is said, and which columns
// are unlike. Beside the parameters of the events it takes the keys of those rows, in the same order.
func CompareRows(t *tables.Table, s Shape) string {
	key := KeyColumns(t)
	unlike, columns := unlikeEvent(t, s, "t")
	other := "not (" + SameKeys(key, "t", "e") + ")"
	var b strings.Builder
	fmt.Fprintf(&b, "select e._oncesink_n, x.says, case x.says when '%s' then %s end\n  from ", SaysUnlike, columns)
	eventRows(t, &b, s, true)
	fmt.Fprintf(&b, " e\n  join %s k on k._oncesink_n = e._oncesink_n\n  left join %s t on %s", Keys(key, parameters(t, s)+1), t.Quoted(), SameKeys(key, "t", "k"))
	fmt.Fprintf(&b, "\n  cross join lateral (select case when t.%s is null then '%s' when (%s) is not true then '%s' when %s then '%s' when %s then '%s' else '%s' end as says) x",
		key[0].Name, SaysGone, SamePlace("t", "e"), SaysMoved, other, SaysOther, unlike, SaysUnlike, SaysCorrect)
	return b.String()
}

// ComparePlaces is CompareRows for a table of the engine beside the table, the delete memory or a set memory: only the keys are compared.
func ComparePlaces(t *tables.Table, of string, s Shape) string {
	key := KeyColumns(t)
	var b strings.Builder
	b.WriteString("select e._oncesink_n, x.says, null::text[]\n  from ")
	eventRows(t, &b, s, true)
	fmt.Fprintf(&b, " e\n  join %s k on k._oncesink_n = e._oncesink_n\n  left join %s t on %s", Keys(key, parameters(t, s)+1), of, SameKeys(key, "t", "k"))
	fmt.Fprintf(&b, "\n  cross join lateral (select case when t.%s is null then '%s' when (%s) is not true then '%s' when not (%s) then '%s' else '%s' end as says) x",
		key[0].Name, SaysGone, SamePlace("t", "e"), SaysMoved, SameKeys(key, "t", "e"), SaysOther, SaysCorrect)
	return b.String()
}

// CompareChildren compares the children that events brought with the table's, as far as the set is still the event's: moved, if it is not.
// It also lists their keys.
func CompareChildren(t *tables.Table, s Shape) string {
	key := KeyColumns(t)
	unlike, columns := unlikeEvent(t, s, "t")
	var b strings.Builder
	fmt.Fprintf(&b, "select e._oncesink_n, x.says, case x.says when '%s' then %s end, %s\n  from ", SaysUnlike, columns, Texts(key, "e"))
	eventRows(t, &b, s, true)
	fmt.Fprintf(&b, " e\n  left join %s m on %s\n  left join %s t on %s", t.SetsTable, ofParent(t, "e", "m"), t.Quoted(), SameKeys(key, "t", "e"))
	fmt.Fprintf(&b, "\n  cross join lateral (select case when (%s) is not true then '%s' when t.%s is null then '%s' when (%s) is not true then '%s' when %s then '%s' else '%s' end as says) x",
		SamePlace("m", "e"), SaysMoved, key[0].Name, SaysGone, SamePlace("t", "e"), SaysStray, unlike, SaysUnlike, SaysCorrect)
	return b.String()
}

// Sets lists for keys of the parent whose the children are: number of the key, source and offset of the set memory (null
// without), how many children are there of that event, and how many of others.
func Sets(c *tables.Table) string {
	key := KeyColumns(c.Parent)
	return fmt.Sprintf(`select k._oncesink_n, m.%[1]s, m.%[2]s,
       (select count(*) from %[3]s c where %[4]s and (c.%[1]s, c.%[2]s) is not distinct from (m.%[1]s, m.%[2]s)),
       (select count(*) from %[3]s c where %[4]s and (c.%[1]s, c.%[2]s) is distinct from (m.%[1]s, m.%[2]s))
  from %[5]s k left join %[6]s m on %[7]s`,
		tables.SourceColumn, tables.OffsetColumn, c.Quoted(), ofParent(c, "c", "k"), Keys(key, 1), c.SetsTable, SameKeys(key, "m", "k"))
}

// LookDeletions asks for each deletion whether it would do something, as SaysWins, or nothing, as SaysLoses: what was applied does
// nothing when it is seen again.
func LookDeletions(t *tables.Table, s Shape) string {
	r := tombstone(t)
	if versioned(t, s) {
		r = versionedDelete(t)
	}
	conds, joins := []string{r.latest, r.deletes("t")}, ""
	for i, c := range t.Children {
		set := fmt.Sprintf("s%d", i+1)
		conds = append(conds, r.deletes(set))
		joins += fmt.Sprintf("\n    left join %s %s on %s", c.SetsTable, set, SameKey(t, set, "e"))
	}
	for i := range conds {
		conds[i] = "(" + conds[i] + ")"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "select string_agg(case when %s then '%c' else '%c' end, '' order by e._oncesink_n)\n  from ", strings.Join(conds, " or "), SaysWins, SaysLoses)
	eventRows(t, &b, s, true)
	fmt.Fprintf(&b, " e left join %s t on %s left join %s m on %s%s", t.Quoted(), SameKey(t, "t", "e"), t.Memory, SameKey(t, "m", "e"), joins)
	return b.String()
}

// LookSets asks for each event with the array of the children whether it would take their set.
func LookSets(t, c *tables.Table, s Shape) string {
	return Ask(t, s, fmt.Sprintf("case when %s then '%c' else '%c' end", strings.Join(claims(t, c), " and "), SaysWins, SaysLoses))
}

// KeyTexts lists for each event the texts of its key, as PostgreSQL writes them.
func KeyTexts(t *tables.Table, s Shape) string {
	var b strings.Builder
	fmt.Fprintf(&b, "select e._oncesink_n, '', %s\n  from ", Texts(KeyColumns(t), "e"))
	eventRows(t, &b, s, true)
	b.WriteString(" e")
	return b.String()
}

// parameters is how many the events of a shape take.
func parameters(t *tables.Table, s Shape) (n int) {
	for _, i := range s.Columns {
		if t.Columns[i].Computed == nil {
			n++
		}
	}
	if s.Flagged {
		n++
	}
	if t.Guarded {
		n += 2
	}
	return n
}

// unlikeEvent is the condition that the row r has another value than the event e in a column that this fills, and an array of the
// names of such columns.
func unlikeEvent(t *tables.Table, s Shape, r string) (any, columns string) {
	var conds, names []string
	for _, i := range s.Columns {
		c := &t.Columns[i]
		if c.Hidden || t.Strategy != sink.Append && t.IsKey(i) {
			continue
		}
		q := pgname.Quote(c.Name)
		cond := Unlike(fmt.Sprintf("%s.%s", r, q), fmt.Sprintf("e.%s::%s", q, c.Declared), c.EqualsBytewise())
		conds = append(conds, cond)
		names = append(names, fmt.Sprintf("case when %s then %s end", cond, pgname.Literal(c.Name)))
	}
	if len(conds) == 0 {
		return "false", "null::text[]"
	}
	return "(" + strings.Join(conds, " or ") + ")", "array_remove(array[" + strings.Join(names, ", ") + "], null)"
}

// Unlike is the condition that two values are not the same, byte for byte: *<> compares any type so, and takes longer than the type's own
// operator where that says the same.
func Unlike(a, b string, bytewise bool) string {
	if bytewise {
		return a + " is distinct from " + b
	}
	return fmt.Sprintf("row(%s)::record *<> row(%s)::record", a, b)
}

// Orphan is the condition that the child t has no parent, and is of no set. A child is never without both: its set comes and goes with it.
func Orphan(c *tables.Table) string {
	return fmt.Sprintf("not exists (select from %s m where %s) and not exists (select from %s p where %s)",
		c.SetsTable, ofParent(c, "t", "m"), c.Parent.Quoted(), ofParent(c, "t", "p"))
}
