package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/oncesink/oncesink/internal/catalog"
	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// clients are two tables of one topic, the referring one first in the configuration.
func clients(db *database, wait time.Duration) *engine {
	return db.open(sink.Config{ForeignKeyWait: wait, Tables: []sink.TableConfig{
		{Name: "orders", Topics: []string{"o"}, Key: []string{"order_id"}, RecordKey: map[string]string{"order_id": "$key"}},
		{Name: "customers", Topics: []string{"o"}, Key: []string{"customer_id"}, RecordKey: map[string]string{"customer_id": "$key"}},
	}})
}

// Rule 4: of tables that refer to each other the referenced one is written first and deleted from last, whatever
// their order in the configuration, on every route, without waiting for a parent.
func TestReferencedTablesFirst(t *testing.T) {
	for _, n := range []int{1, 20, 500} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			db := newDatabase(t, "create table customers (customer_id int primary key, name text)",
				"create table orders (order_id int primary key, customer_id int not null references customers)")
			e := clients(db, time.Hour)
			event := func(offset, id int) sink.Record {
				return incoming("o", int64(offset), fmt.Sprint(id), fmt.Sprintf(`{"order_id": %[1]d, "customer_id": %[1]d, "name": "n"}`, id))
			}
			write := func(from int, records ...sink.Record) {
				t.Helper()
				c, ok := e.claims[offsets.Partition{Topic: "o"}]
				if !ok {
					c = e.claim("o", 0)
				}
				p := &decode.Part{Claim: c}
				e.Add(p, records...)
				e.write(p)
			}
			var all []sink.Record
			for i := range n {
				all = append(all, event(i, i))
			}
			write(0, all...)
			db.Want(fmt.Sprintf("%d|%d|0", n, n), "select (select count(*) from orders), (select count(*) from customers), (select count(*) from oncesink.dead_letters)")

			// Written, deleted, written again and deleted, in one batch.
			all = nil
			at := n
			for _, value := range []bool{true, false, true, false, true} {
				for i := range n {
					r := event(at, i)
					if !value {
						r.Value = nil
					}
					all = append(all, r)
					at++
				}
			}
			write(n, all...)
			db.Want(fmt.Sprintf("%d|%d|0", n, n), "select (select count(*) from orders), (select count(*) from customers), (select count(*) from oncesink.dead_letters)")
			all = nil
			for i := range n {
				r := event(at, i)
				r.Value = nil
				all = append(all, r)
				at++
			}
			write(at, all...)
			db.Want("0|0|0", "select (select count(*) from orders), (select count(*) from customers), (select count(*) from oncesink.dead_letters)")
		})
	}
}

// A table that refers to itself is written record by record where a batch needs that: no good event becomes
// a dead letter, and none waits for what is in its own batch.
func TestSelfReference(t *testing.T) {
	for _, deferrable := range []string{"", " deferrable"} {
		t.Run(deferrable, func(t *testing.T) {
			t.Parallel()
			db := newDatabase(t, "create table staff (id int primary key, boss int references staff"+deferrable+", a int, b int)")
			e := db.open(sink.Config{ForeignKeyWait: 200 * time.Millisecond, Tables: []sink.TableConfig{{Name: "staff", Topics: []string{"o"}, Key: []string{"id"}}}})
			e.write(e.part("o", 0,
				ev{offset: 0, cols: "id=9"}, ev{offset: 1, cols: "id=5 boss=9 a=1"}, ev{offset: 2, cols: "id=3 boss=5 a=1 b=2"},
				ev{offset: 3, cols: "id=4 boss=77"}, ev{offset: 4, cols: "id=2 boss=3 b=1"}))
			db.Want("2|3\n3|5\n5|9\n9|-", "select id, boss from staff order by 1")
			db.Want("3|23503", `select "offset", code from oncesink.dead_letters`)
		})
	}
}

// A foreign key that appears while the sink runs counts at once.
func TestReferenceAddedLater(t *testing.T) {
	db := newDatabase(t, "create table customers (customer_id int primary key, name text)",
		"create table orders (order_id int primary key, customer_id int not null)")
	e := clients(db, time.Hour)
	p := &decode.Part{Claim: e.claim("o", 0)}
	e.Add(p, incoming("o", 0, "1", `{"order_id": 1, "customer_id": 1}`))
	e.write(p)
	db.Do("alter table orders add foreign key (customer_id) references customers")
	p = &decode.Part{Claim: e.claims[p.Claim.Partition]}
	for i := int64(1); i < 50; i++ {
		e.Add(p, incoming("o", i, fmt.Sprint(i), fmt.Sprintf(`{"order_id": %[1]d, "customer_id": %[1]d}`, 100-i)))
	}
	e.write(p)
	db.Want("50|50|0", "select (select count(*) from orders), (select count(*) from customers), (select count(*) from oncesink.dead_letters)")
}

// The order of tables that refer to each other in a circle is the configuration's.
func TestArrange(t *testing.T) {
	tables := func(n int) *mapping.Mapping {
		m := &mapping.Mapping{}
		for i := range n {
			m.Tables = append(m.Tables, &tables.Table{OID: uint32(i)})
		}
		return m
	}
	for _, tt := range []struct {
		n     int
		edges []catalog.Edge
		want  string
	}{
		{3, nil, "[0 1 2] false"},
		{3, []catalog.Edge{{From: 0, To: 2}}, "[1 2 0] true"},
		{4, []catalog.Edge{{From: 0, To: 1}, {From: 1, To: 2}, {From: 2, To: 3}}, "[3 2 1 0] true"},
		{3, []catalog.Edge{{From: 0, To: 1}, {From: 1, To: 0}}, "[2 0 1] true"},
		{2, []catalog.Edge{{From: 1, To: 1}}, "[0 1] true"},
		{2, []catalog.Edge{{From: 0, To: 7}, {From: 7, To: 1}}, "[0 1] false"}, // by way of a table that the sink does not write
	} {
		m := tables(tt.n)
		m.Arrange(tt.edges)
		if got := fmt.Sprint(m.Order, m.References); got != tt.want {
			t.Errorf("%+v: got %s, want %s", tt.edges, got, tt.want)
		}
	}
	// Children go with their parent, and bring its references along.
	m := tables(3)
	m.Tables[1].Parent = m.Tables[0]
	m.Arrange([]catalog.Edge{{From: 1, To: 0}, {From: 1, To: 2}})
	if got := fmt.Sprint(m.Order); got != "[1 2 0]" {
		t.Errorf("with children: got %s", got)
	}
}
