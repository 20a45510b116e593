package mapping

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// Memory is a table of the engine's beside a target, in schema oncesink: a row for a key of the target, with
// a version and the place of an event. The delete memory of a table keeps its tombstones (rule 13), the set
// memory of a table of children the events that brought the sets (rule 16). What is compared with
// the target's columns has their types.
type Memory struct {
	what          string // it is
	name          string // in schema oncesink
	schema, table string // of the target
	key           []string
	version       string // "" without
	versioned     bool   // deletions may carry a version
	privileges    []string
	Fill          string // a query of what it holds to begin with; "" for nothing
}

func (m *Memory) Quoted() string { return pgx.Identifier{"oncesink", m.name}.Sanitize() }

// columns are those that the memory takes over from its target.
func (m *Memory) columns() []string {
	if m.version == "" {
		return m.key
	}
	return append(m.key[:len(m.key):len(m.key)], m.version)
}

// MemoryName names a target's delete memory in schema oncesink.
func MemoryName(schema, table string) string {
	return pgname.Short(schema+"."+table, " deletes")
}

// DeleteMemory is that of a table with tombstones.
func DeleteMemory(cfg *sink.Config, schema, name string, tc *sink.TableConfig) Memory {
	return Memory{what: "delete memory", name: MemoryName(schema, name), schema: schema, table: name,
		key: tc.Key, version: tc.Version, versioned: versionedDeletes(cfg, tc), privileges: deleteMemoryPrivileges}
}

// memoryRepair gives the columns of a memory the types of the target's: MEMORY, TARGET and COLUMNS are to be put in.
// Where they are what they should be it locks nothing.
const memoryRepair = `do $init$ declare m regclass = MEMORY; o regclass = TARGET; c record; begin
	for c in select quote_ident(t.attname) as name, a.attname is null as missing,
	                format_type(t.atttypid, t.atttypmod) as typ, coalesce(' collate ' || l.oid::regcollation, '') as collation
	           from pg_attribute t left join pg_attribute a on a.attrelid = m and a.attname = t.attname and not a.attisdropped
	           left join pg_collation l on l.oid = t.attcollation
	          where t.attrelid = o and t.attname in (COLUMNS)
	            and (a.atttypid, a.atttypmod, a.attcollation) is distinct from (t.atttypid, t.atttypmod, t.attcollation)
	loop
		execute format(case when c.missing then 'alter table %s add column %s %s%s' else 'alter table %s alter column %s type %s%s using %2$s::%3$s' end,
		               m, c.name, c.typ, c.collation);
	end loop;
end $init$`

// Script creates the memory, or brings the types of its columns up to date.
func (m *Memory) Script() []string {
	quoted, name := pgx.Identifier{m.schema, m.table}.Sanitize(), m.Quoted()
	key := strings.Join(pgname.QuoteAll(m.key), ", ")
	fill := ""
	if m.Fill != "" {
		fill = fmt.Sprintf("\n\t\tinsert into %s\n\t\t%s;", name, m.Fill)
	}
	create := fmt.Sprintf(`do $init$ begin
	if to_regclass(%s) is null then
		create table %s as select %s, %s, %s from %s with no data;
		alter table %s add primary key (%s), alter column %s set not null, alter column %s set not null;%s
	end if;
end $init$`, pgname.Literal(name), name, strings.Join(pgname.QuoteAll(m.columns()), ", "), tables.SourceColumn, tables.OffsetColumn, quoted, name, key, tables.SourceColumn, tables.OffsetColumn, fill)
	var columns []string
	for _, c := range m.columns() {
		columns = append(columns, pgname.Literal(c))
	}
	names := strings.NewReplacer("MEMORY", pgname.Literal(name), "TARGET", pgname.Literal(quoted), "COLUMNS", strings.Join(columns, ", "))
	script := []string{create, names.Replace(memoryPlace), names.Replace(memoryRepair)}
	if m.versioned { // older memories are without, and deletions in them have no version
		script = append(script, fmt.Sprintf(`do $init$ begin
	if not exists (select from pg_attribute where attrelid = %s::regclass and attname = '%s' and not attisdropped) then
		alter table %s add column if not exists %s boolean not null default false, add column %s int, add column %s bigint;
	end if;
end $init$`, pgname.Literal(name), tables.OutlivedOffsetColumn, name, tables.VersionedColumn, tables.OutlivedSourceColumn, tables.OutlivedOffsetColumn))
	}
	return script
}

// memoryPlace lets Citus keep the rows of a memory where it keeps those of the target: MEMORY and TARGET are to be put in. Without Citus, and where
// the memory is there already, it does nothing.
const memoryPlace = `do $init$ declare place text; begin
	if to_regclass('pg_catalog.pg_dist_partition') is not null then
		execute $citus$ select case when t.repmodel = 't' then format('select create_reference_table(%L)', $1)
		                            else format('select create_distributed_table(%L, %L, colocate_with => %L)', $1,
		                                        case when t.partmethod <> 'n' then column_to_column_name(t.logicalrelid, t.partkey) end, $2) end
		                  from pg_dist_partition t
		                 where t.logicalrelid = $2::regclass and (t.partmethod <> 'n' or t.colocationid <> 0)
		                   and not exists (select from pg_dist_partition m where m.logicalrelid = $1::regclass) $citus$
		   into place using MEMORY::text, TARGET::text;
		if place is not null then
			execute place;
		end if;
	end if;
end $init$`

// Grant is what the runtime role needs.
func (m *Memory) Grant(role string) string { return grant(m.privileges, m.Quoted(), role) }

// found is what there is of a memory.
type found struct {
	Exists, unlogged bool
	oid              uint32
	versioned        bool     // it can tell which deletions had a version, and which rows outlived one
	missing          []string // privileges
	Differ           []string // columns of another type than the target's
	key              []string
}

func (m *Memory) Find(ctx context.Context, tx pgx.Tx) (f found, err error) {
	err = tx.QueryRow(ctx, `
		select true, c.oid, c.relpersistence <> 'p',
		       array(select x from unnest($2::text[]) x where not has_table_privilege(c.oid, x)),
		       array(select t.attname::text from pg_attribute t join pg_class o on o.oid = t.attrelid join pg_namespace s on s.oid = o.relnamespace
		              where s.nspname = $3 and o.relname = $4 and t.attname = any ($5::text[])
		                and not exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = t.attname and not a.attisdropped
		                                   and (a.atttypid, a.atttypmod, a.attcollation) = (t.atttypid, t.atttypmod, t.attcollation))
		              order by t.attnum),
		       array(select a.attname::text from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = any (i.indkey::int2[])
		              where i.indrelid = c.oid and i.indisprimary),
		       exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = $6 and not a.attisdropped)
		  from pg_class c join pg_namespace n on n.oid = c.relnamespace
		 where n.nspname = 'oncesink' and c.relname = $1`, m.name, m.privileges, m.schema, m.table, m.columns(), tables.OutlivedOffsetColumn).Scan(&f.Exists, &f.oid, &f.unlogged, &f.missing, &f.Differ, &f.key, &f.versioned)
	if errors.Is(err, pgx.ErrNoRows) {
		return found{}, nil
	}
	if err != nil {
		return f, fmt.Errorf("read %s: %w", m.what, err)
	}
	return f, nil
}

// check finds out whether the memory is there and holds what the target's columns hold.
func (m *Memory) check(ctx context.Context, tx pgx.Tx, ps *Problems) error {
	f, err := m.Find(ctx, tx)
	if err != nil {
		return err
	}
	if !f.Exists {
		ps.later(fmt.Sprintf("table %s.%s has no %s %s", m.schema, m.table, m.what, m.Quoted()), "run `oncesink init`, or set `guard: none`")
		return nil
	}
	if f.unlogged {
		ps.Add(fmt.Sprintf("the %s %s is unlogged", m.what, m.Quoted()), "a crash would empty it and keep the position: alter table "+m.Quoted()+" set logged")
	}
	if len(f.missing) > 0 {
		ps.lacks(f.missing, m.Quoted(), m.Quoted())
	}
	switch {
	case !SameSet(f.key, m.key):
		ps.Add(fmt.Sprintf("the %s %s has the key (%s), and the rows of %s.%s have the key (%s)", m.what, m.Quoted(), strings.Join(f.key, ", "), m.schema, m.table, strings.Join(m.key, ", ")),
			"what it remembers is of other rows: drop table "+m.Quoted()+" and run `oncesink init`")
	case m.versioned && !f.versioned:
		ps.later(fmt.Sprintf("the %s %s does not tell which deletions had a version, or which rows outlived one", m.what, m.Quoted()), "run `oncesink init`")
	case len(f.Differ) > 0:
		ps.later(fmt.Sprintf("column %s of the %s %s has another type than that of %s.%s", strings.Join(f.Differ, ", "), m.what, m.Quoted(), m.schema, m.table), "run `oncesink init`")
	}
	return nil
}
