package catalog

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// ChunkSchema is where TimescaleDB keeps chunks, unless a hypertable was made to keep them elsewhere. Their names say nothing to a person.
const ChunkSchema = "_timescaledb_internal"

// readHypertable finds out whether the table is a hypertable of TimescaleDB, and by which columns it is cut into chunks. Chunks inherit
// from it, and nothing else can: they are no heirs. Where the extension is not there no view of its is asked.
func (r *Relation) readHypertable(ctx context.Context, tx pgx.Tx, installed bool) error {
	if !installed || r.Kind != "r" {
		return nil
	}
	var columns []string
	if err := tx.QueryRow(ctx, `
		select coalesce(array_agg(column_name::text order by dimension_number), '{}')
		  from timescaledb_information.dimensions where hypertable_schema = $1 and hypertable_name = $2`, r.Schema, r.Name).Scan(&columns); err != nil {
		return fmt.Errorf("ask TimescaleDB for the dimensions of %s: %w", r.Qualified(), err)
	}
	if len(columns) > 0 {
		r.Hypertable, r.PartitionKey, r.Heirs = true, columns, ""
	}
	return nil
}

// Retention is a policy of TimescaleDB by which old chunks are dropped, with their rows.
type Retention struct {
	Job   int32  // its number
	After string // as its configuration has it; "" if that says something else
}

// readRetention reads the policy of a hypertable; nil without one.
func readRetention(ctx context.Context, tx pgx.Tx, table uint32) (*Retention, error) {
	var installed bool
	if err := tx.QueryRow(ctx, "select to_regclass('timescaledb_information.jobs') is not null").Scan(&installed); err != nil || !installed {
		return nil, err
	}
	rows, err := tx.Query(ctx, `
		select j.job_id, coalesce(j.config->>'drop_after', '')
		  from timescaledb_information.jobs j join pg_class c on c.oid = $1 join pg_namespace n on n.oid = c.relnamespace
		 where j.proc_name = 'policy_retention' and j.hypertable_schema = n.nspname and j.hypertable_name = c.relname`, table)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r Retention, err error) { return r, row.Scan(&r.Job, &r.After) })
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}
