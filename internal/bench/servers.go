package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/pgserver"
	"github.com/oncesink/oncesink/internal/testkafka"
)

// settings of the PostgreSQL that is measured. fsync stays on. Checkpoints are rare enough not
// to fall on one run and spare the next, and the log's files are used again: making new ones
// would cost the first runs what it spares the later ones.
var settings = map[string]string{
	"shared_buffers": "1GB", "max_wal_size": "8GB", "min_wal_size": "4GB", "checkpoint_timeout": "1h", "max_connections": "50",
	"autovacuum_naptime": "5s", "max_prepared_transactions": "4",
}

// bench is the servers and what was measured on them.
type bench struct {
	kafka   *testkafka.RealCluster
	pg      *pgserver.Server
	admin   *pgx.Conn // database postgres
	dir     string    // for binaries and configurations
	stops   []func() error
	scene   scene
	dbs     int
	topics  map[string]topic
	results []result
}

// start starts a real Apache Kafka and a real PostgreSQL.
func start(ctx context.Context) (b *bench, err error) {
	b = &bench{topics: map[string]topic{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.stop())
		}
	}()
	if b.dir, err = os.MkdirTemp("", "oncesink-bench-"); err != nil {
		return b, err
	}
	b.stops = append(b.stops, func() error { return os.RemoveAll(b.dir) })
	kafka, stop, err := testkafka.Start(ctx, 1)
	b.stops = append(b.stops, stop)
	if err != nil {
		return b, err
	}
	b.kafka = kafka
	data, err := pgserver.TempDir("oncesink-bench-pg-")
	if err != nil {
		return b, err
	}
	b.stops = append(b.stops, func() error { return os.RemoveAll(data) })
	if b.pg, err = pgserver.Start(ctx, pgserver.Options{Dir: data, Settings: settings, Version: os.Getenv("ONCESINK_TEST_POSTGRES")}); err != nil {
		return b, err
	}
	b.stops = append(b.stops, func() error { return b.pg.Stop(context.Background(), pgserver.Immediate) })
	if b.admin, err = pgx.Connect(ctx, b.pg.URL("postgres")); err != nil {
		return b, err
	}
	b.scene, err = look(ctx, b.admin)
	return b, err
}

func (b *bench) stop() error {
	var errs []error
	for _, f := range slices.Backward(b.stops) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// database makes an empty one, after a checkpoint, so that every run finds the same
// conditions, and drops it when the run is over.
func (b *bench) database(ctx context.Context) (url string, conn *pgx.Conn, drop func(), err error) {
	b.dbs++
	name := fmt.Sprintf("bench%d", b.dbs)
	for _, sql := range []string{"create database " + name, "checkpoint"} {
		if _, err := b.admin.Exec(ctx, sql); err != nil {
			return "", nil, nil, err
		}
	}
	url = b.pg.URL(name)
	if conn, err = pgx.Connect(ctx, url); err != nil {
		return "", nil, nil, err
	}
	return url, conn, func() {
		_ = conn.Close(context.Background())
		_, _ = b.admin.Exec(context.Background(), "drop database "+name+" with (force)")
	}, nil
}

// topic is a load in Kafka.
type topic struct {
	name       string
	partitions int
	shape      shape
	load       load
}

// fill makes a topic of a load; an event's partition is its id's.
func (b *bench) fill(ctx context.Context, name string, partitions int, s shape, l load) (topic, error) {
	if t, ok := b.topics[name]; ok {
		return t, nil
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.kafka.Brokers...), kgo.DefaultProduceTopic(name),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(20*time.Millisecond), kgo.MaxBufferedRecords(50_000))
	if err != nil {
		return topic{}, err
	}
	defer client.Close()
	resp, err := kadm.NewClient(client).CreateTopic(ctx, int32(partitions), 1, nil, name)
	if err = errors.Join(err, resp.Err); err != nil {
		return topic{}, fmt.Errorf("create topic %s: %w", name, err)
	}
	var v []string
	failed := make(chan error, 1)
	for _, e := range l.events {
		v = e.values(s, v)
		if l.poison != nil {
			l.poison(e, v)
		}
		record := &kgo.Record{Partition: int32(e.id % int64(partitions))}
		if l.envelope {
			record.Key, record.Value = e.debezium(s, v)
		} else {
			record.Key, record.Value = []byte(v[0]), e.json(s, nil, v)
		}
		if l.lines {
			record.Value = e.withLines(record.Value)
		}
		client.Produce(ctx, record, func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		return topic{}, err
	}
	select {
	case err := <-failed:
		return topic{}, fmt.Errorf("fill topic %s: %w", name, err)
	default:
	}
	t := topic{name, partitions, s, l}
	b.topics[name] = t
	return t, nil
}
