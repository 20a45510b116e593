package catalog

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Constraint is a check or a foreign key of a table, or of one of its partitions, by which rows can be told that break it.
type Constraint struct {
	Kind    string // pg_constraint.contype: c or f; "" if there is none of the name
	Columns []string
	Check   string // the condition, over the columns' names
	// Parent is the table that a foreign key refers to, ParentName its quoted, qualified name.
	Parent        uint32
	ParentName    string
	ParentColumns []string // in the order of Columns
	// Replaced: the table has triggers that may put other values in place of those that are written.
	Replaced bool
}

// ReadConstraint reads the constraint of a name that the relation of another name has, which is the table or one of its partitions or
// chunks.
func ReadConstraint(ctx context.Context, tx pgx.Tx, table uint32, schema, relation, name string) (c Constraint, err error) {
	// tgtype: 1 row, 2 before, 4 insert, 16 update.
	err = tx.QueryRow(ctx, `
		with family as (select $1::oid as oid union select relid from pg_partition_tree($1) union select inhrelid from pg_inherits where inhparent = $1)
		select coalesce(k.contype::text, ''), coalesce(pg_get_expr(k.conbin, k.conrelid), ''), coalesce(k.confrelid, 0), coalesce(quote_ident(pn.nspname) || '.' || quote_ident(p.relname), ''),
		       array(select a.attname::text from unnest(k.conkey) with ordinality as x(attnum, n) join pg_attribute a on a.attrelid = k.conrelid and a.attnum = x.attnum order by x.n),
		       array(select a.attname::text from unnest(k.confkey) with ordinality as x(attnum, n) join pg_attribute a on a.attrelid = k.confrelid and a.attnum = x.attnum order by x.n),
		       exists (select from pg_trigger g where g.tgrelid in (select oid from family) and not g.tgisinternal and g.tgenabled in ('O', 'A') and g.tgtype & 3 = 3 and g.tgtype & 20 <> 0)
		  from (select) one
		  left join pg_constraint k on k.contype in ('c', 'f') and k.conname = $4 and k.conrelid in (select oid from family)
		        and k.conrelid = (select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $2 and c.relname = $3)
		  left join pg_class p on p.oid = k.confrelid left join pg_namespace pn on pn.oid = p.relnamespace`, table, schema, relation, name).
		Scan(&c.Kind, &c.Check, &c.Parent, &c.ParentName, &c.Columns, &c.ParentColumns, &c.Replaced)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return c, fmt.Errorf("read constraint %s: %w", name, err)
	}
	return c, nil
}
