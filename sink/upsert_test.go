package sink

import "testing"

const orders = `create table orders (order_id bigint primary key, version int, qty int not null, note varchar(5) default 'none')`

func TestUpsert(t *testing.T) {
	db := newDatabase(t, orders)
	e := db.open(Config{Tables: []TableConfig{{Name: "orders", Topics: []string{"o"}, Key: []string{"order_id"}, Version: "version",
		RecordKey: map[string]string{"order_id": "$key"}}}})
	e.write(e.part("o", 0,
		ev{offset: 0, cols: "order_id=1 version=1 qty=1 note=a"},
		ev{offset: 1, cols: "order_id=2 version=1 qty=1"},
		ev{offset: 2, cols: "order_id=1 version=3 qty=3 note=c"},
		ev{offset: 3, cols: "order_id=1 version=2 qty=2 note=b"},
		ev{offset: 4, cols: "order_id=3 version=2 qty=x note=b"},
		ev{offset: 5, cols: "order_id=2", gone: true},
	))
	db.want("1|3|3|c", "select order_id, version, qty, note from orders order by 1")
	db.want("2|1|5", `select order_id, version, _oncesink_offset from oncesink."public.orders deletes"`)
	db.want("4|22P02|public.orders|new", `select "offset", code, target, status from oncesink.dead_letters`)
	db.want("6", "select next_offset from oncesink.offsets")
}
