package statement

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// What a look says of an event.
const (
	SaysAbsent = '0' // there is no row of its key, nor a remembered tombstone that holds it back
	SaysWins   = '1' // there is one, and the event may come after it
	SaysLoses  = '2' // the row, or a remembered tombstone, comes after the event: nothing to do, ever (rule 20)
)

// LookShape has the columns that a look compares.
func LookShape(t *tables.Table) Shape {
	s := Shape{Columns: slices.Clone(t.Key)}
	if t.Version >= 0 {
		s.Columns = append(s.Columns, t.Version)
	}
	slices.Sort(s.Columns)
	return s
}

// Look asks for each event what there is of its key. It answers with one text,
// a character for each event. It locks nothing. The memory stays as it is until the end of the transaction, which
// has the table's advisory lock.
func Look(t *tables.Table, s Shape) string {
	same, wins := SameKey(t, "t", "e"), newer(t, "e", "t")
	if t.Strategy == sink.Append {
		same = fmt.Sprintf("t.%s = e.%s and t.%s = e.%s", tables.SourceColumn, tables.SourceColumn, tables.OffsetColumn, tables.OffsetColumn)
		wins = "false"
	}
	if t.Distributed {
		return spreadLook(t, s, same, fmt.Sprintf("case when %s then '%c' else '%c' end", wins, SaysWins, SaysLoses))
	}
	says := fmt.Sprintf("coalesce((select case when %s then '%c' else '%c' end\n         from %s t where %s), '%c')",
		wins, SaysWins, SaysLoses, t.Quoted(), same, SaysAbsent)
	if t.Memory != "" {
		says = fmt.Sprintf("case when %s\n       then %s else '%c' end", remembered(t), says, SaysLoses)
	}
	return Ask(t, s, says)
}

// SaysThere is the answer of a LookAgain: the row is the event's own.
const SaysThere = '3'

// LookAgain is Look for events that come late: where the event loses it also says whether the row is what the event itself has
// made, and nothing that came after it.
func LookAgain(t *tables.Table, s Shape) string {
	if t.Distributed {
		return spreadLook(t, s, SameKey(t, "t", "e"), fmt.Sprintf("case when %s then '%c' when %s then '%c' else '%c' end", newer(t, "e", "t"), SaysWins, SamePlace("t", "e"), SaysThere, SaysLoses))
	}
	says := fmt.Sprintf("coalesce((select case when %s then '%c' when %s then '%c' else '%c' end\n         from %s t where %s), '%c')",
		newer(t, "e", "t"), SaysWins, SamePlace("t", "e"), SaysThere, SaysLoses, t.Quoted(), SameKey(t, "t", "e"), SaysAbsent)
	if t.Memory != "" {
		says = fmt.Sprintf("case when %s\n       then %s else '%c' end", remembered(t), says, SaysLoses)
	}
	return Ask(t, s, says)
}

// LookIntoMemory asks for each event whether a tombstone of its key is remembered.
func LookIntoMemory(t *tables.Table, s Shape) string {
	return hasKey(t, s, t.Memory)
}

// LookForKey asks for each event whether there is a row of its key.
func LookForKey(t *tables.Table, s Shape) string { return hasKey(t, s, t.Quoted()) }

// hasKey asks for each event whether a table has its key.
func hasKey(t *tables.Table, s Shape, table string) string {
	if t.Distributed {
		return spreadPresence(t, s, table)
	}
	return Ask(t, s, fmt.Sprintf("case when exists (select from %s t where %s) then '%c' else '%c' end", table, SameKey(t, "t", "e"), SaysWins, SaysAbsent))
}

// Ask is a query that answers with what says is for each event, in their order.
func Ask(t *tables.Table, s Shape, says string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "select string_agg(%s, '' order by e._oncesink_n)\n  from ", says)
	eventRows(t, &b, s, true)
	b.WriteString(" e")
	return b.String()
}
