// Package testdb gives tests databases with the tables of oncesink: those of the ledger and those of dead letters.
package testdb

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// URL creates such a database on the shared server and returns its address, as [testpg.URL] does. The migrations run once in a process.
func URL(t testing.TB) string {
	t.Helper()
	return testpg.URLLike(t, "ledger and dead letters", func(ctx context.Context, conn *pgx.Conn) error {
		return errors.Join(offsets.Init(ctx, conn), schema.Init(ctx, conn, sink.Config{}))
	})
}
