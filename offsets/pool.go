package offsets

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/conninfo"
)

// appPrefix begins the application_name of every session of this program; the
// instance follows.
const appPrefix = "oncesink "

// NewPool returns a pool for one process and the instance name it drew for it:
// every session is named "oncesink <instance>", whatever the url says, so that a
// claim can tell a stuck session of ours from somebody else's. The pool connects
// when it is used. maxConns of 0 leaves the url's pool_max_conns or pgx's default.
// Statements are described once and not prepared, which works
// behind PgBouncer in transaction mode. The error of a url that can't be read says how it is written, and has no
// word of it; a url in which a piece of the password could be taken for something else is refused.
//
// Each change is called with the pool's configuration before it is made: a BeforeConnect, for example, that gets a password for each
// connection.
func NewPool(ctx context.Context, url string, maxConns int32, change ...func(*pgxpool.Config)) (*pgxpool.Pool, string, error) {
	cfg, err := conninfo.Parse(url)
	if err != nil {
		return nil, "", fmt.Errorf("the PostgreSQL url %w", err)
	}
	instance := newInstance()
	if maxConns > 0 {
		cfg.MaxConns = maxConns
	}
	conn := cfg.ConnConfig
	conn.RuntimeParams["application_name"] = appPrefix + instance
	conn.RuntimeParams["client_encoding"] = "UTF8" // whatever the database's encoding is
	if conn.ConnectTimeout == 0 {
		conn.ConnectTimeout = 10 * time.Second
	}
	// A peer that vanished without a word is noticed within about 25 s, on an
	// idle connection and on one that has unacknowledged data.
	dialer := &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3},
		Control:         setUserTimeout,
	}
	conn.DialFunc = dialer.DialContext
	if conn.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		conn.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	conn.StatementCacheCapacity = 0
	cfg.AfterConnect = keepServerAlive
	for _, f := range change {
		f(cfg)
	}

	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, "", fmt.Errorf("open PostgreSQL pool: %w", err)
	}
	return pool, instance, nil
}

// newInstance draws a name for a process.
func newInstance() string {
	var name [4]byte
	_, _ = rand.Read(name[:]) // never fails: crypto/rand aborts the program instead
	return hex.EncodeToString(name[:])
}

// userTimeout bounds how long sent data may stay unacknowledged.
const userTimeout = 25 * time.Second

// keepServerAlive makes the server, too, notice that this process's machine
// vanished: a session that reads from a dead client keeps its locks for two hours
// otherwise. They are no start-up parameters, because PgBouncer refuses unknown ones; and where a pooler
// stands between, which shows another process id than the server's, they would stay on its connection.
func keepServerAlive(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, fmt.Sprintf(`select set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false),
		set_config('tcp_keepalives_count', '3', false), set_config('tcp_user_timeout', '25000', false) where pg_backend_pid() = %d`, int32(conn.PgConn().PID())))
	if err != nil && sqlState(err) == "" {
		return err // the connection; a server that can't set them does without
	}
	return nil
}
