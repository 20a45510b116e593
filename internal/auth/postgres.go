package auth

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/conninfo"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/secret"
)

// Postgres is how a pool's connections are let in.
type Postgres struct {
	// URL is the connection string. The files that it names, or that the environment does, are read again for each connection:
	// certificates, the password file, the service file.
	URL string
	// Password, if not nil, is instead of the string's.
	Password *secret.Source
	// Log takes what a person should know.
	Log *slog.Logger

	mu    sync.Mutex
	last  *pgx.ConnConfig // by the files as they could be read last
	stale bool
}

// Change makes a pool's configuration take its secrets from where they are kept. It is called once, before the pool is made.
func (p *Postgres) Change(cfg *pgxpool.Config) {
	source := "postgres.url"
	if p.Password != nil {
		source = p.Password.Key()
	}
	g := &gate{server: "PostgreSQL", source: source, log: p.Log}
	cfg.BeforeConnect = func(ctx context.Context, conn *pgx.ConnConfig) error { return p.prepare(ctx, conn, g) }
	after := cfg.AfterConnect
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		g.letIn()
		if after != nil {
			return after(ctx, conn)
		}
		return nil
	}
}

// prepare gives one connection what is in the files and the source now.
func (p *Postgres) prepare(ctx context.Context, conn *pgx.ConnConfig, g *gate) error {
	fresh := p.fresh()
	if fresh != nil {
		conn.TLSConfig, conn.Fallbacks, conn.Password = fresh.TLSConfig, fresh.Fallbacks, fresh.Password
	}
	if p.Password != nil {
		password, err := p.Password.Value(ctx)
		if err != nil {
			return pgerr.Mark(err, pgerr.Transient) // it may be there again later
		}
		conn.Password = password
	}
	if !p.Changes() {
		return nil
	}
	given, before := conn.Password, conn.OnPgError
	conn.OnPgError = func(c *pgconn.PgConn, err *pgconn.PgError) bool {
		if pgerr.Refused(err) {
			if p.Password != nil {
				p.Password.Refused(given)
			}
			g.refused(errors.New(pgerr.Safe(err)))
		}
		if before != nil {
			return before(c, err)
		}
		return !strings.EqualFold(err.Severity, "FATAL")
	}
	return nil
}

// fresh is what the connection string means now, nil if that was never to be had.
func (p *Postgres) fresh() *pgx.ConnConfig {
	p.mu.Lock()
	defer p.mu.Unlock()
	cfg, err := conninfo.Parse(p.URL)
	switch {
	case err == nil:
		p.last, p.stale = cfg.ConnConfig, false
	case !p.stale:
		p.stale = true
		p.Log.Warn("files of PostgreSQL's connections can't be read anew: those that were read before are used", "error", err)
	}
	return p.last
}

// Changes reports whether what the program is let in by can change, so that it pays to try again where it was refused: a password that
// comes from a file or a command; or a certificate, where there is no password.
func (p *Postgres) Changes() bool {
	if p.Password != nil {
		return p.Password.Changes()
	}
	return conninfo.Refreshed(p.URL)
}
