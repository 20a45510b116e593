package consumer_test

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// count returns a handler that adds the number of records to a counter.
func count(what string) sink.Handler {
	return func(ctx context.Context, tx pgx.Tx, records []sink.Record) error {
		_, err := tx.Exec(ctx, "update counters set n = n + $2 where what = $1", what, len(records))
		return err
	}
}

func countTopics(ctx context.Context, url string, brokers []string) error {
	pool, _, err := offsets.NewPool(ctx, url, 8)
	if err != nil {
		return err
	}
	defer pool.Close()
	cfg := consumer.Config{
		Brokers: brokers,
		Group:   "counters",
		Topics: map[string]consumer.Start{
			"clicks": {}, "orders": {}, "returns": {}, // {At: consumer.Latest}: only what comes from now on
		},
		Sink: sink.Config{Handlers: []sink.Handler{
			sink.OnTopics(count("clicks"), "clicks"),
			sink.OnTopics(count("business"), "orders", "returns"),
			count("all"),
		}},
		UntilEnd: true,
	}
	if err := consumer.Init(ctx, pool, cfg.Sink); err != nil {
		return err
	}
	c, err := consumer.New(ctx, pool, cfg)
	if err != nil {
		return err
	}
	return c.Run(ctx)
}

// Several topics, each with handlers of its own.
func Example_topics() {
	s := startServers("topics", "create table counters (what text primary key, n int not null); insert into counters values ('clicks', 0), ('business', 0), ('all', 0)")
	defer s.Stop()
	s.produce("clicks", `{}`, `{}`, `{}`, `{}`)
	s.produce("orders", `{}`, `{}`)
	s.produce("returns", `{}`)

	if err := countTopics(context.Background(), s.url, s.brokers); err != nil {
		fmt.Println(err)
	}
	s.print("select what, n from counters order by what")
	// Output:
	// all 7
	// business 3
	// clicks 4
}
