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
	// CPU is seconds of the client process per million rows; Peak its memory in MB.
	CPU, Peak float64
	// WAL is bytes per row.
	WAL float64
	// P50 and P99 are milliseconds from produce to visible, of a latency run.
	P50, P99 float64
}

func (r result) rate() float64 { return float64(r.Rows) / r.Seconds }

// watch is what is polled while a process works.
type watch struct {
	began, done func(context.Context, *pgx.Conn) (bool, error)
}

// glance is how often a table is looked at: often enough for runs of seconds, and rarely
// enough to cost nothing.
const glance = 25 * time.Millisecond

// measure times a process from the moment its first rows show to the moment its last ones
// do. So the start of a program, and its way into a group, count for nobody.
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
	start := time.Now()
	before, err := p.used()
	if err != nil {
		return r, err
	}
	wal, err := logPosition(ctx, conn)
	if err != nil {
		return r, err
	}
	if err := within(ctx, 20*time.Minute, glance, p, func() (bool, error) { return w.done(ctx, conn) }); err != nil {
		return r, fmt.Errorf("wait for the last rows: %w", err)
	}
	took := time.Since(start)
	after, err := p.used()
	if err != nil {
		return r, err
	}
	end, err := logPosition(ctx, conn)
	if err != nil {
		return r, err
	}
	million := float64(rows) / 1e6
	return result{Rows: rows, Seconds: took.Seconds(), CPU: (after.cpu - before.cpu).Seconds() / million,
		Peak: float64(after.peak) / (1 << 20), WAL: float64(end-wal) / float64(rows)}, nil
}

func logPosition(ctx context.Context, conn *pgx.Conn) (n int64, err error) {
	err = conn.QueryRow(ctx, "select (pg_current_wal_insert_lsn() - '0/0')::bigint").Scan(&n)
	return n, err
}

// visible watches a table for a topic's first and last events.
func visible(t topic) watch {
	first, last := t.ends()
	count := func(events []event) func(context.Context, *pgx.Conn) (int, error) {
		var ids []int64
		var times []time.Time
		for _, e := range events {
			ids, times = append(ids, e.id), append(times, e.updated())
		}
		return func(ctx context.Context, conn *pgx.Conn) (n int, err error) {
			err = conn.QueryRow(ctx, `select count(*) from orders o join unnest($1::bigint[], $2::timestamptz[]) as e(id, at)
				on o.order_id = e.id and o.updated_at >= e.at`, ids, times).Scan(&n)
			return n, err
		}
	}
	begins, ends := count(first), count(last)
	return watch{
		began: func(ctx context.Context, conn *pgx.Conn) (bool, error) {
			n, err := begins(ctx, conn)
			return n > 0, err
		},
		done: func(ctx context.Context, conn *pgx.Conn) (bool, error) {
			n, err := ends(ctx, conn)
			return n == len(last), err
		},
	}
}
