package rebuild_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/rebuild"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/internal/testdb"
	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

const (
	group      = "orders-sink"
	partitions = 3
)

func TestMain(m *testing.M) {
	if spec := os.Getenv(childEnv); spec != "" {
		if err := child(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(testpg.Main(m))
}

// rig is a topic, a group that reads it, and its table.
type rig struct {
	*testing.T
	url     string
	brokers []string
	client  *kgo.Client
	admin   *kadm.Client
	pool    *pgxpool.Pool
	tables  []sink.TableConfig
	topics  map[string]sink.TopicConfig
	log     *slog.Logger
	lines   *testLog
	rand    *rand.Rand

	mu       sync.Mutex
	versions map[int64]int64 // of each order
	trickled atomic.Int64
}

// upserts is how most tests map the topic.
var upserts = sink.TableConfig{Name: "orders", Topics: []string{"orders"}, Key: []string{"order_id"}, Version: "updated_at", RecordKey: map[string]string{"order_id": "$key"}}

const ordersTable = `create table orders (order_id bigint primary key, status text not null default 'new', amount numeric(12, 2), note text, placed_at timestamptz, updated_at bigint)`

func newRig(t *testing.T, table sink.TableConfig, create string) *rig {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("ONCESINK_TEST_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("seed: ONCESINK_TEST_SEED=%d", seed)
	cluster := testkafka.Fake(t, kfake.SeedTopics(partitions, "orders"))
	r := &rig{T: t, url: testdb.URL(t), brokers: cluster.ListenAddrs(), tables: []sink.TableConfig{table}, versions: map[int64]int64{},
		rand: rand.New(rand.NewPCG(seed, 1)), lines: &testLog{t: t, awaits: map[string]chan struct{}{}}}
	r.log = slog.New(slog.NewTextHandler(r.lines, nil))
	var err error
	r.client, err = kgo.NewClient(kgo.SeedBrokers(r.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableClientMetrics())
	r.must(err)
	t.Cleanup(r.client.Close)
	r.admin = kadm.NewClient(r.client)
	r.pool, _, err = offsets.NewPool(context.Background(), r.url, 12)
	r.must(err)
	t.Cleanup(r.pool.Close)
	r.exec(create)
	conn, err := r.pool.Acquire(t.Context())
	r.must(err)
	defer conn.Release()
	r.must(schema.Init(t.Context(), conn.Conn(), r.sink()))
	return r
}

// testLog shows the log if the test fails, and tells when a line says something.
type testLog struct {
	t      *testing.T
	mu     sync.Mutex
	text   string
	awaits map[string]chan struct{}
}

func (l *testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text += string(p)
	for what, c := range l.awaits {
		if strings.Contains(l.text, what) {
			close(c)
			delete(l.awaits, what)
		}
	}
	return len(p), nil
}

// says returns what is closed as soon as the log has said a text.
func (r *rig) says(text string) <-chan struct{} {
	r.lines.mu.Lock()
	defer r.lines.mu.Unlock()
	c := make(chan struct{})
	if strings.Contains(r.lines.text, text) {
		close(c)
	} else {
		r.lines.awaits[text] = c
	}
	return c
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) exec(sql string, args ...any) {
	r.Helper()
	if _, err := r.pool.Exec(context.Background(), sql, args...); err != nil {
		r.Fatalf("%s: %v", sql, err)
	}
}

func value[T any](r *rig, sql string, args ...any) (v T) {
	r.Helper()
	if err := r.pool.QueryRow(context.Background(), sql, args...).Scan(&v); err != nil {
		r.Fatalf("%s: %v", sql, err)
	}
	return v
}

func (r *rig) sink() sink.Config {
	return sink.Config{Tables: r.tables, Topics: r.topics, ForeignKeyWait: time.Second}
}

func (r *rig) consumer() consumer.Config {
	return consumer.Config{Brokers: r.brokers, Group: group, Topics: map[string]consumer.Start{"orders": {}}, SessionTimeout: 6 * time.Second,
		MaxBatchRecords: 100, // so that a key comes in several batches
		ClientOptions:   []kgo.Opt{kgo.MetadataMinAge(100 * time.Millisecond), kgo.DisableClientMetrics()}}
}

// live runs the group until stop, which waits for its end.
func (r *rig) live(change ...func(*consumer.Config)) (stop func()) {
	r.Helper()
	s, err := engine.Open(r.Context(), r.pool, nil, r.sink())
	r.must(err)
	ledger := offsets.New(r.pool, group, offsets.Options{ClusterID: "kfake", Mappings: s.Mappings(), ReplayRefused: s.ReplayRefused()})
	cfg := r.consumer()
	for _, f := range change {
		f(&cfg)
	}
	c, err := consumer.NewWith(cfg, wiring.Parts{Ledger: ledger, Engine: s.WithLedger(ledger)})
	r.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	end := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.Error(err)
		}
	})
	r.Cleanup(end)
	return end
}

// sync runs the group to the end of the topic.
func (r *rig) sync() {
	r.Helper()
	stop := r.live()
	r.caughtUp()
	stop()
}

// caughtUp waits until the group stands at the end of the topic.
func (r *rig) caughtUp() {
	r.Helper()
	ends, err := r.admin.ListEndOffsets(context.Background(), "orders")
	r.must(err)
	var end int64
	ends.Each(func(o kadm.ListedOffset) { end += o.Offset })
	r.eventually("the group stands at the end", func() bool {
		return value[int64](r, `select coalesce(sum(next_offset), 0)::bigint from oncesink.offsets where sink_group = $1`, group) >= end
	})
}

// mostTrickled bounds what trickle produces in all: a stage that is slower than the producer would never come near.
const mostTrickled = 4000

// trickle produces a few events, unless the group is far behind already: on a slow machine it would never come back.
func (r *rig) trickle(orders int, one func(int64) event) {
	ends, err := r.admin.ListEndOffsets(context.Background(), "orders")
	if err != nil {
		r.Error(err)
		return
	}
	var end int64
	ends.Each(func(o kadm.ListedOffset) { end += o.Offset })
	if end-value[int64](r, `select coalesce(sum(next_offset), 0)::bigint from oncesink.offsets where sink_group = $1`, group) < 500 && r.trickled.Add(20) <= mostTrickled {
		r.history(20, orders, one)
	}
}

func (r *rig) eventually(what string, ok func() bool) {
	r.Helper()
	testenv.Eventually(r, 60*time.Second, what, ok)
}

// event is what happens to an order; absent fields are left out of its JSON.
type event map[string]any

// produce sends events in their order; nil fields is a tombstone.
func (r *rig) produce(id int64, fields event) {
	rec := &kgo.Record{Topic: "orders", Partition: int32(id % partitions), Key: strconv.AppendInt(nil, id, 10)}
	if fields != nil {
		fields["order_id"] = id
		b, err := json.Marshal(fields)
		r.must(err)
		rec.Value = b
	}
	r.client.Produce(context.Background(), rec, func(_ *kgo.Record, err error) {
		if err != nil {
			r.Error(err)
		}
	})
}

// uniform is an event with every field, newer than the order's last, or, sometimes, older.
func (r *rig) uniform(id int64) event {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.versions[id]++
	version := r.versions[id]
	if r.rand.IntN(5) == 0 {
		version -= int64(r.rand.IntN(3))
	}
	day := time.Date(2026, 11, 1+int(id+version*7)%20, r.rand.IntN(24), 0, 0, 0, time.UTC)
	return event{"status": []string{"new", "paid", "shipped"}[r.rand.IntN(3)], "amount": fmt.Sprintf("%d.%02d", r.rand.IntN(1000), r.rand.IntN(100)),
		"note": fmt.Sprint("n", r.rand.IntN(100)), "placed_at": day.Format(time.RFC3339), "updated_at": version}
}

// mixed is a tombstone, a partial event, or a whole one.
func (r *rig) mixed(id int64) event {
	e := r.uniform(id)
	switch r.rand.IntN(8) {
	case 0:
		return nil
	case 1:
		delete(e, "note")
	case 2:
		delete(e, "status")
		e["note"] = nil
	}
	return e
}

// history produces n events of orders.
func (r *rig) history(n, orders int, one func(int64) event) {
	for range n {
		id := int64(r.rand.IntN(orders))
		r.produce(id, one(id))
	}
	r.must(r.client.Flush(context.Background()))
}

// state is a table's rows as text, to be compared.
func (r *rig) state() string {
	r.Helper()
	return value[string](r, `select coalesce(string_agg(t::text, E'\n' order by t::text), '') from orders t`) + "\n" +
		value[string](r, `select case when to_regclass('oncesink."public.orders deletes"') is null then '' else
			(xpath('/table/row/text()', query_to_xml('select string_agg(m::text, '' '' order by m::text) from oncesink."public.orders deletes" m', false, false, '')))::text end`)
}

// fromScratch empties the table and has the group alone read everything again: the table has to be what it was.
func (r *rig) fromScratch(was string) {
	r.Helper()
	if value[bool](r, `select to_regclass('oncesink."public.orders deletes"') is not null`) {
		r.exec(`truncate oncesink."public.orders deletes"`)
	}
	r.exec(`delete from orders; delete from oncesink.offsets where sink_group = '` + group + `'`)
	r.sync()
	if got := r.state(); got != was {
		r.Errorf("the table is not what the events make of it:\n%.500s\nwant\n%.500s", was, got)
	}
}

// rebuild calls Run.
func (r *rig) rebuild(change ...func(*rebuild.Options)) (*rebuild.Result, error) {
	r.Helper()
	o := r.options()
	for _, f := range change {
		f(&o)
	}
	return rebuild.Run(context.Background(), o)
}

func (r *rig) options() rebuild.Options {
	return rebuild.Options{Pool: r.pool, Admin: r.admin, Cluster: "kfake", Sink: r.sink(), Consumer: r.consumer(), Table: r.tables[0].Name, Logger: r.log}
}

// rebuilt calls Run and wants it to succeed.
func (r *rig) rebuilt(change ...func(*rebuild.Options)) *rebuild.Result {
	r.Helper()
	result, err := r.rebuild(change...)
	r.must(err)
	return result
}

// clean checks that a call left nothing of its own.
func (r *rig) clean() {
	r.Helper()
	left := value[string](r, `select coalesce(string_agg(relname, ', '), '') from pg_class where relnamespace = 'oncesink'::regnamespace and relname like '%orders %' and relname not like '%deletes%' or relname like '%stage%'`)
	groups := value[int](r, `select count(*) from oncesink.offsets where sink_group <> $1`, group)
	if left != "" || groups > 0 {
		r.Errorf("left behind: %s, %d positions", left, groups)
	}
}
