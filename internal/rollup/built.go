package rollup

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/pgerr"
)

// Built is a rollup that is there.
type Built struct {
	Name    string    `json:"rollup"` // of the view, quoted
	Table   string    `json:"table"`  // the same of its table
	Mode    string    `json:"mode"`
	BuiltAt time.Time `json:"built_at"`
}

// All are the rollups of the database, by name; none where rollups were never built, or the role may not see them.
func All(ctx context.Context, on interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}) ([]Built, error) {
	rows, err := on.Query(ctx, "select name, target, mode, built_at from oncesink.rollups order by name")
	if err != nil {
		return nil, none(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Built])
	return all, none(err)
}

// none is nil for an error that says that there are no rollups to be seen.
func none(err error) error {
	switch pgerr.SQLState(err) {
	case "42P01", "3F000", pgerr.InsufficientPrivilege:
		return nil
	}
	return err
}
