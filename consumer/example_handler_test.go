package consumer_test

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

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

// creditPayments is the program around the handler.
func creditPayments(ctx context.Context, url string, brokers []string) error {
	pool, _, err := offsets.NewPool(ctx, url, 8)
	if err != nil {
		return err
	}
	defer pool.Close()
	cfg := consumer.Config{
		Brokers:  brokers,
		Group:    "payments-sink",
		Topics:   map[string]consumer.Start{"payments": {At: consumer.Earliest}},
		Sink:     sink.Config{Handlers: []sink.Handler{credit}},
		UntilEnd: true, // without it: until ctx ends
	}
	if err := consumer.Init(ctx, pool, cfg.Sink); err != nil { // the ledger and the dead letters
		return err
	}
	c, err := consumer.New(ctx, pool, cfg)
	if err != nil {
		return err
	}
	return c.Run(ctx)
}

// A program of its own that joins SQL to the transaction that moves the position: the handler adds to balances,
// which is not idempotent, and still every payment counts once.
func Example_handler() {
	s := startServers("handler", "create table balances (account bigint primary key, cents bigint not null)")
	defer s.Stop()
	s.produce("payments", `{"account": 1, "cents": 500}`, `{"account": 2, "cents": 70}`, `no payment`, `{"account": 1, "cents": -120}`)

	for range 2 { // the second run finds nothing new
		if err := creditPayments(context.Background(), s.url, s.brokers); err != nil {
			fmt.Println(err)
		}
	}
	s.print("select account, cents from balances order by account")
	s.print(`select 'dead letter:', message from oncesink.dead_letters`)
	// Output:
	// 1 380
	// 2 70
	// dead letter: handler 0: read payment: invalid character 'o' in literal null (expecting 'u')
}
