package demo

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// What is made of the orders: their items, a table of children, and the sales of each day, a rollup. The judge
// works both out from the orders that the topic says.

// derived holds a text for each row, by what names the row.
type derived map[string]string

// itemsOf lists the rows of order_items.
func itemsOf(rows map[int64]*row) (derived, error) {
	out := derived{}
	for id, r := range rows {
		var items []struct {
			SKU      string      `json:"sku"`
			Quantity json.Number `json:"quantity"`
			Price    json.Number `json:"price"`
		}
		if err := json.Unmarshal([]byte(r.items), &items); err != nil {
			return nil, fmt.Errorf("read the items of order %d: %w", id, err)
		}
		for i, x := range items {
			out[fmt.Sprintf("order %d, line %d", id, i+1)] = fmt.Sprintf("%s, %s at %s", x.SKU, x.Quantity, x.Price)
		}
	}
	return out, nil
}

// salesOf lists the rows of daily_sales: the days of UTC, and countries.
func salesOf(rows map[int64]*row) derived {
	type sum struct{ orders, cents int64 }
	days := map[string]sum{}
	for _, r := range rows {
		day := r.placed.UTC().Format(time.DateOnly) + " " + r.country
		s := days[day]
		days[day] = sum{s.orders + 1, s.cents + r.cents}
	}
	out := derived{}
	for day, s := range days {
		out[day] = fmt.Sprintf("%d orders, %d.%02d", s.orders, s.cents/100, s.cents%100)
	}
	return out
}

const (
	itemsSQL = `select format('order %s, line %s', order_id, line), format('%s, %s at %s', sku, quantity, price) from order_items`
	salesSQL = `select day || ' ' || country, format('%s orders, %s', orders, revenue) from daily_sales`
)

// readDerived reads a table of names and texts.
func readDerived(ctx context.Context, pool *pgxpool.Pool, sql string) (derived, error) {
	rows, err := pool.Query(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("read what is made of the orders: %w", err)
	}
	out := derived{}
	var name, text string
	_, err = pgx.ForEachRow(rows, []any{&name, &text}, func() error {
		out[name] = text
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what is made of the orders: %w", err)
	}
	return out, nil
}

// differs counts the names whose texts are not the same.
func (want derived) differs(got derived) (n int64) {
	for name, text := range want {
		if got[name] != text {
			n++
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			n++
		}
	}
	return n
}

// compareDerived compares the items and the sales with what the topic says.
func (d *demo) compareDerived(ctx context.Context) error {
	items, err := itemsOf(d.truth)
	if err != nil {
		return err
	}
	for _, x := range []struct {
		what, sql string
		want      derived
	}{{"items", itemsSQL, items}, {"groups of daily_sales", salesSQL, salesOf(d.truth)}} {
		got, err := readDerived(ctx, d.pool, x.sql)
		if err != nil {
			return err
		}
		d.report.number(fmt.Sprintf("of %s %s, those that differ", grouped(int64(len(x.want))), x.what), 0, x.want.differs(got))
	}
	return nil
}

// everything is a hash over all that the topic makes: orders, items and sales.
func everything(ctx context.Context, pool *pgxpool.Pool) (string, error) {
	hash, err := wholeTable(ctx, pool)
	if err != nil {
		return "", err
	}
	var made string
	err = pool.QueryRow(ctx, `select coalesce((select md5(string_agg(i::text, E'\n' order by order_id, line)) from order_items i), '') ||
		coalesce((select md5(string_agg(s::text, E'\n' order by day, country)) from daily_sales s), '')`).Scan(&made)
	if err != nil {
		return "", fmt.Errorf("hash what is made of the orders: %w", err)
	}
	sum := md5.Sum([]byte(hash + made))
	return hex.EncodeToString(sum[:]), nil
}
