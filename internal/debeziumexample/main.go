//go:build unix

// Command debeziumexample runs examples/debezium.yaml for real, all of it on this machine: a PostgreSQL, Debezium, Apache Kafka, oncesink
// and another PostgreSQL. It ends with 0 if the tables are the same after the snapshot, after changes, after both programs were
// killed, and after all was read again.
package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/localserver"
	"github.com/oncesink/oncesink/internal/pgserver"
	"github.com/oncesink/oncesink/internal/testconnect"
	"github.com/oncesink/oncesink/internal/testkafka"
)

// limit bounds each wait.
const limit = 3 * time.Minute

// shop is the source. A customer's profile is large, so that it lies beside its row.
const shop = `create table customers (id bigint primary key, name text not null, balance numeric(12, 2) not null, profile jsonb, changed_at timestamptz not null);
alter table customers alter profile set storage external;
create table orders (id bigint primary key, customer_id bigint not null, amount numeric(12, 2) not null, placed_at timestamp not null, note text);
insert into customers select i, 'customer ' || i, 0, jsonb_build_object('about', repeat(md5(i::text), 100)), now() from generate_series(1, 500) i;`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "debezium-example:", err)
		os.Exit(1)
	}
}

var began = time.Now()

func say(format string, args ...any) {
	fmt.Printf("%4.0f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
}

// example is what runs.
type example struct {
	dir            string
	env            []string // of oncesink
	source, target *pgx.Conn
	worker         *testconnect.Worker
	oncesink       *localserver.Process
	orders         int // that were placed so far
	rnd            *rand.Rand
}

func run(ctx context.Context) (err error) {
	seed := rand.Uint64()
	e := &example{rnd: rand.New(rand.NewPCG(seed, 0))}
	if e.dir, err = os.MkdirTemp("", "oncesink-debezium-"); err != nil {
		return err
	}
	defer os.RemoveAll(e.dir)
	say("Debezium %s, Apache Kafka %s; the first time they are fetched", testconnect.Debezium, testkafka.Version)
	if _, _, err := testconnect.Install(ctx); err != nil {
		return err
	}
	kafka, stopKafka, err := testkafka.Start(ctx, 1)
	defer func() { err = errors.Join(err, stopKafka()) }()
	if err != nil {
		return err
	}
	source, stopSource, err := e.postgres(ctx, "source", map[string]string{"wal_level": "logical"})
	defer stopSource()
	if err != nil {
		return err
	}
	target, stopTarget, err := e.postgres(ctx, "target", nil)
	defer stopTarget()
	if err != nil {
		return err
	}
	if e.source, err = pgx.Connect(ctx, source); err != nil {
		return err
	}
	if e.target, err = pgx.Connect(ctx, target); err != nil {
		return err
	}
	e.env = append(os.Environ(), "DATABASE_URL="+target, "KAFKA_BROKERS="+kafka.Brokers[0])
	if err := e.begin(ctx, kafka.Brokers, source); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.worker.Kill(), e.oncesink.Kill()) }()
	say("changes at the source come from seed %d", seed)
	return e.play(ctx)
}

// postgres starts a server of its own.
func (e *example) postgres(ctx context.Context, name string, settings map[string]string) (url string, stop func(), err error) {
	data, err := pgserver.TempDir("oncesink-debezium-" + name + "-")
	if err != nil {
		return "", func() {}, err
	}
	stop = func() { os.RemoveAll(data) }
	pg, err := pgserver.Start(ctx, pgserver.Options{Dir: data, Settings: settings})
	if err != nil {
		return "", stop, err
	}
	return pg.URL("postgres"), func() {
		_ = pg.Stop(context.WithoutCancel(ctx), pgserver.Immediate)
		os.RemoveAll(data)
	}, nil
}

// begin makes tables and topics, and starts Debezium and oncesink.
func (e *example) begin(ctx context.Context, brokers []string, source string) error {
	if _, err := e.source.Exec(ctx, shop); err != nil {
		return fmt.Errorf("fill the source: %w", err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopics(ctx, 3, 1, nil, "shop.public.customers", "shop.public.orders"); err != nil {
		return fmt.Errorf("create the topics: %w", err)
	}
	if e.worker, err = testconnect.New(ctx, e.dir, brokers); err != nil {
		return err
	}
	settings, err := testconnect.Postgres(source, "shop")
	if err != nil {
		return err
	}
	if err := e.worker.Add("shop", settings); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(e.dir, "oncesink"), "./cmd/oncesink").CombinedOutput(); err != nil {
		return fmt.Errorf("build oncesink: %w\n%s", err, out)
	}
	if err := e.do(ctx, "init"); err != nil {
		return err
	}
	return e.start()
}

func (e *example) start() error {
	if err := e.worker.Start(map[string]string{"offset.flush.interval.ms": "5000"}); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(e.dir, "oncesink.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the child writes it
	cmd := e.command(context.Background(), "run")
	cmd.Stdout, cmd.Stderr = log, log
	e.oncesink, err = localserver.Start(cmd, syscall.SIGKILL)
	return err
}

func (e *example) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(e.dir, "oncesink"), append(args, "-c", "examples/debezium.yaml")...)
	cmd.Env = e.env
	return cmd
}

func (e *example) do(ctx context.Context, args ...string) error {
	if out, err := e.command(ctx, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("oncesink %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// play is what happens.
func (e *example) play(ctx context.Context) error {
	if err := e.same(ctx, "the snapshot"); err != nil {
		return err
	}
	for i := range 3 {
		if err := e.change(ctx, 200); err != nil {
			return err
		}
		if err := e.same(ctx, fmt.Sprintf("200 transactions (%d)", i+1)); err != nil {
			return err
		}
	}
	if err := e.noted(ctx); err != nil {
		return err
	}
	say("killing Debezium and oncesink; the shop goes on")
	if err := errors.Join(e.worker.Kill(), e.oncesink.Kill()); err != nil {
		return err
	}
	if err := e.change(ctx, 200); err != nil {
		return err
	}
	if err := e.start(); err != nil {
		return err
	}
	if err := e.same(ctx, "both were started again"); err != nil {
		return err
	}
	const written = `select string_agg(concat_ws(' ', xmin, ctid), ',' order by ctid) from (select xmin, ctid from customers union all select xmin, ctid from orders) t`
	var before, after string
	if err := e.target.QueryRow(ctx, written).Scan(&before); err != nil {
		return err
	}
	say("reading it all again: oncesink replay")
	if err := e.do(ctx, "replay", "--wait"); err != nil {
		return err
	}
	if err := e.target.QueryRow(ctx, written).Scan(&after); err != nil {
		return err
	}
	if before != after {
		return errors.New("the replay has written rows")
	}
	if err := e.same(ctx, "the replay, which wrote no row"); err != nil {
		return err
	}
	say("done: the tables are the same")
	return nil
}

// noted waits until Debezium has noted where it stands: killed before, it would begin with another snapshot, which knows nothing of
// what was deleted meanwhile.
func (e *example) noted(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; {
		if at, err := os.Stat(filepath.Join(e.dir, "offsets")); err == nil && at.ModTime().After(began) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for Debezium to note its position: %w", ctx.Err())
		}
	}
}

// change makes so many transactions at the source.
func (e *example) change(ctx context.Context, n int) error {
	for range n {
		customer := 1 + e.rnd.IntN(600)
		e.orders++
		statements := []string{fmt.Sprintf("insert into orders values (%d, %d, %d.%02d, now(), 'note %d')", e.orders, customer, e.rnd.IntN(1000), e.rnd.IntN(100), e.orders)}
		switch e.rnd.IntN(8) {
		case 0:
			statements = append(statements, fmt.Sprintf("delete from customers where id = %d", customer), fmt.Sprintf("delete from orders where customer_id = %d", customer))
		case 1:
			statements = append(statements, fmt.Sprintf("insert into customers values (%d, 'new', 0, null, now()) on conflict do nothing", customer))
		case 2: // another key; the profile is written along, see docs/formats.md
			statements = append(statements, fmt.Sprintf("update customers set id = %d, profile = profile || '{}' where id = %d", 1000+e.orders, customer))
		case 3:
			statements = append(statements, fmt.Sprintf("update orders set amount = amount + 1, note = null where customer_id %% 50 = %d", customer%50))
		default: // leaves the profile alone
			statements = append(statements, fmt.Sprintf("update customers set balance = balance + 1, changed_at = clock_timestamp() where id = %d", customer))
		}
		if err := pgx.BeginFunc(ctx, e.source, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, strings.Join(statements, ";"))
			return err
		}); err != nil {
			return fmt.Errorf("change the source: %w", err)
		}
	}
	return nil
}

// same waits until both databases have the same rows.
func (e *example) same(ctx context.Context, after string) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		source, err := rows(ctx, e.source)
		if err != nil {
			return err
		}
		target, err := rows(ctx, e.target)
		if err != nil {
			return err
		}
		if source == target {
			say("equal after %s: %s", after, source)
			return nil
		}
		select {
		case <-tick.C:
		case <-e.worker.Done():
			return fmt.Errorf("the worker of Kafka Connect has ended:\n%s", e.worker.LogTail())
		case <-e.oncesink.Done():
			return fmt.Errorf("oncesink has ended:\n%s", localserver.LogTail(filepath.Join(e.dir, "oncesink.log"), 0))
		case <-ctx.Done():
			return fmt.Errorf("after %s the source has %s, the target %s: %w", after, source, target, ctx.Err())
		}
	}
}

// rows says how many rows the tables have, and a digest of them all.
func rows(ctx context.Context, conn *pgx.Conn) (s string, err error) {
	err = conn.QueryRow(ctx, `select format('%s customers %s, %s orders %s', c.n, c.digest, o.n, o.digest) from
		(select count(*) n, coalesce(left(md5(string_agg((id, name, balance, profile, changed_at at time zone 'UTC')::text, E'\n' order by id)), 8), '-') digest from customers) c,
		(select count(*) n, coalesce(left(md5(string_agg((id, customer_id, amount, placed_at, note)::text, E'\n' order by id)), 8), '-') digest from orders) o`).Scan(&s)
	return s, err
}
