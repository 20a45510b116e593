package catalog

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Distribution says how Citus keeps the rows of a table on the nodes of its cluster. The zero value is of a table that it does not know.
type Distribution struct {
	// Method is pg_dist_partition.partmethod: h by a hash of Column, n by none; "" for a table that is not distributed.
	Method string
	Column string // that rows are distributed by; "" without
	// Replicated: every node has all rows (a reference table).
	Replicated bool
	// Colocation: rows of tables of one number that have equal values are on one node. 0: the table is on the coordinator alone.
	Colocation int32
}

// Spread reports whether rows are on other nodes than the one that is asked.
func (d Distribution) Spread() bool { return d.Method != "" && (d.Method != "n" || d.Colocation != 0) }

// readDistribution reads how Citus, which is there, keeps the table's rows.
func (r *Relation) readDistribution(ctx context.Context, tx pgx.Tx) (err error) {
	r.Distribution, err = ReadDistribution(ctx, tx, r.OID)
	return err
}

// ReadDistribution reads how Citus keeps the rows of a table. The extension must be there: see [Relation.Citus].
func ReadDistribution(ctx context.Context, tx pgx.Tx, table uint32) (d Distribution, err error) {
	err = tx.QueryRow(ctx, `
		select partmethod::text, case when partmethod = 'n' then '' else coalesce(pg_catalog.column_to_column_name(logicalrelid, partkey), '') end, repmodel = 't', colocationid
		  from pg_catalog.pg_dist_partition where logicalrelid = $1`, table).Scan(&d.Method, &d.Column, &d.Replicated, &d.Colocation)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return d, fmt.Errorf("read how Citus distributes it: %w", err)
	}
	return d, nil
}

// Spread reports whether a table, by its name as SQL has it, has its rows on other nodes.
func Spread(ctx context.Context, tx pgx.Tx, table string) (bool, error) {
	var citus bool
	var oid *uint32
	if err := tx.QueryRow(ctx, "select to_regclass('pg_catalog.pg_dist_partition') is not null, to_regclass($1::text)::oid", table).Scan(&citus, &oid); err != nil {
		return false, fmt.Errorf("look for Citus: %w", err)
	}
	if !citus || oid == nil {
		return false, nil
	}
	d, err := ReadDistribution(ctx, tx, *oid)
	return d.Spread(), err
}
