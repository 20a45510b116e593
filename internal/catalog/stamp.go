package catalog

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// A stamp is what tells one state of the catalog from another: which transactions last wrote the entries
// that a mapping is compiled from. Each transaction of the sink compares the shallow one at its end, when
// it holds locks on all that it wrote: so what its texts were made for is what the tables are (rule 29),
// and none of its rows is committed otherwise. The deep one is compared before a record, or a person, is
// blamed for an error.
type Stamp struct{ Shallow, Deep string }

const StampSQL = "select oncesink.catalog_stamp($1::text[], $2::boolean)"

// ReadStamp reads both stamps, in the order of the names.
func ReadStamp(ctx context.Context, tx pgx.Tx, names []string) (s Stamp, err error) {
	if names == nil {
		names = []string{}
	}
	err = tx.QueryRow(ctx, "select oncesink.catalog_stamp($1::text[], false), oncesink.catalog_stamp($1::text[], true)", names).Scan(&s.Shallow, &s.Deep)
	return s, err
}
