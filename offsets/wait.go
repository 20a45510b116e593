package offsets

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// waiter waits for ledger rows on a connection of its own, and ends the stuck
// sessions of ours that hold them, from a second one. It is used by one
// goroutine.
type waiter struct {
	l     *Ledger
	start time.Time
	conn  *pgx.Conn // where the locks are waited for
	watch *pgx.Conn // asks who holds them; opened when it is needed

	holder string   // who was last seen to hold a row, for people
	ended  []string // the sessions that were ended
}

func (l *Ledger) newWaiter(start time.Time) *waiter {
	return &waiter{l: l, start: start, holder: "another session"}
}

// close closes both connections, in a second at most.
func (w *waiter) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, c := range []*pgx.Conn{w.conn, w.watch} {
		if c != nil {
			_ = c.Close(ctx) // nothing depends on a farewell
		}
	}
}

// open makes the waiting connection, if there is none or it broke.
func (w *waiter) open(ctx context.Context) error {
	if w.conn != nil && !w.conn.IsClosed() {
		return nil
	}
	conn, err := w.l.connect(ctx)
	if err != nil {
		return err
	}
	w.conn = conn
	return nil
}

// left is how long the call may still wait.
func (w *waiter) left() time.Duration { return w.l.giveUp - time.Since(w.start) }

// untilStuck is how long a holder is still left alone.
func (w *waiter) untilStuck() time.Duration { return max(0, w.l.stuckAfter-time.Since(w.start)) }

// run calls lock in a transaction of the waiting connection and commits. While
// lock waits, from stuckAfter on, stuck holders are ended.
func (w *waiter) run(ctx context.Context, lock func(tx pgx.Tx) error) error {
	if err := w.open(ctx); err != nil {
		return err
	}
	tx, err := w.conn.Begin(ctx)
	if err != nil {
		return err
	}
	// Asked of the server: the process id that a pooler shows is not the session's.
	// This process might be stopped here, too.
	var pid int32
	err = tx.QueryRow(ctx, `select pg_backend_pid() from set_config('idle_in_transaction_session_timeout', '10s', true)`).Scan(&pid)
	if err != nil {
		_ = tx.Rollback(ctx)
		return err
	}
	done := make(chan error, 1)
	go func() { done <- lock(tx) }()
	timer := time.NewTimer(w.untilStuck())
	defer timer.Stop()
	for {
		select {
		case err = <-done:
			if err != nil {
				_ = tx.Rollback(ctx) // err says why; a broken connection is opened anew
				return err
			}
			return tx.Commit(ctx)
		case <-timer.C:
			if err := w.endStuck(ctx, pid); err != nil {
				w.holder = fmt.Sprintf("a session that could not be found: %v", err)
			}
			timer.Reset(50 * time.Millisecond)
		}
	}
}

// holdersSQL finds who holds the ledger row that session $1 waits for, and ends
// it if it is one of ours that is stuck: named like ours, of our role, in its
// transaction for at least $2 ms. A session that itself waits for a ledger row
// (it has, or queues for, a tuple lock) holds nothing for long: its wait is bounded, and
// ending each other would leave nobody to win. The holder behind it is looked for.
const holdersSQL = `
with recursive chain(pid) as (
    select unnest(pg_blocking_pids($1::int))
  union
    select unnest(pg_blocking_pids(c.pid)) from chain c where c.pid in (select pid from queued)
), queued as (
    select pid from pg_locks
     where locktype = 'tuple' and relation = 'oncesink.offsets'::regclass
       and database = (select oid from pg_database where datname = current_database())
), holder as (
    select c.pid, coalesce(a.application_name, '') as name, coalesce(a.usename::text, '') as role, coalesce(a.state, '') as state,
           (extract(epoch from clock_timestamp() - a.xact_start) * 1000)::bigint as age,
           a.application_name like $3::text and a.usename = session_user as ours
      from chain c left join pg_stat_activity a using (pid)
     where c.pid not in (select pid from queued)
)
select pid, name, role, state, coalesce(age, 0),
       case when ours and age >= $2::bigint then pg_terminate_backend(pid) else false end
  from holder`

// endStuck ends the stuck sessions of ours that block session pid, and
// remembers who they, or the other holders, are.
func (w *waiter) endStuck(ctx context.Context, pid int32) error {
	ctx, cancel := context.WithTimeout(ctx, w.l.giveUp)
	defer cancel()
	if w.watch == nil || w.watch.IsClosed() {
		conn, err := w.l.connect(ctx)
		if err != nil {
			return err
		}
		w.watch = conn
	}
	rows, err := w.watch.Query(ctx, holdersSQL, pid, w.l.stuckAfter.Milliseconds(), appPrefix+"%")
	if err != nil {
		return err
	}
	var holder struct {
		pid               int32
		name, role, state string
		age               int64
		ended             bool
	}
	_, err = pgx.ForEachRow(rows, []any{&holder.pid, &holder.name, &holder.role, &holder.state, &holder.age, &holder.ended}, func() error {
		w.holder = fmt.Sprintf("session %d (application_name %q, role %s, %s, in its transaction for %.1f s)",
			holder.pid, holder.name, holder.role, holder.state, float64(holder.age)/1000)
		if holder.pid == 0 {
			w.holder = "a prepared transaction: see pg_prepared_xacts"
		}
		if holder.ended {
			w.ended = append(w.ended, w.holder)
			w.l.opts.Logger.Warn("ended a stuck session that held ledger rows", "group", w.l.group, "session", w.holder)
		}
		return nil
	})
	return err
}

// waitedFor describes the sessions that were ended, for people.
func (w *waiter) waitedFor() string { return strings.Join(w.ended, "; ") }
