// Package testpage makes the page of a group on a real database, for tests in and without a browser: partitions of this process, of one that lives
// and of one that has gone; one that has halted; dead letters.
package testpage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/page"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Group is the group's name.
const Group = "orders-sink"

// Scene is a page on a server.
type Scene struct {
	testing.TB
	Page *page.Page
	Pool *pgxpool.Pool
	URL  string

	mu     sync.Mutex
	status []consumer.PartitionStatus
}

// New makes the scene: orders with partitions of this process, one of them halted at a gap; payments with four partitions, of which another process
// that lives has two, and one that has gone has two. 12 dead letters are open.
func New(t testing.TB, cfg page.Config, orders int, token string) *Scene {
	t.Helper()
	url := testpg.URL(t)
	pool, ledger := open(t, url)
	_, other := open(t, url) // its sessions say that it lives
	s := &Scene{TB: t, Pool: pool}
	conn, err := pool.Acquire(t.Context())
	s.must(err)
	s.must(offsets.Init(t.Context(), conn.Conn()))
	s.must(schema.Init(t.Context(), conn.Conn(), sink.Config{}))
	conn.Release()
	s.Exec(`insert into oncesink.offsets (sink_group, topic, partition, next_offset, first_offset, cluster_id, claim, owner, instance, moved_at)
		select $1::text, 'orders', p, 120000 + p, 0, 'MkU3OEVBNTcwNTJENDM2Qk', gen_random_uuid(), 'sink-0, pid 7, instance ' || $2::text, $2::text, now() - interval '1 second' from generate_series(0, $3::int - 1) p
		union all
		select $1::text, 'payments', p, 4000 + p, 0, 'MkU3OEVBNTcwNTJENDM2Qk', gen_random_uuid(), case when p < 2 then 'sink-1, pid 7, instance ' || $4::text else 'sink-2, pid 7, instance gone' end,
		       case when p < 2 then $4::text else 'gone' end, now() - interval '3 seconds' from generate_series(0, 3) p`, Group, ledger.Instance(), orders, other.Instance())
	s.Exec(`insert into oncesink.dead_letters (sink_group, topic_id, topic, generation, partition, "offset", key, value, headers, code, message, target, column_name, status, recorded_at)
		select $1, md5('orders')::uuid, 'orders', 0, n % 4, 100 + n, 'k', convert_to('{"amount": "hidden-' || n || '"}', 'UTF8'), '[]', case when n < 9 then '22P02' else '23514' end, 'says "hidden"',
		       'public.orders', case when n < 9 then 'amount' end, 'new', now() - n * interval '7 minutes' from generate_series(0, 11) n`, Group)
	s.Exec(`create table oncesink.rollups (name text primary key, target text not null, mode text not null, fingerprint text not null, build integer not null, built_at timestamptz not null default now())`)
	s.Exec(`insert into oncesink.rollups values ('public.orders_by_day', 'public.orders', 'incremental', '', 1, now() - interval '3 days')`)
	at := offsets.Partition{Topic: "orders", Partition: 2}
	for i := range orders {
		p := consumer.PartitionStatus{Topic: "orders", Partition: int32(i), State: consumer.Running, Since: time.Now().Add(-time.Hour), Position: 120_000 + int64(i), Lag: int64(i * 37 % 1000),
			Behind: time.Duration(i*37%1000) * 11 * time.Millisecond, Committed: time.Now()}
		if at.Partition == p.Partition {
			p.State, p.Since, p.Lag, p.Behind = consumer.Halted, time.Now().Add(-4*time.Minute), 3210, 10*time.Minute
			p.Err = &consumer.GapError{Partition: at, Group: Group, From: 120_002, To: 120_503, Why: "retention or DeleteRecords removed them before they were read"}
			p.Reason = consumer.ReasonOf(p.Err)
		}
		s.status = append(s.status, p)
	}
	cfg.Group = Group
	if cfg.Version == "" {
		cfg.Version = "v0.0.0-test"
	}
	s.Page = page.New(cfg)
	t.Cleanup(s.Page.Close)
	s.Page.Follow(s, pool)
	s.happens(orders)
	server := httptest.NewServer(page.Login(token, s.Page))
	t.Cleanup(func() { s.Page.Close(); server.Close() })
	s.URL = server.URL + "/"
	return s
}

func open(t testing.TB, url string) (*pgxpool.Pool, *offsets.Ledger) {
	t.Helper()
	pool, _, err := offsets.NewPool(t.Context(), url, 4)
	if err == nil {
		err = pool.Ping(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool, offsets.New(pool, Group, offsets.Options{})
}

// happens tells the page what observers would.
func (s *Scene) happens(orders int) {
	o := s.Page.Observer()
	var all []offsets.Partition
	for i := range orders {
		all = append(all, offsets.Partition{Topic: "orders", Partition: int32(i)})
	}
	o.Rebalanced(consumer.Rebalance{Kind: sink.Assigned, Partitions: all})
	for _, p := range all {
		o.Claimed(consumer.Claimed{Partition: p, Outcome: sink.ClaimWon, Position: 1})
	}
	o.Fenced(consumer.Fence{Partition: offsets.Partition{Topic: "payments", Partition: 1}, Cause: sink.FencedByClaim})
	s.Page.Halted(s.status[min(2, orders-1)])
	s.Commits(1)
}

// Commits tells the page of transactions.
func (s *Scene) Commits(n int) {
	o := s.Page.SinkObserver()
	for range n {
		o.Transaction(&sink.Transaction{Outcome: sink.Committed, Duration: 12 * time.Millisecond, Records: 500, Parts: []sink.TransactionPart{{Topic: "orders", Records: 500}},
			Tables: []sink.TableStats{{Table: "public.orders", Copied: 320, Upserted: 150, UnchangedByLook: 20, Tombstones: 10}}})
	}
}

// Status and Stats are those of a consumer.
func (s *Scene) Status() []consumer.PartitionStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]consumer.PartitionStatus(nil), s.status...)
}

// Routes are those of a consumer.
func (s *Scene) Routes() map[string]string {
	return map[string]string{"public.orders": "copy where keys are new, upsert where they exist, as the last batches teach", "public.refunds": "upsert only: it has a row-level trigger for insert"}
}

// Findings are those of a consumer.
func (s *Scene) Findings(context.Context) (map[string][]string, error) {
	return map[string][]string{"public.orders": {"warning: nothing says that the topic is keyed by the table's key: the highest offset wins. name a version [key-order]"}}, nil
}

// Stats implements [page.Source].
func (s *Scene) Stats() sink.Stats { return sink.Stats{} }

// Set changes a partition of orders.
func (s *Scene) Set(n int, change func(*consumer.PartitionStatus)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.status[n])
}

// Exec runs a statement.
func (s *Scene) Exec(sql string, args ...any) {
	s.Helper()
	_, err := s.Pool.Exec(s.Context(), sql, args...)
	s.must(err)
}

// One is the text that a query returns.
func (s *Scene) One(sql string, args ...any) (out string) {
	s.Helper()
	s.must(s.Pool.QueryRow(context.Background(), sql, args...).Scan(&out))
	return out
}

func (s *Scene) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// Log is a logger whose lines can be read.
type Log struct {
	mu    sync.Mutex
	lines []byte
}

// Write implements [io.Writer].
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, b...)
	return len(b), nil
}

// Logger writes to it.
func (l *Log) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.lines)
}

// Eventually wants a condition within ten seconds.
func Eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(errors.New(fmt.Sprint("not within 10 s: ", what)))
		}
	}
}
