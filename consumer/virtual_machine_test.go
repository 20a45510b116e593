//go:build synctests

package consumer

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
)

// machine is where a process of the tests on virtual time runs: all that it says to Kafka and to the database goes through it, and so
// it can be frozen, slow, cut off, or gone.
type machine struct {
	name string
	gate gate
	log  *logBuffer

	mu      sync.Mutex
	random  *rand.Rand
	network time.Duration // that each write to a broker takes, at most
	away    bool          // the database does not answer
	flaky   bool          // the database's answers are lost now and then

	background sync.WaitGroup // COMMITs on their way
	stop       context.CancelFunc
	done       chan struct{}
	consumer   *Consumer
}

// gate lets nothing out of a machine that is frozen, nor in, and never again if it is gone.
type gate struct {
	mu     sync.Mutex
	thawed chan struct{} // nil: it is not frozen
	gone   bool
	conns  []net.Conn
}

var (
	errDead = errors.New("the machine is gone")
	errAway = errors.New("the database does not answer")
	errLost = errors.New("the answer was lost")
)

// pass waits while the machine is frozen, whatever contexts end meanwhile: who is frozen does not notice.
func (g *gate) pass() error {
	for {
		g.mu.Lock()
		thawed, gone := g.thawed, g.gone
		g.mu.Unlock()
		switch {
		case gone:
			return errDead
		case thawed == nil:
			return nil
		}
		<-thawed
	}
}

func (g *gate) freeze() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.thawed == nil {
		g.thawed = make(chan struct{})
	}
}

func (g *gate) thaw() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.thawed != nil {
		close(g.thawed)
		g.thawed = nil
	}
}

// kill lets nothing through any more. Brokers see their connections end.
func (g *gate) kill() {
	g.mu.Lock()
	g.gone = true
	for _, c := range g.conns {
		_ = c.Close()
	}
	g.mu.Unlock()
	g.thaw()
}

// wire is a connection to a broker.
type wire struct {
	net.Conn
	m *machine
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if gone := w.m.gate.pass(); gone != nil {
		return 0, gone
	}
	return n, err
}

func (w *wire) Write(p []byte) (int, error) {
	if gone := w.m.gate.pass(); gone != nil {
		return 0, gone
	}
	w.m.mu.Lock()
	most := w.m.network
	w.m.mu.Unlock()
	if most > 0 {
		rest(context.Background(), w.m.some(most))
	}
	return w.Conn.Write(p)
}

func (m *machine) dial(ctx context.Context, network, address string, virtual *kfake.VirtualNetwork) (net.Conn, error) {
	if err := m.gate.pass(); err != nil {
		return nil, err
	}
	conn, err := virtual.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	m.gate.mu.Lock()
	defer m.gate.mu.Unlock()
	if m.gate.gone {
		_ = conn.Close()
		return nil, errDead
	}
	m.gate.conns = append(m.gate.conns, conn)
	return &wire{conn, m}, nil
}

// some is a random time, up to most.
func (m *machine) some(most time.Duration) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Duration(m.random.Int64N(int64(most) + 1))
}

// dice is a random number below n.
func (m *machine) dice(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.random.IntN(n)
}

// What may become of a COMMIT.
const (
	commitHeard   = iota
	commitLate    // the connection is lost, and it arrives afterwards
	commitLost    // it never arrives
	commitUnheard // its answer is lost
)

func (m *machine) fate() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.flaky {
		return commitHeard
	}
	return m.random.IntN(4)
}

// call is the way of a question to the database, and answer the way back.
func (m *machine) call(ctx context.Context) error {
	if err := m.gate.pass(); err != nil {
		return err
	}
	m.mu.Lock()
	away := m.away
	m.mu.Unlock()
	if away {
		rest(ctx, time.Second)
		return errAway
	}
	if !rest(ctx, m.some(10*time.Millisecond)) {
		return ctx.Err()
	}
	return m.gate.pass()
}

func (m *machine) answer(ctx context.Context) error {
	if err := m.gate.pass(); err != nil {
		return err
	}
	m.mu.Lock()
	lost := m.flaky && m.random.IntN(4) == 0
	m.mu.Unlock()
	if lost {
		return errLost
	}
	return ctx.Err()
}

// start has a consumer run on a new machine.
func (w *world) start(i int) {
	w.serial++
	m := &machine{name: w.nameOf(i), random: rand.New(rand.NewPCG(w.seed, uint64(w.serial))), log: &logBuffer{}, done: make(chan struct{})}
	w.machines[i] = m
	cfg := Config{
		Brokers: w.brokers, Group: group, Protocol: w.protocol, Topics: map[string]Start{virtualTopic: {}},
		SessionTimeout: virtualSession, StopTimeout: 10 * time.Second, MaxBatchRecords: 40,
		Logger: slog.New(slog.NewTextHandler(m.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		ClientOptions: []kgo.Opt{
			kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
				return m.dial(ctx, network, address, &w.network)
			}),
			kgo.MetadataMinAge(250 * time.Millisecond), kgo.MetadataMaxAge(15 * time.Second), kgo.FetchMaxWait(2 * time.Second), kgo.DisableClientMetrics(),
		},
	}
	c, err := NewWith(cfg, wiring.Parts{})
	if err != nil {
		panic(err)
	}
	c.ledger = &memoryLedger{m, w.db}
	c.sink = &memorySink{machine: m, db: w.db, lost: map[offsets.Token]bool{}}
	c.lookInterval = time.Minute
	m.consumer = c
	var ctx context.Context
	ctx, m.stop = context.WithCancel(context.Background())
	go func() {
		defer close(m.done)
		if err := c.Run(ctx); err != nil {
			w.db.mu.Lock()
			w.db.breaks("%s ends: %v", m.name, err)
			w.db.mu.Unlock()
		}
		m.background.Wait()
	}()
}
