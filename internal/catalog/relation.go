// Package catalog reads what PostgreSQL says of a table: its columns and their types, indexes, rights, what its rows
// set in motion, and a stamp by which a change of all this is noticed. It knows no configuration.
// Package catalog reads what PostgreSQL says of a table: its columns and their types, indexes, rights, what its rows
// set in motion, and a stamp by which a change of all this is noticed. It knows no configuration.
package catalog

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/pgtext"
)

// Relation is a target table as the catalog describes it.
type Relation struct {
	OID          uint32
	Schema, Name string
	Owner        string
	Kind         string   // pg_class.relkind
	Persistence  string   // the least durable of the table and its partitions: p, u or t
	ForeignLeaf  bool     // one of its partitions is a foreign table
	Heirs        string   // tables that inherit from it, and are neither partitions nor chunks
	Hypertable   bool     // TimescaleDB keeps its rows in chunks
	PartitionKey []string // of a partitioned table or a hypertable; "" for an expression
	Columns      []Column
	Indexes      []Index
	// Exclusions are names of exclusion constraints.
	Exclusions   []string
	RowSecurity  bool
	RowsFiltered bool // row security applies to the role
	Rules        bool
	// Missing are the privileges on the table that the role lacks.
	Missing []string
	// Citus: its extension is in the database. Distribution is what it says of the table.
	Citus        bool
	Distribution Distribution
	// SchemaUsable: the role may use the table's schema.
	SchemaUsable bool
}

// Column is a column with what mapping it needs to know.
type Column struct {
	pgtext.Type
	Name             string
	HasDefault       bool
	DefaultExpr      string
	TypeOID          uint32
	NotNull          bool
	Generated        bool
	Identity         string // "a" always, "d" by default, "" not
	Collation        string // name, "" if the type has none
	CodePointOrder   bool   // collation C
	VolatileDefault  bool
	PrivilegeMissing []string
}

// Index is a unique index.
type Index struct {
	name      string
	Columns   []string // key columns; an expression is ""
	Usable    bool     // valid, immediate, without predicate or expression: can be an arbiter
	condition string   // why it is not usable
	// Nulls: two nulls of a column are one value to it.
	Nulls bool
}

// ErrNoTable says that there is no table of a name.
var ErrNoTable = errors.New("no such table")

// Read reads one table from the catalog. An unqualified name is looked
// up along the search path of the transaction. It returns ErrNoTable if there is none.
func Read(ctx context.Context, tx pgx.Tx, schema, name string) (*Relation, error) {
	r := &Relation{}
	var timescale bool
	err := tx.QueryRow(ctx, `
		select c.oid, n.nspname, c.relname, c.relkind::text,
		       (select case when bool_or(l.relpersistence = 't') then 't' when bool_or(l.relpersistence = 'u') then 'u' else 'p' end
		          from pg_class l where l.oid = c.oid or l.oid in (select relid from pg_partition_tree(c.oid))),
		       exists (select from pg_partition_tree(c.oid) p join pg_class l on l.oid = p.relid where l.relkind = 'f'),
		       coalesce((select array_agg(a.attname::text order by k.n)
		                   from pg_partitioned_table p, unnest(p.partattrs::int2[]) with ordinality as k(attnum, n)
		                   left join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
		                  where p.partrelid = c.oid), '{}'),
		       coalesce((select string_agg(h.inhrelid::regclass::text, ', ' order by 1) from pg_inherits h where h.inhparent = c.oid and c.relkind = 'r'), ''),
		       c.relrowsecurity, row_security_active(c.oid), c.relhasrules, has_schema_privilege(n.oid, 'USAGE'), pg_get_userbyid(c.relowner),
		       to_regclass('pg_catalog.pg_dist_partition') is not null, to_regclass('timescaledb_information.dimensions') is not null
		  from pg_class c join pg_namespace n on n.oid = c.relnamespace
		 where c.relname = $2 and c.relkind in ('r', 'p', 'v', 'm', 'f')
		   and (n.nspname = $1 or $1 = '' and pg_table_is_visible(c.oid))`, schema, name).
		Scan(&r.OID, &r.Schema, &r.Name, &r.Kind, &r.Persistence, &r.ForeignLeaf, &r.PartitionKey, &r.Heirs, &r.RowSecurity, &r.RowsFiltered, &r.Rules, &r.SchemaUsable, &r.Owner, &r.Citus, &timescale)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, ErrNoTable
	}
	if err != nil {
		return nil, fmt.Errorf("read table %s: %w", name, err)
	}
	if err := r.readHypertable(ctx, tx, timescale); err != nil {
		return nil, err
	}
	reads := []func(context.Context, pgx.Tx) error{r.readColumns, r.readIndexes, r.readRights}
	if r.Citus {
		reads = append(reads, r.readDistribution)
	}
	for _, read := range reads {
		if err := read(ctx, tx); err != nil {
			return nil, fmt.Errorf("read table %s.%s: %w", r.Schema, r.Name, err)
		}
	}
	return r, nil
}

// readColumns reads the columns with their types, see [pgtext.Types.Describe]. Whether a default is the same at each load is
// read from its parse tree, where functions and types stand by their oid: one is not
// immutable if a function of it is not, if it is of SQL's own (current_date), or if
// it casts by way of text from or to a type whose text depends on the session.
func (r *Relation) readColumns(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `
		with recursive types as (
			select a.attnum, a.atttypid as typid, a.atttypmod as typmod, false as not_null, null::pg_node_tree collate "C" as tree
			  from pg_attribute a
			 where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
			union all
			select s.attnum, t.typbasetype, case when s.typmod = -1 then t.typtypmod else s.typmod end,
			       s.not_null or t.typnotnull, coalesce(s.tree, t.typdefaultbin)
			  from types s join pg_type t on t.oid = s.typid
			 where t.typtype = 'd'
		), base as (
			select s.* from types s join pg_type t on t.oid = s.typid where t.typtype <> 'd'
		)
		select a.attname, a.atttypid, a.atttypmod, format_type(a.atttypid, a.atttypmod),
		       a.attnotnull or b.not_null, a.attgenerated <> '', a.attidentity::text,
		       coalesce(pg_get_expr(v.tree, $1),
		                case when a.attidentity <> '' then format('nextval(%L::regclass)', pg_get_serial_sequence($1::regclass::text, a.attname)) end, ''),
		       coalesce(l.collname, ''),
		       coalesce(l.collname in ('C', 'POSIX', 'ucs_basic')
		                or l.collname = 'default' and (select datcollate in ('C', 'POSIX') from pg_database where datname = current_database()), false),
		       coalesce(l.collisdeterministic, true),
		       coalesce(v.tree::text ~ '\{SQLVALUEFUNCTION'
		                or exists (select from regexp_matches(v.tree::text, ':(?:op)?funcid (\d+)', 'g') m join pg_proc p on p.oid = m[1]::oid where p.provolatile <> 'i')
		                or v.tree::text ~ '\{COERCEVIAIO' and exists (
		                    select from regexp_matches(v.tree::text, ':(?:const|func|op)?(?:result)?type (\d+)', 'g') m join pg_type x on x.oid = m[1]::oid
		                      join pg_proc p on p.oid in (x.typinput, x.typoutput) where p.provolatile <> 'i'), false),
		       array(select x from unnest(array['INSERT', 'UPDATE', 'SELECT']) x where not has_column_privilege($1::oid, a.attnum, x))
		  from base b
		  join pg_attribute a on a.attrelid = $1 and a.attnum = b.attnum
		  left join pg_attrdef d on d.adrelid = $1 and d.adnum = a.attnum
		 cross join lateral (select coalesce(d.adbin, b.tree) as tree) v
		  left join pg_collation l on l.oid = a.attcollation
		 order by a.attnum`, r.OID)
	if err != nil {
		return err
	}
	r.Columns, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Column, error) {
		var c Column
		err := row.Scan(&c.Name, &c.TypeOID, &c.Typmod, &c.Declared, &c.NotNull, &c.Generated, &c.Identity, &c.DefaultExpr,
			&c.Collation, &c.CodePointOrder, &c.Deterministic, &c.VolatileDefault, &c.PrivilegeMissing)
		c.HasDefault = c.DefaultExpr != ""
		c.VolatileDefault = c.VolatileDefault || c.Identity != ""
		return c, err
	})
	if err != nil {
		return err
	}
	var oids []uint32
	for i := range r.Columns {
		oids = append(oids, r.Columns[i].TypeOID)
	}
	all, err := pgtext.Read(ctx, tx, oids)
	if err != nil {
		return err
	}
	for i := range r.Columns {
		r.Columns[i].describe(all)
	}
	return nil
}

// describe fills in what the column's type is made of.
func (c *Column) describe(all pgtext.Types) {
	t := all.Describe(c.TypeOID, c.Typmod)
	c.Base, c.Typmod, c.Kind, c.Enum = t.Base, t.Typmod, t.Kind, t.Enum
	c.Form, c.Array, c.Parts, c.Delimiter = t.Form, t.Array, t.Parts, t.Delimiter
}

func (r *Relation) readIndexes(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `
		select c.relname,
		       array(select coalesce(a.attname::text, '')
		               from unnest(i.indkey::int2[]) with ordinality as k(attnum, n)
		               left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
		              where k.n <= i.indnkeyatts order by k.n),
		       concat_ws(', ', case when not i.indisvalid then 'not valid' end, case when not i.indimmediate then 'deferrable' end,
		                 case when i.indpred is not null then 'partial' end, case when i.indexprs is not null then 'on an expression' end),
		       coalesce((to_jsonb(i)->>'indnullsnotdistinct')::boolean, false)
		  from pg_index i join pg_class c on c.oid = i.indexrelid
		 where i.indrelid = $1 and i.indisunique
		 order by not i.indisprimary, c.relname`, r.OID)
	if err != nil {
		return err
	}
	r.Indexes, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Index, error) {
		var x Index
		err := row.Scan(&x.name, &x.Columns, &x.condition, &x.Nulls)
		x.Usable = x.condition == ""
		return x, err
	})
	return err
}

// ReadPrimaryKey reads the columns of the primary key, in its order; none without one.
func (r *Relation) ReadPrimaryKey(ctx context.Context, tx pgx.Tx) ([]string, error) {
	rows, err := tx.Query(ctx, `
		select a.attname::text
		  from pg_index i, unnest(i.indkey::int2[]) with ordinality as k(attnum, n), pg_attribute a
		 where i.indrelid = $1 and i.indisprimary and k.n <= i.indnkeyatts and a.attrelid = i.indrelid and a.attnum = k.attnum
		 order by k.n`, r.OID)
	if err != nil {
		return nil, fmt.Errorf("read the primary key of %s: %w", r.Qualified(), err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func (r *Relation) readRights(ctx context.Context, tx pgx.Tx) error {
	return tx.QueryRow(ctx, `
		select array(select conname::text from pg_constraint where conrelid = $1 and contype = 'x' order by 1),
		       array(select x from unnest(array['INSERT', 'UPDATE', 'DELETE', 'SELECT']) x where not has_table_privilege($1, x))`, r.OID).
		Scan(&r.Exclusions, &r.Missing)
}

// Column is the column of a name; nil if there is none.
func (r *Relation) Column(name string) *Column {
	for i := range r.Columns {
		if r.Columns[i].Name == name {
			return &r.Columns[i]
		}
	}
	return nil
}

// Qualified is the name for a person: SCHEMA.TABLE.
func (r *Relation) Qualified() string { return r.Schema + "." + r.Name }

func (x Index) String() string {
	s := x.name + " (" + strings.Join(x.Columns, ", ") + ")"
	if !x.Usable {
		s += ", " + x.condition
	}
	return s
}
