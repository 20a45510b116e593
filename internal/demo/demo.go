// Package demo is `oncesink demo`: the guarantee, shown on one machine. It sends orders
// through a broker into PostgreSQL by worker processes, kills one of them in the middle
// of a batch, freezes another past its session timeout and wakes it, replays the topic
// from offset zero, and compares what is in the table with what the topic says.
//
// The faults are real: workers are processes of this same program, stopped and killed
// by signals; PostgreSQL is a private server; the broker is kfake with a data directory,
// in the demo's own process. A fault that did not hit what it was meant for fails
// the demo, as a difference does.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/orders"
	"github.com/oncesink/oncesink/offsets"
)

const (
	topic      = "orders"
	group      = "demo"
	partitions = 6
)

// MinOrders is the least number of events that leave time for the faults.
const MinOrders = 2000

// ErrDiffers is the end of a demo that found something that isn't as it should be.
var ErrDiffers = errors.New("the demo failed: something is not as it should be, see the table above")

// ErrInterrupted is the end of a demo whose context ended before its proof.
var ErrInterrupted = errors.New("interrupted: everything is stopped")

// Options of a demo.
type Options struct {
	// Worker is the command line of a worker process; the configuration file is
	// added to it. The process runs Worker.
	Worker []string
	// Program is what a person types to run this program, for hints.
	Program string
	// Orders is how many order events are sent. At least MinOrders; defaults to 50,000.
	Orders int64
	// Seed decides the orders, which worker meets which fault, and when.
	Seed uint64
	// Dir is where everything is kept, and left behind. It must not hold anything.
	// Empty: a temporary directory, removed at the end.
	Dir string
	// Keep leaves the servers and workers up after the end, until ctx ends.
	Keep bool
	// Out is what a person sees; Terminal says that it is one.
	Out      io.Writer
	Terminal bool
	// JSON, if not nil, gets what was compared, or of Servers how to reach them.
	JSON io.Writer
}

// colors reports whether words may be in colour: not where the environment says no (no-color.org).
func (o *Options) colors() bool { return o.Terminal && os.Getenv("NO_COLOR") == "" }

// demo is one run.
type demo struct {
	Options
	*screen
	rnd *rand.Rand
	dir string

	servers *servers
	client  *kgo.Client
	pool    *pgxpool.Pool
	ledger  *offsets.Ledger
	config  string // the file that workers read
	workers []*worker
	crashed *worker // the one that was killed; the other is frozen

	truth  map[int64]*row // what the topic says
	events int64          // that it says it by
	report report
}

// Run runs the demo. It returns ErrDiffers if the proof failed, and ErrInterrupted if
// ctx ended before it. In any case it stops and cleans up everything.
func Run(ctx context.Context, opts Options) (err error) {
	if opts.Orders == 0 {
		opts.Orders = 50_000
	}
	if opts.Orders < MinOrders {
		return fmt.Errorf("%d orders leave no time for the faults: at least %d are needed", opts.Orders, MinOrders)
	}
	d := &demo{Options: opts, screen: newScreen(opts.Out, opts.Terminal), rnd: rand.New(rand.NewPCG(opts.Seed, 1))}
	defer func() {
		d.end()
		switch {
		case err == nil, errors.Is(err, ErrDiffers) && d.Keep:
		case ctx.Err() != nil:
			err = ErrInterrupted
		default:
			d.tails()
		}
		err = errors.Join(err, d.close())
	}()
	if err := d.open(ctx); err != nil {
		return err
	}
	err = d.course(ctx)
	if opts.Keep && (err == nil || errors.Is(err, ErrDiffers)) {
		d.hints()
		<-ctx.Done()
		d.say("stopping")
	}
	return err
}

// course is the demo from the first order to the proof.
func (d *demo) course(ctx context.Context) error {
	flow := d.flow(ctx)
	defer flow.stop()
	if err := d.crash(ctx, flow); err != nil {
		return err
	}
	if err := d.zombie(ctx, flow); err != nil {
		return err
	}
	if err := flow.wait(ctx, d); err != nil {
		return err
	}
	d.say("all %s order events are sent; the workers apply the rest", grouped(d.Orders))
	if err := d.drained(ctx, nil); err != nil {
		return err
	}
	if err := d.compareLive(ctx); err != nil {
		return err
	}
	if err := d.replay(ctx); err != nil {
		return err
	}
	d.end()
	d.report.print(d.Out, d.colors())
	if err := d.report.json(d.JSON, d.Seed); err != nil {
		return err
	}
	if !d.report.good() {
		return ErrDiffers
	}
	d.lesson()
	return nil
}

// open starts the servers and the workers.
func (d *demo) open(ctx context.Context) (err error) {
	if d.dir, err = workDir(d.Dir); err != nil {
		return err
	}
	d.title("oncesink demo: %s order events, a crash, a zombie and a replay; --seed %d makes the same again", grouped(d.Orders), d.Seed)
	if d.servers, err = startServers(ctx, d.dir); err != nil {
		return err
	}
	if d.client, err = kgo.NewClient(kgo.SeedBrokers(d.servers.brokers...)); err != nil {
		return fmt.Errorf("set up the Kafka client: %w", err)
	}
	if _, err := orders.CreateTopic(ctx, d.client, topic, partitions); err != nil {
		return err
	}
	if d.pool, err = pgxpool.New(ctx, d.servers.url); err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	d.ledger = offsets.New(d.pool, group, offsets.Options{})
	var version string
	if err := d.pool.QueryRow(ctx, "show server_version").Scan(&version); err != nil {
		return fmt.Errorf("ask for the version of PostgreSQL: %w", err)
	}
	version, _, _ = strings.Cut(version, " ")
	d.say("up: a private PostgreSQL %s, and a broker that speaks Kafka's protocol", version)

	d.config = filepath.Join(d.dir, "oncesink.yaml")
	if err := writeConfig(d.config, d.servers); err != nil {
		return err
	}
	if err := initialise(ctx, d.config, d.pool); err != nil {
		return err
	}
	d.say("made: orders, their items, sales per day, the ledger of positions, and a counter that adds one per event")
	for i := range 2 {
		w := newWorker(fmt.Sprintf("worker %d", i+1), filepath.Join(d.dir, fmt.Sprintf("worker-%d.log", i+1)))
		d.workers = append(d.workers, w)
		if err := w.start(ctx, d.Worker, d.config); err != nil {
			return err
		}
	}
	if err := d.shared(ctx); err != nil {
		return err
	}
	d.say("%s and %s, two processes, share the %d partitions of topic %s", d.workers[0].name, d.workers[1].name, partitions, topic)
	return nil
}

// close ends the workers and the servers and removes what is temporary. It does
// not depend on a context that has ended.
func (d *demo) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var errs []error
	for _, w := range d.workers {
		errs = append(errs, w.end())
	}
	for _, w := range d.workers {
		errs = append(errs, w.close())
	}
	if d.client != nil {
		d.client.Close()
	}
	if d.pool != nil {
		d.pool.Close()
	}
	if d.servers != nil {
		errs = append(errs, d.servers.stop(ctx))
	}
	if d.Dir == "" && d.dir != "" {
		errs = append(errs, os.RemoveAll(d.dir))
	}
	return errors.Join(errs...)
}
