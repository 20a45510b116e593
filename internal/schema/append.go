package schema

import (
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/tables"
)

// appendIndex makes the unique index by which events are told that are in a table already, unless it has one that serves. A table that
// is kept in parts has the columns in it by which rows find theirs: no unique index there can do without. One of these that may
// be null asks for an index to which two nulls are the same.
const appendIndex = `do $init$ declare t regclass = TABLE; parts name[]; more name[]; open boolean; begin
	-- The columns by which the table is kept in parts.
	parts := array(select a.attname from pg_partitioned_table p, unnest(p.partattrs::int2[]) with ordinality as k(attnum, n), pg_attribute a
	                where p.partrelid = t and a.attrelid = t and a.attnum = k.attnum order by k.n);
	if to_regclass('timescaledb_information.dimensions') is not null then
		parts := parts || array(select d.column_name from timescaledb_information.dimensions d, pg_class c join pg_namespace n on n.oid = c.relnamespace
		                         where c.oid = t and d.hypertable_schema = n.nspname and d.hypertable_name = c.relname order by d.dimension_number);
	end if;
	open := exists (select from pg_attribute a where a.attrelid = t and a.attname = any (parts) and a.attname not in ('SOURCE', 'OFFSET') and not a.attnotnull);
	if to_regclass('pg_catalog.pg_dist_partition') is not null then -- Citus, which refuses a row without its column
		execute 'select array_agg(column_to_column_name(logicalrelid, partkey)) from pg_dist_partition where partmethod <> ''n'' and logicalrelid = $1' into more using t;
	end if;
	parts := array(select p from unnest(parts || more) with ordinality as x(p, n) where p not in ('SOURCE', 'OFFSET') order by n);
	if not exists (
		select from pg_index i
		  join lateral (select array_agg(a.attname) as names, bool_or(a.attname = any (parts) and a.attname <> all (coalesce(more, '{}')) and not a.attnotnull) as open
		                  from unnest(i.indkey::int2[]) with ordinality as k(attnum, n) join pg_attribute a on a.attrelid = t and a.attnum = k.attnum
		                 where k.n <= i.indnkeyatts) has on true
		 where i.indrelid = t and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null
		   and has.names @> array['SOURCE', 'OFFSET']::name[] and has.names <@ (array['SOURCE', 'OFFSET']::name[] || parts)
		   and (not has.open or coalesce((to_jsonb(i)->>'indnullsnotdistinct')::boolean, false))
	) then
		execute format('create unique index %I on %s (SOURCE, OFFSET%s)%s', INDEX, t,
		               (select string_agg(', ' || quote_ident(p), '' order by n) from unnest(parts) with ordinality as x(p, n)),
		               case when open then ' nulls not distinct' end);
	end if;
end $init$`

// appendScript is it for one table.
func appendScript(schema, name string) string {
	return strings.NewReplacer("TABLE", pgname.Literal(pgx.Identifier{schema, name}.Sanitize()), "INDEX", pgname.Literal(indexName(name)),
		"SOURCE", tables.SourceColumn, "OFFSET", tables.OffsetColumn).Replace(appendIndex)
}
