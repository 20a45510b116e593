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

// keepStock takes what was sold off the shelf. The handlers of a batch run after its tables, in one transaction with them.
func keepStock(ctx context.Context, tx pgx.Tx, records []sink.Record) error {
	sold := map[string]int{}
	for _, r := range records {
		var sale struct {
			Article string
			Pieces  int
		}
		if err := json.Unmarshal(r.Value, &sale); err != nil {
			return sink.Poison(err)
		}
		sold[sale.Article] += sale.Pieces
	}
	for article, pieces := range sold {
		if _, err := tx.Exec(ctx, "update stock set pieces = pieces - $2 where article = $1", article, pieces); err != nil {
			return err
		}
	}
	return nil
}

func writeSales(ctx context.Context, url string, brokers []string) error {
	pool, _, err := offsets.NewPool(ctx, url, 8)
	if err != nil {
		return err
	}
	defer pool.Close()
	cfg := consumer.Config{
		Brokers: brokers,
		Group:   "sales-sink",
		Topics:  map[string]consumer.Start{"sales": {}},
		Sink: sink.Config{
			Tables: []sink.TableConfig{{
				Name: "sales", Topics: []string{"sales"}, Strategy: sink.Append, // a row for each event
				Create: "create table sales (article text not null, pieces int not null)",
			}},
			Handlers: []sink.Handler{keepStock},
		},
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

// A table and a handler over the same records: both, or neither, and no record twice. A record that the table refuses
// becomes a dead letter, and the handler's share of it is undone.
func Example_tableAndHandler() {
	s := startServers("both", "create table stock (article text primary key, pieces int not null); insert into stock values ('pen', 100), ('ink', 20)")
	defer s.Stop()
	s.produce("sales", `{"article": "pen", "pieces": 3}`, `{"article": "ink", "pieces": 1}`, `{"article": null, "pieces": 5}`, `{"article": "pen", "pieces": 2}`)

	if err := writeSales(context.Background(), s.url, s.brokers); err != nil {
		fmt.Println(err)
	}
	s.print("select article, sum(pieces) from sales group by article order by article")
	s.print("select article, pieces from stock order by article")
	s.print("select 'dead letters:', count(*) from oncesink.dead_letters")
	// Output:
	// ink 1
	// pen 5
	// ink 19
	// pen 95
	// dead letters: 1
}
