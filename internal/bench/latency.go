package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
)

// latency is how long a single event takes from the call of produce until a reader sees
// its row, while rate other events a second (0: none) go the same way.
func (b *bench) latency(ctx context.Context, who, name string, samples, rate int, run func(ctx context.Context, t topic, url string, conn *pgx.Conn) (*process, error)) (r result, err error) {
	url, conn, drop, err := b.database(ctx)
	if err != nil {
		return r, err
	}
	defer drop()
	b.dbs++
	t, err := b.fill(ctx, fmt.Sprintf("latency%d", b.dbs), 6, narrow, fresh(0, 100))
	if err != nil {
		return r, err
	}
	p, err := run(ctx, t, url, conn)
	if err != nil {
		return r, err
	}
	defer p.stop()
	w := visible(t)
	if err := within(ctx, time.Minute, glance, p, func() (bool, error) {
		done, err := w.done(ctx, conn)
		return done && err == nil, nil // the table may not be there yet
	}); err != nil {
		return r, err
	}
	// What is timed is sent at once; the load beside it as Kafka's own producer does by default, since
	// version 4: small batches would keep the broker busy.
	send, flush, err := b.sender(ctx, t.name, 0, false)
	if err != nil {
		return r, err
	}
	defer flush()
	sendBeside, flushBeside, err := b.sender(ctx, t.name, 5*time.Millisecond, false)
	if err != nil {
		return r, err
	}
	defer flushBeside()
	loading, endLoad := context.WithCancel(ctx)
	defer endLoad()
	beside := make(chan int, 1)
	go func() { beside <- background(loading, rate, sendBeside) }()
	var took []time.Duration
	pause := time.NewTicker(25 * time.Millisecond)
	defer pause.Stop()
	for i := range samples + 20 {
		<-pause.C
		id := int64(100 + i)
		began := time.Now()
		send(id)
		// A look each half millisecond: a reader that never rests would take a core from what it times.
		err := within(ctx, 30*time.Second, 500*time.Microsecond, p, func() (seen bool, err error) {
			err = conn.QueryRow(ctx, "select exists (select from orders where order_id = $1)", id).Scan(&seen)
			return seen, err
		})
		if err != nil {
			return r, fmt.Errorf("latency of %s, event %d: %w", who, i, err)
		}
		if i >= 20 { // the first ones meet cold caches
			took = append(took, time.Since(began))
		}
	}
	endLoad()
	sent := <-beside
	if err := errors.Join(flush(), flushBeside()); err != nil {
		return r, err
	}
	if err := complete(ctx, conn, p, t.name, 100+samples+20, sent); err != nil {
		return r, fmt.Errorf("latency of %s: %w", who, err)
	}
	slices.Sort(took)
	ms := func(q float64) float64 { return took[int(q*float64(len(took)-1))].Seconds() * 1000 }
	return result{Who: who, Variant: name, Load: "latency", Rows: samples, Seconds: 1, P50: ms(0.50), P99: ms(0.99)}, nil
}

// sender returns what sends events to a topic of six partitions; flush waits until all are acknowledged,
// and ends it.
func (b *bench) sender(ctx context.Context, name string, linger time.Duration, lines bool) (send func(id int64), flush func() error, err error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.kafka.Brokers...), kgo.DefaultProduceTopic(name), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(linger), kgo.MaxBufferedRecords(100_000))
	if err != nil {
		return nil, nil, err
	}
	var failed atomic.Pointer[error]
	done := func(_ *kgo.Record, err error) {
		if err != nil {
			failed.CompareAndSwap(nil, &err)
		}
	}
	send = func(id int64) {
		e := event{id, 0}
		v := e.values(narrow, nil)
		value := e.json(narrow, make([]byte, 0, 320), v)
		if lines {
			value = e.withLines(value)
		}
		client.Produce(ctx, &kgo.Record{Partition: int32(id % 6), Key: []byte(v[0]), Value: value}, done)
	}
	return send, sync.OnceValue(func() error {
		err := client.Flush(ctx)
		client.Close()
		if first := failed.Load(); first != nil {
			err = errors.Join(err, *first)
		}
		return err
	}), nil
}

// besides is the first id of what is sent beside the events whose way is timed.
const besides = 1000

// complete waits until all that was sent is in, and compares.
func complete(ctx context.Context, conn *pgx.Conn, p *process, name string, timed, beside int) error {
	all := fresh(0, timed)
	all.events = append(all.events, fresh(besides, beside).events...)
	w := visible(topic{name, 6, narrow, all})
	if err := within(ctx, time.Minute, glance, p, func() (bool, error) { return w.done(ctx, conn) }); err != nil {
		return err
	}
	return verify(ctx, conn, narrow, all)
}

// background sends events at a rate until ctx ends, and returns how many.
func background(ctx context.Context, rate int, send func(id int64)) (sent int) {
	began := time.Now()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return sent
		case <-tick.C:
		}
		for due := int(time.Since(began).Seconds() * float64(rate)); sent < due; sent++ {
			send(int64(besides + sent))
		}
	}
}
