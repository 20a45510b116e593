package consumer_test

import (
	"context"
	"fmt"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// writeOrders keeps a row for each order: that of its latest event by updated_at.
func writeOrders(ctx context.Context, url string, brokers []string) error {
	pool, _, err := offsets.NewPool(ctx, url, 8)
	if err != nil {
		return err
	}
	defer pool.Close()
	cfg := consumer.Config{
		Brokers: brokers,
		Group:   "orders-sink",
		Topics:  map[string]consumer.Start{"orders": {}},
		Sink: sink.Config{Tables: []sink.TableConfig{{
			Name:    "orders",
			Topics:  []string{"orders"},
			Key:     []string{"order_id"},
			Version: "updated_at",
			Columns: map[string]sink.ColumnConfig{"customer_id": {From: "customer.id"}}, // the others have their fields' names
			Create: `create table orders (order_id bigint primary key, customer_id bigint not null,
				state text not null, updated_at timestamptz not null)`,
		}}},
		UntilEnd: true, // without it: until ctx ends
	}
	if err := consumer.Init(ctx, pool, cfg.Sink); err != nil { // the ledger, the dead letters, the table
		return err
	}
	c, err := consumer.New(ctx, pool, cfg)
	if err != nil {
		return err
	}
	return c.Run(ctx)
}

// A table: events become its rows, without a handler. It can be read again from offset zero, and stays as it is.
func Example_table() {
	s := startServers("table", "")
	defer s.Stop()
	s.produce("orders",
		`{"order_id": 1, "customer": {"id": 7}, "state": "paid", "updated_at": "2026-01-02T10:00:00Z"}`,
		`{"order_id": 2, "customer": {"id": 8}, "state": "placed", "updated_at": "2026-01-02T10:05:00Z"}`,
		`{"order_id": 1, "customer": {"id": 7}, "state": "placed", "updated_at": "2026-01-02T09:00:00Z"}`) // comes late

	if err := writeOrders(context.Background(), s.url, s.brokers); err != nil {
		fmt.Println(err)
	}
	s.exec("select oncesink.rewind('orders-sink', 'orders', null, 0)")
	if err := writeOrders(context.Background(), s.url, s.brokers); err != nil {
		fmt.Println(err)
	}
	s.print("select order_id, customer_id, state from orders order by order_id")
	// Output:
	// 1 7 paid
	// 2 8 placed
}
