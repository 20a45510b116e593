package catalog

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Reference is a foreign key between two of some tables, by their places among these.
type Reference struct {
	From, To   int
	Deferrable bool
}

// readReferences reads the foreign keys between tables, those of their partitions included.
func References(ctx context.Context, tx pgx.Tx, oids []uint32) ([]Reference, error) {
	rows, err := tx.Query(ctx, `
		with family as (select root, root as oid from unnest($1::oid[]) root
		                union select root, p.relid from unnest($1::oid[]) root, pg_partition_tree(root) p)
		select distinct f.root, t.root, k.condeferrable
		  from pg_constraint k join family f on f.oid = k.conrelid join family t on t.oid = k.confrelid
		 where k.contype = 'f' and k.conparentid = 0`, oids)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (r Reference, err error) {
		var from, to uint32
		err = row.Scan(&from, &to, &r.Deferrable)
		r.From, r.To = slices.Index(oids, from), slices.Index(oids, to)
		return r, err
	})
}
