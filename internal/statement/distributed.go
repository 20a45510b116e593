package statement

import (
	"fmt"
	"strings"

	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/tables"
)

// The statements of a table whose rows Citus keeps on other nodes. They say what those of other tables say, in forms that
// it distributes: no correlated subquery over events, and no lock of rows by a part of a statement. So the events are e, which
// stays on the coordinator; what they meet in a table is found by a join of both, a part of the statement for each table; and
// the rest puts those parts together, on the coordinator again. A join on equal keys is done where the rows are, by their index.
//
// An insert does not look before it writes: the guard on `on conflict` decides, and locks what it decides about. Rows are locked
// in the order of keys within a shard, and in none between shards: Citus finds deadlocks between nodes.

// spread is a statement that grows.
type spread struct {
	strings.Builder
	t *tables.Table
}

// spreadEvents begins a statement with the events e, or, with a head, an insert of what follows.
func spreadEvents(t *tables.Table, s Shape, head string) *spread {
	q := &spread{t: t}
	q.WriteString(head + "with e as materialized ")
	eventRows(t, &q.Builder, s, true)
	return q
}

// meet adds a part with the events that meet rows of a table, which has its alias, under a condition, and what it says of them.
func (q *spread) meet(part, table, condition, says string) {
	if says != "" {
		says = ", " + says
	}
	fmt.Fprintf(q, ", %s as materialized (\n  select e._oncesink_n%s\n    from e join %s on %s\n)", part, says, table, condition)
}

// hold adds the part of events that a remembered deletion holds back, if there is a memory.
func (q *spread) hold() {
	if q.t.Memory != "" {
		q.meet("held", q.t.Memory+" m", fmt.Sprintf("%s\n   and (%s) is false", SameKey(q.t, "m", "e"), afterMemory(q.t, "m")), "")
	}
}

// from joins the events with parts by their numbers, those that are held back among them.
func (q *spread) from(parts ...string) {
	q.WriteString("\n  from e")
	if q.t.Memory != "" {
		parts = append(parts, "held")
	}
	for _, p := range parts {
		fmt.Fprintf(q, " left join %s using (_oncesink_n)", p)
	}
}

// free are conditions: those that are given, and that nothing holds the event back.
func (q *spread) free(conds ...string) string {
	if q.t.Memory != "" {
		conds = append(conds, "held._oncesink_n is null")
	}
	return where(conds)
}

// spreadLook is Look and LookAgain: says is what is to be said of an event e and its row t.
func spreadLook(t *tables.Table, s Shape, same, says string) string {
	q := spreadEvents(t, s, "")
	q.meet("met", t.Quoted()+" t", same, says+" as says")
	q.hold()
	held := ""
	if t.Memory != "" {
		held = fmt.Sprintf("case when held._oncesink_n is not null then '%c' end, ", SaysLoses)
	}
	fmt.Fprintf(q, "\nselect string_agg(coalesce(%smet.says, '%c'), '' order by e._oncesink_n)", held, SaysAbsent)
	q.from("met")
	return q.String()
}

// spreadPresence says for each event whether a table has a row of its key.
func spreadPresence(t *tables.Table, s Shape, table string) string {
	q := spreadEvents(t, s, "")
	q.meet("met", table+" t", SameKey(t, "t", "e"), "")
	fmt.Fprintf(q, "\nselect string_agg(case when met._oncesink_n is null then '%c' else '%c' end, '' order by e._oncesink_n)\n  from e left join met using (_oncesink_n)", SaysAbsent, SaysWins)
	return q.String()
}

// spreadInsert inserts events that nothing holds back; absent ones alone where that is asked for.
func spreadInsert(t *tables.Table, s Shape, absent bool) *spread {
	var head strings.Builder
	insertHead(t, &head, s)
	q := spreadEvents(t, s, head.String())
	if absent {
		q.meet("met", t.Quoted()+" t", SameKey(t, "t", "e"), "")
	}
	q.hold()
	fmt.Fprintf(q, "\nselect %s", valueList(t, s))
	if absent {
		q.from("met")
		q.WriteString(q.free("met._oncesink_n is null"))
	} else {
		q.from()
		q.WriteString(q.free())
	}
	q.WriteString("\n order by e._oncesink_n")
	return q
}

// spreadUpdate is Update.
func spreadUpdate(t *tables.Table, s Shape, sets string) string {
	q := spreadEvents(t, s, "")
	rows := "e"
	if t.Memory != "" {
		q.hold()
		fmt.Fprintf(q, ", free as materialized (\n  select e.*")
		q.from()
		q.WriteString(q.free() + "\n)")
		rows = "free e"
	}
	fmt.Fprintf(q, "\nupdate %s t set %s\n  from %s\n where %s", t.Quoted(), sets, rows, SameKey(t, "t", "e"))
	if n := newer(t, "e", "t"); n != "true" {
		fmt.Fprintf(q, "\n   and %s", n)
	}
	return q.String()
}

// spreadRequire is Require.
func spreadRequire(t *tables.Table, s Shape) string {
	q := spreadEvents(t, s, "")
	q.meet("met", t.Quoted()+" t", SameKey(t, "t", "e"), "")
	q.hold()
	fmt.Fprintf(q, "\nselect oncesink.withheld(%s)", pgname.Literal(strings.Join(namesOf(t, s.Withheld), ", ")))
	q.from("met")
	q.WriteString(q.free("met._oncesink_n is null"))
	return q.String()
}

// spreadDelete is Delete.
func spreadDelete(t *tables.Table, s Shape) string {
	q := spreadEvents(t, s, "")
	fmt.Fprintf(q, "\ndelete from %s t\n using e\n where %s", t.Quoted(), SameKey(t, "t", "e"))
	if n := newer(t, "e", "t"); versioned(t, s) && n != "true" {
		fmt.Fprintf(q, "\n   and %s", n)
	}
	return q.String()
}

// spreadClaim is ClaimSet. It locks the sets that it finds, whoever has them: so whoever changes children has their set's lock.
func spreadClaim(t *tables.Table, s Shape, head, values string) string {
	q := spreadEvents(t, s, head)
	q.meet("met", t.Quoted()+" t", SameKey(t, "t", "e"), "")
	q.hold()
	q.WriteString("\nselect " + values)
	q.from("met")
	q.WriteString(q.free("met._oncesink_n is not null") + "\n order by e._oncesink_n")
	return q.String()
}

// spreadDeleteStale is DeleteStale.
func spreadDeleteStale(t *tables.Table, c *tables.Table, s Shape) string {
	q := spreadEvents(t, s, "")
	fmt.Fprintf(q, ", own as materialized (\n  select e.*\n    from e join %s m on %s and %s\n)", c.SetsTable, SameKey(t, "m", "e"), SamePlace("m", "e"))
	fmt.Fprintf(q, "\ndelete from %s c using own\n where %s and (c.%s, c.%s) is distinct from (own.%s, own.%s)", c.Quoted(), ofParent(c, "c", "own"),
		tables.SourceColumn, tables.OffsetColumn, tables.SourceColumn, tables.OffsetColumn)
	return q.String()
}

// spreadInsertChildren is InsertChildren.
func spreadInsertChildren(t *tables.Table, s Shape) string {
	var head strings.Builder
	insertHead(t, &head, s)
	q := spreadEvents(t, s, head.String())
	q.meet("own", t.SetsTable+" m", ofParent(t, "e", "m")+" and "+SamePlace("m", "e"), "")
	fmt.Fprintf(q, "\nselect %s\n  from e join own using (_oncesink_n)\n order by e._oncesink_n\n    on conflict (%s) do nothing", valueList(t, s), keyList(t, ""))
	return q.String()
}
