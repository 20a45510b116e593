package verify_test

import (
	"testing"

	"github.com/oncesink/oncesink/internal/verify"
	"github.com/oncesink/oncesink/sink"
)

// shapes are tables of which a walk must tell nothing that is not so.
var shapes = map[string]struct {
	create string
	tables func() []sink.TableConfig
	// anywhere: a key's events come from several partitions.
	anywhere bool
}{
	"upserts":  {ordersTable, func() []sink.TableConfig { return []sink.TableConfig{upserts()} }, false},
	"anywhere": {ordersTable, func() []sink.TableConfig { return []sink.TableConfig{upserts()} }, true},
	"no version": {ordersTable, func() []sink.TableConfig {
		t := upserts()
		t.Version = ""
		return []sink.TableConfig{t}
	}, false},
	"children": {ordersTable + ";" + itemsTable, func() []sink.TableConfig { return []sink.TableConfig{upserts(), items()} }, false},
	"deletes": {ordersTable + ";" + itemsTable, func() []sink.TableConfig {
		t := upserts()
		t.DeleteWhen = deleted
		return []sink.TableConfig{t, items()}
	}, false},
	"soft": {ordersTable + "; alter table orders add deleted_at text", func() []sink.TableConfig {
		t := upserts()
		t.DeleteWhen, t.SoftDelete = deleted, map[string]string{"deleted_at": "$offset"}
		return []sink.TableConfig{t}
	}, false},
	"append": {`create table orders (order_id bigint not null, note text, amount numeric(12, 2), day date)`, func() []sink.TableConfig {
		return []sink.TableConfig{{Name: "orders", Topics: []string{"orders"}, Strategy: sink.Append, Tombstones: "ignore"}}
	}, false},
	"computed": {ordersTable, func() []sink.TableConfig {
		t := upserts()
		t.Columns = map[string]sink.ColumnConfig{"note": {SQL: "upper(remark) || order_id", Inputs: map[string]sink.InputConfig{"remark": {From: "note", Type: "text"}}}}
		return []sink.TableConfig{t}
	}, false},
	"ignoring": {ordersTable, func() []sink.TableConfig {
		t := upserts()
		t.RecordKey, t.Tombstones = nil, "ignore"
		return []sink.TableConfig{t}
	}, false},
}

// Nothing is told of tables that are as their topics say, whatever they are made of.
func TestNothingIsToldWithoutDamage(t *testing.T) {
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, shape.create, shape.tables()...)
			r.anywhere = shape.anywhere
			r.history(1500, 150)
			r.sync()
			r.verify()
			r.exec(`analyze orders`)
			rows := value[int64](r, "select count(*) from orders")
			if res := r.verify(sampleOf(100)); res.Rows < 20 || res.Rows > 100 || res.Events == 0 || res.Events > 100 || res.RowsAbout != rows || res.Complete {
				t.Errorf("a sample of 100 of %d rows: %+v", rows, res)
			}
			r.verify()
			res := r.verify()
			if res.Mismatches > 0 || res.Kept > 0 || !res.Complete || res.Pass != 3 {
				t.Errorf("found without damage: %+v", res)
			}
			if res.Rows != rows || res.Events != 1500 {
				t.Errorf("looked at %d rows of %d, and at %d events of 1500", res.Rows, rows, res.Events)
			}
			letters := value[int64](r, "select count(*) from oncesink.dead_letters")
			for why, n := range res.Untold {
				if why != verify.DeadLetter || n > letters || n == 0 {
					t.Errorf("%d can't be told: %s; there are %d dead letters", n, why, letters)
				}
			}
		})
	}
}

var deleted = map[string]sink.Condition{"deleted": {In: []string{"true"}}}
