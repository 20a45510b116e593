package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/oncesink/oncesink/internal/config"
	"github.com/oncesink/oncesink/internal/orders"
	"github.com/oncesink/oncesink/internal/pgserver"
	"github.com/oncesink/oncesink/internal/rollup"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/offsets"
)

// servers are the demo's broker and database.
type servers struct {
	kafka    *kfake.Cluster
	brokers  []string
	postgres *pgserver.Server
	url      string // of the database orders
}

// workDir returns the directory to work in: dir, which may not hold anything, or a new one.
func workDir(dir string) (string, error) {
	if dir == "" {
		dir, err := pgserver.TempDir("oncesink-demo-")
		if err != nil {
			return "", err
		}
		return dir, os.Chmod(dir, 0o711) // the account of PostgreSQL has to get through
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return "", fmt.Errorf("create directory: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("look into directory: %w", err)
	}
	if len(entries) > 0 {
		return "", fmt.Errorf("directory %s is not empty: name an empty one, or one to be created", dir)
	}
	return filepath.Abs(dir)
}

func startServers(ctx context.Context, dir string) (_ *servers, err error) {
	s := &servers{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop(context.WithoutCancel(ctx)))
		}
	}()
	s.kafka, err = kfake.NewCluster(
		kfake.NumBrokers(1),
		// In memory every record would stay on this process's heap.
		kfake.DataDir(filepath.Join(dir, "kafka")),
		kfake.ClusterID("oncesink-demo"),
	)
	if err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	s.brokers = s.kafka.ListenAddrs()
	s.postgres, err = pgserver.Start(ctx, pgserver.Options{Dir: filepath.Join(dir, "postgres")})
	if err != nil {
		return nil, err
	}
	conn, err := pgx.Connect(ctx, s.postgres.URL("postgres"))
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "create database orders"); err != nil {
		return nil, fmt.Errorf("create database: %w", err)
	}
	s.url = s.postgres.URL("orders")
	return s, nil
}

func (s *servers) stop(ctx context.Context) error {
	var err error
	if s.postgres != nil {
		err = s.postgres.Stop(ctx, pgserver.Immediate)
	}
	if s.kafka != nil {
		s.kafka.Close()
	}
	return err
}

// sessionTimeout is the shortest one that brokers accept by default.
const sessionTimeout = "6s"

// writeConfig writes the configuration that the workers read, and that a person can use
// with the other commands.
func writeConfig(path string, s *servers) error {
	quoted := make([]string, len(s.brokers))
	for i, b := range s.brokers {
		quoted[i] = fmt.Sprintf("%q", b)
	}
	doc := fmt.Sprintf(`# Written by oncesink demo.
kafka:
  brokers: [%s]
  group: %s
  session_timeout: %s
postgres:
  url: %q
  # Longer than the demo: a frozen worker's transaction is not ended by a timeout, but
  # by whoever claims its partitions.
  idle_timeout: 120s
limits:
  batch_records: 1000
tables:
  - name: orders
    topic: %s
    key: [order_id]
    version: updated_at
    record_key: {order_id: $key}
    columns:
      customer_id: customer.id
      country: customer.country
    create: |
      %s
  - name: order_items
    strategy: children
    parent: orders
    each: items
    key: [order_id, line]
    columns: {line: $index}
    create: |
      %s
rollups:
  - name: daily_sales
    table: orders
    group_by: {day: "(placed_at at time zone 'UTC')::date", country: country}
    columns: {orders: count, revenue: sum(amount)}
`, strings.Join(quoted, ", "), group, sessionTimeout, s.url, topic, indented(orders.CreateTable), indented(orders.CreateItems))
	if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

// indented is a statement as a block of the configuration.
func indented(sql string) string { return strings.ReplaceAll(sql, "\n", "\n      ") }

// initialise makes what `oncesink init` makes, and the counter.
func initialise(ctx context.Context, file string, pool *pgxpool.Pool) error {
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer conn.Release()
	if err := offsets.Init(ctx, conn.Conn()); err != nil {
		return err
	}
	if err := schema.Init(ctx, conn.Conn(), cfg.ToSink()); err != nil {
		return err
	}
	if err := rollup.Init(ctx, conn.Conn()); err != nil {
		return err
	}
	rollups, err := rollup.Open(ctx, conn.Conn(), cfg.ToRollups())
	if err != nil {
		return err
	}
	for _, r := range rollups {
		if _, err := rollup.Build(ctx, pool, r); err != nil {
			return err
		}
	}
	if _, err := conn.Exec(ctx, "create table counter (n bigint not null); insert into counter values (0)"); err != nil {
		return fmt.Errorf("create table counter: %w", err)
	}
	return nil
}
