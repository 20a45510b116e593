package offsets

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// ServerError says that the database is not PostgreSQL, though it speaks its protocol.
type ServerError struct {
	// Server is its name.
	Server string
	// Lacks is what the ledger needs and it doesn't have.
	Lacks string
}

func (e *ServerError) Error() string {
	return fmt.Sprintf("the database is %s, which oncesink does not run on: it lacks %s. Use PostgreSQL, or a service that runs PostgreSQL's own server", e.Server, e.Lacks)
}

// checkServer returns a *ServerError for servers that are known to be no PostgreSQL: they would take some of the statements, and the guarantee
// stands on all of them.
func checkServer(ctx context.Context, conn *pgx.Conn) error {
	var version string
	if err := conn.QueryRow(ctx, `select version()`).Scan(&version); err != nil {
		return fmt.Errorf("ask for the server's version: %w", err)
	}
	return serverOf(version)
}

// serverOf goes by what version() says.
func serverOf(version string) error {
	switch {
	case strings.HasPrefix(version, "CockroachDB"):
		return &ServerError{"CockroachDB", "triggers over the rows of a statement, and locks of sessions that others can see and end"}
	case strings.Contains(version, "-YB-"):
		return &ServerError{"YugabyteDB", "deferrable constraints and locks of tables"}
	}
	return nil
}
