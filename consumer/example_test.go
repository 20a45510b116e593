package consumer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// A program of its own that joins SQL to the transaction that moves the
// position: the handler adds to balances, which is not idempotent, and still
// every payment counts once. `oncesink init` has made the ledger before.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Getenv("DATABASE_URL")); err != nil {
		log.Fatal(err)
	}
}

// credit adds payments to balances. It may run more than once for the same
// records, each time in a transaction whose earlier effects are gone.
func credit(ctx context.Context, tx pgx.Tx, records []sink.Record) error {
	for _, r := range records {
		var payment struct{ Account, Cents int64 }
		if err := json.Unmarshal(r.Value, &payment); err != nil {
			return sink.Poison(fmt.Errorf("read payment: %w", err)) // this record becomes a dead letter
		}
		_, err := tx.Exec(ctx, `
			insert into balances as b (account, cents) values ($1, $2)
			on conflict (account) do update set cents = b.cents + excluded.cents`, payment.Account, payment.Cents)
		if err != nil {
			return err // its SQLSTATE decides: try again, dead letter, or stop
		}
	}
	return nil
}

func run(ctx context.Context, url string) error {
	const group = "payments-sink"
	pool, _, err := offsets.NewPool(ctx, url, 8)
	if err != nil {
		return err
	}
	defer pool.Close()

	// Open once to learn what the ledger has to know of the mapping.
	s, err := engine.Open(ctx, pool, nil, sink.Config{Handlers: []sink.Handler{credit}})
	if err != nil {
		return err
	}
	ledger := offsets.New(pool, group, offsets.Options{Mappings: s.Mappings(), ReplayRefused: s.ReplayRefused()})

	c, err := consumer.New(consumer.Config{
		Brokers: []string{"localhost:9092"},
		Group:   group,
		Topics:  map[string]consumer.Start{"payments": {At: consumer.Earliest}},
	}, ledger, s.WithLedger(ledger))
	if err != nil {
		return err
	}
	return c.Run(ctx) // until ctx ends, then a graceful stop
}
