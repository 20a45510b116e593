package consumer_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// creditCopy is credit for the tables of schema again. These alone are found, so that a table without a copy is an error, and not written.
func creditCopy(ctx context.Context, tx pgx.Tx, records []sink.Record) error {
	if _, err := tx.Exec(ctx, "set local search_path to again"); err != nil {
		return err
	}
	return credit(ctx, tx, records)
}

// creditAgain reads the payments from their beginning into a copy of balances, by a group of its own, and then makes
// balances what the copy says: in one transaction that holds the positions of the live group, which can't write meanwhile.
func creditAgain(ctx context.Context, url string, brokers []string) (changed int64, err error) {
	const live, again = "payments-sink", "payments-sink again"
	pool, _, err := offsets.NewPool(ctx, url, 8)
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, "create schema if not exists again; create table if not exists again.balances (like public.balances including all)"); err != nil {
		return 0, err
	}
	cfg := consumer.Config{
		Brokers:  brokers,
		Group:    again,
		Topics:   map[string]consumer.Start{"payments": {At: consumer.Earliest}},
		Sink:     sink.Config{Handlers: []sink.Handler{creditCopy}},
		UntilEnd: true,
	}
	c, err := consumer.New(ctx, pool, cfg)
	if err != nil {
		return 0, err
	}
	if err := c.Run(ctx); err != nil {
		return 0, err
	}
	return changed, pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		var apart int
		err := tx.QueryRow(ctx, `
			with live as materialized (select topic, partition, next_offset from oncesink.offsets where sink_group = $1 order by topic, partition for update)
			select count(*) from live full join (select topic, partition, next_offset from oncesink.offsets where sink_group = $2) again using (topic, partition)
			 where live.next_offset is distinct from again.next_offset`, live, again).Scan(&apart)
		if err != nil {
			return err
		}
		if apart > 0 {
			return errors.New("the copy and the group stand apart: call it again, which reads only what is new")
		}
		for _, sql := range []string{
			`delete from public.balances b where not exists (select from again.balances a where a.account = b.account)`,
			`insert into public.balances as b select * from again.balances
			     on conflict (account) do update set cents = excluded.cents where b.cents is distinct from excluded.cents`,
		} {
			tag, err := tx.Exec(ctx, sql)
			if err != nil {
				return err
			}
			changed += tag.RowsAffected()
		}
		for _, ledger := range []string{"offsets", "mappings", "dead_letters"} { // the next time begins at the beginning
			if _, err := tx.Exec(ctx, "delete from oncesink."+ledger+" where sink_group = $1", again); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, "drop schema again cascade")
		return err
	})
}

// A table that a handler writes, loaded anew: what somebody has changed in it is as the payments say.
func Example_handlerAgain() {
	s := startServers("again", "create table balances (account bigint primary key, cents bigint not null)")
	defer s.Stop()
	s.produce("payments", `{"account": 1, "cents": 500}`, `{"account": 2, "cents": 70}`, `no payment`, `{"account": 1, "cents": -120}`)
	if err := creditPayments(context.Background(), s.url, s.brokers); err != nil {
		fmt.Println(err)
	}
	s.exec("update balances set cents = 999 where account = 1; delete from balances where account = 2; insert into balances values (3, 1)")
	for range 2 {
		fmt.Println(creditAgain(context.Background(), s.url, s.brokers))
	}
	s.print("select account, cents from balances order by account")
	s.print("select sink_group, sum(next_offset) from oncesink.offsets group by 1")
	s.print("select count(*) from oncesink.dead_letters")
	// Output:
	// 3 <nil>
	// 0 <nil>
	// 1 380
	// 2 70
	// payments-sink 4
	// 1
}
