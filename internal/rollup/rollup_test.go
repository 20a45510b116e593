package rollup

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/sink"
)

var update = flag.Bool("update", false, "write the golden files in testdata")

var modes = []Mode{Incremental, Recompute}

// TestRule25Histories: after every statement of a random history, rolled back or not, by the sink or by
// hand, both rollups are what the table says.
func TestRule25Histories(t *testing.T) {
	r := newRig(t)
	rnd := seeded(t)
	one, other := r.build(sales(Incremental)), (*Rollup)(nil)
	d := sales(Recompute)
	d.Name = "daily_sales_2"
	other = r.build(d)
	for range 150 {
		tx, err := r.conn.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if rnd.IntN(2) == 0 {
			if _, err := tx.Exec(t.Context(), "select set_config('oncesink.writer', 'on', true)"); err != nil {
				t.Fatal(err)
			}
		}
		for range 1 + rnd.IntN(4) {
			kept := rnd.IntN(4) > 0
			nested, err := tx.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			sql := change(rnd, rnd.IntN(4))
			if _, err := nested.Exec(t.Context(), sql); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
			if kept {
				err = nested.Commit(t.Context())
			} else {
				err = nested.Rollback(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.right(one, 0)
		r.right(other, 0)
	}
	r.exec("insert into orders (order_id, placed_at, amount) select n, '2026-01-01', 1 from generate_series(1000, 2000) n")
	r.right(one, 1)
	r.right(other, 1)
	if copied, err := r.conn.CopyFrom(t.Context(), pgx.Identifier{"orders"}, []string{"order_id", "status", "quantity"}, pgx.CopyFromRows([][]any{{3000, "paid", 7}, {3001, nil, nil}})); err != nil || copied != 2 {
		t.Fatal(copied, err)
	}
	r.right(one, 2)
	r.right(other, 2)
	if r.text(fmt.Sprintf("select count(*)::text from %s where shard = -1", one.storage)) == "0" {
		t.Error("what a hand changes has no shard of its own")
	}
}

// TestRule25Concurrent: four writers change rows of the same groups, while the rollups are built again and
// again and compared; readers never see a wrong sum.
func TestRule25Concurrent(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			r := newRig(t)
			r.exec("insert into orders select n, 'new', n, n, '2026-01-01'::timestamptz + n % 5 * interval '1 day', 0, n from generate_series(1000, 3000) n")
			x := r.build(sales(mode))
			stop := make(chan struct{})
			var writers sync.WaitGroup
			halt := sync.OnceFunc(func() { close(stop); writers.Wait() })
			defer halt()
			seed := seeded(t).Uint64()
			for w := range 4 {
				conn := r.connect()
				writers.Go(func() {
					rnd := rand.New(rand.NewPCG(seed, uint64(w)))
					for {
						select {
						case <-stop:
							return
						default:
						}
						sql := change(rnd, w)
						if strings.HasPrefix(sql, "truncate") { // a snapshot from before sees nothing of the table
							continue
						}
						err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
							_, err := tx.Exec(t.Context(), "set local deadlock_timeout = '20ms'; set local oncesink.writer = 'on'; "+sql, pgx.QueryExecModeSimpleProtocol)
							return err
						})
						if err != nil && pgerr.Classify(err) != pgerr.Transient { // a deadlock of rows
							t.Errorf("writer %d: %v", w, err)
							return
						}
					}
				})
			}
			for range 8 {
				r.right(x, 1)
				x = r.build(sales(mode))
			}
			halt()
			r.right(x, 1)
			if n := r.text("select count(*)::text from pg_class c join pg_namespace n on n.oid = c.relnamespace where nspname = 'oncesink' and relname like '% rollup %' and relkind = 'r'"); n != "1" {
				t.Errorf("%s storages are left", n)
			}
			if n := r.text("select count(*)::text from pg_trigger where tgrelid = 'orders'::regclass"); n != "4" {
				t.Errorf("%s triggers are left", n)
			}
		})
	}
}

// TestWritersDoNotWait: two transactions of the sink change one group at the same time, without waiting.
func TestWritersDoNotWait(t *testing.T) {
	r := newRig(t)
	x := r.build(sales(Incremental))
	r.exec("insert into orders values (1, 'new', 1, 1, '2026-01-01', 1, 1), (2, 'new', 1, 1, '2026-01-01', 2, 1)")
	var open []pgx.Tx
	for source := 1; source <= 2; source++ {
		tx, err := r.connect().Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, tx)
		if _, err := tx.Exec(t.Context(), fmt.Sprintf("set local lock_timeout = '1s'; set local oncesink.writer = 'on'; update orders set amount = 5, _oncesink_offset = 2 where order_id = %d", source), pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
	}
	for _, tx := range open {
		if err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r.right(x, 1)
	if got := r.text(`select revenue::text from "daily sales"`); got != "10.00" {
		t.Errorf("revenue %s", got)
	}
}

// TestTakeTurns: two transactions that recompute one group see each other's rows, whatever their statements are.
func TestTakeTurns(t *testing.T) {
	r := newRig(t)
	x := r.build(sales(Recompute))
	first, second := r.connect(), r.connect()
	for _, sql := range []string{
		"insert into orders (order_id, placed_at, amount) values (4, '2026-01-01', 5)",
		"update orders set amount = 7 where order_id = 2",
		"delete from orders where order_id = 3",
	} {
		r.exec("truncate orders")
		r.exec("insert into orders (order_id, placed_at, amount) select n, '2026-01-01', n from generate_series(1, 3) n")
		one, err := first.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := one.Exec(t.Context(), "update orders set amount = 100 where order_id = 1"); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			_, err := second.Exec(t.Context(), sql)
			done <- err
		}()
		testenv.Eventually(t, 30*time.Second, "the second one waits", func() bool {
			return r.text("select (exists (select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()))::text") == "true"
		})
		if err := one.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		r.right(x, 1)
	}
}

// Nothing that builds, compares or drops outlives its transactions: a pooler would leave it on a connection, and the next
// build would wait for ever. While a build works nobody else builds.
func TestNothingStaysOnAConnection(t *testing.T) {
	r := newRig(t)
	cfg := r.pool.Config()
	outside := &testpg.Outside{}
	cfg.ConnConfig.Tracer = outside
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for _, mode := range []Mode{Incremental, Recompute} {
		for range 2 { // two builds at once, twice
			var building sync.WaitGroup
			for range 2 {
				opened := r.open(sales(mode))
				building.Go(func() {
					if _, err := Build(t.Context(), pool, opened); err != nil {
						t.Error(err)
					}
				})
			}
			building.Wait()
		}
		err := pool.AcquireFunc(t.Context(), func(c *pgxpool.Conn) error {
			opened := r.open(sales(mode))
			if _, err := Verify(t.Context(), c.Conn(), opened); err != nil {
				return err
			}
			return Drop(t.Context(), c.Conn(), opened)
		})
		if err != nil {
			t.Error(err)
		}
	}
	for _, sql := range outside.Seen() {
		t.Errorf("outlives its transaction: %s", sql)
	}
	if n := r.text(`select count(*)::text from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`); n != "0" {
		t.Errorf("%s locks are left", n)
	}
}

// TestNoFiniteNumber: a value that could not be taken back is refused as data.
func TestNoFiniteNumber(t *testing.T) {
	for _, mode := range modes {
		r := newRig(t)
		r.build(sales(mode))
		_, err := r.conn.Exec(t.Context(), "insert into orders (order_id, amount) values (1, 'NaN')")
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "22003" || pgerr.Classify(err) != pgerr.Data || !strings.Contains(pg.Message, "revenue") {
			t.Errorf("%s: %v", mode, err)
		}
	}
}

// TestIsolation: a recomputed rollup can't be kept by a transaction that does not see what others committed.
func TestIsolation(t *testing.T) {
	r := newRig(t)
	r.build(sales(Recompute))
	err := pgx.BeginTxFunc(t.Context(), r.conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), "insert into orders (order_id) values (1)")
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "read committed") {
		t.Errorf("got %v", err)
	}
}

// TestOpenRefuses: what is wrong with a definition is said, and what to do.
func TestOpenRefuses(t *testing.T) {
	r := newRig(t)
	r.exec("create view taken as select 1; create table here (f double precision); alter table orders add column f double precision")
	for name, tt := range map[string]struct {
		change func(*Definition)
		want   string
	}{
		"no table":            {func(d *Definition) { d.Table = "nowhere" }, "there is no table nowhere"},
		"taken by a view":     {func(d *Definition) { d.Name = "taken" }, "that is no rollup"},
		"taken by a table":    {func(d *Definition) { d.Name = "here" }, "something else"},
		"day of the session":  {func(d *Definition) { d.GroupBy[0].SQL = "placed_at::date" }, "at time zone"},
		"min, incremental":    {func(d *Definition) { d.Columns[0].SQL = "min(amount)" }, "recompute"},
		"sum of floats":       {func(d *Definition) { d.Columns[1].SQL = "sum(f)" }, "order"},
		"sum of texts":        {func(d *Definition) { d.Columns[1].SQL = "sum(status)" }, "integers or numerics"},
		"group of floats":     {func(d *Definition) { d.GroupBy[1].SQL = "f" }, "equal"},
		"unknown function":    {func(d *Definition) { d.Columns[1].SQL = "avg(amount)" }, "none of"},
		"unknown column":      {func(d *Definition) { d.Columns[1].SQL = "sum(amuont)" }, "amuont"},
		"sum of nothing":      {func(d *Definition) { d.Columns[1].SQL = "sum" }, "sum(amount)"},
		"two aggregates":      {func(d *Definition) { d.Columns[1].SQL = "sum(amount) + max(amount)" }, "parenthesis"},
		"where is no test":    {func(d *Definition) { d.Where = "amount" }, "condition"},
		"where with a clock":  {func(d *Definition) { d.Where = "placed_at > now()" }, "clock"},
		"no groups":           {func(d *Definition) { d.GroupBy = nil }, "group_by"},
		"no columns":          {func(d *Definition) { d.Columns = nil }, "counts and sums nothing"},
		"a name twice":        {func(d *Definition) { d.Columns[1].Name = "day" }, "name of its own"},
		"mode":                {func(d *Definition) { d.Mode = "lazy" }, "incremental or recompute"},
		"group by a subquery": {func(d *Definition) { d.GroupBy[1].SQL = "(select 1)" }, "subquer"},
	} {
		t.Run(name, func(t *testing.T) {
			d := sales(Incremental)
			tt.change(&d)
			_, err := Open(t.Context(), r.conn, []Definition{d})
			var problem *sink.ConfigError
			if !errors.As(err, &problem) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}

// TestReady: what is there and what is defined are told apart; a build under way shows the last one;
// triggers that are disabled, and a build that was stopped, are found.
func TestReady(t *testing.T) {
	r := newRig(t)
	d := sales(Incremental)
	wants := func(d Definition, want string) *Rollup {
		t.Helper()
		x := r.open(d)
		err := x.Ready()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Fatalf("ready: %v, want %q", err, want)
		}
		return x
	}
	if !wants(d, "not there yet").Missing() {
		t.Error("not missing")
	}
	r.build(d)
	r.exec("insert into orders (order_id, placed_at, amount) values (1, '2026-01-01', 3)")
	r.exec("grant select on \"daily sales\" to public")
	r.exec("alter table orders disable trigger user")
	wants(d, "disabled")
	r.exec("alter table orders enable trigger user")
	wants(d, "")
	changed := d
	changed.Where = ""
	wants(changed, "another definition")
	r.right(r.build(changed), 1)
	if r.text("select has_table_privilege('public', '\"daily sales\"', 'select')::text") != "true" {
		t.Error("the grant is gone")
	}
	changed.Columns = changed.Columns[:1] // fewer: another view
	r.right(r.build(changed), 1)

	r.right(r.build(d), 1) // more of them at the end

	r.exec("create view above as select * from \"daily sales\"")
	if _, err := Build(t.Context(), r.pool, r.open(changed)); err == nil || !strings.Contains(err.Error(), "drop that first") {
		t.Errorf("got %v", err)
	}
	r.right(wants(d, ""), 1) // a build that stopped half-way leaves the last one
	r.exec("drop view above")
	r.right(r.build(changed), 1)
	if err := Drop(t.Context(), r.conn, r.open(changed)); err != nil {
		t.Fatal(err)
	}
	wants(d, "not there yet")
	if n := r.text("select count(*)::text from pg_class where relname like '% rollup %'"); n != "0" {
		t.Errorf("%s objects are left", n)
	}
}

// TestVerifyFinds: a sum that is wrong, a group that is missing, one that is too many.
func TestVerifyFinds(t *testing.T) {
	r := newRig(t)
	x := r.build(sales(Incremental))
	r.exec("insert into orders (order_id, placed_at, amount, status) select n, timestamptz '2026-01-01' + n * interval '1 day', 3, 'new' from generate_series(1, 5) n")
	r.right(x, 5)
	r.exec("update " + x.storage + " set m2 = m2 + 0.01 where g1 = '2026-01-02'")
	r.exec("delete from " + x.storage + " where g1 = '2026-01-03'")
	r.exec("update " + x.storage + " set g1 = '2020-01-01' where g1 = '2026-01-04'")
	report, err := Verify(t.Context(), r.conn, x)
	if err != nil || report.Wrong != 4 || report.Groups != 6 || len(report.Samples) != 4 {
		t.Errorf("%+v, %v", report, err)
	}
	r.right(r.build(sales(Incremental)), 5)
}

// TestScript: a DBA's script does what a build does, and may be run twice.
func TestScript(t *testing.T) {
	for _, mode := range modes {
		r := newRig(t)
		r.exec("insert into orders (order_id, placed_at, amount, status) select n, timestamptz '2026-01-01' + n * interval '1 day', 3, 'it''s' from generate_series(1, 5) n")
		d := sales(mode)
		d.Columns[0].Name = `it's "so"`
		script, err := d.Script()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", string(mode)+".sql")
		if *update {
			if err := os.WriteFile(file, []byte(script), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(file); err != nil || string(want) != script {
			t.Errorf("%s differs (%v): go test ./internal/rollup -update", file, err)
		}
		for range 2 {
			if _, err := r.conn.Exec(t.Context(), "begin; "+script+" commit", pgx.QueryExecModeSimpleProtocol); err != nil {
				t.Fatalf("%v\n%s", err, script)
			}
		}
		x := r.open(d)
		if err := x.Ready(); err != nil {
			t.Fatal(err)
		}
		r.exec("delete from orders where order_id = 5")
		r.right(x, 4)
	}
}
