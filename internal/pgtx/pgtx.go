// Package pgtx executes statements in a transaction.
package pgtx

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Exec executes statements one after the other, each with a snapshot of its own where the transaction is READ COMMITTED,
// up to the first one that fails.
func Exec(ctx context.Context, tx pgx.Tx, statements ...string) error {
	for _, s := range statements {
		if _, err := tx.Exec(ctx, s); err != nil {
			return err
		}
	}
	return nil
}
