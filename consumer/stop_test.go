package consumer

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// hole is a network that can turn into a black hole: what is written is taken, and nothing is ever answered.
type hole struct{ open atomic.Bool }

func (h *hole) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if h.open.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &holeConn{c, h}, nil
}

type holeConn struct {
	net.Conn
	hole *hole
}

func (c *holeConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil || !c.hole.open.Load() {
			return n, err
		}
	}
}

func (c *holeConn) Write(p []byte) (int, error) {
	if c.hole.open.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// A stop ends within its bound, even if no server answers any more, in whatever the transaction stands.
func TestStopIsBounded(t *testing.T) {
	const bound = 3 * time.Second
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	for name, holds := range map[string]func(context.Context, *hole){
		"in a handler that heeds the stop":  func(ctx context.Context, _ *hole) { <-ctx.Done() },
		"in a handler that does not":        func(context.Context, *hole) { <-over },
		"on the wire":                       func(context.Context, *hole) {},
		"on the wire, when it is cancelled": func(ctx context.Context, h *hole) { h.open.Store(false); <-ctx.Done(); h.open.Store(true) },
	} {
		for _, instance := range []string{"", "static"} {
			t.Run(strings.TrimSpace(name+" "+instance), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
				r.produce(0, 0, 10)
				network, entered := &hole{}, make(chan struct{}, 100)
				cfg := Config{
					Brokers: r.brokers, Group: group, Topics: map[string]Start{r.topic: {}}, InstanceID: instance,
					SessionTimeout: 6 * time.Second, StopTimeout: bound, ClientOptions: []kgo.Opt{kgo.Dialer(network.dial)},
				}
				named, _, err := offsets.NewPool(t.Context(), r.url, 4)
				r.must(err)
				named.Close()
				pc := named.Config()
				pc.ConnConfig.DialFunc = network.dial
				pool, err := pgxpool.NewWithConfig(t.Context(), pc)
				r.must(err)
				t.Cleanup(func() { go pool.Close() }) // it waits for what the hole holds
				ledger := offsets.New(pool, group, offsets.Options{ClusterID: "test"})
				scfg := r.sinkConfig()
				scfg.Handlers = []sink.Handler{func(ctx context.Context, tx pgx.Tx, records []sink.Record) error {
					network.open.Store(true)
					entered <- struct{}{}
					holds(ctx, network)
					return witness(ctx, tx, records)
				}}
				s, err := engine.Open(t.Context(), pool, ledger, scfg)
				r.must(err)
				c, err := NewWith(cfg, wiring.Parts{Ledger: ledger, Engine: s})
				r.must(err)
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- c.Run(ctx) }()
				<-entered
				stop()
				began := time.Now()
				select {
				case err := <-done:
					r.must(err)
				case <-time.After(bound + 20*time.Second):
					t.Fatal("it did not stop")
				}
				if took := time.Since(began); took > bound+time.Second {
					t.Errorf("it took %v to stop, want at most %v", took, bound)
				}
			})
		}
	}
}

// A consumer of one group can't move the positions of another.
func TestLedgerOfAnotherGroup(t *testing.T) {
	cfg := Config{Brokers: []string{"localhost:1"}, Group: "one", Topics: map[string]Start{"orders": {}}}
	_, err := NewWith(cfg, wiring.Parts{Ledger: offsets.New(nil, "another", offsets.Options{})})
	if err == nil || !strings.Contains(err.Error(), `"another"`) {
		t.Errorf("got %v", err)
	}
	if _, err := NewWith(cfg, wiring.Parts{Ledger: offsets.New(nil, "one", offsets.Options{})}); err != nil {
		t.Error(err)
	}
}
