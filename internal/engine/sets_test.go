package engine

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// shopPhysical is every row of a shop where it lies: a write, and a lock that is left behind, changes it.
const shopPhysical = `select 'o', ctid, xmin, xmax, o::text from orders o union all select 'i', ctid, xmin, xmax, i::text from items i
	union all select 't', ctid, xmin, xmax, t::text from tags t
	union all select 'is', ctid, xmin, xmax, s::text from oncesink."public.items sets" s
	union all select 'ts', ctid, xmin, xmax, s::text from oncesink."public.tags sets" s
	union all select 'd', ctid, xmin, xmax, d::text from oncesink."public.orders deletes" d order by 1, 5`

// batches writes values of partition 0 from the beginning, so many at a time.
func (e *engine) batches(size int, values []string) {
	e.t.Helper()
	for at := 0; at < len(values); at += size {
		e.write(e.add(0, int64(at), values[at:min(at+size, len(values))]...))
	}
}

// Rule 16: a replay brings back what is missing of the children: all of a table that was added later, and those that a
// hand deleted, whatever the batches, and also where an event without the array wrote the parent last.
func TestReplayFillsChildren(t *testing.T) {
	for _, orders := range []int{100, 1000} {
		for _, size := range []int{20, 5000} {
			t.Run(fmt.Sprintf("%d orders by %d", orders, size), func(t *testing.T) {
				db := newDatabase(t, "create table orders (id bigint primary key, version int, status text)")
				cfg := shopConfig()
				e := db.open(sink.Config{Tables: cfg.Tables[:1]})
				var values []string
				for i := range orders {
					values = append(values, fmt.Sprintf(`{"id": %d, "version": 1, "status": "new", "items": [{"sku": "a", "pieces": %d}]}`, i, i))
				}
				for i := range orders / 2 {
					values = append(values, fmt.Sprintf(`{"id": %d, "version": 2, "status": "paid"}`, i))
				}
				values = append(values, "-1", "-2")
				e.batches(size, values)

				db.Do("create table items (order_id bigint references orders, sku text, pieces int, line int, primary key (order_id, sku))")
				items := cfg.Tables[1]
				items.Columns = map[string]sink.ColumnConfig{"line": {From: "$index"}}
				e = db.open(sink.Config{Tables: []sink.TableConfig{cfg.Tables[0], items}})
				replay := func(claims bool) {
					t.Helper()
					if claims {
						e.rewind("o", 0, 0)
					} else {
						db.Do("select oncesink.rewind('g', 'o', 0, 0)")
						e.ledger = offsets.New(e.pool, "g", offsets.Options{Mappings: e.Mappings()})
						e.Sink = e.WithLedger(e.ledger)
						e.claim("o", 0)
					}
					e.batches(size, values)
					db.Want(fmt.Sprintf("%d|%d", orders-2, orders-2), "select count(*), count(*) filter (where pieces = order_id and line = 1) from items")
				}
				replay(false)
				const physical = `select 'o', ctid, xmin, xmax, o::text from orders o union all select 'i', ctid, xmin, xmax, i::text from items i
					union all select 's', ctid, xmin, xmax, s::text from oncesink."public.items sets" s order by 1, 5`
				before := db.Lines(physical)
				replay(true)
				db.Want(before, physical)
				db.Do("delete from items where order_id % 10 = 3")
				replay(true)
				db.Do("delete from items")
				replay(true)
			})
		}
	}
}

// setHistories are kinds of random histories of orders with items and tags.
var setHistories = []struct {
	name       string
	partitions int
	apart      bool // an order's events are all in one partition
	versioned  bool
	tombstones bool
}{
	{"one partition", 1, true, true, true},
	{"orders apart", 3, true, true, true},
	{"orders in several partitions", 3, false, true, false},
	{"orders in several partitions, tombstones by place", 3, false, false, true},
}

// setEvent is an event of a history.
type setEvent struct {
	at         offsets.Partition
	offset     int64
	source     int32
	id         int
	version    int
	gone       bool
	items, tag []string // nil: no array
	value      string
}

// setModel says what children there should be.
func setModel(events []setEvent, versioned bool) string {
	var lines []string
	byID := map[int][]setEvent{}
	for _, e := range events {
		byID[e.id] = append(byID[e.id], e)
	}
	for id, events := range byID {
		if !versioned { // then the order of the guard is that of the places, tombstones among them
			slices.SortFunc(events, func(a, b setEvent) int {
				return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(a.source, b.source))
			})
		}
		newer := func(a, b *setEvent) bool {
			return b == nil || cmp.Or(cmp.Compare(a.version, b.version), cmp.Compare(a.offset, b.offset), cmp.Compare(a.source, b.source)) > 0
		}
		var row, items, tags *setEvent
		remembered := -1
		for i := range events {
			e := &events[i]
			switch {
			case e.gone:
				if row != nil {
					remembered = max(remembered, row.version)
				}
				row, items, tags = nil, nil, nil
				continue
			case e.version < remembered:
				continue
			}
			if newer(e, row) {
				row = e
			}
			if e.items != nil && newer(e, items) {
				items = e
			}
			if e.tag != nil && newer(e, tags) {
				tags = e
			}
		}
		if items != nil {
			for _, x := range items.items {
				lines = append(lines, fmt.Sprintf("i|%d|%s", id, x))
			}
		}
		if tags != nil {
			for _, x := range tags.tag {
				lines = append(lines, fmt.Sprintf("t|%d|%s", id, x))
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func setLog(rnd *rand.Rand, partitions int, apart, versioned, tombstones bool) []setEvent {
	next := make([]int64, partitions)
	var log []setEvent
	for n := range 300 {
		e := setEvent{id: rnd.IntN(10)}
		e.at = offsets.Partition{Topic: "o", Partition: int32(rnd.IntN(partitions))}
		if apart {
			e.at.Partition = int32(e.id % partitions)
		}
		e.offset = next[e.at.Partition]
		next[e.at.Partition]++
		if versioned {
			e.version = rnd.IntN(8) + n/60
		}
		if e.gone = tombstones && rnd.IntN(9) == 0; e.gone {
			e.value = fmt.Sprintf("-%d", e.id)
			log = append(log, e)
			continue
		}
		e.value = fmt.Sprintf(`{"id": %d, "version": %d`, e.id, e.version)
		if rnd.IntN(2) == 0 {
			e.value += fmt.Sprintf(`, "status": "%d"`, n)
		}
		if rnd.IntN(3) > 0 {
			e.items = []string{}
			var elements []string
			for i := range rnd.IntN(4) {
				e.items = append(e.items, fmt.Sprintf("s%d %d", i, n))
				elements = append(elements, fmt.Sprintf(`{"sku": "s%d", "pieces": %d}`, i, n))
			}
			e.value += `, "items": [` + strings.Join(elements, ", ") + "]"
		}
		switch rnd.IntN(4) {
		case 0:
			e.tag = []string{}
			e.value += `, "tags": null`
		case 1:
			e.tag = []string{fmt.Sprint(n % 5)}
			e.value += fmt.Sprintf(`, "tags": ["%d"]`, n%5)
		}
		e.value += "}"
		log = append(log, e)
	}
	return log
}

// Rule 16: whatever the borders of batches and the turns of partitions, the children of a row are those of the last
// event with the array; a replay changes no row, and puts back children that a hand deleted.
func TestSetHistories(t *testing.T) {
	times := testenv.Times(2, 10)
	if onRoute() {
		times = testenv.Times(1, 10)
	}
	setsComeOut(t, times, shopPhysical, func(*engine) {})
}

// setsComeOut tries histories of each kind; physical is what a replay leaves as it is. Prepare is called with each engine.
func setsComeOut(t *testing.T, times int, physical string, prepare func(*engine)) {
	for _, h := range setHistories {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			e := shop(t, "references orders")
			if !h.versioned {
				db := newDatabase(t,
					"create table orders (id bigint primary key, status text)",
					"create table items (order_id bigint references orders, sku text, pieces int, line int, shop text, primary key (order_id, sku))",
					"create table tags (order_id bigint references orders, tag text, primary key (order_id, tag))")
				cfg := shopConfig()
				cfg.Tables[0].Version = ""
				e = db.open(cfg)
			}
			e.t = t
			prepare(e)
			for p := range h.partitions {
				e.claim("o", int32(p))
			}
			for round := range uint64(times) {
				rnd := rand.New(rand.NewPCG(*seed+round, 16))
				log := setLog(rnd, h.partitions, h.apart, h.versioned, h.tombstones)
				for i := range log {
					log[i].source = e.claims[log[i].at].Source
				}
				want := setModel(log, h.versioned)
				check := func(when string) {
					t.Helper()
					if got := e.db.Lines("select 'i', order_id, sku || ' ' || pieces from items union all select 't', order_id, tag from tags order by 1, 2, 3"); sorted(got) != sorted(want) {
						t.Fatalf("seed %d: %s:\n%s\nwant:\n%s", *seed+round, when, sorted(got), sorted(want))
					}
				}
				e.db.Do(`truncate orders, items, tags, oncesink."public.items sets", oncesink."public.tags sets", oncesink."public.orders deletes"`)
				for p := range h.partitions {
					e.rewind("o", int32(p), 0)
				}
				e.read(rnd, log, nil)
				check("first reading")
				before := e.db.Lines(physical)
				same := func() {
					t.Helper()
					if got := e.db.Lines(physical); got != before {
						t.Fatalf("seed %d: a replay wrote or locked:\n%s\nwas:\n%s", *seed+round, without(got, before), without(before, got))
					}
				}
				for p := range h.partitions {
					e.rewind("o", int32(p), 0)
				}
				e.read(rnd, log, same)
				for range 2 {
					e.db.Do("delete from items where random() < 0.3")
					e.db.Do("delete from tags where random() < 0.3")
					for p := range h.partitions {
						e.rewind("o", int32(p), 0)
					}
					e.read(rnd, log, nil)
					check("a replay after a hand deleted children")
				}
			}
		})
	}
}

// without are the lines of a that b lacks.
func without(a, b string) string {
	other := strings.Split(b, "\n")
	return strings.Join(slices.DeleteFunc(strings.Split(a, "\n"), func(line string) bool { return slices.Contains(other, line) }), "\n")
}

func sorted(lines string) string {
	out := strings.Split(lines, "\n")
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// read writes a log in batches with random borders, each partition's part of a batch in a transaction of
// its own or all in one. After each it calls then.
func (e *engine) read(rnd *rand.Rand, log []setEvent, then func()) {
	e.t.Helper()
	for at := 0; at < len(log); {
		n := min(len(log)-at, 1+rnd.IntN(120))
		var parts []*decode.Part
		for p, c := range e.claims {
			part := &decode.Part{Claim: c}
			for _, v := range log[at : at+n] {
				if v.at != p {
					continue
				}
				r := sink.Record{Topic: "o", Partition: p.Partition, Offset: v.offset, Value: []byte(v.value)}
				if v.gone {
					r.Key, r.Value = []byte(fmt.Sprint(v.id)), nil
				}
				e.Add(part, r)
			}
			if len(part.Records) > 0 {
				parts = append(parts, part)
			}
		}
		at += n
		if rnd.IntN(2) == 0 {
			e.write(parts...)
		} else {
			for _, p := range parts {
				e.write(p)
			}
		}
		if then != nil {
			then()
		}
	}
}

// An event of the set that was deleted: a tombstone from another partition, read late, takes the set that came before it,
// though not the row that came after it.
func TestTombstoneTakesTheSetBeforeIt(t *testing.T) {
	for _, late := range []bool{false, true} {
		db := newDatabase(t, "create table orders (id bigint primary key, status text)", "create table items (order_id bigint, sku text, primary key (order_id, sku))")
		cfg := shopConfig()
		cfg.Tables[0].Version, cfg.Tables[1].Columns = "", nil
		cfg.Tables = cfg.Tables[:2]
		e := db.open(cfg)
		e.write(e.add(0, 0, `{"id": 1, "items": [{"sku": "a"}]}`))
		steps := []func(){func() { e.write(e.add(0, 3, "-1")) }, func() { e.write(e.add(1, 5, `{"id": 1, "status": "again"}`)) }}
		if late {
			slices.Reverse(steps)
		}
		for _, step := range steps {
			step()
		}
		db.Want("1|again|0", "select id, status, (select count(*) from items) from orders")
	}
}

// Init beside children that are there notes which events brought them.
func TestSetMemoryIsFilled(t *testing.T) {
	e := shop(t, "references orders")
	values := []string{
		`{"id": 1, "version": 3, "items": [{"sku": "a"}, {"sku": "b"}]}`,
		`{"id": 2, "version": 4, "items": [{"sku": "a"}]}`,
		`{"id": 2, "version": 5, "status": "paid"}`,
		`{"id": 3, "version": 1, "items": []}`,
	}
	e.write(e.add(0, 0, values...))
	e.db.Do(`drop table oncesink."public.items sets"`)
	e.db.Do("insert into orders (id) values (9)")
	e.db.Do("insert into items (order_id, sku) values (9, 'of a hand')")
	if err := schema.Init(t.Context(), e.db.Conn, shopConfig()); err != nil {
		t.Fatal(err)
	}
	e.db.Want("1|3|0\n2|-|1", `select id, version, _oncesink_offset from oncesink."public.items sets" order by 1`)
	e.rewind("o", 0, 0)
	e.write(e.add(0, 0, values...))
	e.db.Want("1|a\n1|b\n2|a\n9|of a hand", "select order_id, sku from items order by 1, 2")
	e.write(e.add(0, 4, `{"id": 9, "version": 1, "items": [{"sku": "c"}]}`))
	e.db.Want("9|c", "select order_id, sku from items where order_id = 9")
}

// Rule 13: what a memory compares has the types of the target, and init sees to it.
func TestMemoriesFollowTheTarget(t *testing.T) {
	db := newDatabase(t,
		`create table orders (id int, region varchar(4) collate "C", version int, seq int, primary key (id, region))`,
		`create table items (order_id int, region varchar(4) collate "C", sku text, primary key (order_id, region, sku))`)
	cfg := func(version string) sink.Config {
		return sink.Config{Tables: []sink.TableConfig{
			{Name: "orders", Topics: []string{"o"}, Key: []string{"id", "region"}, Version: version, RecordKey: map[string]string{"id": "$key.id", "region": "$key.region"}},
			{Name: "items", Strategy: sink.Children, Parent: "orders", Each: "items", Key: []string{"order_id", "region", "sku"}, ParentKey: map[string]string{"order_id": "id"}},
		}}
	}
	e := db.open(cfg("version"))
	part := &decode.Part{Claim: e.claim("o", 0)}
	e.Add(part, sink.Record{Topic: "o", Value: []byte(`{"id": 1, "region": "eu", "version": 7, "items": [{"sku": "a"}]}`)},
		sink.Record{Topic: "o", Offset: 1, Value: []byte(`{"id": 2, "region": "eu", "version": 8, "items": [{"sku": "a"}]}`)},
		sink.Record{Topic: "o", Offset: 2, Key: []byte(`{"id": 2, "region": "eu"}`)})
	e.write(part)
	const rows = `select 'd', id, region, version, _oncesink_offset from oncesink."public.orders deletes" union all
		select 's', id, region, version, _oncesink_offset from oncesink."public.items sets" order by 1`
	db.Want("d|2|eu|8|2\ns|1|eu|7|0", rows)
	for _, change := range []string{
		"alter table orders alter id type bigint; alter table items alter order_id type bigint",
		`alter table orders alter region type text; alter table items alter region type text`,
		`alter table orders alter region type varchar(9) collate "POSIX"; alter table items alter region type varchar(9) collate "POSIX"`,
		"alter table orders alter version type numeric(9, 2)",
		`create domain big as bigint; alter table orders alter version type big`,
	} {
		db.Do(change, pgx.QueryExecModeSimpleProtocol)
		_, err := Open(t.Context(), db.pool(), nil, cfg("version"))
		checkProblems(t, err, []string{
			`of the delete memory "oncesink"."public.orders deletes" has another type than that of public.orders: run ` + "`oncesink init`",
			`of the set memory "oncesink"."public.items sets" has another type than that of public.orders: run ` + "`oncesink init`"})
		db.open(cfg("version"))
	}
	db.Want("d|2|eu|8|2\ns|1|eu|7|0", rows)

	// Another version: what is remembered has none.
	_, err := Open(t.Context(), db.pool(), nil, cfg("seq"))
	checkProblems(t, err, []string{"column seq of the delete memory", "column seq of the set memory"})
	db.open(cfg("seq"))
	db.Want("1", `select count(*) from oncesink."public.orders deletes" where seq is null`)

	// Another key: what is remembered is of other rows.
	db.Do("alter table orders drop constraint orders_pkey, add primary key (id); alter table items drop constraint items_pkey, add primary key (order_id, sku)", pgx.QueryExecModeSimpleProtocol)
	other := cfg("version")
	other.Tables[0].Key, other.Tables[0].RecordKey = []string{"id"}, map[string]string{"id": "$key.id"}
	other.Tables[1].Key = []string{"order_id", "sku"}
	if err := schema.Init(t.Context(), db.Conn, other); err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), db.pool(), nil, other)
	checkProblems(t, err, []string{`drop table "oncesink"."public.orders deletes" and run`, `drop table "oncesink"."public.items sets" and run`})
	db.Do(`drop table "oncesink"."public.orders deletes", "oncesink"."public.items sets"`)
	db.open(other)
}
