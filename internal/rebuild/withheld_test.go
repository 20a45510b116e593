package rebuild_test

import (
	"slices"
	"testing"

	"github.com/oncesink/oncesink/internal/rebuild"
	"github.com/oncesink/oncesink/sink"
)

// Rule 16: what the log says nothing of any more, since the events that are left have a placeholder in its place, stays as the table has it: a
// rebuild mends everything else, whichever way it goes, and finds nothing to do afterwards.
func TestWithheldValuesAreKept(t *testing.T) {
	for _, swap := range []bool{false, true} {
		t.Run(map[bool]string{false: "in place", true: "swap"}[swap], func(t *testing.T) {
			r := newRig(t, upserts, ordersTable)
			r.topics = map[string]sink.TopicConfig{"orders": {Envelope: &sink.Envelope{Unavailable: "?"}}}
			whole := func(note string, version int) event {
				return event{"status": "new", "amount": 1, "note": note, "placed_at": "2026-11-05T00:00:00Z", "updated_at": version}
			}
			r.send(0, whole("large", 10)) // partition 0, offsets 0 to 2: below the log, as if compaction had taken them
			r.send(3, whole("large, too", 10))
			r.send(6, whole("changed", 10))
			r.send(0, event{"status": "paid", "note": "?", "updated_at": 20}) // 3
			r.send(3, whole("?", 20))                                         // 4
			r.send(3, nil)                                                    // 5
			r.send(6, whole("?", 20))                                         // 6
			r.send(6, whole("last", 30))                                      // 7
			r.send(9, whole("?", 10))                                         // 8: there never was a row
			r.send(12, whole("?", 10), whole("there", 20), whole("?", 30))    // 9, 10, 11
			r.sync()
			const rows = `select array_agg(format('%s %s %s %s', order_id, status, note, updated_at) order by order_id) from orders`
			want := []string{"0 paid large 20", "12 new there 30", "6 new last 30"}
			slices.Sort(want)
			sorted := func() []string { got := value[[]string](r, rows); slices.Sort(got); return got }
			if got := sorted(); !slices.Equal(got, want) {
				t.Fatalf("live: got %q, want %q", got, want)
			}
			// The one at 9 is folded into the whole event after it, if they come in one batch.
			if got := value[[]int64](r, `select array_agg("offset" order by 1) from oncesink.dead_letters where code = 'ONS30' and "offset" <> 9`); !slices.Equal(got, []int64{8}) {
				t.Errorf("dead letters at %d, want the one that found no row", got)
			}
			_, err := r.admin.DeleteRecords(t.Context(), offsetsBefore("orders", 0, 3))
			r.must(err)
			r.exec(`update orders set status = 'wrong' where order_id = 0`)
			r.exec(`update orders set note = 'wrong' where order_id = 6`)
			accept := func(o *rebuild.Options) { o.Swap = swap }
			r.rebuilt(accept)
			if got := sorted(); !slices.Equal(got, want) {
				t.Errorf("rebuilt: got %q, want %q", got, want)
			}
			if res := r.rebuilt(); res.Added+res.Changed+res.Deleted != 0 {
				t.Errorf("once more: %+v", res)
			}
		})
	}
}
