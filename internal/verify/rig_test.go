package verify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/internal/testdb"
	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/internal/verify"
	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

const (
	group      = "orders-sink"
	partitions = 3
)

func TestMain(m *testing.M) { os.Exit(testpg.Main(m)) }

// rig is a topic, a group that reads it, and its tables.
type rig struct {
	*testing.T
	client  *kgo.Client
	admin   *kadm.Client
	pool    *pgxpool.Pool
	log     *slog.Logger
	config  sink.Config
	brokers []string
	shelf   string // where the archive lies; empty: there is none yet
	// between produces a key's events into any partition.
	anywhere bool

	mu   sync.Mutex
	rand *rand.Rand
}

const (
	ordersTable = `create table orders (order_id bigint primary key, status varchar(20) not null default 'new', amount numeric(12, 2), note text, placed_at timestamptz,
		tags text[], extra jsonb, day date, updated_at bigint)`
	itemsTable = `create table items (order_id bigint, sku text, pieces int, price numeric(8, 3), line int, primary key (order_id, sku))`
)

// upserts is how most tests map the topic.
func upserts() sink.TableConfig {
	return sink.TableConfig{Name: "orders", Topics: []string{"orders"}, Key: []string{"order_id"}, Version: "updated_at", RecordKey: map[string]string{"order_id": "$key"}}
}

func items() sink.TableConfig {
	return sink.TableConfig{Name: "items", Strategy: sink.Children, Parent: "orders", Each: "items", Key: []string{"order_id", "sku"},
		Columns: map[string]sink.ColumnConfig{"line": {From: "$index"}}}
}

func newRig(t *testing.T, create string, config ...sink.TableConfig) *rig {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("ONCESINK_TEST_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("seed: ONCESINK_TEST_SEED=%d", seed)
	cluster := testkafka.Fake(t, kfake.SeedTopics(partitions, "orders"))
	r := &rig{T: t, brokers: cluster.ListenAddrs(), rand: rand.New(rand.NewPCG(seed, 1)), config: sink.Config{Tables: config, ForeignKeyWait: time.Second}}
	r.log = slog.New(slog.NewTextHandler(&lines{t: t}, nil))
	var err error
	r.client, err = kgo.NewClient(kgo.SeedBrokers(r.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableClientMetrics())
	r.must(err)
	t.Cleanup(r.client.Close)
	r.admin = kadm.NewClient(r.client)
	r.pool, _, err = offsets.NewPool(context.Background(), testdb.URL(t), 12)
	r.must(err)
	t.Cleanup(r.pool.Close)
	r.exec(create)
	r.init()
	return r
}

// init makes what the configuration asks for.
func (r *rig) init() {
	r.Helper()
	conn, err := r.pool.Acquire(r.Context())
	r.must(err)
	defer conn.Release()
	r.must(schema.Init(r.Context(), conn.Conn(), r.config))
}

type lines struct{ t *testing.T }

func (l *lines) Write(p []byte) (int, error) {
	l.t.Log(string(p))
	return len(p), nil
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) exec(sql string, args ...any) int64 {
	r.Helper()
	tag, err := r.pool.Exec(context.Background(), sql, args...)
	if err != nil {
		r.Fatalf("%s: %v", sql, err)
	}
	return tag.RowsAffected()
}

func value[T any](r *rig, sql string, args ...any) (v T) {
	r.Helper()
	if err := r.pool.QueryRow(context.Background(), sql, args...).Scan(&v); err != nil {
		r.Fatalf("%s: %v", sql, err)
	}
	return v
}

// live runs the group until stop, which waits for its end.
func (r *rig) live() (stop func()) {
	r.Helper()
	s, err := engine.Open(r.Context(), r.pool, nil, r.config)
	r.must(err)
	ledger := offsets.New(r.pool, group, offsets.Options{ClusterID: "kfake", Mappings: s.Mappings(), ReplayRefused: s.ReplayRefused()})
	cfg := consumer.Config{Brokers: r.brokers, Group: group, Topics: map[string]consumer.Start{"orders": {}}, SessionTimeout: 6 * time.Second, MaxBatchRecords: 100,
		ClientOptions: []kgo.Opt{kgo.MetadataMinAge(100 * time.Millisecond), kgo.DisableClientMetrics()}}
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
	defer stop()
	ends, err := r.admin.ListEndOffsets(context.Background(), "orders")
	r.must(err)
	var end int64
	ends.Each(func(o kadm.ListedOffset) { end += o.Offset })
	testenv.Eventually(r, 60*time.Second, "the group stands at the end", func() bool {
		return value[int64](r, `select coalesce(sum(next_offset), 0)::bigint from oncesink.offsets where sink_group = $1`, group) >= end
	})
}

// event is what happens to an order; absent fields are left out of its JSON.
type event map[string]any

// produce sends an event; nil is a tombstone.
func (r *rig) produce(id int64, e event) {
	p := int32(id % partitions)
	r.mu.Lock()
	if r.anywhere {
		p = r.rand.Int32N(partitions)
	}
	r.mu.Unlock()
	rec := &kgo.Record{Topic: "orders", Partition: p, Key: strconv.AppendInt(nil, id, 10)}
	if e != nil {
		e["order_id"] = id
		b, err := json.Marshal(e)
		r.must(err)
		rec.Value = b
	}
	r.client.Produce(context.Background(), rec, func(_ *kgo.Record, err error) {
		if err != nil {
			r.Error(err)
		}
	})
}

// mixed is a tombstone, a deletion with a version, a partial event, an event that is refused, or a whole one; with or without its items.
func (r *rig) mixed(id int64) event {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := r.rand
	e := event{"status": []string{"new", "paid", "shipped"}[x.IntN(3)], "amount": fmt.Sprintf("%d.%02d", x.IntN(1000), x.IntN(100)), "note": fmt.Sprint("n", x.IntN(100)),
		"placed_at": time.Unix(1_700_000_000+x.Int64N(1e7), 0).UTC().Format(time.RFC3339), "tags": []string{"a", fmt.Sprint(x.IntN(9))},
		"extra": map[string]any{"b": 1, "a": []int{x.IntN(5)}}, "day": "2026-01-02", "updated_at": x.Int64N(1000)}
	switch x.IntN(10) {
	case 0:
		return nil
	case 1:
		delete(e, "note")
	case 2:
		delete(e, "status")
		e["note"] = nil
	case 3:
		e["deleted"] = true
	case 4:
		if x.IntN(4) == 0 {
			e["day"] = "no day"
		} else if x.IntN(4) == 0 {
			e["status"] = "much too long for the column"
		}
	}
	if x.IntN(3) > 0 {
		list := []map[string]any{}
		for n := range x.IntN(4) {
			item := map[string]any{"sku": fmt.Sprint("s", n), "pieces": x.IntN(9), "price": fmt.Sprintf("%d.5", x.IntN(9))}
			if x.IntN(4) == 0 {
				delete(item, "price")
			}
			list = append(list, item)
		}
		e["items"] = list
	}
	return e
}

// history produces n events of orders.
func (r *rig) history(n, orders int) {
	for range n {
		r.mu.Lock()
		id := r.rand.Int64N(int64(orders))
		r.mu.Unlock()
		r.produce(id, r.mixed(id))
	}
	r.must(r.client.Flush(context.Background()))
}

// verify calls Run and wants it to succeed.
func (r *rig) verify(change ...func(*verify.Options)) *verify.Result {
	r.Helper()
	res, err := verify.Run(context.Background(), r.options(change...))
	r.must(err)
	return res
}

func (r *rig) options(change ...func(*verify.Options)) verify.Options {
	o := verify.Options{Pool: r.pool, Client: r.client, Sink: r.config, Group: group, Table: "orders", Logger: r.log}
	for _, f := range change {
		f(&o)
	}
	return o
}

func sampleOf(n int) func(*verify.Options) { return func(o *verify.Options) { o.Sample = n } }

func newPool(t *testing.T, cfg *pgxpool.Config) (*pgxpool.Pool, error) {
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err == nil {
		t.Cleanup(pool.Close)
	}
	return pool, err
}
