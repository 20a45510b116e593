package ddl

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/sink"
)

// SQL is the statement that creates the table, with comments. The same schemas make the same text.
func (t *Table) SQL() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("-- %s, by %s.", clean(t.Name), clean(strings.Join(t.From, "; ")))
	if len(t.Open) > 0 {
		line("-- What stands below the columns as a comment has no type without doubt: decide.")
	}
	for _, f := range t.LeftOut {
		line("-- No column for field %s.", f)
	}
	line("create table %s (", t.quoted())
	names, types := 0, 0
	for _, c := range t.Columns {
		names, types = max(names, len(pgname.Readable(c.Name))), max(types, len(c.definition())+1)
	}
	for i, c := range t.Columns {
		typ := c.definition()
		if i < len(t.Columns)-1 || len(t.Key) > 0 {
			typ += ","
		}
		text := fmt.Sprintf("    %-*s %-*s -- %s", names, pgname.Readable(c.Name), types, typ, c.Why)
		line("%s", strings.TrimRight(strings.TrimSuffix(text, "-- "), " "))
	}
	for _, o := range t.Open {
		line("    -- %s", o)
	}
	if len(t.Key) == 0 {
		b.WriteString(")")
		return b.String()
	}
	line("    primary key (%s)", strings.Join(readable(t.Key), ", "))
	b.WriteString(") with (fillfactor = 50)") // room on each page for the next version of its rows
	return b.String()
}

func (c *Column) definition() string {
	if c.NotNull {
		return c.Type + " not null"
	}
	return c.Type
}

// quoted is the table's name in SQL.
func (t *Table) quoted() string {
	schema, name, err := pgname.Split(t.Name)
	switch {
	case err != nil: // the configuration was checked
		return pgname.Quote(t.Name)
	case schema == "":
		return pgname.Readable(name)
	}
	return pgname.Readable(schema) + "." + pgname.Readable(name)
}

func readable(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = pgname.Readable(n)
	}
	return out
}

// clean is a text of a schema's in a comment, which no character of it may end.
func clean(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }), " ")
}

func (o Open) String() string { return clean(o.Column) + ": " + clean(o.Why) }

// Undecided says what keeps the statement from being executed as it is: columns that the configuration speaks of and that have no
// type. Fields that nobody has asked for by name just have no column.
func (t *Table) Undecided(tc *sink.TableConfig) (columns []string) {
	named := Sources(tc)
	for _, o := range t.Open {
		if _, ok := named[o.Column]; ok {
			columns = append(columns, o.String())
		}
	}
	return columns
}
