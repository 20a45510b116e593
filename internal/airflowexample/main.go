//go:build unix

// Command airflowexample runs examples/airflow for real: Apache Kafka, PostgreSQL, oncesink
// and Apache Airflow on this machine, with data of ten days. It ends with 0 if the table is right after
// Airflow has caught up, and again after all days were run a second time.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/localserver"
	"github.com/oncesink/oncesink/internal/pgserver"
	"github.com/oncesink/oncesink/internal/testkafka"
)

const (
	days   = 10
	orders = 20_000
	dag    = "orders_backfill"
	limit  = 15 * time.Minute // of one round of Airflow
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	airflow := flag.String("airflow", "airflow", "the program of Apache Airflow")
	flag.Parse()
	if err := run(ctx, *airflow); err != nil {
		fmt.Fprintln(os.Stderr, "airflow-example:", err)
		os.Exit(1)
	}
}

var began = time.Now()

func say(format string, args ...any) {
	fmt.Printf("%4.0f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
}

// example is what runs.
type example struct {
	dir     string
	brokers []string
	url     string
	conn    *pgx.Conn
	env     []string // of oncesink and Airflow
	airflow string
}

func run(ctx context.Context, airflow string) (err error) {
	e := &example{airflow: airflow}
	if e.dir, err = os.MkdirTemp("", "oncesink-airflow-"); err != nil {
		return err
	}
	defer os.RemoveAll(e.dir)
	say("starting Apache Kafka and PostgreSQL")
	kafka, stopKafka, err := testkafka.Start(ctx, 1)
	defer func() { err = errors.Join(err, stopKafka()) }()
	if err != nil {
		return err
	}
	e.brokers = kafka.Brokers
	data, err := pgserver.TempDir("oncesink-airflow-pg-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(data)
	pg, err := pgserver.Start(ctx, pgserver.Options{Dir: data})
	if err != nil {
		return err
	}
	defer func() { _ = pg.Stop(context.WithoutCancel(ctx), pgserver.Immediate) }()
	e.url = pg.URL("postgres")
	if e.conn, err = pgx.Connect(ctx, e.url); err != nil {
		return err
	}
	if err := e.load(ctx); err != nil {
		return err
	}
	want, err := e.hash(ctx)
	if err != nil {
		return err
	}
	if err := e.damage(ctx, want); err != nil {
		return err
	}
	return e.catchUp(ctx, want)
}

// command is a program with the environment of the example.
func (e *example) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), e.env...)
	cmd.Dir = e.dir
	return cmd
}

func output(cmd *exec.Cmd) (string, error) {
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, &out, &log)
	}
	return out.String(), nil
}

// load fills the topic, and has `oncesink run` fill the table; it goes on running.
func (e *example) load(ctx context.Context) error {
	program := filepath.Join(e.dir, "oncesink")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/oncesink").CombinedOutput(); err != nil {
		return fmt.Errorf("build oncesink: %w\n%s", err, out)
	}
	config := filepath.Join(e.dir, "oncesink.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `kafka: {brokers: [%q], group: orders-sink}
postgres: {url: "${DATABASE_URL}"}
tables:
  - name: orders
    topic: orders
    key: [order_id]
    version: updated_at
    record_key: {order_id: $key}
    create: create table orders (order_id bigint primary key, status text, amount numeric(12, 2), placed_at timestamptz, updated_at bigint)
`, e.brokers[0]), 0o600); err != nil {
		return err
	}
	e.env = []string{"DATABASE_URL=" + e.url, "ONCESINK=" + program, "ONCESINK_CONFIG=" + config}
	client, err := kgo.NewClient(kgo.SeedBrokers(e.brokers...), kgo.DefaultProduceTopic("orders"))
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(ctx, 3, 1, nil, "orders"); err != nil {
		return fmt.Errorf("create the topic: %w", err)
	}
	var promise kgo.FirstErrPromise
	produce := func(id int, value []byte) {
		client.Produce(ctx, &kgo.Record{Key: strconv.AppendInt(nil, int64(id), 10), Value: value}, promise.Promise())
	}
	first := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	for version := 1; version <= 2; version++ {
		for id := range orders {
			// The second version of some lies on another day, and some orders are cancelled.
			at := first.Add(time.Duration(id) * (days * 24 * time.Hour / orders))
			if version == 2 && id%11 == 0 && id < orders/days*(days-1) {
				at = at.Add(24 * time.Hour)
			}
			if version == 2 && id%13 == 0 {
				produce(id, nil)
				continue
			}
			value, err := json.Marshal(map[string]any{"order_id": id, "status": []string{"new", "paid"}[version-1], "amount": float64(id%1000) / 4, "placed_at": at, "updated_at": version})
			if err != nil {
				return err
			}
			produce(id, value)
		}
	}
	if err := promise.Err(); err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	for _, args := range [][]string{{"init"}, {"run", "--until-end"}} {
		if _, err := output(e.command(ctx, program, append(args, "-c", config)...)); err != nil {
			return err
		}
	}
	live := e.command(ctx, program, "run", "-c", config)
	p, err := localserver.Start(live, syscall.SIGKILL)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = p.Kill() })
	var rows int
	if err := e.conn.QueryRow(ctx, "select count(*) from orders").Scan(&rows); err != nil {
		return err
	}
	say("loaded %d rows of %d days; `oncesink run` goes on", rows, days)
	return nil
}

// hash is one over all rows and columns.
func (e *example) hash(ctx context.Context) (h string, err error) {
	err = e.conn.QueryRow(ctx, "select md5(string_agg(t::text, ';' order by order_id)) from orders t").Scan(&h)
	return h, err
}

// damage spoils rows of every day.
func (e *example) damage(ctx context.Context, want string) error {
	for _, sql := range []string{
		"update orders set amount = amount + 1 where order_id % 7 = 0",
		"delete from orders where order_id % 17 = 0",
		"insert into orders select -n, 'ghost', n, timestamptz '2025-01-01 12:00+0' + n * interval '1 day', 1, min(_oncesink_source), -n from orders, generate_series(0, 9) n where n > 0 group by n",
	} {
		tag, err := e.conn.Exec(ctx, sql)
		if err != nil {
			return err
		}
		say("damaged: %s", tag)
	}
	h, err := e.hash(ctx)
	if err == nil && h == want {
		err = errors.New("nothing was damaged")
	}
	return err
}

// catchUp has Airflow run the ten days, twice.
func (e *example) catchUp(ctx context.Context, want string) error {
	dags, err := filepath.Abs("examples/airflow/dags")
	if err != nil {
		return err
	}
	home := filepath.Join(e.dir, "airflow")
	e.env = append(e.env, "AIRFLOW_HOME="+home, "AIRFLOW__CORE__DAGS_FOLDER="+dags, "AIRFLOW__CORE__LOAD_EXAMPLES=False",
		"AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION=False", "AIRFLOW__CORE__PARALLELISM=2", "PYTHONDONTWRITEBYTECODE=1",
		"PATH="+filepath.Dir(e.airflow)+string(os.PathListSeparator)+os.Getenv("PATH"))
	log, err := os.Create(filepath.Join(e.dir, "airflow.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	standalone := e.command(ctx, e.airflow, "standalone")
	standalone.Stdout, standalone.Stderr = log, log
	standalone.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	say("starting Apache Airflow")
	if err := standalone.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- standalone.Wait() }()
	defer func() {
		_ = syscall.Kill(-standalone.Process.Pid, syscall.SIGKILL)
		<-ended
	}()
	for round := 1; round <= 2; round++ {
		if err := e.untilDone(ctx, ended); err != nil {
			text, _ := os.ReadFile(log.Name())
			return fmt.Errorf("%w\n%s", err, text[max(0, len(text)-5000):])
		}
		got, err := e.hash(ctx)
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("round %d: the table is not what it was", round)
		}
		say("round %d: %d days done, the table is what it was (%s)", round, days, got)
		if round == 1 {
			if _, err := output(e.command(ctx, e.airflow, "tasks", "clear", "--yes", dag)); err != nil {
				return err
			}
			say("cleared: all days run again")
		}
	}
	return nil
}

// untilDone waits until all days' runs have succeeded.
func (e *example) untilDone(ctx context.Context, ended <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	last := ""
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the days are not done within %v: %s", limit, last)
		case err := <-ended:
			return fmt.Errorf("airflow ended: %v", err)
		case <-tick.C:
		}
		out, err := output(e.command(ctx, e.airflow, "dags", "list-runs", dag, "--output", "json"))
		if err != nil {
			last = err.Error() // not started yet
			continue
		}
		var runs []struct {
			State string `json:"state"`
		}
		// Warnings stand before the list, which is one line.
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if json.Unmarshal([]byte(lines[len(lines)-1]), &runs) != nil {
			last = out
			continue
		}
		states := map[string]int{}
		for _, r := range runs {
			states[r.State]++
		}
		if now := fmt.Sprint(states); now != last {
			say("runs: %v", states)
			last = now
		}
		if states["failed"] > 0 {
			return fmt.Errorf("runs failed: %v", states)
		}
		if states["success"] == days && len(runs) == days {
			return nil
		}
	}
}
