package rollup

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/offsets"
)

func TestMain(m *testing.M) { os.Exit(testpg.Main(m)) }

// rig is a database with a table of orders.
type rig struct {
	t    testing.TB
	url  string
	conn *pgx.Conn
	pool *pgxpool.Pool
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, url: testpg.URL(t)}
	r.conn = r.connect()
	pool, err := pgxpool.New(t.Context(), r.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	r.pool = pool
	if err := offsets.Init(t.Context(), r.conn); err != nil {
		t.Fatal(err)
	}
	if err := Init(t.Context(), r.conn); err != nil {
		t.Fatal(err)
	}
	r.exec(`create table orders (order_id bigint primary key, status text, quantity integer, amount numeric(12, 2), placed_at timestamptz,
		_oncesink_source integer, _oncesink_offset bigint)`)
	return r
}

func (r *rig) connect() *pgx.Conn {
	r.t.Helper()
	conn, err := pgx.Connect(r.t.Context(), r.url)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (r *rig) exec(sql string, args ...any) {
	r.t.Helper()
	if _, err := r.conn.Exec(r.t.Context(), sql, args...); err != nil {
		r.t.Fatalf("%s: %v", sql, err)
	}
}

func (r *rig) text(sql string, args ...any) (s string) {
	r.t.Helper()
	if err := r.conn.QueryRow(r.t.Context(), sql, args...).Scan(&s); err != nil {
		r.t.Fatalf("%s: %v", sql, err)
	}
	return s
}

// sales is a definition that has something of everything that its mode can do.
func sales(mode Mode) Definition {
	d := Definition{
		Name: "daily sales", Table: "orders", Mode: mode, SearchPath: "public", Guarded: true,
		GroupBy: []Column{{"day", "(placed_at at time zone 'Europe/Berlin')::date"}, {"status", "status"}},
		Columns: []Column{{"orders", "count"}, {"revenue", "sum(amount)"}, {"pieces", "sum(quantity)"}, {"priced", "count(amount)"}},
		Where:   "status is distinct from 'cancelled'",
	}
	if mode == Recompute {
		d.Columns = append(d.Columns, Column{"cheapest", "min(amount)"}, Column{"last", "max(placed_at)"})
	}
	return d
}

func (r *rig) open(d Definition) *Rollup {
	r.t.Helper()
	all, err := Open(r.t.Context(), r.conn, []Definition{d})
	if err != nil {
		r.t.Fatal(err)
	}
	return all[0]
}

func (r *rig) build(d Definition) *Rollup {
	r.t.Helper()
	if _, err := Build(r.t.Context(), r.pool, r.open(d)); err != nil {
		r.t.Fatal(err)
	}
	built := r.open(d)
	if err := built.Ready(); err != nil {
		r.t.Fatal(err)
	}
	return built
}

// right wants the rollup to be what its table says, over so many groups at least.
func (r *rig) right(x *Rollup, least int64) {
	r.t.Helper()
	report, err := Verify(r.t.Context(), r.conn, x)
	if err != nil {
		r.t.Fatal(err)
	}
	if report.Wrong > 0 {
		for _, d := range report.Samples {
			text := func(s *string) string {
				if s == nil {
					return "nothing"
				}
				return *s
			}
			r.t.Errorf("%s %s: has %s, should have %s", x.Mode, d.Group, text(d.Has), text(d.Should))
		}
		r.t.Fatalf("%d of %d groups are wrong", report.Wrong, report.Groups)
	}
	if report.Groups < least {
		r.t.Fatalf("only %d groups", report.Groups)
	}
}

// seeded returns a source of random numbers whose seed is printed if the test fails.
func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("ONCESINK_TEST_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("ONCESINK_TEST_SEED=%d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 1))
}

// change is a random statement over a few orders of a few days.
func change(rnd *rand.Rand, source int) string {
	id := func() string { return strconv.Itoa(rnd.IntN(60)) }
	or := func(s string) string {
		if rnd.IntN(8) == 0 {
			return "null"
		}
		return s
	}
	row := func(id string) string {
		return fmt.Sprintf("(%s, %s::text, %s::int, %s::numeric, %s::timestamptz, %d, %d)", id,
			or([]string{"'new'", "'paid'", "'cancelled'"}[rnd.IntN(3)]),
			or(strconv.Itoa(rnd.IntN(2000)-1000)),
			or(strconv.FormatFloat(float64(rnd.IntN(100000))/100, 'f', 2, 64)),
			or(fmt.Sprintf("(timestamptz '2026-01-01 00:00+0' + interval '%d hours')", rnd.IntN(96))), source, rnd.IntN(1000))
	}
	const columns = "(order_id, status, quantity, amount, placed_at, _oncesink_source, _oncesink_offset)"
	rows := ""
	for i, n := 0, 1+rnd.IntN(10); i < n; i++ {
		if i > 0 {
			rows += ", "
		}
		rows += row(strconv.Itoa((i*7 + rnd.IntN(7)) % 60))
	}
	switch rnd.IntN(10) {
	case 0:
		return "delete from orders where order_id % 10 = " + strconv.Itoa(rnd.IntN(10))
	case 1:
		return "update orders set placed_at = placed_at + interval '1 day' where order_id = " + id()
	case 2:
		return "update orders set amount = amount + 0.01, status = 'paid' where order_id < " + strconv.Itoa(rnd.IntN(10))
	case 3:
		return "update orders set order_id = order_id"
	case 4:
		return "insert into orders " + columns + " values " + row(id()) + " on conflict do nothing"
	case 5:
		if rnd.IntN(10) == 0 {
			return "truncate orders"
		}
		fallthrough
	default:
		return "insert into orders " + columns + " select distinct on (1) * from (values " + rows + ") v " + columns +
			" order by 1 on conflict (order_id) do update set status = excluded.status, quantity = excluded.quantity, amount = excluded.amount, placed_at = excluded.placed_at, _oncesink_source = excluded._oncesink_source"
	}
}
