package demo

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/admin"
	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/config"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Worker is the body of a worker process: what `oncesink run` does, and a counter in
// the same transaction. It writes the name of its PostgreSQL sessions, and where its page is, to stdout, its
// log to stderr, and returns when ctx ends.
func Worker(ctx context.Context, file string, stdout, stderr io.Writer) error {
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	ccfg, err := cfg.ToConsumer()
	if err != nil {
		return err
	}
	ccfg.Logger = log
	scfg := cfg.ToSink()
	scfg.Handlers = []sink.Handler{count}
	// A lie, told on purpose: count is not safe to replay. An honest program leaves
	// this out, and then oncesink.rewind refuses, before any harm is done, because the
	// group has a handler. The demo wants to show the harm: after its replay the rows
	// are what they were and the counter is twice what it was. So the counter is
	// compared with the number of events before the replay, where it has to be exact
	// (rule 26).
	scfg.HandlersReplaySafe = true

	ccfg.Sink = scfg
	watched := admin.New(admin.Config{Group: ccfg.Group, Page: true, Actions: true, Logger: log})
	defer watched.Close()
	watched.Observe(&ccfg)
	pool, instance, err := offsets.NewPool(ctx, cfg.Postgres.URL.Reveal(), 0)
	if err != nil {
		return err
	}
	defer pool.Close()
	c, err := consumer.New(ctx, pool, ccfg)
	if err != nil {
		return err
	}
	watched.Follow(c, pool)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: watched, ReadHeaderTimeout: 5 * time.Second}
	defer server.Close()
	go func() { _ = server.Serve(listener) }() // until it is closed
	if _, err := fmt.Fprintf(stdout, "%s http://%s/\n", instance, listener.Addr()); err != nil {
		return fmt.Errorf("say the instance: %w", err)
	}
	log.Info("working", "instance", instance)
	return c.Run(ctx)
}

// count adds the number of events to the counter: the simplest thing that is not
// idempotent. Live it is exact all the same, because it happens in the transaction that
// moves the positions over these events, and only there.
func count(ctx context.Context, tx pgx.Tx, records []sink.Record) error {
	_, err := tx.Exec(ctx, "update counter set n = n + $1", len(records))
	return err
}
