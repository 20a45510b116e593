package verify_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/internal/verify"
)

// harm is a way to damage what there is of an order; id is its key.
type harm struct {
	kind string // that is found at least
	sql  []string
	// gone: it is done to an order that was deleted.
	gone bool
	// needs is a condition of the orders t that it can be done to.
	needs string
	// key of what is found, beside or instead of the order's.
	key func(id int64) string
}

const itemsOf = "(select count(*) from items i where i.order_id = t.order_id)"

var harms = map[string]harm{
	"value":       {kind: verify.Row, sql: []string{`update orders set amount = coalesce(amount, 0) + 0.01 where order_id = $1`}, needs: "t.placed_at is not null"},
	"null":        {kind: verify.Row, sql: []string{`update orders set placed_at = null where order_id = $1`}, needs: "t.placed_at is not null"},
	"array":       {kind: verify.Row, sql: []string{`update orders set tags = tags || 'x'::text where order_id = $1`}},
	"json":        {kind: verify.Row, sql: []string{`update orders set extra = extra || '{"c": 1}' where order_id = $1`}},
	"version":     {kind: verify.Row, sql: []string{`update orders set updated_at = updated_at + 5000 where order_id = $1`}},
	"no event":    {kind: verify.Place, sql: []string{`update orders set _oncesink_offset = _oncesink_offset + 1000000 where order_id = $1`}},
	"other event": {kind: verify.Place, sql: []string{`update orders t set _oncesink_offset = (select o._oncesink_offset from orders o where o.order_id <> t.order_id and o._oncesink_source = t._oncesink_source and not exists (select from hurt h where h.id = o.order_id) limit 1) where order_id = $1`}},
	"deleted":     {kind: verify.Missing, sql: []string{`delete from items where order_id = $1`, `delete from oncesink."public.items sets" where order_id = $1`, `delete from orders where order_id = $1`}},
	"key":         {kind: verify.Place, sql: []string{`update orders set order_id = $1 + 1000000 where order_id = $1`}, needs: itemsOf + " = 0", key: func(id int64) string { return fmt.Sprint(id + 1000000) }},
	"earlier": {kind: verify.Missing, sql: []string{`update orders t set status = b.status, amount = b.amount, note = b.note, placed_at = b.placed_at, tags = b.tags, extra = b.extra, day = b.day, updated_at = b.updated_at,
		_oncesink_source = b._oncesink_source, _oncesink_offset = b._oncesink_offset from before b where b.order_id = t.order_id and t.order_id = $1`},
		needs: "exists (select from before b where b.order_id = t.order_id and b._oncesink_offset < t._oncesink_offset and b._oncesink_source = t._oncesink_source)"},
	"by hand":  {kind: verify.Foreign, sql: []string{`insert into orders (order_id, status) values ($1 + 2000000, 'mine')`}, key: func(id int64) string { return fmt.Sprint(id + 2000000) }},
	"no place": {kind: verify.Foreign, sql: []string{`update orders set _oncesink_source = null where order_id = $1`}},
	"said to be deleted": {kind: verify.Place, sql: []string{
		`insert into oncesink."public.orders deletes" (order_id, updated_at, _oncesink_source, _oncesink_offset) select order_id, updated_at, _oncesink_source, _oncesink_offset from orders where order_id = $1
		     on conflict (order_id) do update set updated_at = excluded.updated_at, _oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset`,
		`delete from items where order_id = $1`, `delete from oncesink."public.items sets" where order_id = $1`, `delete from orders where order_id = $1`}},
	"forgotten": {kind: verify.Deletion, gone: true, sql: []string{`delete from oncesink."public.orders deletes" where order_id = $1`}},

	"child":          {kind: verify.Children, sql: []string{`update items set pieces = pieces + 1 where order_id = $1 and line = (select min(line) from items where order_id = $1)`}, needs: itemsOf + " > 0"},
	"lost child":     {kind: verify.Children, sql: []string{`delete from items where order_id = $1 and line = (select min(line) from items where order_id = $1)`}, needs: itemsOf + " > 0"},
	"stray child":    {kind: verify.Children, sql: []string{`insert into items (order_id, sku, pieces, _oncesink_source, _oncesink_offset) select order_id, 'stray', 1, _oncesink_source, _oncesink_offset from oncesink."public.items sets" where order_id = $1`}, needs: `exists (select from oncesink."public.items sets" s where s.order_id = t.order_id)`},
	"child by hand":  {kind: verify.Children, sql: []string{`insert into items (order_id, sku, pieces) values ($1, 'stray', 1)`}},
	"lost set":       {kind: verify.Children, sql: []string{`delete from oncesink."public.items sets" where order_id = $1`}, needs: itemsOf + " > 0"},
	"other set":      {kind: verify.Children, sql: []string{`update oncesink."public.items sets" set _oncesink_offset = _oncesink_offset + 1000000 where order_id = $1`}, needs: itemsOf + " > 0"},
	"lost children":  {kind: verify.Children, sql: []string{`delete from items where order_id = $1`}, needs: itemsOf + " > 0"},
	"orphan":         {kind: verify.Orphan, sql: []string{`insert into items (order_id, sku, pieces) values ($1 + 3000000, 'orphan', 1)`}, key: func(id int64) string { return fmt.Sprintf("%d,orphan", id+3000000) }},
	"other children": {kind: verify.Children, sql: []string{`update items set _oncesink_offset = _oncesink_offset - 1 where order_id = $1`}, needs: itemsOf + " > 0"},
}

// Each kind of damage is found by a walk, wherever it is, and nothing else; and what is mended is forgotten. So it is, from the second round on, where an
// archive has what the log of one partition, and of a part of another, had.
func TestDamageIsFound(t *testing.T) {
	r := newRig(t, ordersTable+";"+itemsTable, shapes["deletes"].tables()...)
	r.history(600, 200)
	r.sync()
	r.exec(`create table before as table orders; create table hurt (id bigint)`)
	with := func(*verify.Options) {}
	for round := range testenv.Times(2, 20) {
		r.history(600, 200)
		r.sync()
		if round > 0 {
			a := r.archived()
			with = func(o *verify.Options) { o.Archive = a }
			r.trim(map[int32]int64{0: r.end(0), 1: r.end(1) / 2})
		}
		if res := r.verify(with); res.Mismatches > 0 || res.Kept > 0 {
			t.Fatalf("round %d: found before anything was done: %+v", round, res)
		}
		r.exec(`truncate hurt`)
		r.exec(`create table saved as table orders; create table saved_items as table items; create table saved_sets as table oncesink."public.items sets"; create table saved_deletes as table oncesink."public.orders deletes"`)
		want := map[string]string{} // kinds by keys
		allowed := map[string]bool{}
		names := slices.Sorted(maps.Keys(harms))
		r.rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		for _, name := range names {
			h := harms[name]
			for range 2 {
				from, needs := "orders t", h.needs
				if h.gone {
					from = `(select d.order_id from oncesink."public.orders deletes" d where not exists (select from orders o where o.order_id = d.order_id)) t`
				}
				if needs == "" {
					needs = "true"
				}
				var id int64
				err := r.pool.QueryRow(context.Background(), fmt.Sprintf(`select order_id from %s where order_id < 1000000 and %s and not exists (select from hurt h where h.id = t.order_id) order by random() limit 1`, from, needs)).Scan(&id)
				if err != nil {
					t.Errorf("round %d: nothing to do %q to: %v", round, name, err)
					continue
				}
				r.exec(`insert into hurt values ($1)`, id)
				done := int64(0)
				for _, sql := range h.sql {
					done += r.exec(sql, id)
				}
				if done == 0 {
					t.Fatalf("%q did nothing to %d", name, id)
				}
				key := fmt.Sprint(id)
				allowed[key] = true
				if h.key != nil {
					key = h.key(id)
					allowed[key] = true
				}
				want[key] = name
			}
		}
		res := r.verify(with)
		if (res.Archived > 0) != (round > 0) || res.Untold[verify.Retention] > 0 {
			t.Errorf("round %d: %d records of the archive, %v", round, res.Archived, res.Untold)
		}
		kept, err := verify.Kept(t.Context(), r.pool, group, "public.orders", 1000)
		r.must(err)
		found := map[string][]string{}
		for _, m := range kept {
			key := strings.Join(m.Key, ",")
			found[key] = append(found[key], m.Kind)
			if !allowed[key] {
				t.Errorf("round %d: found where nothing was done: %s", round, m.Describe(true))
			}
		}
		for key, name := range want {
			if !slices.Contains(found[key], harms[name].kind) {
				t.Errorf("round %d: %q was done to %s, and found is %v, not %s: %s", round, name, key, found[key], harms[name].kind, value[string](r, "select coalesce((select t::text from orders t where order_id::text = $1), '') || ' ' || coalesce((select t::text from saved t where order_id::text = $1), '')", key))
			}
		}
		if res.Kept != int64(len(kept)) || res.Mismatches < res.Kept {
			t.Errorf("round %d: %d are kept, and %+v", round, len(kept), res)
		}
		r.exec(`delete from items; delete from oncesink."public.items sets"; delete from orders; delete from oncesink."public.orders deletes";
			insert into orders select * from saved; insert into items select * from saved_items; insert into oncesink."public.items sets" select * from saved_sets; insert into oncesink."public.orders deletes" select * from saved_deletes;
			drop table saved, saved_items, saved_sets, saved_deletes`)
		if res := r.verify(with, sampleOf(1)); res.Kept != 0 || res.Mended != int64(len(kept)) {
			t.Errorf("round %d: after all was mended: %+v, want %d mended", round, res, len(kept))
		}
	}
}
