package demo

import (
	"maps"
	"testing"
	"time"
)

// TestDerived: the judge finds an item and a day that are missing, wrong, or too many.
func TestDerived(t *testing.T) {
	at := time.Date(2026, 1, 1, 23, 30, 0, 0, time.FixedZone("", -3600)) // the next day in UTC
	rows := map[int64]*row{
		7: {id: 7, country: "DE", items: `[{"price":9.90,"quantity":2,"sku":"a"},{"price":1.00,"quantity":1,"sku":"b"}]`, cents: 2080, placed: at},
		8: {id: 8, country: "DE", items: `[]`, cents: 5, placed: at},
	}
	items, err := itemsOf(rows)
	if err != nil {
		t.Fatal(err)
	}
	if want := (derived{"order 7, line 1": "a, 2 at 9.90", "order 7, line 2": "b, 1 at 1.00"}); items.differs(want) != 0 {
		t.Errorf("items %v", items)
	}
	if sales := salesOf(rows); sales.differs(derived{"2026-01-02 DE": "2 orders, 20.85"}) != 0 {
		t.Errorf("sales %v", sales)
	}
	for _, change := range []func(derived){
		func(d derived) { delete(d, "order 7, line 2") },
		func(d derived) { d["order 7, line 3"] = "" },
		func(d derived) { d["order 7, line 1"] = "a, 3 at 9.90" },
	} {
		got := maps.Clone(items)
		change(got)
		if items.differs(got) != 1 {
			t.Errorf("%v: not found", got)
		}
	}
}
