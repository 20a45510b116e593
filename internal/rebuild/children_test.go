package rebuild_test

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncesink/oncesink/internal/rebuild"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/sink"
)

const itemsTable = `create table items (order_id bigint references orders, sku text, pieces int, line int, primary key (order_id, sku))`

// withChildren are orders with their items.
func withChildren(t *testing.T) *rig {
	r := newRig(t, upserts, ordersTable)
	r.addItems()
	return r
}

// addItems adds the table of items.
func (r *rig) addItems() {
	r.Helper()
	r.exec(itemsTable)
	r.tables = append(r.tables, sink.TableConfig{Name: "items", Strategy: sink.Children, Parent: "orders", Each: "items", Key: []string{"order_id", "sku"},
		Columns: map[string]sink.ColumnConfig{"line": {From: "$index"}}})
	conn, err := r.pool.Acquire(r.Context())
	r.must(err)
	defer conn.Release()
	r.must(schema.Init(r.Context(), conn.Conn(), r.sink()))
}

// basket is a mixed event, with or without its items.
func (r *rig) basket(id int64) event {
	e := r.mixed(id)
	if e == nil || r.rand.IntN(3) == 0 {
		return e
	}
	items := []map[string]any{}
	for n := range r.rand.IntN(4) {
		items = append(items, map[string]any{"sku": fmt.Sprint("s", n), "pieces": r.rand.IntN(9)})
	}
	e["items"] = items
	return e
}

// uniformBasket has every field and the array, which may be empty or null.
func (r *rig) uniformBasket(id int64) event {
	e := r.uniform(id)
	items := []map[string]any{}
	for n := range r.rand.IntN(4) {
		items = append(items, map[string]any{"sku": fmt.Sprint("s", n), "pieces": r.rand.IntN(9)})
	}
	e["items"] = items
	if len(items) == 0 && r.rand.IntN(2) == 0 {
		e["items"] = nil
	}
	return e
}

// all is the state of parents, children and both memories.
func (r *rig) all() string {
	r.Helper()
	return r.state() + "\n" + value[string](r, `select coalesce(string_agg(i::text, E'\n' order by i::text), '') from items i`) + "\n" +
		value[string](r, `select coalesce(string_agg(s::text, E'\n' order by s::text), '') from oncesink."public.items sets" s`)
}

// Rules 16 and 23: verify finds damaged, missing and stray children, also where their parents are right; a rebuild puts them
// right in the same cut, beside a group that goes on; and the next event of every key finds all as if built from zero.
func TestChildrenAreCorrected(t *testing.T) {
	r := withChildren(t)
	verify := func(o *rebuild.Options) { o.DryRun, o.Verify = true, true }
	for round := range testenv.Times(2, 6) {
		r.history(1200, 150, r.basket)
		r.sync()
		want := r.all()
		if res := r.rebuilt(verify); res.Differs() || len(res.Children) != 1 {
			t.Fatalf("round %d: differs before anything was done: %+v", round, res)
		}
		damaged := value[int64](r, `with x as (update items set pieces = 77 where order_id % 5 = 1 and pieces <> 77 returning 1) select count(*) from x`)
		missing := value[int64](r, `with x as (delete from items where order_id % 5 = 2 returning 1) select count(*) from x`)
		stray := value[int64](r, `with x as (insert into items (order_id, sku, pieces, _oncesink_source, _oncesink_offset)
			select order_id, 'stray', 1, _oncesink_source, _oncesink_offset from orders where order_id % 5 = 3 returning 1) select count(*) from x`)
		sets := value[int64](r, `with x as (delete from oncesink."public.items sets" where order_id % 5 = 4 returning 1) select count(*) from x`)
		if damaged*missing*stray*sets == 0 {
			t.Fatal("nothing to damage")
		}
		found := rebuild.Children{Table: "public.items", Added: missing, Changed: damaged, Deleted: stray, Sets: sets}
		res := r.rebuilt(verify)
		if !res.Differs() || res.Children[0] != found || res.Added+res.Changed+res.Deleted > 0 {
			t.Errorf("round %d: found %+v, want %+v", round, res, found)
		}
		stop := r.live()
		if res := r.rebuilt(); res.Children[0] != found {
			t.Errorf("round %d: corrected %+v, want %+v", round, res.Children, found)
		}
		if got := r.all(); got != want {
			t.Errorf("round %d: got\n%.600s\nwant\n%.600s", round, got, want)
		}
		// Parents as well, and beside a group that writes.
		r.exec(`delete from items where order_id % 7 = 1; delete from orders where order_id % 7 = 1; update orders set note = 'by hand' where order_id % 7 = 2`)
		r.history(300, 150, r.basket)
		r.rebuilt()
		for id := range int64(150) {
			r.produce(id, r.basket(id))
		}
		r.must(r.client.Flush(context.Background()))
		r.caughtUp()
		stop()
		was := r.all()
		r.exec(`truncate orders, items, ` + memory + `, oncesink."public.items sets"; delete from oncesink.offsets where sink_group = '` + group + `'`)
		r.sync()
		if got := r.all(); got != was {
			t.Errorf("round %d: not as from zero: got\n%.600s\nwant\n%.600s", round, was, got)
		}
	}
	left := value[string](r, `select coalesce(string_agg(relname, ', '), '') from pg_class where relnamespace = 'oncesink'::regnamespace and relname like '%stage%'`)
	if left != "" {
		t.Errorf("left behind: %s", left)
	}
	for _, tc := range []struct {
		change func(*rebuild.Options)
		says   string
	}{
		{func(o *rebuild.Options) { o.Table, o.DryRun = "items", true }, "name orders"},
	} {
		if _, err := r.rebuild(tc.change); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%v, want an error that says %q", err, tc.says)
		}
	}
}

// What a person keeps in a column of the children that no event fills is no difference, and stays; and children that no event made are
// deleted by name only (rule 22).
func TestChildrenOfOthersStay(t *testing.T) {
	r := withChildren(t)
	r.exec(`alter table items add remark text default 'none', add seen_at timestamptz default clock_timestamp(), add never int`)
	r.history(800, 100, r.basket)
	r.sync()
	r.exec(`update items set remark = 'by hand', never = 1 where order_id % 2 = 0`)
	want := r.all()
	if res := r.rebuilt(); res.Differs() || r.all() != want {
		t.Errorf("found a difference: %+v", res)
	}
	r.exec(`update items set pieces = 77`)
	if res := r.rebuilt(); res.Children[0].Changed == 0 || r.all() != want {
		t.Errorf("not as it was: %+v", res)
	}
	var once sync.Once
	_, err := r.rebuild(func(o *rebuild.Options) {
		o.Progress = func(p rebuild.Progress) {
			if p.Phase == "applying" {
				once.Do(func() {
					r.exec(`update oncesink.mappings set fingerprint = 'x' || fingerprint where target = 'public.items'`)
				})
			}
		}
	})
	if err == nil || !strings.Contains(err.Error(), "writes table public.items by another mapping") || r.all() != want {
		t.Errorf("another mapping of the children: %v", err)
	}
	r.exec(`update oncesink.mappings set fingerprint = substr(fingerprint, 2) where target = 'public.items'`)
	r.exec(`insert into items (order_id, sku) select order_id, 'by hand' from orders limit 3`)
	if _, err := r.rebuild(); err == nil || !strings.Contains(err.Error(), "3 row(s) of public.items were made by no topic") {
		t.Errorf("deletes children that no event made: %v", err)
	}
	if res := r.rebuilt(func(o *rebuild.Options) { o.Accept = []string{rebuild.ForeignRows} }); res.Children[0].Deleted != 3 || r.all() != want {
		t.Errorf("accepted: %+v", res)
	}
}

// Events that all have the same fields and the array go into stages without an index, children too: of several events of a key the one that
// counts has the children. And a swap exchanges parent and children together, beside a group that goes on.
func TestSwapOfChildren(t *testing.T) {
	const furniture = `alter table items drop constraint items_order_id_fkey, add constraint "of an order" foreign key (order_id) references orders on delete cascade deferrable;
		alter table items rename constraint items_pkey to "the item"; create index by_sku on items (sku) where pieces > 0; alter table items add check (pieces >= 0), set (fillfactor = 70);
		comment on table items is 'what was bought'; comment on column items.sku is 'which';
		do $$ begin create role reader_of_swap; exception when duplicate_object then null; end $$; grant select on items to reader_of_swap`
	for name, tc := range map[string]struct {
		one  func(*rig, int64) event
		bulk bool
	}{"bulk": {(*rig).uniformBasket, true}, "indexed": {(*rig).basket, false}} {
		t.Run(name, func(t *testing.T) {
			r := withChildren(t)
			r.exec(furniture)
			r.history(1200, 150, func(id int64) event { return tc.one(r, id) })
			r.sync()
			about := func() string {
				return value[string](r, catalog) + "\n" + value[string](r, strings.ReplaceAll(catalog, "'orders'", "'items'"))
			}
			want, is := r.all(), about()
			if res := r.rebuilt(func(o *rebuild.Options) { o.DryRun, o.Verify = true, true }); res.Differs() || res.Bulk != tc.bulk {
				t.Errorf("over undamaged tables: %+v", res)
			}
			r.exec(`update items set pieces = 77; delete from oncesink."public.items sets" where order_id % 2 = 0; update orders set note = 'damaged'; delete from orders where order_id % 3 = 0`)
			stop := r.live()
			res := r.rebuilt(swap)
			if !res.Swapped || res.Bulk != tc.bulk || len(res.Children) != 1 {
				t.Errorf("%+v", res)
			}
			if got := r.all(); got != want {
				t.Errorf("got\n%.600s\nwant\n%.600s", got, want)
			}
			if got := about(); got != is {
				t.Errorf("the catalog says\n%s\nwant\n%s", got, is)
			}
			r.clean()
			ctx, cancel := context.WithCancel(t.Context())
			var working sync.WaitGroup
			working.Go(func() {
				pace := time.NewTicker(40 * time.Millisecond)
				defer pace.Stop()
				for ctx.Err() == nil {
					<-pace.C
					r.trickle(150, func(id int64) event { return tc.one(r, id) })
				}
			})
			for range testenv.Times(2, 6) {
				r.rebuilt(swap)
			}
			cancel()
			working.Wait()
			r.caughtUp()
			stop()
			if res := r.rebuilt(func(o *rebuild.Options) { o.DryRun, o.Verify = true, true }); res.Differs() {
				t.Errorf("after the swaps: %+v", res)
			}
			was := r.all()
			r.exec(`truncate orders, items, ` + memory + `, oncesink."public.items sets"; delete from oncesink.offsets where sink_group = '` + group + `'`)
			r.sync()
			if got := r.all(); got != was {
				t.Errorf("not as from zero: got\n%.600s\nwant\n%.600s", was, got)
			}
		})
	}
}

// Rule 24: a backfill corrects the children of parents whose row lies in the range, or moves into it or out of it, also where that row is
// right, with the set memories; those of other parents, and children without a parent, which have no date, are left alone.
func TestBackfillOfChildren(t *testing.T) {
	r := withChildren(t)
	r.exec(`alter table items drop constraint items_order_id_fkey`)
	r.history(1500, 200, r.basket)
	r.sync()
	want := r.all()
	const inside = `(placed_at >= '2026-11-05' and placed_at < '2026-11-12') is true`
	r.exec(`create table was as select order_id, ` + inside + ` as inside, row_number() over (partition by ` + inside + ` order by order_id) n from orders`)
	// Of parents on both sides alike: children damaged, missing, too many; sets forgotten; a parent that is gone with its children, or moved.
	damage := func(sql string, key ...string) int64 {
		return value[int64](r, `with x(order_id) as (`+sql+` returning `+cmp.Or(append(key, "order_id")...)+`) select count(*) filter (where inside) from x join was using (order_id)`)
	}
	found := rebuild.Children{Table: "public.items"}
	found.Changed = damage(`update items set pieces = 77 where pieces <> 77 and order_id in (select order_id from was where n % 6 = 1)`)
	found.Added = damage(`delete from items where order_id in (select order_id from was where n % 6 = 2)`)
	found.Deleted = damage(`insert into items (order_id, sku, pieces, _oncesink_source, _oncesink_offset)
		select order_id, 'stray', 1, _oncesink_source, _oncesink_offset from orders where order_id in (select order_id from was where n % 6 = 3)`)
	found.Sets = damage(`delete from oncesink."public.items sets" where order_id in (select order_id from was where n % 6 = 4)`)
	found.Added += damage(`delete from items where order_id in (select order_id from was where n % 6 = 5)`)
	damage(`delete from orders where order_id in (select order_id from was where n % 6 = 5)`)
	moved := damage(`update orders o set placed_at = case when inside then '2026-11-25' else '2026-11-06' end::timestamptz from was where o.order_id = was.order_id and n % 6 = 0`, "o.order_id")
	found.Added += value[int64](r, `with x as (delete from items where order_id in (select order_id from was where n % 6 = 0) returning 1) select count(*) from x`)
	r.exec(`insert into items (order_id, sku, _oncesink_source, _oncesink_offset) select -1, 'alone', min(source), 0 from oncesink.sources`)
	if found.Added*found.Changed*found.Deleted*found.Sets*moved == 0 {
		t.Fatalf("nothing to damage: %+v", found)
	}
	outside := func() string {
		return value[string](r, `select coalesce(string_agg(x, E'\n' order by x), '') from (select i::text x from items i join was using (order_id) where not inside and n % 6 <> 0
			union all select s::text from oncesink."public.items sets" s join was using (order_id) where not inside and n % 6 <> 0 union all select i::text from items i where order_id < 0) x`)
	}
	left := outside()
	span := days("2026-11-05", "2026-11-12")
	dry := r.rebuilt(span, func(o *rebuild.Options) { o.DryRun = true })
	res := r.rebuilt(span)
	if dry.Children[0] != found || res.Children[0] != found || dry.Added != res.Added || dry.Changed != res.Changed || dry.Deleted != res.Deleted {
		t.Errorf("said %+v, did %+v, want %+v", dry, res, found)
	}
	if outside() != left {
		t.Error("touched children of parents outside of the range")
	}
	if again := r.rebuilt(span); again.Differs() {
		t.Errorf("again: %+v", again)
	}
	r.rebuilt(days("2026-10-01", "2026-12-31"))
	if n := value[int](r, `select count(*) from items where order_id < 0`); n != 1 {
		t.Error("deleted a child without a parent")
	}
	if res := r.rebuilt(); res.Children[0].Deleted != 1 || r.all() != want {
		t.Errorf("a rebuild leaves a child without a parent, or something else: %+v", res)
	}
	r.clean()
	// Children that no event made go by name only, also where only the stage has their parent in the range.
	r.exec(`update orders set placed_at = '2026-11-25' where order_id in (select order_id from was where inside limit 3)`)
	r.exec(`insert into items (order_id, sku) select order_id, 'by hand' from was where inside order by n limit 1`)
	for _, dry := range []bool{true, false} {
		if _, err := r.rebuild(span, func(o *rebuild.Options) { o.DryRun = dry }); err == nil || !strings.HasPrefix(err.Error(), "1 row(s) of public.items were made by no topic") {
			t.Errorf("dry run %v: %v", dry, err)
		}
	}
	if res := r.rebuilt(span, func(o *rebuild.Options) { o.Accept = []string{rebuild.ForeignRows} }); res.Children[0].Deleted != 1 || r.all() != want {
		t.Errorf("accepted: %+v", res)
	}
}
