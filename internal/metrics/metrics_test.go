package metrics

import (
	"errors"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/verify"
	"github.com/oncesink/oncesink/sink"
)

var update = flag.Bool("update", false, "write docs/reference/metrics.md")

// fake is a source that says what it is told to.
type fake struct {
	status []consumer.PartitionStatus
	stats  sink.Stats
	health consumer.Health
}

func (f *fake) Status() []consumer.PartitionStatus { return f.status }
func (f *fake) Stats() sink.Stats                  { return f.stats }
func (f *fake) Health() consumer.Health            { return f.health }

// busy is a source that has something to say of everything.
func busy() *fake {
	now := time.Now()
	return &fake{
		status: []consumer.PartitionStatus{
			{Topic: "orders", State: consumer.Running, Position: 10, Lag: 5, Behind: time.Minute, Assigned: now},
			{Topic: "orders", Partition: 1, State: consumer.Halted, Reason: consumer.ReasonGap, Err: errors.New("gap"), Position: 7, Lag: 30, Behind: time.Hour, Assigned: now},
			{Topic: "orders", Partition: 2, State: consumer.Claiming, Position: -1, Lag: -1, Behind: -1, Assigned: now},
		},
		stats: sink.Stats{
			Topics: []sink.TopicStats{{Topic: "orders", Records: 100, Bytes: 1000}}, Tables: []sink.TableStats{{Table: "public.orders", Copied: 1, Upserted: 2}},
			Refused:       []sink.RefusedStats{{Refusal: sink.Refusal{Topic: "orders", Code: "22P02", Column: "a"}, DeadLetters: 2}, {Refusal: sink.Refusal{Topic: "orders", Code: "22P02", Column: "b"}, DeadLetters: 1}},
			RetriedStates: map[string]int64{"40": 3}, Retries: map[string]int64{"parent": 2},
		},
		health: consumer.Health{Postgres: now, Kafka: now, Buffered: 1, BufferLimit: 2, Writers: 2},
	}
}

func newMetrics(t *testing.T, o Options, s Source) (*Metrics, *prometheus.Registry) {
	t.Helper()
	o.Group = "g"
	m := New(o)
	pool, err := pgxpool.New(t.Context(), "postgres://nobody@127.0.0.1:1/none")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	m.Follow(s, pool, []string{"orders"})
	looked := time.Unix(1_700_000_000, 0)
	m.ledger = &cached{topics: []string{"orders"}, next: time.Now().Add(time.Hour), last: &answer{at: time.Now(), unownedKnown: true,
		letters: map[letterKind]int64{{"orders", "new"}: 3}, oldest: map[string]time.Time{"orders": time.Now().Add(-time.Hour)},
		verified: []verify.State{{Table: "public.orders", Looked: &looked, Finished: &looked, Mismatches: map[string]int64{verify.Row: 2}}}}}
	m.seen.transaction(&sink.Transaction{Outcome: sink.Committed, Began: time.Now(), Duration: time.Second, Records: 5, TraceID: "0af7651916cd43dd8448eb211c80319c",
		Parts: []sink.TransactionPart{{Topic: "orders", Records: 5, First: time.Now().Add(-time.Minute)}}})
	m.kafka.OnBrokerE2E(kgo.BrokerMetadata{}, 1, kgo.BrokerE2E{BytesRead: 10, TimeToRead: time.Second})
	registry := prometheus.NewRegistry()
	registry.MustRegister(m)
	return m, registry
}

// gather returns all series as "name{label=value,...} value", without the label group and histograms' buckets.
func gather(t *testing.T, g prometheus.Gatherer) (families []*dto.MetricFamily, series []string) {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				if l.GetName() != "group" {
					labels = append(labels, l.GetName()+"="+l.GetValue())
				}
			}
			v := m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			series = append(series, fmt.Sprintf("%s{%s} %v", strings.TrimPrefix(f.GetName(), Prefix), strings.Join(labels, ","), v))
		}
	}
	return families, series
}

// Names are what Prometheus asks of names, all that is told is in the reference, and all that is in the reference is told.
func TestNames(t *testing.T) {
	t.Parallel()
	_, registry := newMetrics(t, Options{Ready: func() bool { return true }}, busy())
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	defined := map[string]definition{}
	for _, d := range definitions() {
		defined[Prefix+d.name] = d
	}
	families, _ := gather(t, registry)
	for _, f := range families {
		d, ok := defined[f.GetName()]
		delete(defined, f.GetName())
		want := append([]string{"group"}, d.labels...)
		slices.Sort(want)
		for _, m := range f.Metric {
			var names []string
			for _, l := range m.Label {
				names = append(names, l.GetName())
				if values := d.values[l.GetName()]; len(values) > 0 && !slices.Contains(values, l.GetValue()) {
					t.Errorf("%s: the reference knows no %s=%s", f.GetName(), l.GetName(), l.GetValue())
				}
			}
			if !ok || !slices.Equal(names, want) || f.GetHelp() != d.help || !strings.EqualFold(f.GetType().String(), string(d.kind)) {
				t.Errorf("%s is a %s with %v, want a %s with %v", f.GetName(), f.GetType(), names, d.kind, want)
			}
			if h := m.GetHistogram(); h != nil && (len(h.Bucket) == 0 || h.Schema == nil) {
				t.Errorf("%s is not both classic and native", f.GetName())
			}
		}
	}
	for name := range defined {
		t.Errorf("%s is never told", name)
	}
}

// The reference is what the code has.
func TestReference(t *testing.T) {
	const path = "../../docs/reference/metrics.md"
	if *update {
		if err := os.WriteFile(path, []byte(Reference()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != Reference() {
		t.Errorf("docs/reference/metrics.md is not what the code has (%v): go test ./internal/metrics -update", err)
	}
}

func has(t *testing.T, series []string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !slices.Contains(series, w) {
			t.Errorf("there is no %s in\n%s", w, strings.Join(series, "\n"))
		}
	}
}

func hasNot(t *testing.T, series []string, prefixes ...string) {
	t.Helper()
	for _, s := range series {
		for _, p := range prefixes {
			if strings.HasPrefix(s, p) {
				t.Errorf("there is %s", s)
			}
		}
	}
}

// A partition that is given away takes its series with it; what is not known has none; the topic's are sums.
func TestPartitions(t *testing.T) {
	t.Parallel()
	f := busy()
	m, registry := newMetrics(t, Options{}, f)
	_, series := gather(t, registry)
	has(t, series, "partition_position{partition=0,topic=orders} 10", "partition_lag_records{partition=1,topic=orders} 30", "partition_lag_seconds{partition=0,topic=orders} 60",
		"partition_halted{partition=1,reason=gap,topic=orders} 1", "partitions{state=halted,topic=orders} 1", "partitions{state=paused,topic=orders} 0",
		"topic_lag_records{topic=orders} 35", "topic_lag_records_max{topic=orders} 30", "topic_lag_seconds_max{topic=orders} 3600",
		"dead_letters_total{code=22P02,topic=orders} 3", "dead_letters{status=new,topic=orders} 3", "dead_letters{status=retry,topic=orders} 0", "unowned_partitions{topic=orders} 0",
		"verify_mismatches{kind=row,table=public.orders} 2", "verify_mismatches{kind=missing,table=public.orders} 0", "verify_look_timestamp_seconds{table=public.orders} 1.7e+09",
		"rows_total{result=written,route=copy,table=public.orders} 1", "foreign_key_waits_total{} 2", "retries_total{sqlstate_class=40} 3", "transaction_partitions{} 1")
	hasNot(t, series, "partition_position{partition=2", "partition_lag_records{partition=2", "partition_lag_seconds{partition=2", "partition_halted{partition=0", "ready")
	f.status = f.status[:1]
	_, series = gather(t, registry)
	has(t, series, "topic_lag_records{topic=orders} 5")
	for _, s := range series {
		if strings.Contains(s, "partition=1") || strings.Contains(s, "partition=2") {
			t.Errorf("%s is still there", s)
		}
	}
	// Another consumer of the process goes on counting, with partitions of its own.
	m.Follow(&fake{stats: f.stats}, nil, nil)
	_, series = gather(t, registry)
	has(t, series, "records_total{topic=orders} 200", "dead_letters_total{code=22P02,topic=orders} 6", "retries_total{sqlstate_class=40} 6", "kafka_read_bytes_total{} 10",
		"rows_total{result=written,route=upsert,table=public.orders} 4", "transaction_duration_seconds{outcome=committed} 1")
	hasNot(t, series, "partition_", "partitions", "pool_", "dead_letters{", "unowned_partitions")
}

// Of many partitions there are the topics' series, and those of what is halted.
func TestManyPartitions(t *testing.T) {
	t.Parallel()
	f := many(3)
	f.status[2].State, f.status[2].Reason = consumer.Halted, consumer.ReasonError
	_, registry := newMetrics(t, Options{Partitions: 2}, f)
	_, series := gather(t, registry)
	has(t, series, "topic_lag_records{topic=orders} 3", "partition_halted{partition=2,reason=error,topic=orders} 1", "partition_lag_records{partition=2,topic=orders} 2")
	hasNot(t, series, "partition_position{partition=0", "partition_lag_records{partition=1")
}

// A scrape is as large as docs/monitoring.md says: a few series for each partition, and a bounded rest, whatever happens.
func TestScrapeIsBounded(t *testing.T) {
	t.Parallel()
	const n = 1000
	for limit, most := range map[int]int{n: 4*n + 200, 500: 200} {
		_, registry := newMetrics(t, Options{Partitions: limit}, many(n))
		w := httptest.NewRecorder()
		promhttp.HandlerFor(registry, promhttp.HandlerOpts{DisableCompression: true}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		each, metrics := 0, 0
		families, _ := gather(t, registry)
		for _, f := range families {
			metrics += len(f.Metric)
		}
		for line := range strings.Lines(w.Body.String()) {
			if strings.Contains(line, `partition="`) {
				each++
			}
		}
		want := 0
		if limit == n {
			want = 4 * n
		}
		if each != want || metrics > most || w.Body.Len() > 100*(want+1000) {
			t.Errorf("limit %d: %d series with a partition, want %d; %d in all, at most %d; %d bytes", limit, each, want, metrics, most, w.Body.Len())
		}
	}
}

func many(n int) *fake {
	f := busy()
	f.status = nil
	for i := range n {
		f.status = append(f.status, consumer.PartitionStatus{Topic: "orders", Partition: int32(i), State: consumer.Running, Lag: int64(i), Behind: time.Second, Assigned: time.Now(), Committed: time.Now()})
	}
	return f
}
