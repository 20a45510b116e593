package main

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/testpg"
)

// What has come in is counted to the row, for new keys and for updates of old ones.
func TestVisible(t *testing.T) {
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, testpg.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, narrow.create("orders")); err != nil {
		t.Fatal(err)
	}
	first := fresh(0, 600)
	for _, test := range []struct {
		load  load
		parts int
	}{{first, 7}, {updates(first, 3), 100}, {mixed(first, 4), 1}} {
		w := visible(topic{partitions: test.parts, shape: narrow, load: test.load})
		check := func(when string, want int) {
			t.Helper()
			began, err := w.began(ctx, conn)
			if err != nil || began != (want > 0) {
				t.Errorf("%s, %s: began %v, %v", test.load.name, when, began, err)
			}
			done, err := w.done(ctx, conn)
			if err != nil || done != (want == len(test.load.events)) {
				t.Errorf("%s, %s: done %v, %v", test.load.name, when, done, err)
			}
			if err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
				if in, err := w.in(ctx, tx); err != nil || in != want {
					t.Errorf("%s, %s: %d events are in, want %d (%v)", test.load.name, when, in, want, err)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		check("before", 0)
		in := 0
		for p, events := range (topic{partitions: test.parts, load: test.load}).byPartition() {
			apply(t, conn, events[:len(events)-p%2]...)
			in += len(events) - p%2
			if p == 0 {
				check("one partition", in)
			}
		}
		check("most", in)
		apply(t, conn, test.load.events...)
		check("after", len(test.load.events))
	}
}

// apply writes events as a consumer would.
func apply(t *testing.T, conn *pgx.Conn, events ...event) {
	t.Helper()
	batch := &pgx.Batch{}
	for _, e := range events {
		v := e.values(narrow, nil)
		batch.Queue(`insert into orders as o values ($1::text::bigint, $2::text::bigint, $3, $4::text::numeric, $5, $6, $7, $8::text::timestamptz, $9::text::timestamptz)
			on conflict (order_id) do update set customer_id = excluded.customer_id, status = excluded.status, amount = excluded.amount, note = excluded.note,
			country = excluded.country, updated_at = excluded.updated_at where excluded.updated_at > o.updated_at`, v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8])
	}
	if err := conn.SendBatch(t.Context(), batch).Close(); err != nil {
		t.Fatal(err)
	}
}
