package catalog

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Edge is a foreign key from one table to another one, or to itself. A partition stands for the table that
// [ReadEdges] was asked about, if it is one of its partitions, and for its root otherwise.
type Edge struct {
	Name             string
	From, To         uint32 // their oids
	FromName, ToName string // as [Relation.Qualified] has them
	Deferrable       bool
}

// ReadEdges reads the foreign keys of some tables, of those that they refer to, and so on, in the order of their names.
func ReadEdges(ctx context.Context, tx pgx.Tx, tables []uint32) ([]Edge, error) {
	rows, err := tx.Query(ctx, `
		with recursive family as (
			select root, root as oid from unnest($1::oid[]) root
			union select root, p.relid from unnest($1::oid[]) root, pg_partition_tree(root) p
		), edges as materialized (
			select k.conname, coalesce(f.root, pg_partition_root(k.conrelid), k.conrelid) as a, coalesce(t.root, pg_partition_root(k.confrelid), k.confrelid) as b, k.condeferrable
			  from pg_constraint k left join family f on f.oid = k.conrelid left join family t on t.oid = k.confrelid
			 where k.contype = 'f' and k.conparentid = 0
		), reached as (
			select unnest($1::oid[]) as oid union select e.b from edges e join reached on e.a = reached.oid
		)
		select e.conname, e.a, e.b, format('%s.%s', an.nspname, ac.relname), format('%s.%s', bn.nspname, bc.relname), e.condeferrable
		  from edges e join reached on e.a = reached.oid
		  join pg_class ac on ac.oid = e.a join pg_namespace an on an.oid = ac.relnamespace
		  join pg_class bc on bc.oid = e.b join pg_namespace bn on bn.oid = bc.relnamespace
		 order by 4, 1, 5`, tables)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (e Edge, err error) {
		return e, row.Scan(&e.Name, &e.From, &e.To, &e.FromName, &e.ToName, &e.Deferrable)
	})
}
