package rebuild_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncesink/oncesink/internal/rebuild"
	"github.com/oncesink/oncesink/internal/testenv"
)

func days(from, to string) func(*rebuild.Options) {
	return func(o *rebuild.Options) {
		o.Range = &rebuild.Range{Column: "placed_at", From: from, To: to}
	}
}

// Rule 24: a backfill replaces the rows of its range and leaves the others; rows that moved out of the range or
// into it go with their last event. As often as one likes.
func TestRule24Backfill(t *testing.T) {
	for _, events := range []string{"uniform", "mixed"} {
		t.Run(events, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, upserts, ordersTable)
			one := r.uniform
			if events == "mixed" {
				one = r.mixed
			}
			r.history(1200, 160, one)
			r.sync()
			want := r.state()
			const inside, outside = `placed_at >= '2026-11-05' and placed_at < '2026-11-12'`, `not (placed_at >= '2026-11-05' and placed_at < '2026-11-12')`
			keep := value[string](r, `select string_agg(order_id::text, ',' order by order_id) from (select order_id from orders where `+outside+` order by order_id limit 20) o`)
			r.exec(`update orders set note = 'damaged' where ` + inside + ` and order_id % 3 = 0`)
			r.exec(`delete from orders where ` + inside + ` and order_id % 3 = 1`)
			r.exec(`update orders set placed_at = '2026-11-06', note = 'moved in by mistake' where order_id in (` + strings.Join(strings.Split(keep, ",")[:5], ",") + `)`)
			r.exec(`update orders set placed_at = '2026-11-25', note = 'moved out by mistake' where order_id in (select order_id from orders where ` + inside + ` and order_id % 3 = 2 limit 5)`)
			r.exec(`insert into orders (order_id, placed_at, _oncesink_source, _oncesink_offset) select -n, '2026-11-05', (select min(source) from oncesink.sources), -n from generate_series(1, 10) n`)
			r.exec(`update orders set note = 'outside' where order_id in (` + strings.Join(strings.Split(keep, ",")[10:], ",") + `)`)
			first := r.rebuilt(days("2026-11-05", "2026-11-12"))
			if first.Deleted != 10 || first.Added == 0 || first.Changed < 10 {
				t.Errorf("%+v", first)
			}
			if n := value[int](r, `select count(*) from orders where note = 'outside'`); n != 10 {
				t.Errorf("%d damaged rows outside of the range are left, want 10", n)
			}
			after := r.state()
			for range 3 {
				if again := r.rebuilt(days("2026-11-05", "2026-11-12")); again.Differs() || r.state() != after {
					t.Errorf("again: %+v", again)
				}
			}
			r.rebuilt(days("2026-10-01", "2026-12-31"))
			if got := r.state(); got != want {
				t.Errorf("after all ranges\n%.500s\nwant\n%.500s", got, want)
			}
			r.clean()
		})
	}
}

// A range that is none is refused, in words.
func TestBackfillRefuses(t *testing.T) {
	r := newRig(t, upserts, ordersTable)
	r.history(10, 10, r.uniform)
	r.sync()
	for _, tc := range []struct{ column, from, to, says string }{
		{"placed_at", "2026-11-05", "2026-11-05", "is empty"},
		{"placed_at", "2026-11-05", "2026-11-04", "is empty"},
		{"placed_at", "yesterday noon", "2026-11-04", "yesterday noon"},
		{"placed", "2026-11-01", "2026-11-04", `no column "placed"`},
	} {
		_, err := r.rebuild(func(o *rebuild.Options) { o.Range = &rebuild.Range{Column: tc.column, From: tc.from, To: tc.to} })
		if err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%+v: %v", tc, err)
		}
	}
}

// Rules 23 and 24: beside a group that goes on writing, and beside each other, rebuilds and backfills leave what the
// events say, and no reader sees a version go back.
func TestBesideTheLiveGroup(t *testing.T) {
	for _, tc := range []struct {
		name string
		one  func(*rig, int64) event
	}{{"uniform", (*rig).uniform}, {"mixed", (*rig).mixed}} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, upserts, ordersTable)
			r.history(1000, 200, func(id int64) event { return tc.one(r, id) })
			stop := r.live()
			r.caughtUp()
			ctx, cancel := context.WithCancel(t.Context())
			var working sync.WaitGroup
			working.Go(func() {
				pace := time.NewTicker(40 * time.Millisecond) // 500 events a second
				defer pace.Stop()
				for ctx.Err() == nil {
					<-pace.C
					r.trickle(200, func(id int64) event { return tc.one(r, id) })
				}
			})
			if tc.name == "uniform" {
				working.Go(func() { r.watchVersions(ctx) })
			}
			times := testenv.Times(2, 6)
			var done atomic.Int32
			var operators sync.WaitGroup
			for n := range 2 {
				operators.Go(func() {
					for i := range times {
						var change []func(*rebuild.Options)
						if n == 1 {
							change = append(change, days("2026-11-03", fmt.Sprintf("2026-11-%02d", 8+i)))
						}
						res, err := r.rebuild(change...)
						if err != nil {
							t.Error(err)
							return
						}
						if res.Differs() {
							t.Errorf("changed a table that was right: %+v", res)
						}
						done.Add(1)
					}
				})
			}
			operators.Wait()
			cancel()
			working.Wait()
			r.caughtUp()
			stop()
			if int(done.Load()) != 2*times {
				t.Errorf("%d of %d came to their end", done.Load(), 2*times)
			}
			want := r.state()
			if res := r.rebuilt(func(o *rebuild.Options) { o.DryRun = true }); res.Differs() {
				t.Errorf("the table differs from its events: %+v", res)
			}
			r.fromScratch(want)
			r.clean()
		})
	}
}

// Rule 23: what comes between the comparison and the cut counts, also where the group makes something else of it than
// the stage: a trigger damages what the group writes.
func TestWhatComesBeforeTheCut(t *testing.T) {
	for _, span := range []*rebuild.Range{nil, {Column: "placed_at", From: "2026-11-03", To: "2026-11-12"}} {
		t.Run(fmt.Sprint(span != nil), func(t *testing.T) {
			r := newRig(t, upserts, ordersTable)
			r.history(1000, 100, r.mixed)
			stop := r.live()
			r.caughtUp()
			res := r.rebuilt(func(o *rebuild.Options) {
				o.Range = span
				o.Progress = func(p rebuild.Progress) {
					if p.Phase != "applying" {
						return
					}
					r.exec(`create function damage() returns trigger language plpgsql as $$ begin
						if current_setting('application_name') <> 'oncesink-rebuild' then new.note = 'damaged'; end if; return new; end $$;
						create trigger damage before insert or update on orders for each row execute function damage()`)
					r.history(200, 100, r.mixed)
					r.caughtUp()
				}
			})
			stop()
			if res.Changed == 0 {
				t.Errorf("%+v", res)
			}
			inside := value[int](r, `select count(*) from orders where note = 'damaged' and placed_at >= '2026-11-03' and placed_at < '2026-11-12'`)
			outside := value[int](r, `select count(*) from orders where note = 'damaged'`) - inside
			if inside > 0 || (outside > 0) != (span != nil) {
				t.Errorf("%d rows that the group damaged are left in the range, and %d outside of it", inside, outside)
			}
			r.exec(`drop trigger damage on orders`)
			r.rebuilt()
			r.fromScratch(r.state())
		})
	}
}

// looks is how often a reader looks at the table beside a rebuild.
const looks = 5 * time.Millisecond

// watchVersions reads all rows again and again: no row's version goes back, and none vanishes.
func (r *rig) watchVersions(ctx context.Context) {
	seen := map[int64]int64{}
	pace := time.NewTicker(looks)
	defer pace.Stop()
	for ctx.Err() == nil {
		<-pace.C
		rows, err := r.pool.Query(context.Background(), `select order_id, updated_at from orders`)
		if err != nil {
			r.Error(err)
			return
		}
		n := 0
		for rows.Next() {
			var id, version int64
			if err := rows.Scan(&id, &version); err != nil {
				r.Error(err)
				return
			}
			if last, ok := seen[id]; ok && version < last {
				r.Errorf("order %d went back from version %d to %d", id, last, version)
			}
			seen[id] = version
			n++
		}
		if n < len(seen) {
			r.Errorf("%d orders vanished", len(seen)-n)
		}
	}
}

// A group that was rewound and has not come back yet is waited for: the stage may stand beyond it, and
// the table has what lies between.
func TestRewoundGroupIsWaitedFor(t *testing.T) {
	r := newRig(t, upserts, ordersTable)
	r.history(800, 80, r.uniform)
	r.sync()
	want := r.state()
	r.exec(`select oncesink.rewind($1, 'orders', null, 10)`, group)
	finished := make(chan *rebuild.Result, 1)
	go func() {
		res, err := r.rebuild(func(o *rebuild.Options) { o.KeepStage = true })
		if err != nil {
			t.Error(err)
		}
		finished <- res
	}()
	select {
	case res := <-finished:
		t.Fatalf("did not wait: %+v", res)
	case <-r.says("rewound"):
	}
	if r.state() != want {
		t.Error("changed the table")
	}
	r.sync()
	if res := <-finished; res == nil || res.Differs() || r.state() != want {
		t.Errorf("%+v", res)
	}
}
