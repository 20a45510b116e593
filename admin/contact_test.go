package admin

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

func TestMain(m *testing.M) { os.Exit(testpg.Main(m)) }

// wire is a network to one server, which can be cut.
type wire struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func (w *wire) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := w.dial(ctx, network, addr)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && w.cut {
		_ = c.Close()
		err = errors.New("the test has cut the wire")
	}
	w.conns = append(w.conns, c)
	return c, err
}

func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	for _, c := range w.conns {
		if c != nil && cut {
			_ = c.Close()
		}
	}
}

// A consumer is ready while both servers answer, and alive whether they do or not.
func TestContact(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	brokers := testkafka.Fake(t).ListenAddrs()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	must(err)
	defer client.Close()
	made, err := kadm.NewClient(client).CreateTopic(ctx, 1, 1, nil, "orders")
	must(errors.Join(err, made.Err))

	named, _, err := offsets.NewPool(ctx, testpg.URL(t), 4)
	must(err)
	defer named.Close()
	postgres, kafka := &wire{dial: named.Config().ConnConfig.DialFunc}, &wire{dial: (&net.Dialer{}).DialContext}
	pgCfg := named.Config()
	pgCfg.ConnConfig.DialFunc = postgres.connect
	pool, err := pgxpool.NewWithConfig(ctx, pgCfg)
	must(err)
	defer pool.Close()

	h := New(Config{Group: "g"})
	h.contactWithin = 3 * time.Second
	cfg := consumer.Config{Brokers: brokers, Group: "g", Topics: map[string]consumer.Start{"orders": {}}, SessionTimeout: 3 * time.Second,
		ClientOptions: []kgo.Opt{kgo.Dialer(kafka.connect)},
		Sink:          sink.Config{Handlers: []sink.Handler{func(context.Context, pgx.Tx, []sink.Record) error { return nil }}}}
	must(consumer.Init(ctx, pool, cfg.Sink))
	h.Observe(&cfg)
	c, err := consumer.New(ctx, pool, cfg)
	must(err)
	h.Follow(c, pool)
	run, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- c.Run(run) }()
	becomes := func(ready int, says ...string) {
		t.Helper()
		deadline := time.Now().Add(60 * time.Second)
		for {
			code, body := get(h, "/readyz?verbose")
			ok := code == ready
			for _, s := range says {
				ok = ok && strings.Contains(body, s)
			}
			if live, _ := get(h, "/livez"); live != 200 {
				t.Fatalf("/livez %d", live)
			}
			if ok {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("/readyz is %d, want %d, %q:\n%s", code, ready, says, body)
			}
			<-time.After(20 * time.Millisecond)
		}
	}
	becomes(200)
	_, metrics := get(h, "/metrics")
	for _, want := range []string{`oncesink_unowned_partitions{group="g",topic="orders"} 0`, `oncesink_dead_letters{group="g",status="new",topic="orders"} 0`,
		`oncesink_rebalances_total{group="g",kind="assigned"} 1`, `oncesink_pool_connections_limit{group="g"} 4`, `oncesink_kafka_connects_total`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in\n%s", want, metrics)
		}
	}
	postgres.set(true)
	becomes(503, "[-] postgres: answered ", "[+] kafka: answered ")
	postgres.set(false)
	becomes(200)
	kafka.set(true)
	becomes(503, "[+] postgres: answered ", "[-] kafka: answered ")
	kafka.set(false)
	becomes(200)
	stop()
	becomes(503, "[-] draining: told to end")
	must(<-ended)
}
