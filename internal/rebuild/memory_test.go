package rebuild_test

import (
	"slices"
	"testing"

	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/rebuild"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// accept makes the configuration's mapping the group's.
func (r *rig) accept() {
	r.Helper()
	s, err := engine.Open(r.Context(), r.pool, nil, r.sink())
	r.must(err)
	conn, err := r.pool.Acquire(r.Context())
	r.must(err)
	defer conn.Release()
	r.must(offsets.AcceptMappings(r.Context(), conn.Conn(), group, s.Mappings()))
}

func (r *rig) send(id int64, fields ...event) {
	r.Helper()
	for _, f := range fields {
		r.produce(id, f)
	}
	r.must(r.client.Flush(r.Context()))
}

const memory = `oncesink."public.orders deletes"`

// Rules 13 and 23: after a change of the version, a rebuild leaves no old version behind in the delete memory, and
// the next event comes in.
func TestOldVersionsAreForgotten(t *testing.T) {
	for _, tc := range []struct {
		name string
		how  func(*rebuild.Options)
	}{
		{"rebuild", func(*rebuild.Options) {}},
		{"swap", swap},
		{"backfill", days("2026-11-01", "2026-11-30")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			table := upserts
			table.Columns = map[string]sink.ColumnConfig{"updated_at": {From: "ts"}}
			r := newRig(t, table, ordersTable)
			full := func(ts, seq int) event {
				return event{"ts": ts, "seq": seq, "status": "new", "amount": 1, "note": "a", "placed_at": "2026-11-05T00:00:00Z"}
			}
			r.send(1, full(1000, 1), nil)
			r.send(4, full(500, 1))
			r.sync()
			r.tables[0].Columns = map[string]sink.ColumnConfig{"updated_at": {From: "seq"}}
			if _, err := r.rebuild(tc.how); err == nil {
				t.Error("rebuilt by a mapping that is not the group's")
			}
			r.accept()
			dry := r.rebuilt(tc.how, func(o *rebuild.Options) { o.DryRun = true })
			if m := *dry.Memory; m != (rebuild.Memory{Differ: 1}) || !dry.Differs() {
				t.Errorf("found %+v", m)
			}
			res := r.rebuilt(tc.how)
			if *res.Memory != *dry.Memory {
				t.Errorf("did %+v, having said %+v", *res.Memory, *dry.Memory)
			}
			if again := r.rebuilt(func(o *rebuild.Options) { o.DryRun = true }); again.Differs() {
				t.Errorf("and again %+v %+v", again, again.Memory)
			}
			r.send(1, full(2000, 2))
			r.sync()
			r.fromScratch(r.state())
			if n := value[int](r, `select count(*) from orders where order_id = 1`); n != 1 {
				t.Error("the next event has vanished")
			}
		})
	}
}

// A memory that somebody changed is made right, and told of, also where no row differs; and a row that the
// table took since the comparison because its memory was wrong, and the stage did not, doesn't stay.
func TestDamagedMemory(t *testing.T) {
	r := newRig(t, upserts, ordersTable)
	r.history(800, 80, r.mixed)
	r.send(1001, r.uniform(1001), nil)
	r.send(1002, event{"status": "new", "amount": 1, "note": "a", "placed_at": "2026-11-05T00:00:00Z", "updated_at": 50}, nil)
	r.sync()
	want := r.state()
	n := value[int64](r, `select count(*) from `+memory)
	r.exec(`delete from ` + memory + ` where order_id % 3 = 0`)
	r.exec(`update ` + memory + ` set updated_at = coalesce(updated_at, 0) + 1000 where order_id % 3 = 1`)
	r.exec(`insert into ` + memory + ` select -g, 5, source, 0 from generate_series(1, 7) g, (select min(source) source from oncesink.sources) s`)
	r.exec(`insert into ` + memory + ` select -10 - g, 5, 1234567, 0 from generate_series(1, 2) g`)
	missing := n - value[int64](r, `select count(*) from `+memory+` where order_id > 0`)
	differ := value[int64](r, `select count(*) from `+memory+` where order_id > 0 and order_id % 3 = 1`)
	dry := r.rebuilt(func(o *rebuild.Options) { o.DryRun, o.Verify = true, true })
	if m := *dry.Memory; m != (rebuild.Memory{Differ: differ, Missing: missing, Stray: 7, Unproven: 2}) || dry.Added+dry.Changed+dry.Deleted != 0 || !dry.Differs() || differ == 0 || missing == 0 {
		t.Errorf("found %+v of %+v", m, dry)
	}
	r.rebuilt()
	if kept := value[int](r, `select count(*) from `+memory+` where _oncesink_source = 1234567`); kept != 2 {
		t.Errorf("%d of 2 deletions are left that no topic proves", kept)
	}
	r.exec(`delete from ` + memory + ` where _oncesink_source = 1234567`)
	if got := r.state(); got != want {
		t.Errorf("got\n%.600s\nwant\n%.600s", got, want)
	}

	// The deletion of 1002 has lost its version: an older event becomes a row in the table.
	r.exec(`update ` + memory + ` set updated_at = null where order_id = 1002`)
	came := false
	r.rebuilt(func(o *rebuild.Options) {
		o.Progress = func(p rebuild.Progress) {
			if p.Phase != "applying" || came {
				return
			}
			came = true
			r.send(1002, event{"status": "late", "amount": 1, "note": "a", "placed_at": "2026-11-05T00:00:00Z", "updated_at": 40})
			r.sync()
			if value[int](r, `select count(*) from orders where order_id = 1002`) != 1 {
				t.Error("the damage makes no difference")
			}
		}
	})
	if value[int](r, `select count(*) from orders where order_id = 1002`) != 0 || !came {
		t.Error("one row too many is left")
	}
	r.fromScratch(r.state())
}

// Rule 22: of half a history, deletions that lie below the log stay remembered; of those in the log the place is taken from it, and a version that
// may be that of an event which is gone stays.
func TestMemoryOfHalfAHistory(t *testing.T) {
	r := newRig(t, upserts, ordersTable)
	whole := func(version int) event {
		return event{"status": "new", "amount": 1, "note": "a", "placed_at": "2026-11-05T00:00:00Z", "updated_at": version}
	}
	r.send(0, whole(10), nil) // partition 0, offsets 0 and 1: below the log
	r.send(3, whole(10), nil) // offsets 2 and 3: the same
	r.send(6, whole(10))      // 4
	r.send(6, nil, whole(20)) // 5, 6
	r.send(3, nil)            // 7
	r.send(9, whole(10), nil) // 8, 9
	r.sync()
	r.exec(`update ` + memory + ` set updated_at = 99 where order_id in (0, 9)`)
	r.exec(`update ` + memory + ` set _oncesink_offset = 8 where order_id = 3`)
	r.exec(`insert into ` + memory + ` select 12, 7, _oncesink_source, 8 from orders where order_id = 6`)
	_, err := r.admin.DeleteRecords(t.Context(), offsetsBefore("orders", 0, 5))
	r.must(err)
	res := r.rebuilt()
	if m := *res.Memory; m != (rebuild.Memory{Unproven: 1, Stray: 1, Differ: 1}) {
		t.Errorf("%+v", m)
	}
	got := value[[]string](r, `select array_agg(format('%s %s %s', order_id, coalesce(updated_at::text, '-'), _oncesink_offset) order by order_id) from `+memory)
	if want := []string{"0 99 1", "3 10 7", "6 10 5", "9 99 9"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
