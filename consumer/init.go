package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/conninfo"
	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Init creates or migrates, in the pool's database, what a consumer with this configuration needs, as
// `oncesink init` does: the ledger, the dead letters, tables that are missing and have a Create statement, guard columns
// and delete memories. Without tables it is the ledger and the dead letters. It changes nothing where all is there already,
// and several processes may call it at once: a program may begin with it. Where a table can't be written as the
// configuration says it does nothing at all, and says why in joined *[sink.ConfigError]s.
//
// The pool's role must be allowed to create the schema oncesink and to alter the tables; the role that runs the consumer
// needs less: see [InitSQL].
func Init(ctx context.Context, pool *pgxpool.Pool, cfg sink.Config) (err error) {
	defer func() { err = explain(pool, err) }()
	if _, err := schema.Plan(ctx, pool, cfg); err != nil {
		return err
	}
	return withConn(ctx, pool, func(conn *pgx.Conn) error {
		if err := offsets.Init(ctx, conn); err != nil {
			return err
		}
		return schema.Init(ctx, conn, cfg)
	})
}

// InitSQL returns the script of what [Init] does, for a DBA, with the grants that the runtime role needs if
// role is not empty. It can be run again, and brings a database of an older version up to date.
func InitSQL(cfg sink.Config, role string) string {
	return offsets.SQL(role) + "\n" + schema.InitSQL(cfg, role)
}

// AcceptMapping makes the mapping of cfg.Sink the one of the group from here on, as `oncesink init --accept-mapping` does:
// where tables are written otherwise than before, New's consumer ends with an error that names the table until somebody says that
// this is meant. Processes of the group that run with another mapping stop; [AcceptMappingBeside] leaves them. Rows that were written before stay as they are.
// The role must be allowed to delete from oncesink.mappings.
func AcceptMapping(ctx context.Context, pool *pgxpool.Pool, cfg Config) (err error) {
	defer func() { err = explain(pool, err) }()
	s, err := engine.Open(ctx, pool, nil, cfg.withDefaults().Sink)
	if err != nil {
		return err
	}
	return withConn(ctx, pool, func(conn *pgx.Conn) error {
		return offsets.AcceptMappings(ctx, conn, cfg.Group, s.Mappings())
	})
}

// AcceptMappingBeside lets processes with the mapping of cfg.Sink write beside those that run, as `oncesink mapping accept` does, and stops nobody: each
// partition goes over when a process with this mapping gets it, and may go back during the window, from now on. It returns a *[sink.ConfigError], and
// accepts nothing, where both must not run side by side: they disagree about the key of a row, about which event wins or what deletes it.
// The role must be allowed to delete from oncesink.accepted_mappings.
func AcceptMappingBeside(ctx context.Context, pool *pgxpool.Pool, cfg Config, window time.Duration) (err error) {
	defer func() { err = explain(pool, err) }()
	s, err := engine.Open(ctx, pool, nil, cfg.withDefaults().Sink)
	if err != nil {
		return err
	}
	return withConn(ctx, pool, func(conn *pgx.Conn) error {
		group, err := offsets.GroupMappings(ctx, conn, cfg.Group)
		if err != nil {
			return err
		}
		changes, err := mapping.Changes(group, s.Mappings(), nil)
		if err != nil {
			return err
		}
		if why := mapping.Apart(changes); why != "" {
			return &sink.ConfigError{Problem: "processes with the old mapping and with this one must not run side by side: " + why, Fix: "accept it for all processes at once"}
		}
		return offsets.AcceptMappingsBeside(ctx, conn, cfg.Group, s.Mappings(), window)
	})
}

// explain is the error of a pool whose connection string can't be read, if it is that.
func explain(pool *pgxpool.Pool, err error) error {
	if wrong := (*conninfo.Error)(nil); errors.As(conninfo.Explain(pool.Config().ConnString(), err), &wrong) {
		return &sink.ConfigError{Problem: "the pool's connection string " + wrong.Problem, Fix: wrong.Fix}
	}
	return err
}

// withConn runs f on a connection of the pool.
func withConn(ctx context.Context, pool *pgxpool.Pool, f func(*pgx.Conn) error) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer conn.Release()
	return f(conn.Conn())
}
