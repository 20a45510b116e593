package rebuild_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/rebuild"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Whatever was done to the table, a rebuild brings it to what the events make of it: the very rows that
// the live group had written, guards and delete memory included.
func TestRebuildRestores(t *testing.T) {
	appends := sink.TableConfig{Name: "orders", Topics: []string{"orders"}, Strategy: sink.Append}
	ordered := upserts
	ordered.Version = ""
	for _, tc := range []struct {
		name   string
		table  sink.TableConfig
		create string
		events string
		orders int
		bulk   bool
	}{
		{"one version a key", upserts, ordersTable, "uniform", 100_000_000, true},
		{"many versions a key", upserts, ordersTable, "uniform", 120, true},
		{"without a version", ordered, ordersTable, "uniform", 120, true},
		{"tombstones and partial events", upserts, ordersTable, "mixed", 120, false},
		{"append", appends, `create table orders (order_id bigint, status text, amount numeric, note text, placed_at timestamptz, updated_at bigint)`, "mixed", 120, true},
		{"a further unique index", upserts, ordersTable + `; create unique index on orders (order_id, note)`, "uniform", 120, false},
		{"partitioned", upserts, `create table orders (order_id bigint primary key, status text not null default 'new', amount numeric(12, 2), note text, placed_at timestamptz, updated_at bigint) partition by hash (order_id);
			create table orders_0 partition of orders for values with (modulus 2, remainder 0); create table orders_1 partition of orders for values with (modulus 2, remainder 1)`, "mixed", 120, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, tc.table, tc.create)
			one := r.uniform
			if tc.events == "mixed" {
				one = r.mixed
			}
			r.history(600, tc.orders, one)
			r.sync()
			want := r.state()
			if res := r.rebuilt(); res.Differs() || res.Bulk != tc.bulk {
				t.Errorf("over an undamaged table: %+v, want no difference and bulk %v", res, tc.bulk)
			}
			if r.state() != want {
				t.Error("changed an undamaged table")
			}
			r.exec(`delete from orders where order_id % 5 = 0`)
			r.exec(`update orders set note = 'damaged', amount = 0 where order_id % 7 = 0`)
			r.exec(`insert into orders (order_id, status, _oncesink_source, _oncesink_offset) select -n, 'ghost', (select min(source) from oncesink.sources), -n from generate_series(1, 10) n`)
			dry := r.rebuilt(func(o *rebuild.Options) { o.DryRun, o.KeepStage = true, true })
			damaged := r.state()
			res := r.rebuilt()
			if got := r.state(); got != want {
				t.Errorf("after the rebuild %+v the table is not what it was:\n%.600s\nwant\n%.600s", res, got, want)
			}
			if damaged == want || dry.Added != res.Added || dry.Changed != res.Changed || dry.Deleted != res.Deleted || res.Deleted != 10 || res.Added == 0 || res.Changed == 0 {
				t.Errorf("dry run %+v, rebuild %+v", dry, res)
			}
			if len(dry.Samples["deleted"]) != 5 || len(dry.Samples["added"]) == 0 || len(dry.Samples["changed"]) == 0 {
				t.Errorf("samples %v", dry.Samples)
			}
			r.exec(`delete from orders`)
			if res := r.rebuilt(); r.state() != want || res.Added == 0 {
				t.Errorf("after the rebuild of an empty table, %+v, it is not what it was", res)
			}
			r.clean()
		})
	}
}

// What is equal and not the same is corrected, too.
func TestEqualIsNotTheSame(t *testing.T) {
	r := newRig(t, upserts, `create collation nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
		create table orders (order_id bigint primary key, status bpchar, amount numeric, note text collate nocase, placed_at timestamptz, updated_at bigint)`)
	r.history(100, 50, r.uniform)
	r.sync()
	want := r.state()
	for _, damage := range []string{"note = upper(note)", "amount = amount::numeric(20, 6)", "status = status || ' '"} {
		r.exec(`update orders set ` + damage)
		if r.state() == want {
			t.Fatalf("%s is no damage", damage)
		}
		if res := r.rebuilt(); r.state() != want || res.Changed == 0 {
			t.Errorf("%s: %+v, and not as it was", damage, res)
		}
	}
}

// An empty table is not compared with anything; rows that come into it before the cut are.
func TestRowsComeIntoAnEmptyTable(t *testing.T) {
	r := newRig(t, upserts, ordersTable)
	r.history(1000, 300, r.uniform)
	stop := r.live()
	r.caughtUp()
	r.exec(`delete from orders`)
	came := false
	res := r.rebuilt(func(o *rebuild.Options) {
		o.Progress = func(p rebuild.Progress) {
			if p.Phase == "applying" && !came {
				came = true
				r.exec(`insert into orders (order_id, status, _oncesink_source, _oncesink_offset) select order_id, 'wrong', (select min(source) from oncesink.sources), 0 from generate_series(-1, 5) order_id`)
				r.history(100, 300, r.uniform)
				r.caughtUp()
			}
		}
	})
	stop()
	want := r.state()
	if res.Deleted == 0 || res.Changed == 0 || res.Added == 0 || !came {
		t.Errorf("%+v", res)
	}
	r.fromScratch(want)
	r.clean()
}

// Rule 22: what would delete rows that no event brings back is refused, unless it is named.
func TestRule22Refused(t *testing.T) {
	r := newRig(t, upserts, ordersTable)
	r.history(300, 100, r.uniform)
	r.sync()
	r.exec(`insert into orders (order_id, status) values (-1, 'by hand')`)
	want := r.state()
	refused := func(what string, accept ...string) {
		t.Helper()
		_, err := r.rebuild(func(o *rebuild.Options) { o.Accept = accept })
		var config *sink.ConfigError
		if !errors.As(err, &config) || config.Fix == "" {
			t.Errorf("%s: %v", what, err)
		}
		if r.state() != want {
			t.Errorf("%s: refused, and changed the table", what)
		}
	}
	refused("foreign rows")
	refused("foreign rows, another accepted", rebuild.DeleteUnproven)
	r.exec(`update orders set _oncesink_source = 77, _oncesink_offset = 0 where order_id = -1`)
	want = r.state()
	if res := r.rebuilt(); res.Differs() || res.Kept != 1 {
		t.Errorf("rows of another topic: %+v", res)
	}
	if res := r.rebuilt(func(o *rebuild.Options) { o.Accept = []string{rebuild.DeleteUnproven} }); res.Deleted != 1 {
		t.Errorf("accepted: %+v", res)
	}
}

// A second group that feeds the same table, and a table that nobody has written.
func TestRefusesOtherGroups(t *testing.T) {
	r := newRig(t, upserts, ordersTable)
	for _, feed := range []string{"", "update oncesink.offsets set sink_group = 'other'; update oncesink.mappings set sink_group = 'other'"} {
		if feed != "" {
			r.history(10, 10, r.uniform)
			r.sync()
			r.exec(feed)
		}
		_, err := r.rebuild()
		var config *sink.ConfigError
		if !errors.As(err, &config) {
			t.Errorf("after %q: %v", feed, err)
		}
	}
}

// A role that doesn't see all rows can't compare them.
func TestRefusesRowSecurity(t *testing.T) {
	r := newRig(t, upserts, ordersTable)
	r.history(50, 50, r.uniform)
	r.sync()
	role := fmt.Sprintf("operator_%d", r.rand.Uint32())
	r.exec(fmt.Sprintf(`create role %[1]s; grant all on schema oncesink to %[1]s; grant all on all tables in schema oncesink to %[1]s; grant all on orders to %[1]s;
		alter table orders enable row level security; create policy half on orders using (order_id %% 2 = 0)`, role))
	cfg, err := pgxpool.ParseConfig(r.url)
	r.must(err)
	cfg.ConnConfig.RuntimeParams["role"] = role
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	r.must(err)
	defer pool.Close()
	var config *sink.ConfigError
	if _, err := r.rebuild(func(o *rebuild.Options) { o.Pool = pool }); !errors.As(err, &config) || !strings.Contains(err.Error(), "row level security") {
		t.Error(err)
	}
}

// What a person keeps in a column that no event fills stays, and a row that is added takes its default.
func TestColumnsOfOthersStay(t *testing.T) {
	r := newRig(t, upserts, ordersTable+`; alter table orders add remark text default 'none', add seen_at timestamptz default now()`)
	r.history(500, 100, r.uniform)
	r.sync()
	r.exec(`update orders set remark = 'checked by hand' where order_id % 2 = 0`)
	want := r.state()
	if res := r.rebuilt(); res.Differs() || !res.Bulk {
		t.Errorf("%+v", res)
	}
	r.exec(`update orders set status = 'damaged'`)
	r.rebuilt()
	if got := r.state(); got != want {
		t.Errorf("got\n%.500s\nwant\n%.500s", got, want)
	}
	r.exec(`delete from orders where order_id % 2 = 0`)
	r.rebuilt()
	if n := value[int](r, `select count(*) from orders where order_id % 2 = 0 and remark = 'none'`); n == 0 {
		t.Error("rows that were added lack the default")
	}
}

// Records that the table refused, and takes after the repair: their dead letters say so, and the others'
// stay.
func TestDeadLettersAreSettled(t *testing.T) {
	r := newRig(t, upserts, ordersTable+`; alter table orders add constraint small check (amount < 1000)`)
	r.produce(1, event{"status": "new", "amount": 5, "updated_at": 1})
	r.produce(2, event{"status": "new", "amount": 5000, "updated_at": 1})
	r.produce(3, event{"status": "new", "amount": "much", "updated_at": 1})
	r.must(r.client.Flush(t.Context()))
	r.sync()
	r.exec(`alter table orders drop constraint small`)
	res := r.rebuilt()
	got := value[string](r, `select string_agg(convert_from(key, 'UTF8') || ' ' || status, ', ' order by key) from oncesink.dead_letters`)
	if want := "2 resolved, 3 new"; got != want || res.Added != 1 || res.DeadLetters != 1 {
		t.Errorf("dead letters %q, want %q; %+v", got, want, res)
	}
	if n := value[int](r, `select count(*) from orders`); n != 2 {
		t.Errorf("%d rows", n)
	}
	// And the other way: what the table takes no longer.
	r.exec(`delete from orders where order_id = 2`)
	r.exec(`alter table orders add constraint small check (amount < 1000)`)
	r.rebuilt()
	got = value[string](r, `select string_agg(convert_from(key, 'UTF8') || ' ' || sink_group || ' ' || status || ' ' || code, ', ' order by key) from oncesink.dead_letters`)
	if want := fmt.Sprintf("2 %s new 23514, 3 %s new 22P02", group, group); got != want {
		t.Errorf("dead letters %q, want %q", got, want)
	}
}

// A record that feeds another table as well is not written there by a rebuild of one: the owner is asked to.
func TestLettersOfSharedTopics(t *testing.T) {
	r := newRig(t, upserts, ordersTable+`; alter table orders add constraint small check (amount < 1000); create table audit (order_id bigint, amount numeric)`)
	r.tables = append(r.tables, sink.TableConfig{Name: "audit", Topics: []string{"orders"}, Strategy: sink.Append})
	conn, err := r.pool.Acquire(t.Context())
	r.must(err)
	r.must(schema.Init(t.Context(), conn.Conn(), r.sink()))
	conn.Release()
	r.produce(1, event{"status": "new", "amount": 5000, "updated_at": 1})
	r.must(r.client.Flush(t.Context()))
	r.sync()
	r.exec(`alter table orders drop constraint small`)
	r.rebuilt()
	const counts = `select (select count(*) from orders) || ' ' || (select count(*) from audit) || ' ' || (select string_agg(status, ',') from oncesink.dead_letters)`
	if got := value[string](r, counts); got != "1 0 retry" {
		t.Errorf("after the rebuild: %s", got)
	}
	stop := r.live()
	r.eventually("the other table has it", func() bool { return value[string](r, counts) == "1 1 resolved" })
	stop()
}

// The walk of docs/rebuild.md: a column that the table gains is filled for old events as well, while the group runs.
func TestNewColumn(t *testing.T) {
	r := newRig(t, upserts, ordersTable)
	for id := range int64(50) {
		r.produce(id, event{"status": "new", "amount": id, "updated_at": 1, "coupon": fmt.Sprint("c", id), "discount": map[string]any{"code": fmt.Sprint("d", id)}})
	}
	r.must(r.client.Flush(t.Context()))
	r.sync()
	filled := func(column string) int {
		return value[int](r, `select count(`+column+`) from orders where `+column+` is not null`)
	}
	r.exec(`alter table orders add coupon text`)
	stop := r.live()
	if res := r.rebuilt(); res.Changed != 50 || filled("coupon") != 50 {
		t.Errorf("a column of the field's name: %+v", res)
	}
	stop()
	r.exec(`alter table orders add code text`)
	r.tables[0].Columns = map[string]sink.ColumnConfig{"code": {From: "discount.code"}}
	s, err := engine.Open(t.Context(), r.pool, nil, r.sink())
	r.must(err)
	conn, err := r.pool.Acquire(t.Context())
	r.must(err)
	r.must(offsets.AcceptMappings(t.Context(), conn.Conn(), group, s.Mappings()))
	conn.Release()
	stop = r.live()
	if res := r.rebuilt(); res.Changed != 50 || filled("code") != 50 {
		t.Errorf("a column of another field: %+v", res)
	}
	stop()
}
