package statement

import (
	"fmt"
	"slices"

	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/tables"
)

// Read is a query that reads texts as values of a type: by a cast, or as a column of that type takes them, which refuses what
// a cast cuts off.
func Read(c *pgtext.Type, assigned bool) string {
	if !assigned {
		return "select t::" + c.Declared + " from unnest($1::text[]) a(t)"
	}
	return "select " + taken(c, "t") + " from unnest($1::text[]) a(t)"
}

// ReadComputed is a query that computes column i of the events of a shape, and reads what it gives as the column takes it.
func ReadComputed(t *tables.Table, s Shape, i int) string {
	if !slices.Contains(s.Columns, i) {
		return ""
	}
	c := &t.Columns[i]
	return Ask(t, s, "("+taken(&c.Type, fmt.Sprintf("(e.%s)::text", pgname.Quote(c.Name)))+" is null)::text")
}

// taken is a text as a column takes it. The functions that make a record of JSON give each text of it to its type's input
// function, with the column's length; those of JSON they would take for a JSON string.
func taken(c *pgtext.Type, text string) string {
	if c.Kind == pgtext.KindJSON && !c.Array {
		return text + "::" + c.Declared
	}
	return fmt.Sprintf("(select r.v from json_to_record(json_build_object('v', %s)) as r(v %s))", text, c.Declared)
}
