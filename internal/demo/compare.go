package demo

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"
)

// foldTopic reads every partition of a topic from offset zero to its end with a
// plain client, outside any group, and folds what it reads.
func foldTopic(ctx context.Context, brokers []string, topic string, ends map[int32]int64) (*fold, error) {
	from := map[int32]kgo.Offset{}
	missing := map[int32]int64{}
	for p, end := range ends {
		if end > 0 {
			from[p], missing[p] = kgo.NewOffset().At(0), end
		}
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	if err != nil {
		return nil, fmt.Errorf("set up a client to read topic %s: %w", topic, err)
	}
	defer client.Close()
	f := newFold()
	for len(missing) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("read topic %s: %w", topic, err)
		}
		for _, r := range fetches.Records() {
			if r.Offset >= ends[r.Partition] {
				continue
			}
			if err := f.apply(r.Key, r.Value, r.Offset); err != nil {
				return nil, fmt.Errorf("%s/%d, offset %d: %w", topic, r.Partition, r.Offset, err)
			}
			if r.Offset == ends[r.Partition]-1 {
				delete(missing, r.Partition)
			}
		}
	}
	return f, nil
}

// readTable reads the orders table.
func readTable(ctx context.Context, pool *pgxpool.Pool) (map[int64]*row, error) {
	rows, err := pool.Query(ctx, `select order_id, customer_id, country, status, items::text, amount::text, placed_at, updated_at, _oncesink_offset from orders`)
	if err != nil {
		return nil, fmt.Errorf("read table orders: %w", err)
	}
	table := map[int64]*row{}
	var r row
	var items, amount string
	_, err = pgx.ForEachRow(rows, []any{&r.id, &r.customer, &r.country, &r.status, &items, &amount, &r.placed, &r.updated, &r.offset}, func() (err error) {
		if r.items, err = respell([]byte(items)); err != nil {
			return err
		}
		if r.cents, err = cents(amount); err != nil {
			return err
		}
		kept := r
		table[r.id] = &kept
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read table orders: %w", err)
	}
	return table, nil
}

// summary is what two sets of rows are compared by.
type summary struct {
	rows   int64
	cents  int64
	digest string // of every row, in the order of their ids
}

func summarize(rows map[int64]*row) summary {
	s := summary{rows: int64(len(rows))}
	h := sha256.New()
	for _, id := range slices.Sorted(maps.Keys(rows)) {
		r := rows[id]
		s.cents += r.cents
		fmt.Fprintln(h, r.text())
	}
	s.digest = hex.EncodeToString(h.Sum(nil))
	return s
}

// text is all of a row, in one spelling.
func (r *row) text() string {
	return fmt.Sprintf("%d %d %q %q %q %d %d %d %d",
		r.id, r.customer, r.country, r.status, r.items, r.cents, r.placed.UnixMicro(), r.updated.UnixMicro(), r.offset)
}

// difference is a row that is not as it should be; want or got is nil where it
// should not be there, or isn't.
type difference struct {
	id        int64
	want, got *row
}

// differences compares row by row.
func differences(want, got map[int64]*row) []difference {
	var found []difference
	for id, w := range want {
		if g := got[id]; g == nil || g.text() != w.text() {
			found = append(found, difference{id, w, g})
		}
	}
	for id, g := range got {
		if want[id] == nil {
			found = append(found, difference{id, nil, g})
		}
	}
	slices.SortFunc(found, func(a, b difference) int { return cmp.Compare(a.id, b.id) })
	return found
}

func (d difference) String() string {
	side := func(r *row) string {
		if r == nil {
			return "no row"
		}
		return r.text()
	}
	return fmt.Sprintf("order %d:\n  expected %s\n  found    %s", d.id, side(d.want), side(d.got))
}

// wholeTable is a hash over every byte of every row, engine columns included, as the
// server itself writes them.
func wholeTable(ctx context.Context, pool *pgxpool.Pool) (hash string, err error) {
	err = pool.QueryRow(ctx, `select coalesce(md5(string_agg(o::text, E'\n' order by order_id)), '') from orders o`).Scan(&hash)
	if err != nil {
		return "", fmt.Errorf("hash table orders: %w", err)
	}
	return hash, nil
}
