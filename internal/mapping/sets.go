package mapping

import (
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// The set memory of a table of children has a row for each row of the parent that has, or had, children: the event
// that brought them, with the parent's version. An event with the array claims the set if it comes after that
// one by the order of the guard, whether it won the row of the parent or not; what it then says is
// the set. So sets come out the same in whatever order events arrive, and an event that is seen again finds
// its set, and puts back what is missing of it.

// SetsName names the set memory of a table of children in schema oncesink.
func SetsName(schema, table string) string { return pgname.Short(schema+"."+table, " sets") }

// SetMemory is that of a table of children.
func SetMemory(schema, name string, tc *sink.TableConfig, parentSchema, parentName string, parent *sink.TableConfig) Memory {
	return Memory{what: "set memory", name: SetsName(schema, name), schema: parentSchema, table: parentName,
		key: parent.Key, version: parent.Version, privileges: setMemoryPrivileges,
		Fill: setFill(pgx.Identifier{schema, name}.Sanitize(), tc, pgx.Identifier{parentSchema, parentName}.Sanitize(), parent)}
}

// setFill reads from children that are there which events brought them. The version is known where
// the same event wrote the parent last.
func setFill(children string, tc *sink.TableConfig, rows string, parent *sink.TableConfig) string {
	var keys, same, out []string
	for _, k := range parent.Key {
		own := OwnColumn(tc, k)
		keys = append(keys, pgname.Quote(own))
		same = append(same, fmt.Sprintf("p.%s = c.%s", pgname.Quote(k), pgname.Quote(own)))
		out = append(out, "p."+pgname.Quote(k))
	}
	if parent.Version != "" {
		out = append(out, fmt.Sprintf("case when %s then p.%s end", statement.SamePlace("p", "c"), pgname.Quote(parent.Version)))
	}
	list := strings.Join(keys, ", ")
	return fmt.Sprintf(`select %s, c.%s, c.%s
		  from (select distinct on (%s) %s, %s, %s from %s where %s is not null and %s is not null
		         order by %s, %s) c join %s p on %s`,
		strings.Join(out, ", "), tables.SourceColumn, tables.OffsetColumn, list, list, tables.SourceColumn, tables.OffsetColumn, children, tables.SourceColumn, tables.OffsetColumn,
		list, statement.LatestFirst(""), rows, strings.Join(same, " and "))
}

// ParentOf is the entry of the parent, among those before its children's: Open refuses any other.
func ParentOf(tables []sink.TableConfig, tc *sink.TableConfig) *sink.TableConfig {
	for i := range tables {
		switch p := &tables[i]; {
		case p.Name == tc.Name:
			return nil
		case p.Name == tc.Parent && p.Strategy == sink.Upsert && p.Guard != sink.GuardNone:
			return p
		}
	}
	return nil
}
