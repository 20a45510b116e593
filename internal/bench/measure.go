package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// result is one measurement.
type result struct {
	Who     string // oncesink, Debezium, ...
	Variant string // 1 writer, UNNEST, ...
	Load    string // fresh, updates, ...
	Rows    int
	Seconds float64
	// CPU is seconds of the client process per million rows, Server those of all processes of PostgreSQL; Peak is the client's memory in MB.
	CPU, Server, Peak float64
	// WAL is bytes per row.
	WAL float64
	// P50 and P99 are milliseconds from produce to visible, of a latency run.
	P50, P99 float64
}

func (r result) rate() float64 { return float64(r.Rows) / r.Seconds }

// watch is what is polled while a process works.
type watch struct {
	began, done func(context.Context, *pgx.Conn) (bool, error)
	// in counts the events that are in.
	in func(context.Context, pgx.Tx) (int, error)
}

// glance is how often a table is looked at: often enough for runs of seconds, and rarely
// enough to cost nothing.
const glance = 25 * time.Millisecond

// measure times a process from the moment its first rows show to the moment its last ones do.
// So the start of a program, and its way into a group, count for nobody; nor do the rows that
// show at the first moment, of which large batches bring more. Seconds are for all rows at the
// rate of the others.
func measure(ctx context.Context, url string, rows int, w watch, run func() (*process, error)) (r result, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return r, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	p, err := run()
	if err != nil {
		return r, err
	}
	defer p.stop()
	if err := within(ctx, 2*time.Minute, glance, p, func() (bool, error) { return w.began(ctx, conn) }); err != nil {
		return r, fmt.Errorf("wait for the first rows: %w", err)
	}
	first, err := moment(ctx, conn, p, w)
	if err != nil {
		return r, err
	}
	if err := within(ctx, 20*time.Minute, glance, p, func() (bool, error) { return w.done(ctx, conn) }); err != nil {
		return r, fmt.Errorf("wait for the last rows: %w", err)
	}
	last, err := moment(ctx, conn, p, watch{})
	if err != nil {
		return r, err
	}
	timed := float64(rows - first.in)
	if timed <= 0 {
		return r, fmt.Errorf("all %d rows came at once: time more of them", rows)
	}
	return result{Rows: rows, Seconds: last.at.Sub(first.at).Seconds() / timed * float64(rows), CPU: (last.cpu - first.cpu).Seconds() / timed * 1e6,
		Server: (last.server - first.server).Seconds() / timed * 1e6, Peak: float64(last.peak) / (1 << 20), WAL: float64(last.wal-first.wal) / timed}, nil
}

// state is where a run is.
type state struct {
	usage
	server time.Duration // processor time of PostgreSQL
	at     time.Time
	wal    int64
	in     int // events, if the watch counts them
}

// moment looks at everything at once: the rows are counted as they were when the clock was read.
func moment(ctx context.Context, conn *pgx.Conn, p *process, w watch) (s state, err error) {
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) (err error) {
		s.at = time.Now()
		if s.wal, err = logPosition(ctx, tx); err != nil { // the first statement takes the snapshot
			return err
		}
		if s.server, err = serverCPU(conn.PgConn().PID()); err != nil {
			return err
		}
		if s.usage, err = p.used(); err != nil || w.in == nil {
			return err
		}
		s.in, err = w.in(ctx, tx)
		return err
	})
	return s, err
}

func logPosition(ctx context.Context, conn reader) (n int64, err error) {
	err = conn.QueryRow(ctx, "select (pg_current_wal_insert_lsn() - '0/0')::bigint").Scan(&n)
	return n, err
}
