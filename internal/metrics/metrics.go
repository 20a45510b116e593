package metrics

import (
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Source is what is walked: a *consumer.Consumer.
type Source interface {
	Status() []consumer.PartitionStatus
	Stats() sink.Stats
	Health() consumer.Health
}

// Options say what is measured.
type Options struct {
	// Group is the value of the label that every metric has.
	Group string
	// Version of the program.
	Version string
	// Partitions bounds for how many partitions of this process there are series of each; above it there are those of topics, and of partitions
	// that are halted. Defaults to 500.
	Partitions int
	// Ready reports what /readyz does. Nil: there is no metric of it.
	Ready func() bool
	// Logger; nil discards.
	Logger *slog.Logger
}

// Metrics is a collector of all metrics of ours, for one process and one group, over any number of consumers that follow each other. It is
// safe for concurrent use.
type Metrics struct {
	o     Options
	descs map[string]*prometheus.Desc
	seen  *observed
	kafka *Client

	mu     sync.Mutex
	source Source
	before sink.Stats // of the consumers before
	pool   *pgxpool.Pool
	ledger *cached
}

// New returns a collector that has nothing to walk yet.
func New(o Options) *Metrics {
	if o.Partitions == 0 {
		o.Partitions = 500
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Metrics{o: o, descs: descs(o.Group), seen: newObserved(o.Group)}
	m.kafka = newClient(m.histogram("kafka_request_duration_seconds"))
	return m
}

// Follow goes on with another consumer, which writes through a pool. What the one before has counted stays: it must have ended.
func (m *Metrics) Follow(s Source, pool *pgxpool.Pool, topics []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.source != nil {
		m.before = plus(m.before, m.source.Stats())
	}
	m.source, m.pool, m.ledger = s, pool, nil
	if pool != nil {
		m.ledger = newCached(pool, offsets.New(pool, m.o.Group, offsets.Options{}), topics, m.o.Logger)
	}
}

// Observer is to be told of a consumer's transactions.
func (m *Metrics) Observer() *sink.Observer { return &sink.Observer{Transaction: m.seen.transaction} }

// Client is a hook for the clients of Kafka: see kgo.WithHooks.
func (m *Metrics) Client() *Client { return m.kafka }

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range m.descs {
		ch <- d
	}
	for _, h := range m.seen.all() {
		h.Describe(ch)
	}
	m.kafka.duration.Describe(ch)
}

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	source, before, pool, ledger := m.source, m.before, m.pool, m.ledger
	m.mu.Unlock()
	s := &scrape{m: m, ch: ch, now: time.Now()}
	s.build()
	if m.o.Ready != nil {
		s.gauge("ready", truth(m.o.Ready()))
	}
	if source != nil {
		s.partitions(source.Status())
		s.stats(plus(before, source.Stats()))
		s.health(source.Health())
	}
	if pool != nil {
		s.pool(pool.Stat())
		s.ledger(ledger)
	}
	m.kafka.collect(s)
	for _, h := range m.seen.all() {
		h.Collect(ch)
	}
	m.kafka.duration.Collect(ch)
}

// scrape is one walk.
type scrape struct {
	m   *Metrics
	ch  chan<- prometheus.Metric
	now time.Time
}

func (s *scrape) gauge(name string, v float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(s.m.descs[name], prometheus.GaugeValue, v, labels...)
}

func (s *scrape) counter(name string, v float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(s.m.descs[name], prometheus.CounterValue, v, labels...)
}

func (s *scrape) build() {
	revision := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, x := range info.Settings {
			if x.Key == "vcs.revision" {
				revision = x.Value
			}
		}
	}
	s.gauge("build_info", 1, s.m.o.Version, revision, runtime.Version())
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
