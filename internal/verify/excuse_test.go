package verify_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/internal/verify"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// whole is an event with every field.
func (r *rig) whole(id int64) event {
	for {
		e := r.mixed(id)
		if e != nil && e["deleted"] == nil && e["status"] != nil && e["note"] != nil && e["day"] == "2026-01-02" && len(e["status"].(string)) < 20 {
			return e
		}
	}
}

// wholes produces a whole event for each of n orders from one on.
func (r *rig) wholes(from, n int64) {
	for id := from; id < from+n; id++ {
		r.produce(id, r.whole(id))
	}
	r.must(r.client.Flush(context.Background()))
}

// wants walks, and compares what is found and what can't be told.
func (r *rig) wants(what string, mismatches int64, untold map[string]int64) {
	r.Helper()
	res := r.verify()
	if res.Mismatches != mismatches || !maps.Equal(res.Untold, untold) {
		r.Errorf("%s: %d mismatches and %v, want %d and %v: %+v", what, res.Mismatches, res.Untold, mismatches, untold, res.Found)
	}
}

// What an earlier mapping, or an earlier form of the table, made of events is no mismatch; what is made by the present ones is.
func TestEarlierMappings(t *testing.T) {
	table := upserts()
	table.Columns = map[string]sink.ColumnConfig{"note": {From: "status"}}
	r := newRig(t, ordersTable, table)
	r.wholes(0, 30)
	r.sync()
	r.wants("by one mapping", 0, map[string]int64{})
	// The group goes over to another mapping.
	r.config.Tables[0].Columns = nil
	s, err := engine.Open(t.Context(), r.pool, nil, r.config)
	r.must(err)
	r.wants("before the mapping is the group's", 0, map[string]int64{verify.Mapping: 30})
	conn, err := r.pool.Acquire(t.Context())
	r.must(err)
	r.must(offsets.AcceptMappings(t.Context(), conn.Conn(), group, s.Mappings()))
	conn.Release()
	r.sync()
	r.wants("after it", 0, map[string]int64{verify.Mapping: 30})
	r.wholes(30, 30)
	r.sync()
	r.wants("with rows of both", 0, map[string]int64{verify.Mapping: 30})
	r.exec(`update orders set note = 'damaged' where order_id in (1, 31)`)
	r.wants("a damaged row of each", 1, map[string]int64{verify.Mapping: 30})
	// What an accepted mapping is about is not known any more once the table was made anew by it.
	r.exec(`delete from orders where order_id < 30`)
	r.wants("missing rows of the earlier one", 1, map[string]int64{verify.Mapping: 30})

	// A column that the table gains is filled from then on.
	r.exec(`delete from oncesink.mismatches; update orders set note = 'n1' where false`)
	r.exec(`alter table orders add column items jsonb`)
	for id := int64(60); id < 90; id++ {
		e := r.whole(id)
		e["items"] = []int{1}
		r.produce(id, e)
	}
	r.must(r.client.Flush(context.Background()))
	r.sync()
	res := r.verify()
	older := res.Untold[verify.Older]
	if res.Mismatches != 1 || older == 0 || older > 30 || res.Untold[verify.Mapping] != 30 {
		t.Errorf("after a column was added: %+v", res)
	}
	r.exec(`update orders set items = null where order_id = 70`)
	if res := r.verify(); res.Mismatches != 2 || res.Untold[verify.Older] != older {
		t.Errorf("with a damaged one: %+v", res)
	}
}

// Rows from before there was a guard, and what was lost to retention or to compaction, can't be told.
func TestWhatCannotBeTold(t *testing.T) {
	r := newRig(t, `create table orders (order_id bigint primary key, status text, updated_at bigint); insert into orders values (1000, 'before', 1)`, upserts())
	r.wholes(0, 30)
	r.sync()
	r.exec(`insert into orders values (1001, 'since', 1)`)
	r.wants("rows that no topic made", 1, map[string]int64{verify.Older: 1})
	res := r.verify(func(o *verify.Options) { o.Foreign = true })
	if res.Mismatches != 0 || !maps.Equal(res.Untold, map[string]int64{verify.Accepted: 2}) {
		t.Errorf("accepted: %+v", res)
	}
	r.exec(`delete from orders where order_id >= 1000`)

	// Five events of each partition are gone, and one row of them is damaged.
	var o kadm.Offsets
	for p := range int32(partitions) {
		o.Add(kadm.Offset{Topic: "orders", Partition: p, At: 5})
	}
	resp, err := r.admin.DeleteRecords(t.Context(), o)
	r.must(errors.Join(err, resp.Error()))
	r.exec(`update orders set status = 'lost' where order_id = 2`)
	r.wants("below the log", 0, map[string]int64{verify.Retention: 15})
	r.exec(`update orders set status = 'lost' where order_id = 22`)
	r.wants("above its beginning", 1, map[string]int64{verify.Retention: 15})

	// Rows of another source than the group reads, as of a topic that was recreated.
	r.exec(`update orders set _oncesink_source = _oncesink_source + 1 << 20 where order_id = 22`)
	res = r.verify()
	if res.Untold[verify.Source] != 1 || res.Mismatches != 0 {
		t.Errorf("of another source: %+v", res)
	}

	// What compaction may have taken: here a place that has no record.
	value := "compact"
	configs, err := r.admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "cleanup.policy", Value: &value}}, "orders")
	r.must(err)
	for _, c := range configs {
		r.must(c.Err)
	}
	r.exec(`update orders set _oncesink_offset = 500 where order_id = 23`)
	res = r.verify()
	if res.Untold[verify.Compacted] != 1 || res.Mismatches != 0 {
		t.Errorf("compacted: %+v", res)
	}
}

// Dead letters are not missing; nor is what triggers of the table may have left out or made otherwise.
func TestLettersAndTriggers(t *testing.T) {
	r := newRig(t, ordersTable, upserts())
	r.wholes(0, 10)
	long := r.whole(10)
	long["status"] = "much too long for the column"
	r.produce(10, long)
	unreadable := r.whole(11)
	unreadable["day"] = "no day"
	r.produce(11, unreadable)
	r.must(r.client.Flush(t.Context()))
	r.sync()
	r.wants("dead letters", 0, map[string]int64{verify.DeadLetter: 2})
	// A row can't be of an event that was refused.
	offset := value[int64](r, `select "offset" from oncesink.dead_letters where partition = 1`)
	r.exec(`update orders set _oncesink_offset = $1 where order_id = 1`, offset)
	res := r.verify()
	if res.Mismatches != 1 || res.Found[0].Kind != verify.Place || !strings.Contains(res.Found[0].Problem, "can't be written") && !strings.Contains(res.Found[0].Problem, "another key") {
		t.Errorf("a row of a dead letter: %+v", res)
	}
	r.exec(`delete from orders where order_id = 1`)

	r.exec(`create function shout() returns trigger language plpgsql as $$ begin new.status := upper(new.status); return case when new.order_id = 25 then null else new end; end $$;
		create trigger shout before insert or update on orders for each row execute function shout()`)
	r.exec(`delete from oncesink.mismatches`)
	r.wholes(20, 10)
	r.sync()
	// Of them the nine that are there are otherwise; of two events there is no row.
	r.wants("a trigger", 0, map[string]int64{verify.DeadLetter: 2, verify.Trigger: 11})
	r.exec(`alter table orders disable trigger shout`)
	if res := r.verify(); res.Mismatches != 11 {
		t.Errorf("without the trigger: %+v", res)
	}
}

// A mismatch says who wrote the row last as far as PostgreSQL knows, and where the event is.
func TestMismatchNames(t *testing.T) {
	r := newRig(t, ordersTable, upserts())
	r.wholes(0, 9)
	r.sync()
	var id string
	r.must(r.pool.QueryRow(t.Context(), `with x as (update orders set status = 'lost' where order_id = 7) select pg_current_xact_id()::text`).Scan(&id))
	offset := value[int64](r, `select _oncesink_offset from orders where order_id = 7`)
	res := r.verify()
	if len(res.Found) != 1 {
		t.Fatalf("found %+v", res)
	}
	m := res.Found[0]
	if m.Kind != verify.Row || m.Topic != "orders" || m.Partition != 1 || m.Offset != offset || len(m.Columns) != 1 || m.Columns[0] != "status" || m.Transaction != id || m.Written != nil {
		t.Errorf("found %+v", m)
	}
	if says := m.Describe(false); strings.Contains(says, "(7)") || !strings.Contains(says, "(status)") || !strings.Contains(m.Describe(true), "key (7)") {
		t.Errorf("it says %q", says)
	}
	// The ledger keeps so many and no more.
	r.exec(`insert into orders (order_id, status) select n, 'mine' from generate_series(10000, 11200) n`)
	if res := r.verify(); res.Mismatches != 1202 || res.Kept != 1000 || len(res.Found) != 20 {
		t.Errorf("found %d, kept %d, named %d", res.Mismatches, res.Kept, len(res.Found))
	}
}

// What can't be looked at is refused with what to do, and nothing outlives a transaction.
func TestRefusals(t *testing.T) {
	r := newRig(t, ordersTable+";"+itemsTable+`; create table bare (order_id bigint primary key, status text)`, upserts(), items(),
		sink.TableConfig{Name: "bare", Topics: []string{"orders"}, Key: []string{"order_id"}, Guard: sink.GuardNone, RecordKey: map[string]string{"order_id": "$key"}})
	for table, want := range map[string]string{"bare": "has no guard", "items": "holds children of public.orders", "other": `no table "other"`, "orders": "has never written"} {
		_, err := verify.Run(t.Context(), r.options(func(o *verify.Options) { o.Table = table }))
		var config *sink.ConfigError
		if !errors.As(err, &config) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", table, err, want)
		}
	}
	r.history(200, 20)
	r.sync()
	cfg := r.pool.Config()
	o := &testpg.Outside{}
	cfg.ConnConfig.Tracer = o
	pool, err := newPool(t, cfg)
	r.must(err)
	r.verify(func(o *verify.Options) { o.Pool = pool })
	r.verify(func(o *verify.Options) { o.Pool = pool }, sampleOf(10))
	for _, sql := range o.Seen() {
		t.Errorf("outlives its transaction: %s", sql)
	}
}

// A topic that was made anew has other events at the same places: nothing is told of the old ones.
func TestRecreatedTopic(t *testing.T) {
	r := newRig(t, ordersTable, upserts())
	r.wholes(0, 30)
	r.sync()
	deleted, err := r.admin.DeleteTopics(t.Context(), "orders")
	r.must(errors.Join(err, deleted.Error()))
	created, err := r.admin.CreateTopic(t.Context(), partitions, 1, nil, "orders")
	r.must(errors.Join(err, created.Err))
	client, err := kgo.NewClient(kgo.SeedBrokers(r.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableClientMetrics())
	r.must(err)
	t.Cleanup(client.Close)
	r.client = client
	r.wholes(100, 30)
	start := time.Now()
	r.wants("another topic", 0, map[string]int64{verify.Source: 30})
	if time.Since(start) > 30*time.Second {
		t.Errorf("it took %v", time.Since(start))
	}
}
