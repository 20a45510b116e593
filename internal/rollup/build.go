package rollup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/oplock"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/pgtx"
	"github.com/oncesink/oncesink/sink"
)

// lockTimeout bounds each wait for a lock on the target: writers queue behind it.
const lockTimeout = "2s"

// Build makes the rollup anew from the rows of its table, while they are written. Readers see the last
// build until the new one is complete. It waits for another build of the same rollup. It may be stopped at any
// moment: the next one begins anew.
//
// The triggers are made under a lock that lets every writer finish first, and no new one begin;
// under the same lock a second transaction takes its snapshot. So what the snapshot shows and what the triggers see
// from then on are together every row, once.
func Build(ctx context.Context, pool *pgxpool.Pool, r *Rollup) (groups int64, err error) {
	err = pool.AcquireFunc(ctx, func(operator *pgxpool.Conn) error {
		return pool.AcquireFunc(ctx, func(reader *pgxpool.Conn) error {
			groups, err = r.buildOn(ctx, operator.Conn(), reader.Conn())
			return err
		})
	})
	if err != nil {
		return 0, fmt.Errorf("build rollup %s: %w", r.Definition.Name, err)
	}
	return groups, nil
}

func (r *Rollup) buildOn(ctx context.Context, operator, reader *pgx.Conn) (groups int64, err error) {
	err = r.alone(ctx, operator, func(ctx context.Context, still func() error) error {
		err := operator.QueryRow(ctx, "select build from oncesink.rollups where name = $1", r.view).Scan(&r.build)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		last := r.at(r.build)
		next := r.at(r.build + 1)
		if err := retry(ctx, func() error { return next.drop(ctx, operator) }); err != nil { // what a stopped build left
			return err
		}
		snapshot, err := next.start(ctx, operator, reader)
		if err != nil {
			return err
		}
		defer func() { _ = snapshot.Rollback(context.WithoutCancel(ctx)) }()
		if groups, err = next.fill(ctx, snapshot, operator); err != nil {
			return err
		}
		if err := still(); err != nil {
			return err
		}
		return retry(ctx, func() error { return next.changeOver(ctx, operator, last) })
	})
	return groups, err
}

// alone calls f with the lock of builds of this rollup, whose transaction is on a connection of its own, made as conn
// was. The context of f ends when the lock is lost; still returns an error then.
func (r *Rollup) alone(ctx context.Context, conn *pgx.Conn, f func(ctx context.Context, still func() error) error) error {
	held, lock, err := oplock.Hold(ctx, conn.Config(), "hashtextextended($1, 0)", []any{"oncesink rollup " + r.view}, nil)
	if err != nil {
		return err
	}
	defer lock.Release()
	err = f(held, func() error { return lock.Check(held) })
	var lost *oplock.LostError
	if err != nil && errors.As(context.Cause(held), &lost) {
		return lost
	}
	return err
}

// at is another build of the rollup.
func (r *Rollup) at(build int) *Rollup {
	next := *r
	next.build = build
	next.number(build)
	return &next
}

// base is where a recomputed rollup's rows are gathered.
func (r *Rollup) base() string { return strings.TrimSuffix(r.storage, `"`) + ` base"` }

// drop removes the build.
func (r *Rollup) drop(ctx context.Context, conn *pgx.Conn) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		return pgtx.Exec(ctx, tx, "set local lock_timeout = '"+lockTimeout+"'", "drop function if exists "+r.function+"() cascade",
			"drop table if exists "+r.storage, "drop table if exists "+r.base())
	})
}

// start makes storage and triggers, and returns a transaction whose snapshot is of the moment from which
// on the triggers see every change.
func (r *Rollup) start(ctx context.Context, operator, reader *pgx.Conn) (snapshot pgx.Tx, err error) {
	err = retry(ctx, func() error {
		return pgx.BeginFunc(ctx, operator, func(tx pgx.Tx) error {
			err := pgtx.Exec(ctx, tx, "set local lock_timeout = '"+lockTimeout+"'", r.session(), "lock table "+r.target+" in share row exclusive mode")
			if err == nil {
				err = pgtx.Exec(ctx, tx, append(r.createSQL(), r.triggerSQL()...)...)
			}
			if err != nil {
				return err
			}
			if snapshot, err = reader.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}); err != nil {
				return err
			}
			// A select takes the snapshot; a mere set would leave that to the next statement.
			if err = pgtx.Exec(ctx, snapshot, "select 1", r.session()); err != nil {
				_ = snapshot.Rollback(context.WithoutCancel(ctx))
			}
			return err
		})
	})
	return snapshot, err
}

// session sets what expressions may depend on. Numbers and times don't, as they are immutable; names do.
func (r *Rollup) session() string { return "set local search_path = " + r.SearchPath }

// fill writes what the snapshot shows.
func (r *Rollup) fill(ctx context.Context, snapshot pgx.Tx, operator *pgx.Conn) (groups int64, err error) {
	if r.Mode == Incremental {
		tag, err := snapshot.Exec(ctx, r.fillSQL(r.storage))
		if err != nil {
			return 0, err
		}
		return tag.RowsAffected(), snapshot.Commit(ctx)
	}
	if err := pgtx.Exec(ctx, snapshot, fmt.Sprintf("create table %s (like %s)", r.base(), r.storage)); err != nil {
		return 0, err
	}
	tag, err := snapshot.Exec(ctx, r.fillSQL(r.base()))
	if err != nil {
		return 0, err
	}
	// Groups that were touched since are there already, and newer. A writer that is at them now comes
	// first. Nobody may truncate the table before its groups are in.
	err = pgx.BeginFunc(ctx, operator, func(tx pgx.Tx) error {
		if err := pgtx.Exec(ctx, tx, "lock table "+r.target+" in access share mode"); err != nil {
			return err
		}
		if err := snapshot.Commit(ctx); err != nil {
			return err
		}
		return pgtx.Exec(ctx, tx, "select "+r.lock(),
			fmt.Sprintf("insert into %s select * from %s on conflict do nothing", r.storage, r.base()), "drop table "+r.base())
	})
	return tag.RowsAffected(), err
}

// changeOver lets readers see this build instead of the last one.
func (r *Rollup) changeOver(ctx context.Context, conn *pgx.Conn, last *Rollup) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := pgtx.Exec(ctx, tx, "set local lock_timeout = '"+lockTimeout+"'", r.session()); err != nil {
			return err
		}
		if err := r.replaceView(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, registerSQL, r.view, r.target, string(r.Mode), r.fingerprint(), r.build); err != nil {
			return err
		}
		return pgtx.Exec(ctx, tx, "drop function if exists "+last.function+"() cascade", "drop table if exists "+last.storage)
	})
}

const registerSQL = `insert into oncesink.rollups (name, target, mode, fingerprint, build) values ($1, $2, $3, $4, $5)
on conflict (name) do update set target = excluded.target, mode = excluded.mode, fingerprint = excluded.fingerprint, build = excluded.build, built_at = now()`

// replaceView keeps the view's grants and what depends on it, where its columns stay the same.
func (r *Rollup) replaceView(ctx context.Context, tx pgx.Tx) error {
	err := pgx.BeginFunc(ctx, tx, func(nested pgx.Tx) error {
		return pgtx.Exec(ctx, nested, "create or replace view "+r.view+" as\n"+r.viewSQL())
	})
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "42P16" { // other columns
		err = pgtx.Exec(ctx, tx, "drop view "+r.view, "create view "+r.view+" as\n"+r.viewSQL())
		if errors.As(err, &pg) && pg.Code == "2BP01" {
			return &sink.ConfigError{Problem: "something depends on the view " + r.view + ", whose columns change", Fix: "drop that first: " + pg.Detail}
		}
	}
	return err
}

// Drop removes a rollup, whatever its definition.
func Drop(ctx context.Context, conn *pgx.Conn, r *Rollup) error {
	return r.alone(ctx, conn, func(ctx context.Context, still func() error) error {
		for _, build := range []int{r.build, r.build + 1} {
			if build == 0 {
				continue
			}
			b := r.at(build)
			if err := still(); err != nil {
				return err
			}
			err := retry(ctx, func() error {
				if build == r.build {
					if _, err := conn.Exec(ctx, "drop view if exists "+b.view); err != nil {
						return err
					}
				}
				return b.drop(ctx, conn)
			})
			if err != nil {
				return fmt.Errorf("drop rollup %s: %w", r.Definition.Name, err)
			}
		}
		_, err := conn.Exec(ctx, "delete from oncesink.rollups where name = $1", r.view)
		return err
	})
}

// retry tries again where a lock was not had: each try lets the writers go on who
// wait behind it.
func retry(ctx context.Context, f func() error) error {
	b := backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond), backoff.WithMaxInterval(2*time.Second), backoff.WithMaxElapsedTime(0))
	return backoff.Retry(func() error {
		err := f()
		if err == nil || pgerr.Classify(err) == pgerr.Transient && pgerr.SQLState(err) != "" && ctx.Err() == nil {
			return err
		}
		return backoff.Permanent(err)
	}, backoff.WithContext(b, ctx))
}

// Script is what builds the rollup for a DBA, in one transaction that lets nobody write meanwhile. It can be
// run again, and then does nothing.
func (d *Definition) Script() (string, error) {
	if err := d.Check(); err != nil {
		return "", err
	}
	b, err := d.builder(1)
	if err != nil {
		return "", err
	}
	statements := append([]string{"lock table " + b.target + " in share row exclusive mode"}, b.createSQL()...)
	statements = append(append(statements, b.triggerSQL()...), b.fillSQL(b.storage), "create view "+b.view+" as\n"+b.viewSQL())
	var out strings.Builder
	fmt.Fprintf(&out, "\n-- rollup %s\nset local search_path = %s;\ndo $init$ begin if not exists (select from oncesink.rollups where name = %s) then\n",
		d.Name, d.SearchPath, pgname.Literal(b.view))
	for _, s := range statements {
		fmt.Fprintf(&out, "execute %s;\n", pgname.Literal(s))
	}
	fmt.Fprintf(&out, "insert into oncesink.rollups (name, target, mode, fingerprint, build) values (%s, %s, '%s', '%s', 1);\nend if; end $init$;\n",
		pgname.Literal(b.view), pgname.Literal(b.target), d.Mode, d.fingerprint())
	return out.String(), nil
}
