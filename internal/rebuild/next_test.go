package rebuild_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/oncesink/oncesink/internal/rebuild"
	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/sink"
)

// Rules 13, 22 and 23: whatever was done to a table and its delete memory, after a replay, a rebuild or a backfill the
// next event of every key leaves what it would have left in a table that was built from zero. Random histories, with tombstones and
// partial events, versions out of order, damage by hand, a mapping that takes another version, rewinds and
// interruptions on the way.
func TestNextEventAsFromZero(t *testing.T) {
	for n := range testenv.Times(3, 24) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			table := upserts
			table.Columns = map[string]sink.ColumnConfig{"updated_at": {From: "ts"}}
			r := newRig(t, table, ordersTable)
			const orders = 60
			two := func(id int64) event { // an event with two versions, of which either may be the mapping's
				e := r.mixed(id)
				if e != nil {
					e["ts"], e["seq"] = e["updated_at"], r.rand.Int64N(40)
					delete(e, "updated_at")
				}
				return e
			}
			for round := range 3 {
				r.history(600, orders, two)
				r.sync()
				says := ""
				corrects := n%2 == 0 || r.rand.IntN(2) == 0 // a replay corrects nothing
				if corrects {
					says = r.spoil()
				}
				if corrects && r.rand.IntN(2) == 0 {
					from := []string{"ts", "seq"}[r.rand.IntN(2)]
					r.tables[0].Columns = map[string]sink.ColumnConfig{"updated_at": {From: from}}
					r.accept()
					says += " version from " + from
				}
				stop := r.live()
				if r.rand.IntN(2) == 0 {
					r.rewindAll(r.rand.Int64N(200))
					says += " rewound"
				}
				switch {
				case !corrects:
					r.rewindAll(1 << 40)
					r.caughtUp()
					says += " replay"
				default:
					change, name := func(*rebuild.Options) {}, "rebuild"
					switch r.rand.IntN(3) {
					case 1:
						change, name = swap, "swap"
					case 2:
						change, name = days("2026-10-01", "2026-12-31"), "backfill"
					}
					says += " " + name
					r.interrupted(change)
					r.rebuilt(change)
				}
				for id := range int64(orders) {
					r.produce(id, two(id))
				}
				r.must(r.client.Flush(context.Background()))
				r.caughtUp()
				stop()
				t.Logf("round %d:%s", round, says)
				r.fromScratch(r.state())
			}
		})
	}
}

// spoil changes rows and remembered deletions by hand, and says what.
func (r *rig) spoil() (says string) {
	for _, how := range []struct{ name, sql string }{
		{"rows changed", `update orders set note = 'by hand', updated_at = updated_at + 7 where order_id % 5 = 1`},
		{"rows deleted", `delete from orders where order_id % 5 = 2`},
		{"rows added", `insert into orders (order_id, placed_at, updated_at, _oncesink_source, _oncesink_offset)
			select 1000 + g, '2026-11-05', 5, source, 0 from generate_series(1, 5) g, (select min(source) source from oncesink.sources) s on conflict do nothing`},
		{"deletions changed", `update ` + memory + ` set updated_at = coalesce(updated_at, 0) + 1000 where order_id % 3 = 1`},
		{"deletions forgotten", `delete from ` + memory + ` where order_id % 3 = 0`},
	} {
		if r.rand.IntN(2) == 0 {
			r.exec(how.sql)
			says += " " + how.name
		}
	}
	return says
}

// interrupted calls Run and ends it at a random moment.
func (r *rig) interrupted(change func(*rebuild.Options)) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	timer := time.AfterFunc(time.Duration(r.rand.Int64N(int64(time.Second))), cancel)
	defer timer.Stop()
	o := r.options()
	change(&o)
	_, _ = rebuild.Run(ctx, o) // it comes to its end, or it does not
}
