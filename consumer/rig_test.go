package consumer

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/internal/testdb"
	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.parallel").Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) { // nobody has asked for a number
		if err := flag.Set("test.parallel", "8"); err != nil { // these tests wait more than they work
			panic(err)
		}
	}
	os.Exit(testpg.Main(m))
}

const group = "orders-sink"

// onBoth runs a test against the fake broker, and against a real Apache Kafka, which
// has the last word on how a log behaves.
func onBoth(t *testing.T, test func(t *testing.T, brokers []string, topic string)) {
	t.Run("kfake", func(t *testing.T) { test(t, testkafka.Fake(t).ListenAddrs(), "orders") })
	t.Run("Apache Kafka", func(t *testing.T) {
		kafka := testkafka.Real(t)
		test(t, kafka.Brokers, kafka.Name("orders"))
	})
}

// rig is a topic and a database, and consumers between them. The target is an
// append-like witness: every applied event adds one to n, so that an event applied twice shows.
type rig struct {
	t       *testing.T
	brokers []string
	url     string
	topic   string
	client  *kgo.Client
	admin   *kadm.Client
	pool    *pgxpool.Pool
	parts   wiring.Parts   // of consumers that start has still to make
	options engine.Options // of their sinks
}

func newRig(t *testing.T, brokers []string, topic string, partitions int32) *rig {
	t.Helper()
	r := &rig{t: t, brokers: brokers, url: testdb.URL(t), topic: topic}
	var err error
	r.client, err = kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(100*time.Millisecond), kgo.DisableClientMetrics())
	r.must(err)
	t.Cleanup(r.client.Close)
	r.admin = kadm.NewClient(r.client)
	if partitions > 0 {
		r.create(partitions)
	}
	r.pool, err = pgxpool.New(t.Context(), r.url)
	r.must(err)
	t.Cleanup(r.pool.Close)
	r.exec(`create table events (id bigint primary key, v text not null)`)
	r.exec(`create table applied (partition int, "offset" bigint, n int not null, primary key (partition, "offset"))`)
	r.initWith()
	return r
}

// initWith does what init does for a changed configuration.
func (r *rig) initWith(change ...func(*Config, *sink.Config)) {
	r.t.Helper()
	conn, err := pgx.Connect(r.t.Context(), r.url)
	r.must(err)
	defer conn.Close(r.t.Context())
	cfg := r.sinkConfig()
	for _, f := range change {
		f(&Config{}, &cfg)
	}
	r.must(schema.Init(r.t.Context(), conn, cfg))
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) create(partitions int32) {
	r.t.Helper()
	resp, err := r.admin.CreateTopic(r.t.Context(), partitions, 1, nil, r.topic)
	r.must(errors.Join(err, resp.Err))
}

func (r *rig) exec(sql string, args ...any) {
	r.t.Helper()
	_, err := r.pool.Exec(r.t.Context(), sql, args...)
	r.must(err)
}

func (r *rig) queryInt(sql string, args ...any) (n int64) {
	r.t.Helper()
	r.must(r.pool.QueryRow(r.t.Context(), sql, args...).Scan(&n))
	return n
}

// produce appends n events to a partition; their ids count from first.
func (r *rig) produce(partition int32, first, n int) {
	r.t.Helper()
	recs := make([]*kgo.Record, n)
	for i := range recs {
		id := first + i
		recs[i] = &kgo.Record{Topic: r.topic, Partition: partition, Key: fmt.Append(nil, id), Value: fmt.Appendf(nil, `{"id":%d,"v":"p%d"}`, id, partition)}
	}
	eventually(r.t, "the broker takes the records", func() bool {
		err := r.client.ProduceSync(r.t.Context(), recs...).FirstErr()
		if errors.Is(err, kerr.UnknownTopicID) { // of a topic that was made anew just now: nothing was taken
			r.client.PurgeTopicsFromProducing(r.topic) // with the id that it knew
			return false
		}
		r.must(err)
		return true
	})
}

func (r *rig) sinkConfig() sink.Config {
	return sink.Config{
		Tables:             []sink.TableConfig{{Name: "events", Topics: []string{r.topic}, Key: []string{"id"}}},
		Handlers:           []sink.Handler{witness},
		HandlersReplaySafe: true,
		IdleTimeout:        5 * time.Second,
	}
}

// witness counts how often the effects of each event were committed.
func witness(ctx context.Context, tx pgx.Tx, records []sink.Record) error {
	var ps []int32
	var os []int64
	for _, rec := range records {
		if !rec.Control {
			ps, os = append(ps, rec.Partition), append(os, rec.Offset)
		}
	}
	_, err := tx.Exec(ctx, `insert into applied as a (partition, "offset", n) select p, o, 1 from unnest($1::int[], $2::bigint[]) u (p, o)
		on conflict (partition, "offset") do update set n = a.n + 1`, ps, os)
	return err
}

// process is one running consumer with connections of its own.
type process struct {
	*Consumer
	pool *pgxpool.Pool
	log  *logBuffer
	stop context.CancelFunc
	done chan struct{}
	err  error
}

func (r *rig) start(change ...func(*Config, *sink.Config)) *process {
	r.t.Helper()
	cfg := Config{
		Brokers: r.brokers, Group: group, Topics: map[string]Start{r.topic: {}},
		SessionTimeout: 6 * time.Second, StopTimeout: 10 * time.Second,
		ClientOptions: []kgo.Opt{kgo.MetadataMinAge(100 * time.Millisecond), kgo.DisableClientMetrics(), kgo.FetchMaxWait(200 * time.Millisecond)},
	}
	scfg := r.sinkConfig()
	p := &process{log: &logBuffer{}, done: make(chan struct{})}
	cfg.Logger = slog.New(slog.NewTextHandler(p.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	scfg.Logger = cfg.Logger
	for _, f := range change {
		f(&cfg, &scfg)
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	pool, _, err := offsets.NewPool(ctx, r.url, 8)
	r.must(err)
	p.pool = pool
	ledger := offsets.New(pool, cfg.Group, offsets.Options{ClusterID: "test", Logger: cfg.Logger})
	s, err := engine.OpenWith(ctx, pool, ledger, scfg, r.options)
	r.must(err)
	parts := r.parts
	parts.Ledger, parts.Engine = ledger, s
	p.Consumer, err = NewWith(cfg, parts)
	r.must(err)
	p.lookInterval = 200 * time.Millisecond
	go func() {
		defer close(p.done)
		p.err = p.Run(ctx)
		pool.Close()
	}()
	r.t.Cleanup(func() {
		stop()
		select {
		case <-p.done:
		case <-time.After(30 * time.Second):
			r.t.Error("the consumer did not stop within 30 s")
		}
		if r.t.Failed() {
			r.t.Logf("log of a consumer:\n%s", p.log)
		}
	})
	return p
}

// end stops a process gracefully and returns what Run returned.
func (p *process) end(t *testing.T) error {
	t.Helper()
	p.stop()
	return p.wait(t)
}

// wait waits for a process to end by itself.
func (p *process) wait(t *testing.T) error {
	t.Helper()
	select {
	case <-p.done:
		return p.err
	case <-time.After(60 * time.Second):
		t.Fatalf("the consumer is still running after 60 s:\n%s", p.log)
		return nil
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	testenv.Eventually(t, 60*time.Second, what, ok)
}

// waitApplied waits until n distinct events were applied.
func (r *rig) waitApplied(n int64) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("%d events applied", n), func() bool { return r.queryInt(`select count(*) from applied`) >= n })
}

// verify checks that exactly the events of each partition's range were applied,
// each once, and that the position is right behind them.
func (r *rig) verify(perPartition map[int32]int64) {
	r.t.Helper()
	var total int64
	for p, n := range perPartition {
		total += n
		if got := r.queryInt(`select count(*) from applied where partition = $1`, p); got != n {
			r.t.Errorf("partition %d: %d events applied, want %d", p, got, n)
		}
		if got := r.queryInt(`select next_offset from oncesink.offsets where sink_group = $1 and topic = $2 and partition = $3`, group, r.topic, p); got < n {
			r.t.Errorf("partition %d: position %d, want at least %d", p, got, n)
		}
	}
	if got := r.queryInt(`select count(*) from applied`); got != total {
		r.t.Errorf("%d events applied, want %d", got, total)
	}
	if got := r.queryInt(`select count(*) from applied where n <> 1`); got != 0 {
		r.t.Errorf("%d events were applied more than once", got)
	}
}

func (r *rig) position(partition int32) int64 {
	r.t.Helper()
	return r.queryInt(`select coalesce((select next_offset from oncesink.offsets where sink_group = $1 and topic = $2 and partition = $3), -1)`, group, r.topic, partition)
}

// halted waits until the ledger says that a partition halted and returns why.
func (r *rig) halted(partition int32) string {
	r.t.Helper()
	var why string
	eventually(r.t, "the partition halts", func() bool {
		r.must(r.pool.QueryRow(r.t.Context(), `select coalesce((select halted from oncesink.offsets where sink_group = $1 and topic = $2 and partition = $3), '')`,
			group, r.topic, partition).Scan(&why))
		return why != ""
	})
	kind, why, _ := strings.Cut(why, ": ")
	if !slices.Contains(offsets.HaltReasons(), kind) {
		r.t.Errorf("it halts for %q, which is no reason of the list", kind)
	}
	return why
}

// logBuffer collects a process's log.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// smallBatches makes many transactions out of few records.
func smallBatches(c *Config, _ *sink.Config) { c.MaxBatchRecords = 50 }

func (r *rig) deleteRecords(partition int32, before int64) {
	r.t.Helper()
	var o kadm.Offsets
	o.Add(kadm.Offset{Topic: r.topic, Partition: partition, At: before})
	resp, err := r.admin.DeleteRecords(r.t.Context(), o)
	r.must(errors.Join(err, resp.Error()))
}
