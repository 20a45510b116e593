// Package page is the page on which a person sees what a process does, and what needs them: HTML from templates that are in the program, brought up
// to date by server-sent events, without a build step. It asks servers in the background only while somebody looks.
package page

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Source is a consumer.
type Source interface {
	Status() []consumer.PartitionStatus
	Stats() sink.Stats
}

// router is a source that knows by which ways rows get into its tables, as a consumer does.
type router interface{ Routes() map[string]string }

// routesBy are what a source says of its tables' ways, by their names.
func routesBy(s Source) map[string]string {
	if r, ok := s.(router); ok {
		return r.Routes()
	}
	return nil
}

// linter is a source that finds what keeps the same events from giving the same rows, as a consumer does.
type linter interface {
	Findings(context.Context) (map[string][]string, error)
}

// Check is one of the things that readiness hangs on.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Says string `json:"says"`
}

// Config says what a page shows.
type Config struct {
	Group, Version string
	// Configuration is the one in effect, without secrets, as YAML; empty: the page has no such section.
	Configuration string
	// Checks are what readiness hangs on: the process is ready if all are OK.
	Checks func() []Check
	// Actions lets the page pause and resume partitions, and have dead letters retried or discarded.
	Actions bool
	// Payloads lets the page show keys, values, headers and messages of dead letters.
	Payloads bool
	Logger   *slog.Logger
}

// Page is an [http.Handler], safe for concurrent use. Its links are relative, so that it may be mounted below any path that ends with a slash.
type Page struct {
	cfg     Config
	began   time.Time
	events  events
	history *history
	serve   http.Handler

	end      context.CancelFunc // of sampling and of streams
	ended    <-chan struct{}
	sampling sync.WaitGroup
	streams  chan struct{} // a place for each that may be open

	mu     sync.Mutex
	source Source
	asked  *asked
}

const (
	sampleInterval = 5 * time.Second
	maxStreams     = 32
)

// New returns a page that follows no consumer yet. It has to be closed.
func New(cfg Config) *Page {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Checks == nil {
		cfg.Checks = func() []Check { return nil }
	}
	ctx, end := context.WithCancel(context.Background())
	p := &Page{cfg: cfg, began: time.Now(), history: newHistory(), end: end, ended: ctx.Done(), streams: make(chan struct{}, maxStreams)}
	p.serve = p.routes()
	p.sampling.Go(func() {
		tick := time.NewTicker(sampleInterval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				p.sample()
			}
		}
	})
	return p
}

// Follow goes on with a consumer, which writes through the pool. The pool is asked for the ledger and for dead letters, while somebody looks.
func (p *Page) Follow(s Source, pool *pgxpool.Pool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.source, p.asked = s, nil
	if pool != nil {
		p.asked = newAsked(s, pool, offsets.New(pool, p.cfg.Group, offsets.Options{}))
	}
}

// Close ends what the page does by itself, and streams to browsers, which would hold up the end of a server. It may be called more than once.
func (p *Page) Close() {
	p.end()
	p.sampling.Wait()
}

// ServeHTTP implements [http.Handler].
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.serve.ServeHTTP(w, r) }

func (p *Page) followed() (Source, *asked) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.source, p.asked
}

// status are the partitions of this process.
func (p *Page) status() []consumer.PartitionStatus {
	if s, _ := p.followed(); s != nil {
		return s.Status()
	}
	return nil
}

// sample notes how old the oldest record is that waits.
func (p *Page) sample() {
	var lag float64
	known := false
	for _, s := range p.status() {
		if s.Behind >= 0 {
			lag, known = max(lag, s.Behind.Seconds()), true
		}
	}
	if known {
		p.history.lag(time.Now(), lag)
	}
}
