package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// shop opens orders with their items and tags.
func shop(t testing.TB, foreignKey string) *engine {
	db := newDatabase(t,
		"create table orders (id bigint primary key, version int, status text)",
		"create table items (order_id bigint "+foreignKey+", sku text, pieces int default 1, line int, shop text, primary key (order_id, sku))",
		"create table tags (order_id bigint "+foreignKey+", tag text, primary key (order_id, tag))")
	return db.open(shopConfig())
}

func shopConfig() sink.Config {
	return sink.Config{Tables: []sink.TableConfig{
		{Name: "orders", Topics: []string{"o"}, Key: []string{"id"}, Version: "version", RecordKey: map[string]string{"id": "$key"}},
		{Name: "items", Strategy: sink.Children, Parent: "orders", Each: "items", Key: []string{"order_id", "sku"}, ParentKey: map[string]string{"order_id": "id"},
			Columns: map[string]sink.ColumnConfig{"line": {From: "$index"}, "shop": {From: "$event.shop.name"}}},
		{Name: "tags", Strategy: sink.Children, Parent: "orders", Each: "tags", Key: []string{"order_id", "tag"}, ParentKey: map[string]string{"order_id": "id"},
			Columns: map[string]sink.ColumnConfig{"tag": {From: "$element"}}},
	}}
}

// add makes a part of values; "-7" is the tombstone of order 7.
func (e *engine) add(partition int32, from int64, values ...string) *decode.Part {
	p := offsets.Partition{Topic: "o", Partition: partition}
	c, ok := e.claims[p]
	if !ok {
		c = e.claim("o", partition)
	}
	part := &decode.Part{Claim: c}
	for i, v := range values {
		r := sink.Record{Topic: "o", Partition: partition, Offset: from + int64(i), Value: []byte(v)}
		if key, gone := strings.CutPrefix(v, "-"); gone {
			r.Key, r.Value = []byte(key), nil
		}
		e.Add(part, r)
	}
	return part
}

const itemRows = "select order_id, string_agg(sku || ' ' || coalesce(pieces::text, '-') || ' ' || line, ', ' order by line) from items group by 1 order by 1"

// TestChildren: the last event that has the array by the order of the guard replaces the children of its row, whether it
// won the row or not, an earlier one changes nothing, one without the array leaves them, and a tombstone takes them along.
func TestChildren(t *testing.T) {
	for _, foreignKey := range []string{"", "references orders", "references orders on delete cascade"} {
		t.Run(foreignKey, func(t *testing.T) {
			e := shop(t, foreignKey)
			values := []string{
				`{"id": 1, "version": 1, "status": "new", "shop": {"name": "x"}, "items": [{"sku": "a", "pieces": 2}, {"sku": "b"}], "tags": ["new", "big"]}`,
				`{"id": 2, "version": 5, "status": "new", "items": [{"sku": "a", "pieces": null}], "tags": null}`,
				`{"id": 2, "version": 4, "status": "old", "items": [{"sku": "z", "pieces": 9}]}`, // loses
				`{"id": 3, "version": 1, "status": "new", "items": []}`,
				`{"id": 4, "version": 1, "status": "new", "items": [{"sku": "a"}]}`,
				`-4`,
				`{"id": 4, "version": 0, "status": "late", "items": [{"sku": "a"}]}`, // remembered
			}
			e.write(e.add(0, 0, values...))
			e.db.Want("1|a 2 1, b 1 2\n2|a - 1", itemRows)
			e.db.Want("1|big new", "select order_id, string_agg(tag, ' ' order by tag) from tags group by 1")
			e.db.Want("x", "select distinct shop from items where order_id = 1")
			more := []string{
				`{"id": 1, "version": 2, "status": "paid"}`,                                   // keeps the children
				`{"id": 2, "version": 6, "items": [{"sku": "c"}, {"sku": "d", "pieces": 3}]}`, // without status
				`{"id": 1, "version": 1, "status": "x", "items": [{"sku": "z"}], "tags": []}`, // loses the row, and has the later set
				`{"id": 3, "version": 2, "status": "new", "items": [{"sku": "q"}], "tags": []}`,
				`{"id": 3, "version": 3, "status": "done", "items": null}`,
			}
			e.write(e.add(0, 7, more...))
			e.db.Want("1|z 1 1\n2|c 1 1, d 3 2", itemRows)
			e.db.Want("", "select tag from tags")
			e.db.Want("1|paid\n2|new\n3|done", "select id, status from orders order by 1")

			before := e.db.Lines(shopPhysical)
			for range 2 { // a replay, in one piece and event by event, writes and locks nothing
				e.rewind("o", 0, 0)
				e.write(e.add(0, 0, append(append([]string{}, values...), more...)...))
				e.db.Want(before, shopPhysical)
			}
			e.rewind("o", 0, 0)
			for i, v := range append(append([]string{}, values...), more...) {
				e.write(e.add(0, int64(i), v))
				e.db.Want(before, shopPhysical)
			}
			e.write(e.add(0, 12, `-2`, `-1`))
			e.db.Want("", itemRows)
			e.db.Want("0", "select count(*) from oncesink.dead_letters")
		})
	}
}

// TestChildrenDeadLetters: a record whose array can't become rows is kept whole, and nothing of it is written.
func TestChildrenDeadLetters(t *testing.T) {
	e := shop(t, "references orders")
	e.write(e.add(0, 0,
		`{"id": 1, "version": 1, "items": {"sku": "a"}}`,
		`{"id": 2, "version": 1, "items": [{"sku": "a"}, 7]}`,
		`{"id": 3, "version": 1, "items": [{"sku": "a", "pieces": 1.5}]}`,
		`{"id": 4, "version": 1, "items": [{"pieces": 1}]}`,
		`{"id": 5, "version": 1, "items": [{"sku": "a"}, {"sku": "b"}, {"sku": "a"}]}`,
		`{"id": 6, "version": 1, "items": [{"sku": "a", "pieces": 99999999999}]}`,
		`{"id": 7, "version": 1, "items": [{"sku": "a"}], "tags": ["a", {"b": 1}, null]}`,
		`{"id": 8, "version": 1, "items": [{"sku": "a"}]}`))
	e.db.Want("0|public.items|the field items is no array\n1|public.items|element 2 of items has no value for this column of the key\n"+
		"3|public.items|element 1 of items has no value for this column of the key\n4|public.items|two elements of items have one key",
		`select "offset", target, message from oncesink.dead_letters where "offset" in (0, 1, 3, 4) order by 1`)
	e.db.Want("0 1 2 3 4 5 6", `select string_agg("offset"::text, ' ' order by "offset") from oncesink.dead_letters`)
	e.db.Want("8", "select string_agg(id::text, ' ') from orders")
	e.db.Want("8|a 1 1", itemRows)
}

// TestChildrenRace: one partition brings new events of orders while another one's are read again. The children
// are always those of the event that holds the set, and that is the last one by the order of the guard.
func TestChildrenRace(t *testing.T) {
	seed := rand.Uint64()
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	rnd := rand.New(rand.NewPCG(seed, 1))
	e := shop(t, "references orders")
	batch := func(n int) (values []string) {
		for range n {
			version := rnd.IntN(1000)
			values = append(values, fmt.Sprintf(`{"id": %d, "version": %d, "items": [{"sku": "a%d", "pieces": %d}, {"sku": "b", "pieces": %d}]}`,
				rnd.IntN(8), version, rnd.IntN(3), version, version))
		}
		return values
	}
	const size = 8
	for round := range int64(60) {
		old := batch(size)
		e.write(e.add(0, round*size, old...))
		e.rewind("o", 0, round*size)
		parts := []*decode.Part{e.add(0, round*size, old...), e.add(1, round*size, batch(size)...)}
		var out [2]Outcome
		var group sync.WaitGroup
		for i := range parts {
			group.Go(func() { out[i] = e.Write(t.Context(), parts[i:i+1])[0] })
		}
		group.Wait()
		for _, o := range out {
			if o.Err != nil {
				t.Fatal(o.Err)
			}
			e.claims[o.Claim.Partition] = o.Claim
		}
		e.db.Want("t|0", `select count(*) = 2 * (select count(*) from orders), count(*) filter (where i.pieces <> o.version or i._oncesink_source <> o._oncesink_source)
			from orders o join items i on i.order_id = o.id`)
		e.db.Want("0", `select count(*) from orders o left join oncesink."public.items sets" s on s.id = o.id and s.version = o.version and s._oncesink_offset = o._oncesink_offset where s.id is null`)
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
}

// TestChildrenWaitForTheirSet: children that a hand removed come back where their event is sent again, but not
// those of an event that is losing its set at that moment.
func TestChildrenWaitForTheirSet(t *testing.T) {
	e := shop(t, "")
	value := `{"id": 1, "version": 1, "items": [{"sku": "a"}]}`
	e.write(e.add(0, 0, value))
	e.db.Do("delete from items")
	e.rewind("o", 0, 0)
	e.write(e.add(0, 0, value))
	e.db.Want("1|a 1 1", itemRows)

	e.db.Do("delete from items")
	e.rewind("o", 0, 0)
	other, err := e.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Rollback(t.Context()) }()
	if _, err := other.Exec(t.Context(), `update oncesink."public.items sets" set version = 2, _oncesink_offset = 9`); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	part := e.add(0, 0, value)
	go func() { done <- e.Write(t.Context(), []*decode.Part{part})[0].Err }()
	waitUntil(t, func() (waits bool) {
		select {
		case err := <-done:
			t.Fatalf("did not wait: %v", err)
		default:
		}
		if err := e.db.QueryRow(t.Context(), "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database())").Scan(&waits); err != nil {
			t.Fatal(err)
		}
		return waits
	})
	if err := other.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	e.db.Want("", itemRows)
}

// TestChildrenRefused: what can't be kept right is refused at the start.
func TestChildrenRefused(t *testing.T) {
	db := newDatabase(t, "create table orders (id bigint primary key, version int)", "create table plain (id bigint primary key)",
		"create table items (order_id bigint, sku text, n int unique, primary key (order_id, sku))",
		"create table narrow (order_id int, sku text, primary key (order_id, sku))",
		"create table loose (order_id bigint, sku text primary key)")
	for name, tt := range map[string]struct {
		change func(parent, child *sink.TableConfig)
		want   string
	}{
		"no parent":      {func(_, c *sink.TableConfig) { c.Parent = "nothing" }, "list the parent first"},
		"parent unnamed": {func(_, c *sink.TableConfig) { c.Parent = "" }, "table items: parent is required"},
		"no array":       {func(_, c *sink.TableConfig) { c.Each = "" }, "table items: each is required"},
		"no path":        {func(_, c *sink.TableConfig) { c.Each = "a..b" }, "is no path"},
		"no guard":       {func(p, _ *sink.TableConfig) { p.Guard = "none" }, "only the guard"},
		"appending": {func(p, _ *sink.TableConfig) {
			*p = sink.TableConfig{Name: "orders", Topics: p.Topics, Strategy: sink.Append}
		}, "only the guard"},
		"unique":          {func(_, c *sink.TableConfig) {}, "besides the key"},
		"other type":      {func(_, c *sink.TableConfig) { c.Name = "narrow" }, "give them one type"},
		"key too short":   {func(_, c *sink.TableConfig) { c.Name, c.Key = "loose", []string{"sku"} }, "has no column for id of orders"},
		"a version":       {func(_, c *sink.TableConfig) { c.Version = "sku" }, "version has no meaning for strategy children"},
		"wrong key":       {func(_, c *sink.TableConfig) { c.ParentKey = map[string]string{"order_id": "version"} }, "it maps a column"},
		"key mapped":      {func(_, c *sink.TableConfig) { c.Columns = map[string]sink.ColumnConfig{"order_id": {From: "x"}} }, "mapped as well"},
		"parent's option": {func(p, _ *sink.TableConfig) { p.Each = "items" }, "each is for strategy children"},
		"unknown source":  {func(_, c *sink.TableConfig) { c.Columns = map[string]sink.ColumnConfig{"sku": {From: "$elemnt"}} }, "is no source"},
	} {
		t.Run(name, func(t *testing.T) {
			parent := sink.TableConfig{Name: "orders", Topics: []string{"o"}, Key: []string{"id"}}
			child := sink.TableConfig{Name: "items", Strategy: sink.Children, Parent: "orders", Each: "items", Key: []string{"order_id", "sku"}, ParentKey: map[string]string{"order_id": "id"}}
			tt.change(&parent, &child)
			cfg := sink.Config{Tables: []sink.TableConfig{parent, child}}
			_ = schema.Init(t.Context(), db.Conn, cfg)
			_, err := Open(t.Context(), db.pool(), nil, cfg)
			var problem *sink.ConfigError
			if !errors.As(err, &problem) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}
