package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/offsets"
)

// skewTold is from which difference on a clock is told: ages in status and alerts are off by it.
const skewTold = 2 * time.Second

// server is what PostgreSQL says of itself.
type server struct {
	Version                     string
	Number                      int
	User, Database              string
	Standby                     bool
	ReadOnly                    string
	Fsync, FullPages            string
	Autovacuum                  string
	MaxConnections, Reserved    int
	Used                        int
	RoleLimit, DatabaseLimit    int // -1: none
	RoleUsed, DatabaseUsed      int
	IdleSession, TransactionMax int64 // milliseconds; 0: none
	MaxLocks                    int64
	Now                         time.Time
}

// postgres looks at the database; false: it can't be used.
func (r *doctorReport) postgres(ctx context.Context, s *session) bool {
	const about = "postgres"
	if err := s.connectPostgres(ctx); err != nil {
		r.refused(about, err)
		return false
	}
	began := time.Now()
	v, err := s.server(ctx)
	took := time.Since(began)
	if err != nil {
		r.refused(about, s.scrub(err))
		return false
	}
	r.ok(about, "%s, database %s as role %s", v.Version, v.Database, v.User)
	if v.Number < 150000 {
		r.fail(about, "use PostgreSQL 15 or later", "the server is older than 15")
	}
	if v.Standby {
		r.fail(about, "name the primary in postgres.url, or add target_session_attrs=read-write", "the server is a standby: nothing can be written")
	} else if v.ReadOnly == "on" {
		r.fail(about, "alter role or database: reset default_transaction_read_only", "transactions are read-only by default")
	}
	r.clock(about, "the database's clock", v.Now.Sub(began.Add(took/2)), took)
	r.durability(v)
	r.connections(s, v)
	r.timeouts(s, v)
	r.locks(ctx, s, v)
	switch err := s.checkLedger(ctx); {
	case errors.Is(err, offsets.ErrNoLedger):
		r.fail(about, "", "%v", err)
		return false
	case err != nil:
		r.refused(about, s.scrub(err))
		return false
	}
	r.ok(about, "the ledger is there, and of this version")
	return true
}

// server asks PostgreSQL for all of it at once.
func (s *session) server(ctx context.Context) (*server, error) {
	var v server
	return &v, s.conn(ctx, func(c *pgx.Conn) error {
		// What older servers, and poolers that stand for one, do not know is null.
		return c.QueryRow(ctx, `
			select 'PostgreSQL ' || split_part(current_setting('server_version'), ' ', 1), current_setting('server_version_num')::int,
			       current_user::text, current_database()::text, pg_is_in_recovery(), current_setting('default_transaction_read_only'),
			       current_setting('fsync'), current_setting('full_page_writes'), current_setting('autovacuum'),
			       current_setting('max_connections')::int,
			       current_setting('superuser_reserved_connections')::int + coalesce(current_setting('reserved_connections', true), '0')::int,
			       (select count(*) from pg_stat_activity where backend_type = 'client backend'),
			       (select rolconnlimit from pg_roles where rolname = current_user),
			       (select datconnlimit from pg_database where datname = current_database()),
			       (select count(*) from pg_stat_activity where backend_type = 'client backend' and usename = current_user),
			       (select count(*) from pg_stat_activity where backend_type = 'client backend' and datname = current_database()),
			       coalesce((select setting::bigint from pg_settings where name = 'idle_session_timeout'), 0),
			       coalesce((select setting::bigint from pg_settings where name = 'transaction_timeout'), 0),
			       current_setting('max_locks_per_transaction')::bigint * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint),
			       clock_timestamp()`).Scan(&v.Version, &v.Number, &v.User, &v.Database, &v.Standby, &v.ReadOnly, &v.Fsync, &v.FullPages, &v.Autovacuum,
			&v.MaxConnections, &v.Reserved, &v.Used, &v.RoleLimit, &v.DatabaseLimit, &v.RoleUsed, &v.DatabaseUsed, &v.IdleSession, &v.TransactionMax, &v.MaxLocks, &v.Now)
	})
}

// clock compares a clock with the one here, to within half of what the question took.
func (r *doctorReport) clock(about, whose string, ahead, took time.Duration) {
	by := ahead.Abs()
	if by <= skewTold+took/2 {
		r.ok(about, "%s agrees with the one here, to within %v", whose, max(by, took/2).Round(time.Millisecond))
		return
	}
	direction := "ahead of"
	if ahead < 0 {
		direction = "behind"
	}
	r.warn(about, "see that both machines keep time (NTP): ages in status and in alerts are off by it", "%s is %v %s the one here", whose, by.Round(time.Second), direction)
}

// durability looks at what a crash of the server may take.
func (r *doctorReport) durability(v *server) {
	const about = "postgres"
	switch {
	case v.Fsync == "off":
		r.warn(about, "set fsync = on", "fsync is off: a crash of the server's machine can destroy the database, and what was told to be committed")
	case v.FullPages == "off":
		r.warn(about, "set full_page_writes = on, unless the storage writes pages as a whole", "full_page_writes is off: a crash can leave torn pages")
	default:
		r.ok(about, "what is committed outlasts a crash (fsync and full_page_writes are on)")
	}
	if v.Autovacuum == "off" {
		r.warn(about, "set autovacuum = on", "autovacuum is off: the ledger's rows are updated with each transaction, and nothing takes their old versions away")
	}
}

// connections compares those that a process opens with those that are free.
func (r *doctorReport) connections(s *session, v *server) {
	const about = "postgres"
	pool, writers := int(s.pool.Config().MaxConns), cmp.Or(s.consumer.Writers, 2)
	if pool < writers+1 {
		r.warn(about, fmt.Sprintf("add pool_max_conns=%d to postgres.url, or lower limits.writers", writers+2), "the pool has %d connection(s) for %d writers and one that looks at the ledger: they wait for each other", pool, writers)
	} else {
		r.ok(about, "the pool of a process has up to %d connections, for %d writers", pool, writers)
	}
	free, limit := v.MaxConnections-v.Reserved-v.Used, "max_connections"
	for _, x := range []struct {
		limit, used int
		name        string
	}{{v.RoleLimit, v.RoleUsed, "the role's connection limit"}, {v.DatabaseLimit, v.DatabaseUsed, "the database's connection limit"}} {
		if x.limit >= 0 && x.limit-x.used < free {
			free, limit = x.limit-x.used, x.name
		}
	}
	free++ // this one
	says := fmt.Sprintf("%d connection(s) are free (%s), and a process opens up to %d", max(free, 0), limit, pool)
	switch {
	case free < min(pool, writers+1):
		r.fail(about, "raise the limit, end what is idle, or lower pool_max_conns in postgres.url", "%s", says)
	case free < 2*pool:
		r.warn(about, "leave room for a second process, which a rolling restart starts", "%s", says)
	default:
		r.ok(about, "%s", says)
	}
}

// timeouts looks at the server's own.
func (r *doctorReport) timeouts(s *session, v *server) {
	const about = "postgres"
	if v.IdleSession > 0 {
		r.warn(about, "alter role: set idle_session_timeout = 0", "idle_session_timeout is %v: the server ends connections that rest, and they are opened again", time.Duration(v.IdleSession)*time.Millisecond)
	}
	longest := cmp.Or(s.sinkCfg.StatementTimeout, time.Minute)
	if most := time.Duration(v.TransactionMax) * time.Millisecond; most > 0 && most < longest {
		r.warn(about, "alter role: set transaction_timeout = 0, or above postgres.statement_timeout", "transaction_timeout is %v, less than the %v that one statement may take: large transactions are ended and tried again", most, longest)
	}
	if s.sinkCfg.SynchronousCommit == "off" {
		r.ok(about, "postgres.synchronous_commit is off: a crash can take the last moments, and they are read again")
	}
}

// locks compares what a transaction locks of partitioned tables with the room of the server's lock table.
func (r *doctorReport) locks(ctx context.Context, s *session, v *server) {
	var names []string
	for _, t := range s.sinkCfg.Tables {
		if schema, table, err := pgname.Qualify(t.Name, cmp.Or(s.sinkCfg.SearchPath, "public")); err == nil { // check says what is wrong with one
			names = append(names, pgx.Identifier{schema, table}.Sanitize())
		}
	}
	var relations int64
	err := s.conn(ctx, func(c *pgx.Conn) error {
		return c.QueryRow(ctx, `
			select coalesce(sum(1 + (select count(*) from pg_index i where i.indrelid = p.relid)), 0)
			  from unnest($1::text[]) n(name)
			  cross join lateral (select relid from pg_partition_tree(to_regclass(n.name)) union select to_regclass(n.name) where to_regclass(n.name) is not null) p`, names).Scan(&relations)
	})
	writers := int64(cmp.Or(s.consumer.Writers, 2))
	switch {
	case err != nil: // check says what is wrong with a name
	case relations*writers > v.MaxLocks/2:
		r.warn("postgres", "raise max_locks_per_transaction", "the tables with their partitions and indexes are %d relations: %d writers may lock %d, and the server has room for %d locks of all sessions", relations, writers, relations*writers, v.MaxLocks)
	default:
		r.ok("postgres", "the tables are %d relation(s) with their indexes, and there is room for %d locks", relations, v.MaxLocks)
	}
}
