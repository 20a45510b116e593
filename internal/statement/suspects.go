package statement

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/tables"
)

// SuspectShape has what the values of columns are made of.
func SuspectShape(t *tables.Table, columns []int) Shape {
	s := Shape{Columns: slices.Clone(columns)}
	for _, i := range columns {
		if c := t.Columns[i].Computed; c != nil {
			s.Columns = append(s.Columns, c.Inputs...)
		}
	}
	slices.Sort(s.Columns)
	s.Columns = slices.Compact(s.Columns)
	return s
}

// BreakCheck asks which events break a check by the values that they have for its columns: it answers with their numbers, from 1 on, in any order, each
// but the first behind a space, and a semicolon.
func BreakCheck(t *tables.Table, s Shape, columns []int, check string) string {
	var values []string
	for _, i := range columns {
		values = append(values, stored(t, i)+" as "+pgname.Quote(t.Columns[i].Name))
	}
	return suspects(t, s, fmt.Sprintf("(select (%s) from (select %s) r) is false", check, strings.Join(values, ", ")))
}

// LackParent asks, in the same way, for which events there is no row that a foreign key asks for.
func LackParent(t *tables.Table, s Shape, columns []int, parent string, parentColumns []string) string {
	var same []string
	for k, i := range columns {
		same = append(same, fmt.Sprintf("p.%s = %s", pgname.Quote(parentColumns[k]), stored(t, i)))
	}
	return suspects(t, s, fmt.Sprintf("not exists (select from %s p where %s)", parent, strings.Join(same, " and ")))
}

// stored is the value of a column as the table would have it. What an assignment refuses, a cast may cut off: whoever asks so does not
// go by the answer alone.
func stored(t *tables.Table, i int) string {
	return fmt.Sprintf("e.%s::%s", pgname.Quote(t.Columns[i].Name), t.Columns[i].Declared)
}

// suspects is a query for the numbers of the events for which a condition is true, as one text that ends with a semicolon.
func suspects(t *tables.Table, s Shape, condition string) string {
	var b strings.Builder
	b.WriteString("select coalesce(string_agg(e._oncesink_n::text, ' '), '') || ';'\n  from ")
	eventRows(t, &b, s, true)
	b.WriteString(" e\n where " + condition)
	return b.String()
}
