package rebuild_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/rebuild"
)

// Rules 11, 16 and 23: what comes into a stage that has its index already goes through its tail, and the stage is what its events would have made of it one
// by one: older and newer versions of keys that it has, new keys, sets that become smaller. What a call that failed has left in the tail the next one
// merges, and with the first event that can't go in so, the tail ends.
func TestTail(t *testing.T) {
	for _, children := range []bool{false, true} {
		t.Run(fmt.Sprint("children ", children), func(t *testing.T) {
			t.Parallel()
			var r *rig
			one, state := (*rig).uniform, func() string { return r.state() }
			if children {
				r = withChildren(t)
				one, state = (*rig).uniformBasket, func() string { return r.all() }
			} else {
				r = newRig(t, upserts, ordersTable)
			}
			come := func(n, orders int) {
				r.history(n, orders, func(id int64) event { return one(r, id) })
				r.sync()
			}
			keep := func(o *rebuild.Options) { o.DryRun, o.Verify, o.KeepStage = true, true, true }
			right := func(when string) {
				t.Helper()
				if res := r.rebuilt(keep); res.Differs() || !res.Bulk {
					t.Errorf("%s: %+v", when, res)
				}
			}
			tail := func() (comment string, rows int) {
				return value[string](r, `select obj_description('oncesink."public.orders stage"'::regclass)`), value[int](r, `select count(*) from oncesink."public.orders tail"`)
			}
			come(600, 80)
			right("loaded in bulk")
			for range 2 {
				come(400, 120)
				right("after more events")
			}
			if comment, rows := tail(); !strings.Contains(comment, `"tail"`) || rows > 0 {
				t.Errorf("the stage has %d rows in its tail, and says %s", rows, comment)
			}
			come(200, 120)
			r.exec(`create function oncesink.refuse() returns trigger language plpgsql as $$ begin raise exception 'not now'; end $$;
				create trigger refuse before insert on oncesink."public.orders stage" execute function oncesink.refuse()`)
			if _, err := r.rebuild(keep); err == nil || !strings.Contains(err.Error(), "not now") {
				t.Errorf("a merge that is refused: %v", err)
			}
			r.exec(`drop function oncesink.refuse cascade`)
			if _, rows := tail(); rows == 0 {
				t.Error("the tail of a call that failed is empty")
			}
			right("after a call that failed")
			come(100, 120)
			ended := r.says("going on with the index")
			r.produce(1, nil)
			r.produce(2, event{"status": "last", "updated_at": int64(1 << 30)})
			r.produce(3, one(r, 3))
			r.must(r.client.Flush(t.Context()))
			r.sync()
			want := state()
			if children {
				r.exec(`update items set pieces = 77 where order_id % 3 = 0; delete from items where order_id % 7 = 0; delete from oncesink."public.items sets" where order_id % 3 = 1`)
			}
			r.exec(`update orders set note = 'damaged' where order_id % 5 = 0; delete from orders where order_id % 7 = 0`)
			r.rebuilt(func(o *rebuild.Options) { o.KeepStage = true })
			<-ended
			if comment := value[string](r, `select obj_description('oncesink."public.orders stage"'::regclass)`); strings.Contains(comment, `"tail"`) {
				t.Errorf("the tail has not ended: %s", comment)
			}
			if res := r.rebuilt(func(o *rebuild.Options) { o.DryRun, o.Verify = true, true }); res.Differs() {
				t.Errorf("after the tail's end: %+v", res)
			}
			r.clean()
			if got := state(); got != want {
				t.Errorf("got\n%.600s\nwant\n%.600s", got, want)
			}
		})
	}
}
