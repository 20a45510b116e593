package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
)

// build makes the programs that are measured, from this tree.
func (b *bench) build(ctx context.Context) error {
	for name, dir := range map[string]string{"oncesink": "cmd/oncesink", "handwritten": "internal/bench/handwritten"} {
		if out, err := exec.CommandContext(ctx, "go", "build", "-C", dir, "-o", filepath.Join(b.dir, name), ".").CombinedOutput(); err != nil {
			return fmt.Errorf("go build %s (run from the root of the repository): %w\n%s", dir, err, out)
		}
	}
	return nil
}

// options of a run of oncesink beyond its defaults.
type options struct {
	limits string // a YAML flow mapping
	async  bool   // synchronous_commit: off
	rollup string // group_by of a rollup, a YAML flow mapping
	// constraint of the table, and how long a missing parent is waited for: "1ms".
	constraint, parents string
	// admin is where the admin listener is, or "off"; empty: the default.
	admin string
}

// configure writes the configuration that reads a topic into the table.
func (b *bench) configure(o options, t topic) (string, error) {
	commit := "on"
	if o.async {
		commit = "off"
	}
	parents := ""
	if o.parents != "" {
		parents = ", foreign_key_wait: " + o.parents
	}
	envelope := ""
	if t.load.envelope {
		envelope = "topics: {" + t.name + ": {envelope: debezium}}"
	}
	create := strings.Replace(t.shape.create("orders"), ") with (", o.constraint+") with (", 1)
	children := ""
	if t.load.lines {
		children = linesTable
	}
	rollups := ""
	if o.rollup != "" {
		rollups = fmt.Sprintf("rollups:\n  - {name: sales, table: orders, group_by: %s, columns: {orders: count, revenue: sum(amount)}}\n", o.rollup)
	}
	f, err := os.CreateTemp(b.dir, "*.yaml")
	if err != nil {
		return "", err
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, `kafka: {brokers: [%q], group: bench}
postgres: {url: "${DATABASE_URL}", synchronous_commit: "%s"%s}
limits: {%s}
%s
tables:
  - name: orders
    topic: %s
    key: [order_id]
    version: updated_at
    create: |
      %s
%s%s`, b.kafka.Brokers[0], commit, parents, o.limits, envelope, t.name, strings.ReplaceAll(create, "\n", "\n      "), children, rollups)
	return f.Name(), err
}

// oncesink reads topics one after the other into one table, and then the last one once more,
// measuring each, and compares the table with the topics.
func (b *bench) oncesink(ctx context.Context, variant string, o options, replay bool, topics ...topic) ([]result, error) {
	url, conn, drop, err := b.database(ctx)
	if err != nil {
		return nil, err
	}
	defer drop()
	var out []result
	var loads []load
	run := func(t topic, name string, w watch) error {
		r, err := measure(ctx, url, len(t.load.events), w, func() (*process, error) { return b.startOncesink(ctx, o, t, url) })
		if err != nil {
			return fmt.Errorf("oncesink %s, %s: %w", variant, name, err)
		}
		r.Who, r.Variant, r.Load = "oncesink", variant, name
		out = append(out, r)
		if o.rollup != "" {
			config, err := b.configure(o, t)
			if err != nil {
				return err
			}
			if err := b.verifyRollup(ctx, config, url); err != nil {
				return err
			}
		}
		return verify(ctx, conn, t.shape, loads...)
	}
	for _, t := range topics {
		loads = append(loads, t.load)
		if err := run(t, t.load.name, visible(t)); err != nil {
			return nil, err
		}
		if _, err := conn.Exec(ctx, "vacuum analyze orders"); err != nil { // as autovacuum would, but at the same moment in every run
			return nil, err
		}
	}
	if replay {
		t := topics[len(topics)-1]
		if _, err := conn.Exec(ctx, "select oncesink.rewind('bench', $1::text, null, 0)", t.name); err != nil {
			return nil, err
		}
		if err := run(t, "replay", positions(t)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// startOncesink prepares a database and runs oncesink on it.
func (b *bench) startOncesink(ctx context.Context, o options, t topic, url string) (*process, error) {
	config, err := b.configure(o, t)
	if err != nil {
		return nil, err
	}
	env := []string{"DATABASE_URL=" + url}
	if o.admin != "" {
		env = append(env, "ONCESINK_ADMIN_LISTEN="+o.admin)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(b.dir, "oncesink"), "init", "-c", config)
	cmd.Env = append(os.Environ(), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("oncesink init: %w\n%s", err, text)
	}
	return launch(env, filepath.Join(b.dir, "oncesink"), "run", "-c", config)
}

// positions watches the ledger, where the table has nothing to show.
func positions(t topic) watch {
	at := func(ctx context.Context, conn reader) (n int, err error) {
		err = conn.QueryRow(ctx, "select coalesce(sum(next_offset), 0) from oncesink.offsets where topic = $1", t.name).Scan(&n)
		return n, err
	}
	return watch{
		began: func(ctx context.Context, conn *pgx.Conn) (bool, error) {
			n, err := at(ctx, conn)
			return n > 0, err
		},
		in: func(ctx context.Context, tx pgx.Tx) (int, error) { return at(ctx, tx) },
		done: func(ctx context.Context, conn *pgx.Conn) (bool, error) {
			n, err := at(ctx, conn)
			return n >= len(t.load.events), err
		},
	}
}
