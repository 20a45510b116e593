package sinktest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// snapshot is the rows of tables, sorted, each as text.
type snapshot map[string][]string

// catalog says which tables to compare and how to read them.
type catalog struct {
	tables []string          // as reported
	query  map[string]string // of each
	ignore map[string]bool   // "schema.table.column"
}

// deadLetters is read as a table: what is in a dead letter that depends on the record alone.
const deadLetters = "oncesink.dead_letters"

const deadLettersSQL = `select topic, partition, "offset", code, target, column_name as "column", constraint_name as "constraint" from oncesink.dead_letters`

// allTables are those that the case has made: neither the server's, nor the sink's, nor an extension's.
const allTables = `select n.nspname, c.relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p') and not c.relispartition
   and n.nspname not in ('information_schema', 'oncesink') and n.nspname not like 'pg\_%'
   and not exists (select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
 order by 1, 2`

// readCatalog finds the tables in the database of the reference run.
func readCatalog(ctx context.Context, conn *pgx.Conn, c *Case) (*catalog, error) {
	if err := prepare(ctx, conn, c); err != nil {
		return nil, err
	}
	var names []pgx.Identifier
	if len(c.Tables) == 0 {
		rows, err := conn.Query(ctx, allTables, pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			return nil, err
		}
		if names, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (pgx.Identifier, error) {
			var schema, table string
			err := row.Scan(&schema, &table)
			return pgx.Identifier{schema, table}, err
		}); err != nil {
			return nil, err
		}
	}
	for _, t := range c.Tables {
		name := split(t)
		if len(name) == 1 { // in the first schema of the search path that has it
			var schema string
			err := conn.QueryRow(ctx, "select n.nspname from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.oid = to_regclass($1::text)",
				name.Sanitize()).Scan(&schema)
			if err != nil {
				return nil, fmt.Errorf("field Tables names %s: there is no such table", t)
			}
			name = append(pgx.Identifier{schema}, name...)
		}
		names = append(names, name)
	}
	cat := &catalog{query: map[string]string{deadLetters: deadLettersSQL}, ignore: map[string]bool{}}
	for _, name := range names {
		title := strings.TrimPrefix(strings.Join(name, "."), "public.")
		cat.tables = append(cat.tables, title)
		cat.query[title] = "select * from " + name.Sanitize()
	}
	if len(cat.tables) == 0 {
		return nil, fmt.Errorf("there is no table to compare: Setup or Config makes none")
	}
	for _, column := range c.Ignore {
		cat.ignore[strings.TrimPrefix(column, "public.")] = true
	}
	cat.tables = append(cat.tables, deadLetters)
	return cat, nil
}

// split takes the name of a table apart as package sink does: what isn't in double
// quotes is taken as it is.
func split(name string) pgx.Identifier {
	var out pgx.Identifier
	var part strings.Builder
	quoted := false
	for i := 0; i < len(name); i++ {
		switch {
		case name[i] == '"' && quoted && i+1 < len(name) && name[i+1] == '"':
			part.WriteByte('"')
			i++
		case name[i] == '"':
			quoted = !quoted
		case name[i] == '.' && !quoted:
			out = append(out, part.String())
			part.Reset()
		default:
			part.WriteByte(name[i])
		}
	}
	return append(out, part.String())
}

// prepare makes a session print values in one way, whatever the role's settings are.
func prepare(ctx context.Context, conn *pgx.Conn, c *Case) error {
	path := c.Config.SearchPath
	if path == "" {
		path = "public"
	}
	_, err := conn.Exec(ctx, `select set_config('search_path', $1, false), set_config('TimeZone', 'UTC', false), set_config('DateStyle', 'ISO, YMD', false),
		set_config('IntervalStyle', 'iso_8601', false), set_config('extra_float_digits', '1', false), set_config('bytea_output', 'hex', false)`,
		pgx.QueryExecModeSimpleProtocol, path)
	return err
}

// read reads the tables.
func (cat *catalog) read(ctx context.Context, conn *pgx.Conn, c *Case) (snapshot, error) {
	if err := prepare(ctx, conn, c); err != nil {
		return nil, err
	}
	out := snapshot{}
	used := map[string]bool{}
	for _, title := range cat.tables {
		// In text, as psql shows them.
		rows, err := conn.Query(ctx, cat.query[title], pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			return nil, fmt.Errorf("read table %s: %w", title, err)
		}
		var keep []bool
		for _, f := range rows.FieldDescriptions() {
			column := title + "." + f.Name
			used[column] = true
			keep = append(keep, !cat.ignore[column])
		}
		lines, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
			var fields []string
			for i, f := range row.FieldDescriptions() {
				if keep[i] {
					fields = append(fields, f.Name+"="+text(row.RawValues()[i]))
				}
			}
			return strings.Join(fields, " "), nil
		})
		if err != nil {
			return nil, fmt.Errorf("read table %s: %w", title, err)
		}
		slices.Sort(lines)
		out[title] = lines
	}
	for column := range cat.ignore {
		if !used[column] {
			return nil, fmt.Errorf("field Ignore names %s: no table that is compared has it", column)
		}
	}
	return out, nil
}

// text is a value as it is shown: quoted where it could be taken for something else.
func text(v []byte) string {
	s := string(v)
	switch {
	case v == nil:
		return "null"
	case s == "" || s == "null" || strings.ContainsAny(s, " \"=\t\r\n"):
		return fmt.Sprintf("%q", s)
	}
	return s
}

// rows is how many there are, dead letters left out.
func (s snapshot) rows() int {
	n := 0
	for title, rows := range s {
		if title != deadLetters {
			n += len(rows)
		}
	}
	return n
}

// diff says in which tables got differs from want.
func diff(want, got snapshot, tables []string) []TableDiff {
	var out []TableDiff
	for _, title := range tables {
		d := TableDiff{Table: title}
		w, g := want[title], got[title]
		for len(w) > 0 || len(g) > 0 {
			switch {
			case len(g) == 0 || len(w) > 0 && w[0] < g[0]:
				d.Missing = append(d.Missing, w[0])
				w = w[1:]
			case len(w) == 0 || g[0] < w[0]:
				d.Extra = append(d.Extra, g[0])
				g = g[1:]
			default:
				w, g = w[1:], g[1:]
			}
		}
		if len(d.Missing)+len(d.Extra) > 0 {
			out = append(out, d)
		}
	}
	return out
}
