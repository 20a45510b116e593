// Package oplock lets one operator at a time work on something.
//
// The lock is an advisory lock of a transaction that stays open, idle, on a connection of its own: so it ends with
// the transaction, whatever lies between this program and PostgreSQL. A session's lock would stay on the
// connection of a pooler in transaction mode, and a stranger would have it next. The transaction is READ
// COMMITTED and has written nothing, so that while it is idle it has neither a snapshot nor a
// transaction id, and holds back no vacuum.
package oplock

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// How often a lock that somebody else has is asked for, and how often one that is held is looked after.
// While it is waited for the transaction is idle, too: a statement that waits would keep its snapshot.
const (
	askInterval  = 250 * time.Millisecond
	lookInterval = 5 * time.Second
	lookTimeout  = 30 * time.Second
)

// LostError says that the lock's transaction has ended under its holder: another operator may have begun.
type LostError struct{ cause error }

func (e *LostError) Error() string {
	return "the connection that keeps other operators out was lost: run it again (" + e.cause.Error() + ")"
}
func (e *LostError) Unwrap() error { return e.cause }

// Lock is a lock that is held. Its methods may be called by several goroutines.
type Lock struct {
	mu     sync.Mutex
	conn   *pgx.Conn
	lost   error
	stop   context.CancelFunc
	looked sync.WaitGroup
}

// begin keeps the server from ending an idle transaction, and has it notice a peer whose machine vanished.
// What a server doesn't know, or can't do, is left out.
const begin = `begin isolation level read committed read only; select set_config(name, value, true)
  from (values ('statement_timeout', '0'), ('lock_timeout', '0'), ('idle_in_transaction_session_timeout', '0'), ('transaction_timeout', '0'),
               ('tcp_keepalives_idle', '10'), ('tcp_keepalives_interval', '5'), ('tcp_keepalives_count', '3')) v(name, value)
 where name in (select name from pg_catalog.pg_settings)`

// Hold waits for the lock that key, an expression over args, makes the arguments of an advisory lock: "$1::int, $2::int".
// It connects by cfg. If the lock is somebody's, waiting (if not nil) is called once. The context that is
// returned ends with ctx, and with a *LostError as its cause when the lock is lost.
func Hold(ctx context.Context, cfg *pgx.ConnConfig, key string, args []any, waiting func()) (context.Context, *Lock, error) {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("connect: %w", err)
	}
	l := &Lock{conn: conn}
	if err := l.take(ctx, key, args, waiting); err != nil {
		l.close()
		return nil, nil, fmt.Errorf("take the lock of operators: %w", err)
	}
	held, cancel := context.WithCancelCause(ctx)
	looking, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	l.looked.Go(func() { l.look(looking, cancel) })
	return held, l, nil
}

func (l *Lock) take(ctx context.Context, key string, args []any, waiting func()) error {
	if _, err := l.conn.Exec(ctx, begin, pgx.QueryExecModeSimpleProtocol); err != nil {
		return err
	}
	// In the simple protocol: in the other one the answer's portal stays open, and keeps its snapshot.
	args = append([]any{pgx.QueryExecModeSimpleProtocol}, args...)
	for told := false; ; told = true {
		var got bool
		if err := l.conn.QueryRow(ctx, "select pg_try_advisory_xact_lock("+key+")", args...).Scan(&got); err != nil || got {
			return err
		}
		if !told && waiting != nil {
			waiting()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(askInterval):
		}
	}
}

// look asks again and again whether the transaction is there. That also keeps a firewall from forgetting the connection.
func (l *Lock) look(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			cancel(context.Canceled)
			return
		case <-tick.C:
		}
		if err := l.Check(ctx); err != nil && ctx.Err() == nil {
			cancel(err)
			return
		}
	}
}

// Check returns a *LostError if the lock is not held any more.
func (l *Lock) Check(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost != nil {
		return l.lost
	}
	asking, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	_, err := l.conn.Exec(asking, "select 1", pgx.QueryExecModeSimpleProtocol)
	if err == nil && l.conn.PgConn().TxStatus() != 'T' {
		err = errors.New("its transaction has ended")
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		l.lost = &LostError{err}
	}
	return l.lost
}

// Release ends the transaction, and the lock with it.
func (l *Lock) Release() {
	l.stop()
	l.looked.Wait()
	l.close()
}

func (l *Lock) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = l.conn.Exec(ctx, "rollback") // closing alone would do
	_ = l.conn.Close(ctx)
}
