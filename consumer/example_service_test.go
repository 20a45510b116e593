package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/admin"
	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/sink"
)

// service is a program with things of its own to do: it answers requests, has a pool, and reads a topic beside.
type service struct {
	pool     *pgxpool.Pool
	consumer *consumer.Consumer
	watched  *admin.Handler                 // metrics, and probes
	page     func(consumer.PartitionStatus) // calls somebody
}

// bill refuses what it does not know: that is no record's fault, and a person has to look at it.
func bill(ctx context.Context, tx pgx.Tx, records []sink.Record) error {
	for _, r := range records {
		if string(r.Key) == "unknown" {
			return errors.New("no rule for such a bill")
		}
	}
	_, err := tx.Exec(ctx, "update bills set n = n + $1", len(records))
	return err
}

func newService(ctx context.Context, url string, brokers []string, page func(consumer.PartitionStatus)) (*service, error) {
	pool, err := pgxpool.New(ctx, url) // the service's own, with the settings that it likes
	if err != nil {
		return nil, err
	}
	s := &service{pool: pool, page: page, watched: admin.New(admin.Config{Group: "billing"})}
	cfg := consumer.Config{
		Brokers: brokers,
		Group:   "billing",
		Topics:  map[string]consumer.Start{"bills": {}},
		Sink:    sink.Config{Handlers: []sink.Handler{bill}},
		OnHalt:  s.page,
		Logger:  slog.New(slog.DiscardHandler), // the service's own
	}
	s.watched.Observe(&cfg)
	err = consumer.Init(ctx, pool, cfg.Sink)
	if err == nil {
		s.consumer, err = consumer.New(ctx, pool, cfg)
	}
	if err != nil {
		pool.Close()
		return nil, err
	}
	s.watched.Follow(s.consumer, pool)
	return s, nil
}

// routes are what the service serves: requests of its own, and beside them /metrics, /livez, /readyz and /status.json.
func (s *service) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /bills", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "bills") })
	mux.Handle("/", s.watched)
	return mux
}

// run serves until a signal comes, or one of its parts fails, and then ends the parts in order: the consumer finishes its
// transactions and leaves the group, and only then is the pool closed.
func (s *service) run(ctx context.Context) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	defer s.pool.Close()
	server := &http.Server{Addr: "localhost:0", Handler: s.routes(), ReadHeaderTimeout: time.Second}
	var parts sync.WaitGroup // golang.org/x/sync/errgroup does the same
	var failed [2]error
	part := func(i int, f func() error) {
		parts.Go(func() {
			defer stop() // one ends, all end
			failed[i] = f()
		})
	}
	part(0, func() error { return s.consumer.Run(ctx) })
	part(1, func() error {
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	<-ctx.Done()
	patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := server.Shutdown(patient)
	parts.Wait()
	return errors.Join(append(failed[:], err)...)
}

// metric is what Prometheus sees of a metric with one series.
func (s *service) metric(name string) string {
	answer := httptest.NewRecorder()
	request := httptest.NewRequest(http.MethodGet, "http://localhost/metrics", http.NoBody)
	s.routes().ServeHTTP(answer, request)
	for _, line := range strings.Split(answer.Body.String(), "\n") {
		if series, ok := strings.CutPrefix(line, name); ok {
			return series
		}
	}
	return ""
}

// A service with its own pool, metrics and probes, a shutdown in order, and somebody to call when a partition halts.
func Example_service() {
	servers := startServers("service", "create table bills (n int not null); insert into bills values (0)")
	defer servers.Stop()
	servers.produce("bills", `{"cents": 100}`, `unknown: {"cents": 0}`, `{"cents": 300}`, `{"cents": 200}`)

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	called := make(chan struct{})
	s, err := newService(ctx, servers.url, servers.brokers, func(p consumer.PartitionStatus) {
		fmt.Printf("%s/%d at offset %d: %v\n", p.Topic, p.Partition, p.Position, p.Err)
		close(called)
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ended := make(chan error)
	go func() { ended <- s.run(ctx) }()
	<-called
	servers.until("2", "select n from bills") // the other partition goes on
	fmt.Println("halted:", s.metric("oncesink_partition_halted"))
	cancel() // or a signal
	fmt.Println("ended:", <-ended)
	// Output:
	// bills/1 at offset 0: halted: handler 0: no rule for such a bill
	// halted: {group="billing",partition="1",reason="error",topic="bills"} 1
	// ended: <nil>
}
