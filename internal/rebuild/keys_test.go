package rebuild_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/rebuild"
	"github.com/oncesink/oncesink/sink"
)

// Some keys alone are corrected, with the children of their rows: whether a row is damaged, missing, or one too many; all others stay as they are.
func TestKeys(t *testing.T) {
	r := withChildren(t)
	r.history(600, 40, r.basket)
	r.send(3, r.uniform(3))
	r.send(4, event{"status": "new", "updated_at": 1 << 40, "items": []map[string]any{{"sku": "a", "pieces": 1}}})
	r.sync()
	want := r.all()
	r.exec(`insert into orders (order_id, status, _oncesink_source, _oncesink_offset) select g, 'ghost', min(source), 0 from oncesink.sources, generate_series(1001, 1002) g group by g`)
	r.exec(`delete from items where order_id = 3; delete from orders where order_id = 3`)
	r.exec(`update orders set note = 'damaged'; update items set pieces = 1000`)
	keys := func(keys ...string) func(*rebuild.Options) { return func(o *rebuild.Options) { o.Keys = keys } }
	dry := r.rebuilt(keys("3", "(4)", "1001"), func(o *rebuild.Options) { o.DryRun = true })
	res := r.rebuilt(keys("3", "(4)", "1001"))
	if res.Added != 1 || res.Changed != 1 || res.Deleted != 1 || res.Keys != 3 || res.Children[0].Changed != 1 || dry.Added != 1 || dry.Changed != 1 || dry.Deleted != 1 || dry.Children[0] != res.Children[0] {
		t.Errorf("said %+v, did %+v", dry, res)
	}
	if n := value[int](r, `select count(*) from orders where note = 'damaged'`); n < 5 {
		t.Errorf("%d damaged rows are left", n)
	}
	if value[int](r, `select count(*) from items where pieces = 1000 and order_id <> 4`) == 0 || value[int](r, `select count(*) from items where pieces = 1000 and order_id = 4`) != 0 {
		t.Error("children of other keys were touched, or those of this one not")
	}
	for _, tc := range []struct{ key, says string }{{"77777", "have the key (77777)"}, {"x", `give a value of type bigint`}, {"(4,5)", "in parentheses"}} {
		_, err := r.rebuild(keys("4", tc.key))
		var config *sink.ConfigError
		if !errors.As(err, &config) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", tc.key, err)
		}
	}
	if r.rebuilt(); r.all() != want {
		t.Error("a rebuild of all leaves something")
	}
	r.clean()
}
