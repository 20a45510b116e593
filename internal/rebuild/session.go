package rebuild

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/oplock"
	"github.com/oncesink/oncesink/internal/pgtx"
	"github.com/oncesink/oncesink/sink"
)

// sessionName is unlike that of the sink's sessions, which end each other when one
// seems stuck.
const sessionName = "oncesink-rebuild"

// maxConns is how many connections a call takes at once beside those of the stage's sink and its lock: one in the cut,
// and one that looks.
const maxConns = 3

// connect makes the operator's pool.
func (j *job) connect() error {
	cfg := j.Pool.Config()
	cfg.ConnConfig.RuntimeParams["application_name"] = sessionName
	cfg.MinConns, cfg.MinIdleConns, cfg.MaxConns = 0, 0, maxConns
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg) // connects when it is used
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	j.pool = pool
	return nil
}

// lockClass is the first key of the advisory locks of operators: "oncf".
const lockClass = 0x6f6e6366

// alone waits until no other operator works on the table. The context ends if the lock is lost.
func (j *job) alone(ctx context.Context) (context.Context, error) {
	if _, err := j.open(ctx); err != nil {
		return nil, err
	}
	conf := j.pool.Config()
	if conf.BeforeConnect != nil {
		if err := conf.BeforeConnect(ctx, conf.ConnConfig); err != nil {
			return nil, fmt.Errorf("connect: %w", err)
		}
	}
	held, lock, err := oplock.Hold(ctx, conf.ConnConfig, "$1::int, $2::int", []any{int32(lockClass), j.layout.Lock}, func() {
		j.log.Info("another rebuild or backfill of the table is running: waiting for its end", "table", j.result.Table)
		j.progress("waiting for another rebuild or backfill", 0, 0)
	})
	if err != nil {
		return nil, err
	}
	j.lock = lock
	return held, nil
}

// open reads the table, and prepares the beginning of transactions in which texts mean what they mean to the
// sink's own (rule 15). Whatever they set ends with them: nothing stays on a connection of a pooler.
func (j *job) open(ctx context.Context) (*engine.Sink, error) {
	sk, err := engine.Open(ctx, j.Pool, nil, j.Sink)
	if err != nil {
		return nil, err
	}
	var ok bool
	if j.layout, ok = sk.Layout(j.Table); !ok {
		if j.exists(ctx) {
			return nil, &sink.ConfigError{Problem: fmt.Sprintf("table %s is not in the configuration: if a Go handler writes it, nothing but its program can read its topics again", j.Table), Fix: "docs/library.md says how; the configuration has " + tableNames(j.Sink)}
		}
		return nil, &sink.ConfigError{Problem: fmt.Sprintf("the configuration has no table %q", j.Table), Fix: "it has " + tableNames(j.Sink)}
	}
	j.result = Result{Table: j.layout.Schema + "." + j.layout.Name, DryRun: j.DryRun}
	j.readChildren(sk)
	j.settings = sk.Settings().With(
		mapping.Setting{Name: "statement_timeout", Value: "0"},
		mapping.Setting{Name: "transaction_timeout", Value: "0", IfKnown: true}, // PostgreSQL 17
		mapping.Setting{Name: "synchronous_commit", Value: "on"},
		mapping.Setting{Name: "work_mem", Value: "256MB"},
		mapping.Setting{Name: "maintenance_work_mem", Value: "256MB"},
	)
	return sk, nil
}

// exists reports whether the database has a table of the name that the configuration doesn't have.
func (j *job) exists(ctx context.Context) (there bool) {
	err := j.Pool.QueryRow(ctx, "select to_regclass($1) is not null", j.Table).Scan(&there)
	return err == nil && there // what is no name is no table
}

// inTx calls f in a transaction, and commits it unless f fails.
func (j *job) inTx(ctx context.Context, f func(ctx context.Context, tx pgx.Tx) error) error {
	return j.within(ctx, j.settings, f)
}

// within is inTx with settings of its own.
func (j *job) within(ctx context.Context, settings mapping.Settings, f func(ctx context.Context, tx pgx.Tx) error) error {
	tx, err := j.pool.BeginTx(ctx, pgx.TxOptions{BeginQuery: settings.Begin()})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if err := f(ctx, tx); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// execute executes statements in one transaction.
func (j *job) execute(ctx context.Context, statements ...string) error {
	return j.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error { return pgtx.Exec(ctx, tx, statements...) })
}

// scan reads one row, or a value, in a transaction of its own.
func (j *job) scan(ctx context.Context, sql string, args []any, into ...any) error {
	return j.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error { return tx.QueryRow(ctx, sql, args...).Scan(into...) })
}

// texts reads a column of texts.
func texts(ctx context.Context, tx pgx.Tx, sql string, args ...any) ([]string, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func tableNames(c sink.Config) string {
	var names []string
	for _, t := range c.Tables {
		names = append(names, t.Name)
	}
	return strings.Join(names, ", ")
}
