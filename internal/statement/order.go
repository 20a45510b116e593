package statement

import (
	"fmt"

	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/offsets"
)

// The order of the guard (rule 11): version, generation, offset, source. Whoever compares events in SQL does it
// by these functions.

// generation is that of a source number.
func generation(source string) string { return fmt.Sprintf("%s >> %d", source, offsets.SourceBits) }

// Place lists what tells where an event stands among events of equal version: generation,
// offset, source. Alias is the row that has the engine's columns. Of a stored row they may be null, which comes before
// everything.
func Place(alias string, stored bool) string {
	src, off := alias+"."+tables.SourceColumn, alias+"."+tables.OffsetColumn
	if !stored {
		return fmt.Sprintf("%s, %s, %s", generation(src), off, src)
	}
	return fmt.Sprintf("coalesce(%s, -1), coalesce(%s, -1), coalesce(%s, -1)", generation(src), off, src)
}

// LatestFirst is what `order by` takes to have the latest of rows first whose engine's columns are not null. Version
// is the quoted name of their version column; "" without.
func LatestFirst(version string) string {
	order := fmt.Sprintf("%s desc, %s desc, %s desc", generation(tables.SourceColumn), tables.OffsetColumn, tables.SourceColumn)
	if version != "" {
		order = version + " desc nulls last, " + order
	}
	return order
}

// Newer is whether e comes after the stored state r in the order of the guard: by the version column, "" if there is
// none, and the place. It is never null.
func Newer(version, e, r string) string {
	if version == "" {
		return fmt.Sprintf("(%s) > (%s)", Place(e, false), Place(r, true))
	}
	v := pgname.Quote(version)
	return fmt.Sprintf("(%s.%s is null or (%s.%s, %s) > (%s.%s, %s))", r, v, e, v, Place(e, false), r, v, Place(r, true))
}

// newer is whether the upsert e comes after the stored state r. It is never null.
func newer(t *tables.Table, e, r string) string {
	switch {
	case t.Guarded && t.Version >= 0:
		return Newer(t.Columns[t.Version].Name, e, r)
	case t.Guarded:
		return Newer("", e, r)
	case t.Version >= 0:
		v := pgname.Quote(t.Columns[t.Version].Name)
		return fmt.Sprintf("(%s.%s is null or %s.%s >= %s.%s)", r, v, e, v, r, v)
	}
	return "true"
}

// SamePlace is the condition that two rows come from one event.
func SamePlace(a, b string) string {
	return fmt.Sprintf("%s.%s = %s.%s and %s.%s = %s.%s", a, tables.SourceColumn, b, tables.SourceColumn, a, tables.OffsetColumn, b, tables.OffsetColumn)
}
