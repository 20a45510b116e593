package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/localserver"
	"github.com/oncesink/oncesink/internal/testkafka"
)

// peer reads topics one after the other into one table without the engine's columns, which
// no peer needs.
func (b *bench) peer(ctx context.Context, who, variant string, run func(t topic, url string) (*process, error), topics ...topic) ([]result, error) {
	url, conn, drop, err := b.database(ctx)
	if err != nil {
		return nil, err
	}
	defer drop()
	if _, err := conn.Exec(ctx, topics[0].shape.create("orders")); err != nil {
		return nil, err
	}
	var out []result
	var loads []load
	for _, t := range topics {
		r, err := measure(ctx, url, len(t.load.events), visible(t), func() (*process, error) { return run(t, url) })
		if err != nil {
			return nil, fmt.Errorf("%s %s, %s: %w", who, variant, t.load.name, err)
		}
		r.Who, r.Variant, r.Load = who, variant, t.load.name
		out = append(out, r)
		loads = append(loads, t.load)
		if err := verify(ctx, conn, t.shape, loads...); err != nil {
			return nil, err
		}
		if _, err := conn.Exec(ctx, "vacuum analyze orders"); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (b *bench) handwritten(ctx context.Context, topics ...topic) ([]result, error) {
	return b.peer(ctx, "hand-written consumer", "1 connection", b.startHandwritten, topics...)
}

func (b *bench) startHandwritten(t topic, url string) (*process, error) {
	return launch(nil, filepath.Join(b.dir, "handwritten"), strings.Join(b.kafka.Brokers, ","), t.name, url)
}

// Versions of Debezium's side. Its jackson jars are left out: with them a task of this
// Connect does not start.
const debezium = "3.5.0.Final"

// connectClasses fetches Kafka Connect, and lays out Debezium's sink as a plugin.
func (b *bench) connectClasses(ctx context.Context) (java, classes, plugins string, err error) {
	java, classes, err = testkafka.Jars(ctx, "connect-"+testkafka.Version,
		"org.apache.kafka:connect-runtime:"+testkafka.Version, "org.apache.kafka:connect-json:"+testkafka.Version, testkafka.Logger)
	if err != nil {
		return "", "", "", err
	}
	_, jars, err := testkafka.Jars(ctx, "debezium-jdbc-"+debezium, "io.debezium:debezium-connector-jdbc:"+debezium)
	if err != nil {
		return "", "", "", err
	}
	plugins = filepath.Join(b.dir, "plugins")
	target := filepath.Join(plugins, "debezium")
	if _, err := os.Stat(target); err == nil {
		return java, classes, plugins, nil
	}
	if err := os.MkdirAll(target, 0o755); err != nil {
		return "", "", "", err
	}
	found, _ := filepath.Glob(filepath.Join(jars, "*.jar"))
	for _, jar := range found {
		if strings.HasPrefix(filepath.Base(jar), "jackson-") {
			continue
		}
		if err := copyFile(jar, filepath.Join(target, filepath.Base(jar))); err != nil {
			return "", "", "", err
		}
	}
	return java, classes, plugins, nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	_, err = io.Copy(out, in)
	return err
}

// debezium runs its JDBC sink in a standalone Connect worker.
func (b *bench) debezium(ctx context.Context, unnest bool, tasks int, topics ...topic) ([]result, error) {
	java, classes, plugins, err := b.connectClasses(ctx)
	if err != nil {
		return nil, err
	}
	variant := fmt.Sprintf("batch, %d task(s)", tasks)
	if unnest {
		variant = fmt.Sprintf("UNNEST, %d task(s)", tasks)
	}
	if topics[0].load.envelope {
		variant = enveloped + ", " + variant
	}
	return b.peer(ctx, "Debezium JDBC", variant, func(t topic, url string) (*process, error) {
		port, err := localserver.FreePort()
		if err != nil {
			return nil, err
		}
		dir, err := os.MkdirTemp(b.dir, "connect-")
		if err != nil {
			return nil, err
		}
		settings := map[string]string{
			"bootstrap.servers": b.kafka.Brokers[0], "plugin.path": plugins, "offset.storage.file.filename": filepath.Join(dir, "offsets"),
			"listeners": fmt.Sprintf("http://127.0.0.1:%d", port), "key.converter": "org.apache.kafka.connect.storage.StringConverter",
			"value.converter": "org.apache.kafka.connect.json.JsonConverter", "value.converter.schemas.enable": "true",
			"connector.client.config.override.policy": "All", "offset.flush.interval.ms": "10000",
		}
		if !t.load.envelope { // an envelope has its schema
			settings["value.converter.schema.content"] = connectSchema(t.shape)
		}
		worker, err := properties(dir, "worker.properties", settings)
		if err != nil {
			return nil, err
		}
		cfg, err := pgx.ParseConfig(url)
		if err != nil {
			return nil, err
		}
		connector, err := properties(dir, "sink.properties", map[string]string{
			"name": "bench-" + t.name + "-" + filepath.Base(dir), "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector", "topics": t.name, "tasks.max": fmt.Sprint(tasks),
			"connection.url":      fmt.Sprintf("jdbc:postgresql://%s:%d/%s?reWriteBatchedInserts=true", cfg.Host, cfg.Port, cfg.Database),
			"connection.username": cfg.User, "connection.password": "none", "insert.mode": "upsert", "primary.key.mode": "record_value",
			"primary.key.fields": "order_id", "schema.evolution": "none", "collection.name.format": "orders", "batch.size": "5000",
			"use.reduction.buffer": "true", "consumer.override.max.poll.records": "5000", "consumer.override.auto.offset.reset": "earliest",
			"dialect.postgres.unnest.insert.enabled": fmt.Sprint(unnest),
		})
		if err != nil {
			return nil, err
		}
		return launch(nil, java, "-Xmx2g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", filepath.Join(classes, "*"),
			"org.apache.kafka.connect.cli.ConnectStandalone", worker, connector)
	}, topics...)
}

// connectSchema tells the converter the types of plain JSON.
func connectSchema(s shape) string {
	type field struct {
		Field    string `json:"field"`
		Type     string `json:"type"`
		Name     string `json:"name,omitempty"`
		Optional bool   `json:"optional"`
	}
	var fields []field
	for _, c := range s.columns() {
		f := field{Field: c, Type: "string", Optional: c != "order_id"}
		switch {
		case strings.HasSuffix(c, "_id"):
			f.Type = "int64"
		case c == "amount":
			f.Type = "double"
		case strings.HasSuffix(c, "_at"):
			f.Name = "io.debezium.time.ZonedTimestamp"
		}
		fields = append(fields, f)
	}
	b, err := json.Marshal(map[string]any{"type": "struct", "optional": false, "fields": fields})
	if err != nil {
		panic(err) // strings and booleans
	}
	return string(b)
}

func properties(dir, name string, values map[string]string) (string, error) {
	var b strings.Builder
	for k, v := range values {
		fmt.Fprintf(&b, "%s=%s\n", k, v)
	}
	path := filepath.Join(dir, name)
	return path, os.WriteFile(path, []byte(b.String()), 0o600)
}

// bento runs the binary that ONCESINK_BENCH_BENTO names.
func (b *bench) bento(ctx context.Context, binary string, topics ...topic) ([]result, error) {
	return b.peer(ctx, "Bento sql_insert", "1 in flight", func(t topic, url string) (*process, error) {
		columns := t.shape.columns()
		sets := make([]string, len(columns))
		fields := make([]string, len(columns))
		for i, c := range columns {
			sets[i], fields[i] = c+" = excluded."+c, "this."+c
		}
		config := filepath.Join(b.dir, "bento-"+t.name+".yaml")
		err := os.WriteFile(config, fmt.Appendf(nil, `http: {enabled: false}
input:
  kafka_franz: {seed_brokers: [%q], topics: [%s], consumer_group: bento-%s, start_from_oldest: true, batching: {count: 1000, period: 100ms}}
output:
  sql_insert:
    driver: postgres
    dsn: %q
    table: orders
    columns: [%s]
    args_mapping: root = [%s]
    suffix: on conflict (order_id) do update set %s where excluded.updated_at >= orders.updated_at
    max_in_flight: 1
    batching: {count: 5000, period: 100ms}
`, b.kafka.Brokers[0], t.name, t.name, url, strings.Join(columns, ", "), strings.Join(fields, ", "), strings.Join(sets, ", ")), 0o600)
		if err != nil {
			return nil, err
		}
		return launch(nil, binary, "-c", config)
	}, topics...)
}
