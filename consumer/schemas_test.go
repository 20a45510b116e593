package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/testformat"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// registry is a source of schemas that can be down.
type registry struct {
	mu       sync.Mutex
	texts    map[string]string
	asked    map[string]int
	hopeless bool
	// hangs is closed when the first question arrives that has no answer. It waits until it is given up: left is closed then.
	hangs, left chan struct{}
}

func newRegistry(texts map[string]string) *registry {
	return &registry{texts: texts, asked: map[string]int{}}
}

func (g *registry) Schema(ctx context.Context, ref event.SchemaRef) (event.Schema, error) {
	g.mu.Lock()
	g.asked[ref.ID]++
	text, ok := g.texts[ref.ID]
	hangs := g.hangs
	if !ok {
		g.hangs = nil
	}
	g.mu.Unlock()
	switch {
	case ok:
		return event.Schema{Text: text}, nil
	case g.hopeless:
		return event.Schema{}, &sink.HaltError{Err: errors.New("it refers to one that was deleted")}
	case hangs != nil:
		close(hangs)
		<-ctx.Done()
		close(g.left)
	}
	return event.Schema{}, errors.New("connection refused")
}

func (g *registry) set(id, text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.texts[id] = text
}

func (g *registry) times(id string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asked[id]
}

// tagged is an event of the format that tests have.
func tagged(schema, id int) []byte {
	return testformat.Record(schema, testformat.Int(int64(id)), testformat.Value("x"))
}

// produceTagged appends n events of a schema to a partition; their ids count from first.
func (r *rig) produceTagged(partition int32, schema, first, n int) {
	r.t.Helper()
	recs := make([]*kgo.Record, n)
	for i := range recs {
		recs[i] = &kgo.Record{Topic: r.topic, Partition: partition, Value: tagged(schema, first+i)}
	}
	r.must(r.client.ProduceSync(r.t.Context(), recs...).FirstErr())
}

const eventSchema = "id:int v:text"

// taggedRig is a rig whose topic is of the format that tests have.
func taggedRig(t *testing.T, brokers []string, g *registry, partitions int32) *rig {
	r := newRig(t, brokers, "orders", partitions)
	r.options.Formats = testformat.Formats
	if g != nil {
		r.parts.Schemas = g
	}
	return r
}

// A partition whose records need a schema that nobody hands out waits for it, and nobody else does: not what came before, not
// the other partitions, not the group. Nothing is lost or applied twice.
func TestSchemaSourceIsDown(t *testing.T) {
	cluster := testkafka.Fake(t)
	g := newRegistry(map[string]string{"7": eventSchema})
	r := taggedRig(t, cluster.ListenAddrs(), g, 2)
	r.produceTagged(0, 7, 0, 10)
	r.produceTagged(1, 7, 100, 10)
	r.produceTagged(1, 8, 110, 10)
	r.produceTagged(1, 7, 120, 10)
	p := r.start()
	r.waitApplied(20)
	eventually(t, "it is asked again", func() bool { return g.times("8") > 2 })
	r.produceTagged(1, 8, 130, 1000) // what comes meanwhile waits, too
	var beats atomic.Int32
	cluster.ControlKey(int16(kmsg.Heartbeat), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		beats.Add(1)
		return nil, nil, false
	})
	r.produceTagged(0, 7, 10, 10)
	r.waitApplied(30)
	eventually(t, "the group hears of the member", func() bool { return beats.Load() > 1 })
	if got := r.position(1); got != 10 {
		t.Errorf("the position of the partition that waits is %d, want 10: all that came before", got)
	}
	const why = "waiting for schema id 8 of the values of topic orders: connection refused"
	if all := p.Status(); p.states() != "orders/0 running, orders/1 waiting" || all[1].Err == nil || all[1].Err.Error() != why {
		t.Errorf("status: %s, because of %v", p.states(), all)
	}
	stuck := func() (text string) {
		r.must(r.pool.QueryRow(t.Context(), `select coalesce(string_agg(partition || ' ' || stuck, ', '), '') from oncesink.status`).Scan(&text))
		return text
	}
	eventually(t, "the ledger says so, too", func() bool { return stuck() == "1 "+why })
	if got := r.queryInt(`select count(*) from applied`); got != 30 {
		t.Errorf("%d events are applied while the schema is missing, want 30", got)
	}
	g.set("8", eventSchema)
	r.waitApplied(1050)
	eventually(t, "nothing is waited for", func() bool {
		return p.states() == "orders/0 running, orders/1 running" && p.Status()[1].Err == nil && stuck() == ""
	})
	r.must(p.end(t))
	r.verify(map[int32]int64{0: 20, 1: 1030})
	if got := r.queryInt(`select count(*) from events`); got != 1050 {
		t.Errorf("%d rows, want 1050", got)
	}
	log := p.log.String()
	if n := strings.Count(log, `msg="waiting for a schema"`); n != 1 {
		t.Errorf("told %d times that a schema is waited for, want once", n)
	}
	if !strings.Contains(log, `schema="id 8" error="connection refused"`) || !strings.Contains(log, "a schema is there") {
		t.Error("the log does not say what was waited for, and until when")
	}
	if strings.Contains(log, "lost the fence") {
		t.Error("the partition was lost meanwhile")
	}
}

// Who stops, or loses the partition, while a question is open doesn't wait for its answer. The next owner goes on where the records need it.
func TestStopWhileASchemaIsAwaited(t *testing.T) {
	g := newRegistry(map[string]string{"7": eventSchema})
	g.hangs, g.left = make(chan struct{}), make(chan struct{})
	r := taggedRig(t, testkafka.Fake(t).ListenAddrs(), g, 1)
	r.produceTagged(0, 7, 0, 300)
	r.produceTagged(0, 8, 300, 300)
	entered := g.hangs
	p := r.start(smallBatches)
	soon(t, "the question", func() { <-entered })
	r.waitApplied(300)
	began := time.Now()
	r.must(p.end(t))
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v to stop", took)
	}
	soon(t, "the source", func() { <-g.left })
	g.set("8", eventSchema)
	p = r.start(smallBatches)
	r.waitApplied(600)
	r.must(p.end(t))
	r.verify(map[int32]int64{0: 600})
}

// What no schema can mend halts the partition, and it alone.
func TestSchemaHalts(t *testing.T) {
	for name, test := range map[string]struct {
		source *registry
		want   string
	}{
		"it can't be used":       {newRegistry(map[string]string{"7": eventSchema, "8": "id"}), `use schema id 8 of the values of topic orders: read schema id 8: "id" is no field`},
		"it will never be there": {&registry{texts: map[string]string{"7": eventSchema}, asked: map[string]int{}, hopeless: true}, `get schema id 8 of the values of topic orders: it refers to one that was deleted`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := taggedRig(t, testkafka.Fake(t).ListenAddrs(), test.source, 2)
			r.produceTagged(0, 7, 0, 10)
			r.produceTagged(1, 7, 100, 10)
			r.produceTagged(1, 8, 110, 10)
			p := r.start()
			if got := r.halted(1); got != test.want {
				t.Errorf("halted by %q, want %q", got, test.want)
			}
			r.produceTagged(0, 7, 10, 10)
			r.waitApplied(30)
			r.must(p.end(t))
			r.verify(map[int32]int64{0: 20, 1: 10})
			if n := test.source.times("8"); n != 1 {
				t.Errorf("it was asked for %d times, want once", n)
			}
		})
	}
	t.Run("there is no source", func(t *testing.T) {
		t.Parallel()
		r := taggedRig(t, testkafka.Fake(t).ListenAddrs(), nil, 1)
		r.produceTagged(0, 7, 0, 10)
		r.start()
		if got, want := r.halted(0), "the records can't be read without schema id 7 of the values of topic orders, and there is no schema registry to ask for it"; got != want {
			t.Errorf("halted by %q, want %q", got, want)
		}
	})
}

// A table that is altered may make its records need a schema: they are read again, and wait.
func TestSchemaMissingSinceAnAlter(t *testing.T) {
	g := newRegistry(map[string]string{})
	r := taggedRig(t, testkafka.Fake(t).ListenAddrs(), g, 1)
	r.exec(`alter table events drop v`)
	r.produceTagged(0, 8, 0, 10)
	p := r.start(func(_ *Config, s *sink.Config) {
		s.Tables[0].Columns = map[string]sink.ColumnConfig{"id": {From: "$offset"}}
	})
	r.waitApplied(10)
	r.exec(`alter table events add v text`)
	r.produceTagged(0, 8, 10, 10)
	eventually(t, "the schema is asked for", func() bool { return g.times("8") > 1 })
	g.set("8", eventSchema)
	r.waitApplied(20)
	r.must(p.end(t))
	r.verify(map[int32]int64{0: 20})
	if got := r.queryInt(`select count(*) from events where v = 'x' and id >= 10`); got != 10 {
		t.Errorf("%d rows have the new column's value, want 10", got)
	}
}

// While partitions wait for a schema they keep what was read, up to half of the buffer; then they let go of it, and the
// others go on. What was dropped is read again.
func TestWaitingPartitionsLeaveRoom(t *testing.T) {
	t.Parallel()
	g := newRegistry(map[string]string{"7": eventSchema})
	r := taggedRig(t, testkafka.Fake(t).ListenAddrs(), g, 2)
	r.produceTagged(1, 8, 0, 2000)
	p := r.start(func(c *Config, _ *sink.Config) { c.MaxBatchRecords, c.BufferBytes = 200, 50_000 })
	eventually(t, "it is asked again", func() bool { return g.times("8") > 1 })
	r.produceTagged(0, 7, 10_000, 2000)
	eventually(t, "the other partition is applied", func() bool { return r.position(0) == 2000 })
	eventually(t, "what waits is dropped", func() bool { return strings.Contains(p.log.String(), "the buffer is full") })
	g.set("8", eventSchema)
	r.waitApplied(4000)
	r.must(p.end(t))
	r.verify(map[int32]int64{0: 2000, 1: 2000})
}

// waitingLane is a running lane that waits for schema 8.
func waitingLane(t *testing.T, g *registry) (*member, *lane) {
	t.Helper()
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 0)
	pool, _, err := offsets.NewPool(t.Context(), r.url, 2)
	r.must(err)
	t.Cleanup(pool.Close)
	m := still(t, nil)
	m.schemas = g
	m.work, m.endWork = context.WithCancel(t.Context())
	ledger := offsets.New(pool, group, offsets.Options{ClusterID: "test"})
	m.ledger = ledger
	m.sink, err = engine.OpenWith(t.Context(), pool, ledger, r.sinkConfig(), engine.Options{Formats: testformat.Formats})
	r.must(err)
	l := m.runAt(0, 0)
	d := *m.decoder
	d.add = m.sink.Add
	m.spawn(func() { l.decode(&d) })
	t.Cleanup(func() { l.leave(closed, nil) })
	var recs []*kgo.Record
	for i, schema := range []int{7, 7, 8, 7} {
		recs = append(recs, &kgo.Record{Topic: "orders", Offset: int64(i), Value: tagged(schema, i)})
	}
	l.offer(recs, &m.cfg, func(*lane) {})
	return m, l
}

// A lane says what it waits for, keeps its records, and hands over those before it.
func TestLaneThatWaits(t *testing.T) {
	g := newRegistry(map[string]string{"7": eventSchema})
	m, l := waitingLane(t, g)
	eventually(t, "the question is answered", func() bool { w := l.view().wait; return w != nil && w.err != nil })
	if got, want := l.view().wait.Error(), "waiting for schema id 8 of the values of topic orders: connection refused"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
	part := l.take(func() {})
	if part.Len() != 2 || part.To.Next != 2 {
		t.Errorf("%d records up to %d are to be written, want 2", part.Len(), part.To.Next)
	}
	l.landed(l.view().claim, true)
	if l.applied(4) {
		t.Error("everything is said to be applied while records wait")
	}
	if l.memory() == 0 {
		t.Error("the records that wait take no memory")
	}
	l.offer([]*kgo.Record{{Topic: "orders", Offset: 4, Value: tagged(7, 4)}}, &m.cfg, func(*lane) {})
	g.set("8", eventSchema)
	eventually(t, "the rest is decoded", func() bool { return l.waiting() == 3 })
	if part = l.take(func() {}); part.To.Next != 5 || !slices.EqualFunc(part.Records, []int64{2, 3, 4}, func(r sink.Record, o int64) bool { return r.Offset == o }) {
		t.Errorf("%d records up to %d are to be written, want offsets 2 to 4", part.Len(), part.To.Next)
	}
	if v := l.view(); v.wait != nil {
		t.Errorf("it still says %v", v.wait)
	}
	if got := l.memory(); got != int64(part.Bytes()) {
		t.Errorf("the lane holds %d bytes, want the %d that are written", got, part.Bytes())
	}
}

// A partition that moves on, or is claimed anew, drops the wait and what waits.
func TestWaitIsDropped(t *testing.T) {
	for name, leave := range map[string]func(*member, *lane){
		"revoked": func(m *member, _ *lane) { m.revoked(context.Background(), m.client, map[string][]int32{"orders": {0}}) },
		"lost":    func(m *member, l *lane) { m.lose(l) },
		"halted":  func(m *member, l *lane) { l.leave(halted, fmt.Errorf("for another reason")) },
	} {
		t.Run(name, func(t *testing.T) {
			g := newRegistry(map[string]string{"7": eventSchema})
			g.hangs, g.left = make(chan struct{}), make(chan struct{})
			entered := g.hangs
			m, l := waitingLane(t, g)
			soon(t, "the question", func() { <-entered })
			soon(t, name, func() { leave(m, l) })
			soon(t, "the source", func() { <-g.left })
			eventually(t, "it is dropped", func() bool { return l.memory() == 0 })
			v := l.view()
			if v.wait != nil {
				t.Errorf("it still says %v", v.wait)
			}
			if v.cause != nil && v.cause.Error() != "for another reason" {
				t.Errorf("it halted: %v", v.cause)
			}
			if n := g.times("8"); n != 1 {
				t.Errorf("it was asked for %d times, want once", n)
			}
		})
	}
}

// A lane that has left its state, and runs again, is not halted by what became of the records before.
func TestLateAnswerHaltsNobody(t *testing.T) {
	m := still(t, nil)
	l := m.runAt(0, 0)
	turns := l.view().turns
	l.leave(claiming, nil)
	l.start(l.view().claim)
	if m.learn(l, turns, &decode.SchemaError{Err: errors.New("no schema")}) {
		t.Error("records that were dropped are decoded again")
	}
	if got := l.view().state; got != running {
		t.Errorf("state %d, want running", got)
	}
}
