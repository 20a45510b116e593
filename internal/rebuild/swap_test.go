package rebuild_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/rebuild"
	"github.com/oncesink/oncesink/sink"
)

func swap(o *rebuild.Options) { o.Swap = true }

const furnished = ordersTable + ` with (fillfactor = 60); alter table orders rename constraint orders_pkey to "the key";
	create index by_note on orders (note, amount desc) where status <> 'new'; create index on orders using hash (status); alter table orders add check (amount >= 0);
	alter table orders add constraint once unique (order_id, updated_at);
	comment on table orders is 'all orders'; comment on column orders.note is 'what the customer said';
	create role reader_of_swap; grant select on orders to reader_of_swap; grant select, update on orders to public`

// catalog is what the catalog says of the table, its identity left out.
const catalog = `select string_agg(x, E'\n' order by x) from (
	select pg_get_indexdef(indexrelid) x from pg_index where indrelid = 'orders'::regclass
	union all select conname || ' ' || pg_get_constraintdef(oid) from pg_constraint where conrelid = 'orders'::regclass
	union all select concat_ws(' ', relowner::regrole, array_to_string(reloptions, ','), obj_description(oid, 'pg_class'), (select string_agg(a::text, ' ' order by a::text) from aclexplode(relacl) a)) from pg_class where oid = 'orders'::regclass
	union all select concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull, col_description(attrelid, attnum), (select pg_get_expr(adbin, adrelid) from pg_attrdef where adrelid = attrelid and adnum = attnum))
		from pg_attribute where attrelid = 'orders'::regclass and attnum > 0 and not attisdropped) c`

// A swap puts a table of the same rows, indexes, constraints, grants, comments and settings in the old one's
// place, beside a group that goes on writing.
func TestSwap(t *testing.T) {
	for _, tc := range []struct {
		name, create string
		one          func(*rig, int64) event
		bulk         bool
	}{
		{"bulk", strings.Replace(furnished, "alter table orders add constraint once unique (order_id, updated_at);", "", 1), (*rig).uniform, true},
		{"indexed", furnished, (*rig).mixed, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			create, grants, _ := strings.Cut(tc.create, "create role reader_of_swap;")
			r := newRig(t, upserts, create)
			r.exec(`do $$ begin create role reader_of_swap; exception when duplicate_object then null; end $$`)
			r.exec(strings.TrimSpace(grants))
			r.history(600, 120, func(id int64) event { return tc.one(r, id) })
			stop := r.live()
			r.caughtUp()
			want := value[string](r, catalog)
			ctx, cancel := context.WithCancel(t.Context())
			var working sync.WaitGroup
			working.Go(func() {
				pace := time.NewTicker(40 * time.Millisecond)
				defer pace.Stop()
				for ctx.Err() == nil {
					<-pace.C
					r.trickle(120, func(id int64) event { return tc.one(r, id) })
				}
			})
			for range 2 {
				before := value[uint32](r, `select 'orders'::regclass::oid`)
				res := r.rebuilt(swap)
				if !res.Swapped || res.Bulk != tc.bulk || value[uint32](r, `select 'orders'::regclass::oid`) == before {
					t.Errorf("%+v", res)
				}
				if got := value[string](r, catalog); got != want {
					t.Errorf("the catalog says\n%s\nwant\n%s", got, want)
				}
			}
			cancel()
			working.Wait()
			r.caughtUp()
			stop()
			got := r.state()
			r.clean()
			r.fromScratch(got)
		})
	}
}

// What the help says of a reader that began before: REPEATABLE READ sees an empty table.
func TestSwapAndOldSnapshots(t *testing.T) {
	r := newRig(t, upserts, ordersTable)
	r.history(300, 100, r.uniform)
	r.sync()
	tx, err := r.pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	r.must(err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	var n int
	r.must(tx.QueryRow(t.Context(), `select count(*) from pg_class`).Scan(&n))
	r.rebuilt(swap)
	r.must(tx.QueryRow(t.Context(), `select count(*) from orders`).Scan(&n))
	if n != 0 {
		t.Errorf("it sees %d rows", n)
	}
}

// What hangs on the table itself would be lost: refused, with the reason.
func TestSwapRefused(t *testing.T) {
	for why, sql := range map[string]string{
		"view or rule v":                 `create view v as select order_id from orders`,
		"materialized":                   `create materialized view materialized as select order_id from orders`,
		"foreign key":                    `create table items (id int, order_id bigint references orders)`,
		"trigger t":                      `create function f() returns trigger language plpgsql as 'begin return new; end'; create trigger t after insert on orders for each row execute function f()`,
		"policy p":                       `create policy p on orders; alter table orders enable row level security`,
		"publication pub":                `create publication pub for table orders`,
		"belongs to it":                  `alter table orders add n serial`,
		"no event fills column remark":   `alter table orders add remark text`,
		"depends on its row type":        `create table bag (o orders)`,
		"extended statistics":            `create statistics s on status, note from orders`,
		"privileges, options":            `grant select (note) on orders to public`,
		"column note has privileges, op": `alter table orders alter column note set (n_distinct = 5)`,
		"replica identity":               `alter table orders replica identity full`,
		"it is a hypertable":             `create schema timescaledb_information; create table timescaledb_information.dimensions as select name 'public' hypertable_schema, name 'orders' hypertable_name, 1::bigint dimension_number, name 'order_id' column_name`,
		"has a comment":                  `comment on index orders_pkey is 'the key'`,
	} {
		t.Run(why, func(t *testing.T) {
			r := newRig(t, upserts, ordersTable)
			r.exec(sql)
			r.history(100, 50, r.uniform)
			r.sync()
			want := r.state()
			for _, dry := range []bool{true, false} {
				_, err := r.rebuild(swap, func(o *rebuild.Options) { o.DryRun = dry })
				var config *sink.ConfigError
				if !errors.As(err, &config) || !strings.Contains(err.Error(), why) || !strings.Contains(config.Fix+err.Error(), "without --swap") {
					t.Errorf("dry run %v: %v", dry, err)
				}
				if r.state() != want {
					t.Error("refused, and changed the table")
				}
			}
		})
	}
}
