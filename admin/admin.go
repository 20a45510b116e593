// Package admin is how a consumer is watched: an http.Handler with metrics for Prometheus, answers for the probes of Kubernetes, and the state of
// each partition. `oncesink run` serves it at admin.listen; a program of one's own mounts it in its own server.
//
//	h := admin.New(admin.Config{Group: "orders-sink"})
//	h.Observe(&cfg)                       // cfg is a consumer.Config
//	c, err := consumer.New(ctx, pool, cfg)
//	h.Follow(c, pool)
//	http.ListenAndServe("127.0.0.1:9187", h)
//
//	/metrics       what docs/reference/metrics.md lists, with those of Go and of the process
//	/livez         200 while the consumer turns; the same at /healthz
//	/readyz        200 once it has begun, while both servers answer, until it is told to end
//	/status.json   the partitions of this process, and what /readyz looks at
//	/              a page for a person, if Config.Page says so: what needs somebody, partitions, dead letters, tables, events; as JSON with ?format=json
//	/debug/pprof/  profiles, if Config.Pprof says so
//
// Whoever may reach the handler sees names of topics and tables, and positions; never a secret, and a record only with Config.Payloads. With
// Config.Actions whoever may reach it, and knows Config.Token if there is one, may also pause and resume partitions and settle dead letters.
package admin

import (
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/metrics"
	"github.com/oncesink/oncesink/internal/page"
)

// Config says what a Handler serves.
type Config struct {
	// Group is the name of the sink group, which every metric of ours has as a label.
	Group string
	// Version of the program, for the metric build_info.
	Version string
	// Partitions bounds for how many partitions of this process there are metrics of each. Above it there are sums by topic, and what
	// is halted. Defaults to 500.
	Partitions int
	// Page serves the page at /, and what belongs to it.
	Page bool
	// Actions lets the page pause and resume partitions, and have dead letters retried or discarded. Each is logged with who asked. Where more than
	// this machine can reach the handler, set Token, too.
	Actions bool
	// Payloads lets the page show keys, values and headers of dead letters, and messages, which may quote them.
	Payloads bool
	// Configuration is shown on the page as it is: leave secrets out. Empty: the page has no such section.
	Configuration string
	// Pprof serves profiles at /debug/pprof/.
	Pprof bool
	// Token, if not empty, has to be named for all but /metrics, /livez, /healthz and /readyz: as "Authorization: Bearer TOKEN", as the password of
	// basic authentication, or in the form that a browser is shown, which gives it a cookie for twelve hours.
	Token string
	// Hosts are names, without a port, by which the handler may be asked, beside localhost and IP addresses: so that no page of the web gets
	// at it through a name of its own that leads here. "*": by any.
	Hosts []string
	// Logger; nil discards.
	Logger *slog.Logger
}

// Handler is an [http.Handler] that tells of one consumer, or of several of the same group that follow each other. It is safe for
// concurrent use.
type Handler struct {
	cfg     Config
	metrics *metrics.Metrics
	page    *page.Page // nil: there is none
	serve   http.Handler
	// now and contactWithin are the clock and the constant of the name, but in tests.
	now           func() time.Time
	contactWithin time.Duration

	mu       sync.Mutex
	topics   []string
	consumer metrics.Source
	since    time.Time // that it is followed
	joined   bool      // any of them was a member once
	draining bool
}

// New returns a handler that follows no consumer yet: it is alive and not ready.
func New(cfg Config) *Handler {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	h := &Handler{cfg: cfg, now: time.Now, contactWithin: contactWithin}
	h.metrics = metrics.New(metrics.Options{Group: cfg.Group, Version: cfg.Version, Partitions: cfg.Partitions, Ready: h.Ready, Logger: cfg.Logger})
	registry := prometheus.NewRegistry()
	registry.MustRegister(h.metrics, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if cfg.Page {
		h.page = page.New(page.Config{Group: cfg.Group, Version: cfg.Version, Configuration: cfg.Configuration, Checks: h.checks,
			Actions: cfg.Actions, Payloads: cfg.Payloads, Logger: cfg.Logger})
	}
	h.serve = h.routes(registry)
	return h
}

// Close ends what the page does by itself, and its streams to browsers, which would hold up http.Server.Shutdown: give it to
// RegisterOnShutdown. It may be called more than once, and is of no use without Config.Page.
func (h *Handler) Close() {
	if h.page != nil {
		h.page.Close()
	}
}

// checks are those of /readyz, as the page has them.
func (h *Handler) checks() []page.Check {
	s := h.state()
	var out []page.Check
	for _, c := range s.ready() {
		out = append(out, page.Check{Name: c.Name, OK: c.OK, Says: c.Says})
	}
	return out
}

// Observe adds to a configuration what the handler has to be told by its consumer: observers, beside those that are there already, and a
// hook of the Kafka client. Call it before consumer.New.
func (h *Handler) Observe(cfg *consumer.Config) {
	cfg.Sink.Observer = cfg.Sink.Observer.And(h.metrics.Observer())
	cfg.ClientOptions = append(slices.Clip(cfg.ClientOptions), kgo.WithHooks(h.metrics.Client()))
	if h.page != nil {
		cfg.Sink.Observer = cfg.Sink.Observer.And(h.page.SinkObserver())
		cfg.Observer = cfg.Observer.And(h.page.Observer())
		cfg.OnHalt = tellsBoth(cfg.OnHalt, h.page.Halted)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.topics = slices.Sorted(maps.Keys(cfg.Topics))
}

func tellsBoth(first, second func(consumer.PartitionStatus)) func(consumer.PartitionStatus) {
	if first == nil {
		return second
	}
	return func(s consumer.PartitionStatus) { first(s); second(s) }
}

// Follow goes on with a consumer, which writes through the pool; it is asked for open dead letters, and for partitions that nobody
// has, every 30 seconds at most. What is counted goes on from the consumer that was followed before, whose Run must have returned.
func (h *Handler) Follow(c *consumer.Consumer, pool *pgxpool.Pool) { h.follow(c, pool) }

func (h *Handler) follow(c metrics.Source, pool *pgxpool.Pool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.consumer, h.since = c, h.now()
	h.metrics.Follow(c, pool, h.topics)
	if h.page != nil {
		h.page.Follow(c, pool)
	}
}

// Drain says that the program was told to end: it is not ready from now on. A consumer whose Run was told to end says so itself.
func (h *Handler) Drain() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining = true
}

// Collector has the metrics of ours, for a registry of the program's own: a program that has one mounts its own /metrics.
func (h *Handler) Collector() prometheus.Collector { return h.metrics }

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.serve.ServeHTTP(w, r) }
