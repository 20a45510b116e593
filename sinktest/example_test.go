package sinktest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/sink"
	"github.com/oncesink/oncesink/sinktest"
)

// book adds transfers to accounts. It remembers for each account the last offset
// that it booked, so that a replay adds nothing.
func book(ctx context.Context, tx pgx.Tx, records []sink.Record) error {
	for _, r := range records {
		var transfer struct{ Account, Cents int64 }
		if err := json.Unmarshal(r.Value, &transfer); err != nil {
			return sink.Poison(fmt.Errorf("read transfer: %w", err))
		}
		_, err := tx.Exec(ctx, `
			insert into accounts as a (account, cents, last_offset) values ($1, $2, $3)
			on conflict (account) do update set cents = a.cents + excluded.cents, last_offset = excluded.last_offset
			 where a.last_offset < excluded.last_offset`, transfer.Account, transfer.Cents, r.Offset)
		if err != nil {
			return err
		}
	}
	return nil
}

// transfers is the case: what there is, what is configured, what comes.
func transfers() sinktest.Case {
	record := func(partition int32, value string) sink.Record {
		return sink.Record{Topic: "transfers", Partition: partition, Value: []byte(value)}
	}
	return sinktest.Case{
		Setup: "create table accounts (account bigint primary key, cents bigint not null, last_offset bigint not null)",
		Config: sink.Config{
			Handlers:           []sink.Handler{book},
			HandlersReplaySafe: true, // so it is checked
		},
		Records: []sink.Record{ // numbered from offset 0 on in each partition
			record(0, `{"account": 1, "cents": 500}`),
			record(1, `{"account": 2, "cents": 70}`),
			record(0, `{"account": 1, "cents": -120}`),
			record(1, `not a transfer`),
			record(1, `{"account": 2, "cents": 30}`),
		},
		DeadLetters: 1,
	}
}

// In a test of your own.
func ExampleRun() {
	test := func(t *testing.T) { // func TestTransfers(t *testing.T)
		sinktest.Run(t, os.Getenv("TEST_DATABASE_URL"), transfers())
	}
	_ = test
}

// Without a test, as in a program of one's own. Everything random comes from one seed.
func ExampleCheck() {
	e := testenv.NewExample("sinktest")
	defer e.Stop()
	url := testpg.URL(e) // of any database of a PostgreSQL server: what is in it is left alone

	c := transfers()
	c.Rounds, c.MaxCuts, c.Seed = 1, 2, 7 // to be quick
	fmt.Println(sinktest.Check(context.Background(), url, c))

	// The same, without the condition that makes the handler safe to replay.
	c.Config.Handlers = []sink.Handler{func(ctx context.Context, tx pgx.Tx, records []sink.Record) error {
		_, err := tx.Exec(ctx, "insert into accounts values (1, $1, 0) on conflict (account) do update set cents = accounts.cents + excluded.cents", len(records))
		return err
	}}
	c.DeadLetters = 0
	var failure *sinktest.Failure
	if errors.As(sinktest.Check(context.Background(), url, c), &failure) {
		fmt.Println("differs:", failure.Tables[0].Table)
	}
	// Output:
	// <nil>
	// differs: accounts
}

// The example passes.
func TestExample(t *testing.T) {
	t.Parallel()
	c := transfers()
	c.Rounds, c.MaxCuts = 2, 4
	sinktest.Run(t, testpg.URL(t), c)
}
