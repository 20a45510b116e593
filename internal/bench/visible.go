package main

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// reader is a connection or a transaction.
type reader interface {
	Query(context.Context, string, ...any) (pgx.Rows, error)
	QueryRow(context.Context, string, ...any) pgx.Row
}

// shown tells of each event whether the table has it, or a newer version of its row.
func shown(ctx context.Context, r reader, events []event) ([]bool, error) {
	ids, times := make([]int64, len(events)), make([]time.Time, len(events))
	for i, e := range events {
		ids[i], times[i] = e.id, e.updated()
	}
	rows, err := r.Query(ctx, `select coalesce(o.updated_at >= e.at, false)
		from unnest($1::bigint[], $2::timestamptz[]) with ordinality as e(id, at, n) left join orders o on o.order_id = e.id order by e.n`, ids, times)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[bool])
}

// byPartition is a topic's events, each partition's in order.
func (t topic) byPartition() [][]event {
	parts := make([][]event, t.partitions)
	for _, e := range t.load.events {
		p := e.id % int64(t.partitions)
		parts[p] = append(parts[p], e)
	}
	out := parts[:0]
	for _, p := range parts {
		if len(p) > 0 {
			out = append(out, p)
		}
	}
	return out
}

// visible watches a table for a topic's events. It has begun when the first event of a partition
// shows, and it is done when the last one of each partition does.
func visible(t topic) watch {
	parts := t.byPartition()
	var firsts, missing []event
	for _, p := range parts {
		firsts, missing = append(firsts, p[0]), append(missing, p[len(p)-1])
	}
	return watch{
		began: func(ctx context.Context, conn *pgx.Conn) (bool, error) {
			seen, err := shown(ctx, conn, firsts)
			return slices.Contains(seen, true), err
		},
		in: func(ctx context.Context, tx pgx.Tx) (int, error) { return reached(ctx, tx, parts) },
		// A few at a time, and none twice: looking must not cost what it measures.
		done: func(ctx context.Context, conn *pgx.Conn) (bool, error) {
			for len(missing) > 0 {
				some := missing[:min(len(missing), 50)]
				seen, err := shown(ctx, conn, some)
				if err != nil {
					return false, err
				}
				var waiting []event
				for i, ok := range seen {
					if !ok {
						waiting = append(waiting, some[i])
					}
				}
				missing = append(waiting, missing[len(some):]...)
				if len(waiting) > 0 {
					return false, nil
				}
			}
			return true, nil
		},
	}
}

// reached counts the events that show, each partition's by bisection: they are written in its order.
func reached(ctx context.Context, r reader, parts [][]event) (n int, err error) {
	low, high := make([]int, len(parts)), make([]int, len(parts)) // low are in, from high on none is
	for i, p := range parts {
		high[i] = len(p)
	}
	for {
		var open []int
		var probes []event
		for i, p := range parts {
			if low[i] < high[i] {
				open, probes = append(open, i), append(probes, p[(low[i]+high[i])/2])
			}
		}
		if len(open) == 0 {
			for _, l := range low {
				n += l
			}
			return n, nil
		}
		seen, err := shown(ctx, r, probes)
		if err != nil {
			return 0, err
		}
		for k, i := range open {
			if middle := (low[i] + high[i]) / 2; seen[k] {
				low[i] = middle + 1
			} else {
				high[i] = middle
			}
		}
	}
}
