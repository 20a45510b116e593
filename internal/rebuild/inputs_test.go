package rebuild_test

import (
	"testing"

	"github.com/oncesink/oncesink/sink"
)

// A column that is computed from a field that no column takes is rebuilt like any other, in bulk and
// with an index; the field itself is no column.
func TestRebuildInputs(t *testing.T) {
	table := upserts
	table.Columns = map[string]sink.ColumnConfig{"note": {SQL: "upper(remark) || order_id", Inputs: map[string]sink.InputConfig{"remark": {From: "note", Type: "text"}}}}
	for name, bulk := range map[string]bool{"bulk": true, "index": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, table, ordersTable)
			one := r.uniform
			if !bulk {
				one = r.mixed
			}
			r.history(1000, 100, one)
			r.sync()
			want := r.state()
			if res := r.rebuilt(); res.Differs() || res.Bulk != bulk {
				t.Errorf("over an undamaged table: %+v, want no difference and bulk %v", res, bulk)
			}
			r.exec(`delete from orders where order_id % 5 = 0`)
			r.exec(`update orders set note = 'damaged' where order_id % 7 = 0`)
			r.rebuilt()
			if got := r.state(); got != want {
				t.Errorf("got\n%.600s\nwant\n%.600s", got, want)
			}
			if n := value[int](r, `select count(*) from orders where note <> 'N' || substr(note, 2) or note !~ (order_id || '$')`); n > 0 {
				t.Errorf("%d notes are not computed", n)
			}
		})
	}
}
