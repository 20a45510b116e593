//go:build unix

// Command citusexample writes one topic into tables that Citus distributes and, by a group of its own, into tables of
// the coordinator alone: upserts with versions, deletions with their memory, children, an append, and records that a constraint refuses. Coordinator and
// workers are killed meanwhile. It ends with 0 if both have the same rows, after a replay as well. It needs a PostgreSQL
// with Citus: see docs/citus.md.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/oncesink/oncesink/internal/pgserver"
)

const limit = 10 * time.Minute // of one reading of the topic

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	version := flag.String("postgres", "15", "major version of the PostgreSQL that has Citus")
	events := flag.Int("events", 60_000, "how many events to write")
	refused := flag.Int("refused", 50, "of how many orders a constraint refuses one")
	kills := flag.Int("kills", 2, "how often to kill the coordinator, and a worker")
	flag.Parse()
	if err := run(ctx, *version, *events, *refused, *kills); err != nil {
		fmt.Fprintln(os.Stderr, "citus-example:", err)
		os.Exit(1)
	}
}

var began = time.Now()

func say(format string, args ...any) {
	fmt.Printf("%4.0f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
}

// example is what runs: a coordinator and two workers.
type example struct {
	dir     string
	nodes   []*pgserver.Server
	program string
	events  int
	refused int
}

func run(ctx context.Context, version string, events, refused, kills int) (err error) {
	e := &example{events: events, refused: refused}
	if e.dir, err = pgserver.TempDir("oncesink-citus-"); err != nil {
		return err
	}
	defer os.RemoveAll(e.dir)
	if err := os.Chmod(e.dir, 0o711); err != nil { // the servers' account passes
		return err
	}
	e.program = filepath.Join(e.dir, "oncesink")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", e.program, "./cmd/oncesink").CombinedOutput(); err != nil {
		return fmt.Errorf("build oncesink: %w\n%s", err, out)
	}
	defer func() {
		for _, n := range e.nodes {
			_ = n.Stop(context.WithoutCancel(ctx), pgserver.Immediate)
		}
	}()
	if err := e.cluster(ctx, version); err != nil {
		return err
	}
	kafka, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		return err
	}
	defer kafka.Close()
	brokers := strings.Join(kafka.ListenAddrs(), ",")
	if _, err := e.oncesink(ctx, "generate", "--brokers", brokers, "--count", fmt.Sprint(events), "--rate", "0", "--partitions", "4"); err != nil {
		return err
	}
	for _, schema := range []string{"plain", "shop"} {
		if err := e.prepare(ctx, schema, brokers); err != nil {
			return err
		}
	}
	if err := e.read(ctx, "plain", 0); err != nil {
		return err
	}
	if err := e.read(ctx, "shop", kills); err != nil {
		return err
	}
	if err := e.compare(ctx); err != nil {
		return err
	}
	for _, schema := range []string{"plain", "shop"} {
		if err := e.exec(ctx, fmt.Sprintf("select oncesink.rewind('%s', topic, partition, 0) from oncesink.offsets where sink_group = '%[1]s'", schema)); err != nil {
			return err
		}
		if err := e.read(ctx, schema, 0); err != nil {
			return err
		}
	}
	if err := e.compare(ctx); err != nil {
		return err
	}
	return e.settled(ctx)
}

// cluster starts the nodes, and makes them one.
func (e *example) cluster(ctx context.Context, version string) error {
	for i := range 3 {
		n, err := pgserver.Start(ctx, pgserver.Options{Dir: filepath.Join(e.dir, fmt.Sprint(i)), Version: version, Settings: map[string]string{
			"shared_preload_libraries": "citus", "citus.node_conninfo": "sslmode=disable", "citus.shard_count": "8", "citus.recover_2pc_interval": "5s",
			"max_prepared_transactions": "100", "jit": "off",
		}})
		if err != nil {
			return err
		}
		e.nodes = append(e.nodes, n)
		conn, err := pgx.Connect(ctx, n.URL("postgres"))
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, "create extension citus")
		if err := errors.Join(err, conn.Close(ctx)); err != nil {
			return err
		}
	}
	join := []string{fmt.Sprintf("select citus_set_coordinator_host('127.0.0.1', %d)", e.nodes[0].Port())}
	for _, w := range e.nodes[1:] {
		join = append(join, fmt.Sprintf("select citus_add_node('127.0.0.1', %d)", w.Port()))
	}
	var citus string
	if err := e.exec(ctx, append(join, "create role app login")...); err != nil {
		return err
	}
	if err := e.query(ctx, "select citus_version()", &citus); err != nil {
		return err
	}
	say("%s: a coordinator and two workers", citus)
	return nil
}

// prepare makes the tables of a schema; those of shop are distributed. The role of the runs has what init's script grants it.
func (e *example) prepare(ctx context.Context, schema, brokers string) error {
	in := strings.NewReplacer("SCHEMA", schema, "BROKERS", brokers, "REFUSED", fmt.Sprint(e.refused), "URL", strings.Replace(e.nodes[0].URL("postgres"), "postgres@", "app@", 1)).Replace
	if err := e.exec(ctx, in("create schema SCHEMA"),
		in("create table SCHEMA.orders (order_id bigint primary key, customer_id bigint, status text, amount numeric(12, 2), placed_at timestamptz, updated_at timestamptz, constraint wanted check (order_id % REFUSED <> 0))"),
		in("create table SCHEMA.items (order_id bigint references SCHEMA.orders, line int, sku text, quantity int, price numeric(12, 2), primary key (order_id, line))"),
		in("create table SCHEMA.log (order_id bigint, status text, updated_at timestamptz)")); err != nil {
		return err
	}
	if schema == "shop" {
		if err := e.exec(ctx, "select create_distributed_table('shop.orders', 'order_id')", "select create_distributed_table('shop.items', 'order_id', colocate_with => 'shop.orders')",
			"select create_distributed_table('shop.log', 'order_id')"); err != nil {
			return err
		}
	}
	config := e.config(schema)
	if err := os.WriteFile(config, []byte(in(`kafka: {brokers: [BROKERS], group: SCHEMA}
postgres: {url: "URL"}
dead_letters: {max_ratio: 1, max_consecutive: 100000}
tables:
  - {name: SCHEMA.orders, topic: orders, key: [order_id], version: updated_at, record_key: {order_id: $key}, columns: {customer_id: customer.id}}
  - {name: SCHEMA.items, strategy: children, parent: SCHEMA.orders, each: items, key: [order_id, line], parent_key: {order_id: order_id}, columns: {line: $index}}
  - {name: SCHEMA.log, topic: orders, strategy: append, tombstones: ignore}
`)), 0o600); err != nil {
		return err
	}
	script, err := e.oncesink(ctx, "init", "--print", "--role", "app", "-c", config)
	if err != nil {
		return err
	}
	psql := exec.CommandContext(ctx, filepath.Join(e.nodes[0].Bin(), "psql"), "-q", "-v", "ON_ERROR_STOP=1", "-d", e.nodes[0].URL("postgres"))
	psql.Stdin = strings.NewReader(script)
	if out, err := psql.CombinedOutput(); err != nil {
		return fmt.Errorf("init: %w\n%s", err, out)
	}
	if _, err := e.oncesink(ctx, "check", "-c", config); err != nil {
		return err
	}
	return nil
}

func (e *example) config(schema string) string { return filepath.Join(e.dir, schema+".yaml") }

// read has a group read the topic to its end. Meanwhile the coordinator and a worker are killed, in turn, so often each.
func (e *example) read(ctx context.Context, schema string, kills int) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	start := time.Now()
	done := make(chan error, 1)
	go func() {
		_, err := e.oncesink(ctx, "run", "--until-end", "--allow-dead-letters", "-c", e.config(schema))
		done <- err
	}()
	for k := range 2 * kills {
		node := e.nodes[(k%2)*(1+k/2%2)] // the coordinator, a worker, the coordinator, the other worker
		for at := int64(0); at < int64(e.events*(k+1)/(2*kills+2)); {
			_ = e.query(ctx, fmt.Sprintf("select coalesce(sum(next_offset), 0)::bigint from oncesink.offsets where sink_group = '%s'", schema), &at)
			select {
			case err := <-done:
				return errors.Join(errors.New("it ended before everybody was killed: give more --events"), err)
			case <-time.After(20 * time.Millisecond):
			}
		}
		if err := node.Kill(); err != nil {
			return err
		}
		time.Sleep(time.Second) // the group meets a node that is not there
		if err := node.Start(ctx); err != nil {
			return err
		}
		say("killed node %d at %d %% of the topic, and started it again", node.Port(), 100*(k+1)/(2*kills+2))
	}
	if err := <-done; err != nil {
		return err
	}
	say("%s: %d events in %.1f s, %d kills", schema, e.events, time.Since(start).Seconds(), 2*kills)
	return nil
}

// tables are what is compared: columns of the tables, and of what is remembered beside them.
var tables = []struct{ name, columns string }{
	{"SCHEMA.orders", "order_id, customer_id, status, amount, placed_at, updated_at, _oncesink_source, _oncesink_offset"},
	{"SCHEMA.items", "order_id, line, sku, quantity, price, _oncesink_source, _oncesink_offset"},
	{"SCHEMA.log", "order_id, status, updated_at, _oncesink_source, _oncesink_offset"},
	{`oncesink."SCHEMA.orders deletes"`, "order_id, updated_at, _oncesink_source, _oncesink_offset"},
	{`oncesink."SCHEMA.items sets"`, "order_id, updated_at, _oncesink_source, _oncesink_offset"},
	{"oncesink.dead_letters where sink_group = 'SCHEMA'", `partition, "offset", code, constraint_name, status`},
}

// compare compares the tables of the schemas.
func (e *example) compare(ctx context.Context) error {
	for _, t := range tables {
		var sums [2]string
		for i, schema := range []string{"plain", "shop"} {
			if err := e.query(ctx, fmt.Sprintf("select count(*) || ' rows, md5 ' || md5(string_agg(r, ';' order by r)) from (select concat_ws('|', %s) as r from %s) t",
				t.columns, strings.ReplaceAll(t.name, "SCHEMA", schema)), &sums[i]); err != nil {
				return err
			}
		}
		if sums[0] != sums[1] {
			return fmt.Errorf("%s: plain has %s, distributed %s", t.name, sums[0], sums[1])
		}
		say("%s: %s in both", strings.ReplaceAll(strings.TrimSuffix(t.name, " where sink_group = 'SCHEMA'"), "SCHEMA.", ""), sums[0])
	}
	return nil
}

// settled waits until no node has a transaction that is prepared and not committed.
func (e *example) settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		var open int
		err := e.query(ctx, "select sum(result::int)::int from run_command_on_all_nodes('select count(*) from pg_prepared_xacts')", &open)
		switch {
		case err != nil:
			return err
		case open == 0:
			say("no transaction is left prepared")
			return nil
		}
		time.Sleep(time.Second)
	}
}

// oncesink runs a command to its end, and returns what it prints.
func (e *example) oncesink(ctx context.Context, args ...string) (string, error) {
	var out, log bytes.Buffer
	cmd := exec.CommandContext(ctx, e.program, args...)
	cmd.Env = append(os.Environ(), "ONCESINK_ADMIN_LISTEN=off")
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		text := log.Bytes()
		return "", fmt.Errorf("oncesink %s: %w\n%s%s", strings.Join(args, " "), err, &out, text[max(0, len(text)-4000):])
	}
	return out.String(), nil
}

// exec executes statements on the coordinator.
func (e *example) exec(ctx context.Context, statements ...string) error {
	conn, err := pgx.Connect(ctx, e.nodes[0].URL("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, sql := range statements {
		if _, err := conn.PgConn().Exec(ctx, sql).ReadAll(); err != nil {
			return fmt.Errorf("%.80s: %w", sql, err)
		}
	}
	return nil
}

// query reads one value from the coordinator.
func (e *example) query(ctx context.Context, sql string, into any) error {
	conn, err := pgx.Connect(ctx, e.nodes[0].URL("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	return conn.QueryRow(ctx, sql).Scan(into)
}
