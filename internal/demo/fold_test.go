package demo

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/orders"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/internal/testpg"
)

// event is an order of version v (a minute), or a tombstone.
func event(v int, status string) []byte {
	if v == 0 {
		return nil
	}
	return fmt.Appendf(nil, `{"order_id":7,"customer":{"id":3,"country":"DE"},"status":%q,"items":[{"sku":"a","quantity":1,"price":9.90}],`+
		`"amount":9.90,"placed_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:%02d:00Z"}`, status, v)
}

// Rule 11, told by hand.
func TestFold(t *testing.T) {
	type sent struct {
		version int // 0: a tombstone
		status  string
	}
	tests := []struct {
		name   string
		events []sent
		want   string // status; "" is no row
		offset int64
	}{
		{"one", []sent{{1, "placed"}}, "placed", 0},
		{"a newer version wins", []sent{{1, "placed"}, {2, "paid"}}, "paid", 1},
		{"a late version loses", []sent{{2, "paid"}, {1, "placed"}}, "paid", 0},
		{"of equal versions the later wins", []sent{{1, "placed"}, {1, "paid"}}, "paid", 1},
		{"a repetition changes the place only", []sent{{1, "placed"}, {1, "placed"}}, "placed", 1},
		{"a tombstone deletes", []sent{{2, "paid"}, {0, ""}}, "", 0},
		{"a tombstone for nothing", []sent{{0, ""}}, "", 0},
		{"a late version stays deleted", []sent{{2, "paid"}, {0, ""}, {1, "placed"}}, "", 0},
		{"a higher version is back", []sent{{2, "paid"}, {0, ""}, {1, "placed"}, {3, "placed"}}, "placed", 3},
		{"a late version, deleted twice", []sent{{2, "paid"}, {0, ""}, {3, "placed"}, {0, ""}, {2, "paid"}}, "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFold()
			for i, e := range tt.events {
				if err := f.apply([]byte("7"), event(e.version, e.status), int64(i)); err != nil {
					t.Fatal(err)
				}
			}
			got := f.rows()[7]
			switch {
			case tt.want == "" && got != nil, tt.want != "" && got == nil:
				t.Errorf("row %v, want status %q", got, tt.want)
			case got != nil && (got.status != tt.want || got.offset != tt.offset):
				t.Errorf("status %q from offset %d, want %q from %d", got.status, got.offset, tt.want, tt.offset)
			}
		})
	}
}

func TestFoldRefuses(t *testing.T) {
	for name, e := range map[string][2]string{
		"a key that is no number": {"x", string(event(1, "paid"))},
		"another order's value":   {"8", string(event(1, "paid"))},
		"no JSON":                 {"7", "{"},
		"an amount in floats":     {"7", `{"order_id":7,"items":[],"amount":9.9}`},
	} {
		if err := newFold().apply([]byte(e[0]), []byte(e[1]), 0); err == nil {
			t.Errorf("%s was folded", name)
		}
	}
}

// The judge is not blind: whatever is wrong with a table, it sees it.
func TestCompareFindsABrokenRow(t *testing.T) {
	ctx := t.Context()
	brokers := testkafka.Fake(t).ListenAddrs()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := orders.CreateTopic(ctx, client, topic, 2); err != nil {
		t.Fatal(err)
	}
	const n = 2000
	if _, err := orders.Produce(ctx, client, orders.New(3), orders.Feed{Topic: topic, Count: n}); err != nil {
		t.Fatal(err)
	}
	ends, err := topicEnds(ctx, client)
	if err != nil {
		t.Fatal(err)
	}
	f, err := foldTopic(ctx, brokers, topic, ends)
	if err != nil {
		t.Fatal(err)
	}
	if f.events != n {
		t.Fatalf("%d events folded, want %d", f.events, n)
	}
	want := f.rows()

	pool, err := pgxpool.New(ctx, testpg.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	load(t, pool, want)
	if d := compare(t, pool, want); d != 0 {
		t.Fatalf("%d differences in a table made from the fold itself", d)
	}

	for _, breakage := range []string{
		`delete from orders where order_id = $1`,
		`insert into orders select (jsonb_populate_record(o, '{"order_id": 999999}')).* from orders o where order_id = $1`,
		`update orders set amount = amount + 0.01 where order_id = $1`,
		`update orders set status = status || ' ' where order_id = $1`,
		`update orders set country = 'XX' where order_id = $1`,
		`update orders set customer_id = customer_id + 1 where order_id = $1`,
		`update orders set updated_at = updated_at + interval '1 microsecond' where order_id = $1`,
		`update orders set placed_at = placed_at - interval '1 microsecond' where order_id = $1`,
		`update orders set items = items || '[{}]' where order_id = $1`,
		`update orders set _oncesink_offset = _oncesink_offset - 1 where order_id = $1`,
	} {
		var id int64
		for id = range want {
			break
		}
		hash, err := wholeTable(ctx, pool)
		if err != nil {
			t.Fatal(err)
		}
		if tag, err := pool.Exec(ctx, breakage, id); err != nil || tag.RowsAffected() != 1 {
			t.Fatalf("%s: %v, %v", breakage, tag, err)
		}
		if d := compare(t, pool, want); d != 1 {
			t.Errorf("%s: %d differences, want 1", breakage, d)
		}
		if after, err := wholeTable(ctx, pool); err != nil || after == hash {
			t.Errorf("%s: the hash of the whole table did not move (%v)", breakage, err)
		}
		if _, err := pool.Exec(ctx, `truncate orders; insert into orders select * from good`); err != nil {
			t.Fatal(err)
		}
	}
}

// load makes the table from rows, by plain statements.
func load(t *testing.T, pool *pgxpool.Pool, rows map[int64]*row) {
	t.Helper()
	must := func(sql string, args ...any) {
		if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	must(orders.CreateTable)
	must(`alter table orders add column _oncesink_source int, add column _oncesink_offset bigint`)
	for _, r := range rows {
		must(`insert into orders (order_id, customer_id, country, status, items, amount, placed_at, updated_at, _oncesink_source, _oncesink_offset)
			values ($1, $2, $3, $4, $5, $6::bigint * 0.01, $7, $8, 0, $9)`, r.id, r.customer, r.country, r.status, r.items, r.cents, r.placed, r.updated, r.offset)
	}
	must(`create table good as select * from orders`)
}

// compare returns how many rows differ, and checks that the sums agree with that.
func compare(t *testing.T, pool *pgxpool.Pool, want map[int64]*row) int {
	t.Helper()
	got, err := readTable(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	found := differences(want, got)
	if same := summarize(want) == summarize(got); same != (len(found) == 0) {
		t.Errorf("%d differences, but the summaries say equal: %v", len(found), same)
	}
	return len(found)
}

func TestGrouped(t *testing.T) {
	for n, want := range map[int64]string{0: "0.00", 99: "0.99", 123456: "1,234.56", 250031563: "2,500,315.63"} {
		if got := money(n); got != want {
			t.Errorf("money(%d) = %s, want %s", n, got, want)
		}
	}
}
