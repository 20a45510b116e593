// Command handwritten is the consumer that a team writes in an afternoon, for the benchmark to
// compare with: encoding/json, one upsert for each record in a batch, and the group's
// offsets committed afterwards, so that a crash in between applies records twice.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
)

type order struct {
	OrderID    int64       `json:"order_id"`
	CustomerID int64       `json:"customer_id"`
	Status     string      `json:"status"`
	Amount     json.Number `json:"amount"`
	Currency   string      `json:"currency"`
	Country    string      `json:"country"`
	Note       string      `json:"note"`
	PlacedAt   time.Time   `json:"placed_at"`
	UpdatedAt  time.Time   `json:"updated_at"`
}

const upsert = `insert into orders as t (order_id, customer_id, status, amount, currency, country, note, placed_at, updated_at)
	values ($1, $2, $3, $4::text::numeric, $5, $6, $7, $8, $9)
	on conflict (order_id) do update set customer_id = excluded.customer_id, status = excluded.status, amount = excluded.amount,
	currency = excluded.currency, country = excluded.country, note = excluded.note, placed_at = excluded.placed_at, updated_at = excluded.updated_at
	where excluded.updated_at >= t.updated_at`

// handwritten BROKERS TOPIC URL
func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx, strings.Split(os.Args[1], ","), os.Args[2], os.Args[3]); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, brokers []string, topic, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.Background()) }()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumerGroup("handwritten-"+topic+"-"+conn.Config().Database), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit())
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		fetches := client.PollRecords(ctx, 5000)
		if err := fetches.Err0(); err != nil {
			return err
		}
		batch := &pgx.Batch{}
		var failed error
		fetches.EachRecord(func(r *kgo.Record) {
			var o order
			if err := json.Unmarshal(r.Value, &o); err != nil {
				failed = err
				return
			}
			batch.Queue(upsert, o.OrderID, o.CustomerID, o.Status, string(o.Amount), o.Currency, o.Country, o.Note, o.PlacedAt, o.UpdatedAt)
		})
		if failed != nil {
			return failed
		}
		if batch.Len() == 0 {
			continue
		}
		tx, err := conn.Begin(ctx)
		if err != nil {
			return err
		}
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return err
		}
		if err := tx.Commit(ctx); err != nil {
			return err
		}
		if err := client.CommitUncommittedOffsets(ctx); err != nil {
			return err
		}
	}
}
