package rebuild_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/oncesink/oncesink/internal/rebuild"
	"github.com/oncesink/oncesink/internal/testenv"
)

// forget deletes the first records of each partition, about half of them.
func (r *rig) forget() (starts [partitions]int64) {
	r.Helper()
	ends, err := r.admin.ListEndOffsets(context.Background(), "orders")
	r.must(err)
	for p := range int32(partitions) {
		end, _ := ends.Lookup("orders", p)
		starts[p] = end.Offset/3 + r.rand.Int64N(end.Offset/3+1)
		_, err = r.admin.DeleteRecords(context.Background(), offsetsBefore("orders", p, starts[p]))
		r.must(err)
	}
	return starts
}

// proven is the condition that a row's event is in a log that begins there.
func (r *rig) proven(alias string, starts [partitions]int64) string {
	r.Helper()
	var cases strings.Builder
	for p, start := range starts {
		fmt.Fprintf(&cases, " when %d then %s._oncesink_offset >= %d", value[int](r, `select source from oncesink.offsets where sink_group = $1 and partition = $2`, group, p), alias, start)
	}
	return fmt.Sprintf("(case %s._oncesink_source%s else false end)", alias, cases.String())
}

// whole is a tombstone or an event with every field.
func (r *rig) whole(id int64) event {
	if e := r.uniform(id); r.rand.IntN(8) > 0 {
		return e
	}
	return nil
}

// Rule 22: of a log that begins later, rows whose events are gone stay as they are, those whose events are there are put right, and
// what the log disproves goes; with a version or without, with deletions and partial events, appended, in bulk, exchanged, with
// children; and where nothing is wrong nothing changes.
func TestRule22KeptFrom(t *testing.T) {
	ordered := upserts
	ordered.Version = ""
	for _, tc := range []struct {
		name string
		rig  func(t *testing.T) *rig
		one  func(*rig, int64) event
		how  func(*rebuild.Options)
	}{
		{"in bulk", func(t *testing.T) *rig { return newRig(t, upserts, ordersTable) }, (*rig).uniform, nil},
		{"in bulk, exchanged", func(t *testing.T) *rig { return newRig(t, upserts, ordersTable) }, (*rig).uniform, swap},
		{"with deletions", func(t *testing.T) *rig { return newRig(t, upserts, ordersTable) }, (*rig).whole, nil},
		{"with deletions, exchanged", func(t *testing.T) *rig {
			return newRig(t, upserts, strings.Replace(ordersTable, "updated_at bigint", "updated_at bigint not null", 1))
		}, (*rig).whole, swap},
		{"without a version", func(t *testing.T) *rig { return newRig(t, ordered, ordersTable) }, (*rig).whole, nil},
		{"appended", func(t *testing.T) *rig { return newRig(t, appends, appendTable) }, (*rig).uniform, nil},
		{"a further unique index", func(t *testing.T) *rig {
			return newRig(t, upserts, ordersTable+`; create unique index on orders (order_id, note)`)
		}, (*rig).whole, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := tc.rig(t)
			how := tc.how
			if how == nil {
				how = func(*rebuild.Options) {}
			}
			r.history(600, 120, func(id int64) event { return tc.one(r, id) })
			r.sync()
			want, starts := r.state(), r.forget()
			proven := r.proven("t", starts)
			gone := value[int64](r, `select count(*) from orders t where not `+proven)
			for _, o := range []func(*rebuild.Options){func(o *rebuild.Options) { o.DryRun, o.Verify = true, true }, how} {
				res := r.rebuilt(o)
				if res.Differs() || res.Kept != gone || gone == 0 || r.state() != want {
					t.Fatalf("over an undamaged table: %+v, want %d kept", res, gone)
				}
				if h := res.History[0]; h.Kind != rebuild.KeptFrom || len(h.From) != partitions || h.From[1] != starts[1] {
					t.Errorf("history %+v, want from %v", res.History, starts)
				}
			}
			r.exec(`create table was as select row_number() over (order by order_id, _oncesink_offset) n, ` + proven + ` as proven, t::text as "row", t._oncesink_source as s, t._oncesink_offset as o from orders t`)
			of := func(n int) string {
				return fmt.Sprintf(` where (_oncesink_source, _oncesink_offset) in (select s, o from was where n %% 4 = %d)`, n)
			}
			r.exec(`delete from orders` + strings.Replace(of(0), "n %", "proven and n %", 1)) // of another a losing event may be left
			r.exec(`update orders set note = 'damaged'` + of(1))
			r.exec(`update orders set updated_at = updated_at + 100000` + strings.Replace(of(2), "n %", "proven and n %", 1)) // no event comes after it
			ghosts := int64(0)
			if tc.name != "appended" { // where a row's place is its key
				ghosts = 7
				r.exec(`insert into orders (order_id, updated_at, _oncesink_source, _oncesink_offset) select -n, 1, source, $1 + n from oncesink.offsets, generate_series(1, $2) n where sink_group = $3 and partition = 0`, starts[0], ghosts, group)
			}
			dry := r.rebuilt(how, func(o *rebuild.Options) { o.DryRun = true })
			wanted := value[string](r, `select string_agg("row", E'\n' order by "row") from (select "row" from was where proven union all select t::text from orders t join was on s = _oncesink_source and o = _oncesink_offset where not proven) x`)
			res := r.rebuilt(how)
			if got := value[string](r, `select string_agg(t::text, E'\n' order by t::text) from orders t`); got != wanted {
				t.Errorf("after %+v\n%.800s\nwant\n%.800s", res, got, wanted)
			}
			if dry.Deleted != ghosts || dry.Kept != res.Kept || tc.how == nil && (dry.Added != res.Added || dry.Changed != res.Changed || dry.Deleted != res.Deleted) {
				t.Errorf("said %+v, did %+v", dry, res)
			}
			if again := r.rebuilt(); again.Differs() {
				t.Errorf("again: %+v", again)
			}
			if res := r.rebuilt(func(o *rebuild.Options) { o.Accept = []string{rebuild.DeleteUnproven} }); res.Deleted == 0 || value[int64](r, `select count(*) from orders t where not `+proven) > 0 {
				t.Errorf("accepted: %+v, and rows are left that no event made", res)
			}
			r.clean()
		})
	}
}

// Rule 22: with partial events, deletions and children in half a log nothing changes that is right. What an event that is left brought is put right, and
// what only one that is gone brought is not touched, be it a column, a child or a deletion.
func TestRule22PartialEventsAndChildren(t *testing.T) {
	for round := range testenv.Times(2, 12) {
		r := withChildren(t)
		one := r.basket
		if round%2 == 1 { // in bulk
			one = func(id int64) event {
				e := r.uniform(id)
				items := []map[string]any{}
				for n := range r.rand.IntN(4) {
					items = append(items, map[string]any{"sku": fmt.Sprint("s", n), "pieces": r.rand.IntN(9)})
				}
				e["items"] = items
				return e
			}
		}
		r.history(700, 120, one)
		r.sync()
		want, starts := r.all(), r.forget()
		if res := r.rebuilt(func(o *rebuild.Options) { o.DryRun, o.Verify = true, true }); res.Differs() || res.Kept == 0 || res.Bulk != (round%2 == 1) {
			t.Fatalf("round %d: over an undamaged table: %+v %+v", round, res, res.Memory)
		}
		if res := r.rebuilt(); res.Differs() || r.all() != want {
			t.Fatalf("round %d: rebuilt an undamaged table: %+v", round, res)
		}
		parents, children, sets := r.proven("t", starts), r.proven("i", starts), r.proven("s", starts)
		wrong := value[int64](r, `with x as (update orders t set amount = amount + 1000 where `+parents+` and order_id % 5 = 0 returning 1) select count(*) from x`)
		items := value[int64](r, `with x as (update items i set pieces = 1000 where `+children+` and order_id % 5 = 1 returning 1) select count(*) from x`)
		items += value[int64](r, `with x as (delete from items i where `+children+` and order_id % 5 = 2 returning 1) select count(*) from x`)
		lost := value[int64](r, `with x as (delete from oncesink."public.items sets" s where `+sets+` and order_id % 5 = 3 returning 1) select count(*) from x`)
		r.exec(`insert into items (order_id, sku, _oncesink_source, _oncesink_offset) select order_id, 'stray', _oncesink_source, _oncesink_offset from orders t where ` + parents + ` and order_id % 7 = 4`)
		res := r.rebuilt()
		if got := r.all(); got != want {
			t.Errorf("round %d: differs in %s", round, difference(got, want))
		}
		if res.Changed < wrong || wrong*items*lost == 0 || res.Children[0].Changed+res.Children[0].Added != items || res.Children[0].Sets != lost {
			t.Errorf("round %d: %+v for %d rows, %d children, %d sets", round, res, wrong, items, lost)
		}
		kept := value[string](r, `with x as (update orders t set note = 'by hand' where not `+parents+` returning 1) select count(*)::text from x`) +
			value[string](r, `with x as (update items i set pieces = 1000 where not `+children+` returning 1) select count(*)::text from x`)
		by := r.all()
		if res := r.rebuilt(); res.Differs() || r.all() != by || kept == "00" {
			t.Errorf("round %d: %s row(s) and children that no event is left of were touched: %+v", round, kept, res)
		}
		r.clean()
	}
}

// Rule 22: of a compacted log a row stays whose event may be gone, and a row whose event is there is put right.
func TestRule22Compacted(t *testing.T) {
	for name, one := range map[string]func(*rig, int64) event{"in bulk": (*rig).uniform, "with deletions": (*rig).whole} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, upserts, ordersTable)
			policy := "compact"
			_, err := r.admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "cleanup.policy", Value: &policy}}, "orders")
			r.must(err)
			r.history(900, 150, func(id int64) event { return one(r, id) })
			r.sync()
			// As if compaction had taken the events of some: at their place the log has nothing of them.
			r.exec(`update orders set updated_at = updated_at + 1000, note = 'of an event that is gone' where order_id % 5 = 0`)
			want := r.state()
			gone := value[int64](r, `select count(*) from orders where order_id % 5 = 0`)
			verify := func(o *rebuild.Options) { o.DryRun, o.Verify = true, true }
			if res := r.rebuilt(verify); res.Differs() || res.Kept != gone || gone == 0 || res.History[0].Kind != rebuild.CompactedLog {
				t.Errorf("over an undamaged table: %+v %+v, want %d kept", res, res.Memory, gone)
			}
			r.exec(`update orders set note = 'damaged' where order_id % 5 = 1`)
			r.exec(`delete from orders where order_id % 5 = 2`)
			if res := r.rebuilt(); r.state() != want || res.Changed*res.Added == 0 || res.Deleted != 0 || res.Kept != gone {
				t.Errorf("%+v\n%.500s\nwant\n%.500s", res, r.state(), want)
			}
			if res := r.rebuilt(verify, func(o *rebuild.Options) { o.Accept = []string{rebuild.DeleteUnproven} }); res.Changed != gone {
				t.Errorf("accepted: %+v, want %d changed", res, gone)
			}
			r.clean()
		})
	}
}

// difference is the lines of which two texts have not the same.
func difference(got, want string) string {
	var out []string
	for line := range strings.SplitSeq(got, "\n") {
		if !strings.Contains("\n"+want+"\n", "\n"+line+"\n") {
			out = append(out, "got "+line)
		}
	}
	for line := range strings.SplitSeq(want, "\n") {
		if !strings.Contains("\n"+got+"\n", "\n"+line+"\n") {
			out = append(out, "want "+line)
		}
	}
	return strings.Join(out, "\n")
}
