package consumer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/oncesink/oncesink/sink"
)

const notedSchema = `{"type":"record","name":"Event","fields":[{"name":"id","type":"long"},{"name":"v","type":"string"},{"name":"note","type":"string"}]}`

// produceNoted appends n events that refer to schema 8, by which they have a field more.
func (r *rig) produceNoted(partition int32, first, n int) {
	r.t.Helper()
	s := avro.MustParse(notedSchema)
	recs := make([]*kgo.Record, n)
	for i := range recs {
		b, err := s.Encode(map[string]any{"id": int64(first + i), "v": "x", "note": fmt.Sprint(first + i)})
		r.must(err)
		recs[i] = &kgo.Record{Topic: r.topic, Partition: partition, Value: append([]byte{0, 0, 0, 0, 8}, b...)}
	}
	r.must(r.client.ProduceSync(r.t.Context(), recs...).FirstErr())
}

// policy says what is done about new fields.
func policy(p sink.NewFields) func(*Config, *sink.Config) {
	return func(_ *Config, s *sink.Config) { s.Tables[0].NewFields = p }
}

// Rule 34: a partition waits before the first record that has a new field, and the others go on. What it waits for is told, and
// once there is a column, or somebody wants none, it goes on by itself.
func TestNewFieldHoldsItsPartition(t *testing.T) {
	for name, settle := range map[string]string{"a column": "alter table events add note text", "ignored": "select oncesink.ignore_field('events', 'note')"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, g := avroRig(t, 2)
			g.SeedSchema("orders-value", 2, 8, sr.Schema{Schema: notedSchema})
			r.produceAvro(0, 7, 0, 10)
			p := r.start(of(g, 0), policy(sink.HoldNewFields))
			r.waitApplied(10)
			r.produceAvro(0, 7, 10, 5)
			r.produceNoted(0, 15, 10)
			r.produceAvro(0, 7, 25, 5)
			r.produceAvro(1, 7, 100, 10)
			r.waitApplied(25)
			const why = `waiting for a column of public.events for field "note": no column takes it (new_fields: hold): alter table public.events add column if not exists note text; ` +
				`or select oncesink.ignore_field('public.events', 'note'), to go on without`
			eventually(t, "the status says so", func() bool {
				s := p.Status()
				return s[0].Err != nil && s[0].Err.Error() == why && s[0].State == Waiting && s[0].Position == 15
			})
			eventually(t, "the ledger says so", func() bool {
				return r.queryInt("select count(*) from oncesink.offsets where stuck = $1", why) == 1
			})
			r.must(p.end(t)) // it waits after a restart, too
			p = r.start(of(g, 0), policy(sink.HoldNewFields))
			r.produceAvro(1, 7, 110, 10)
			r.waitApplied(35)
			eventually(t, "the status says so", func() bool { s := p.Status(); return s[0].Err != nil && s[0].Err.Error() == why })
			r.exec(settle)
			r.waitApplied(50)
			r.must(p.end(t))
			r.verify(map[int32]int64{0: 30, 1: 20})
			if name == "a column" {
				if got := r.queryInt("select count(*) from events where note = id::text and id between 15 and 24"); got != 10 {
					t.Errorf("%d events have what is new in them, want 10", got)
				}
			}
			if n := strings.Count(p.log.String(), "waiting for a column"); n != 1 {
				t.Errorf("it was told %d times", n)
			}
			if got := r.queryInt(`select count(*) from oncesink.dead_letters`); got != 0 {
				t.Errorf("%d dead letters", got)
			}
		})
	}
}

// Rule 34: two processes meet a new field under load, while somebody reads the table for long. What has the field waits for the column, what
// has not goes on; all is written once, with its field, and a replay changes nothing.
func TestNewFieldIsAddedUnderLoad(t *testing.T) {
	r, g := avroRig(t, 4)
	g.SeedSchema("orders-value", 2, 8, sr.Schema{Schema: notedSchema})
	r.produceAvro(0, 7, 0, 10)
	a, b := r.start(of(g, 0), policy(sink.AddNewFields)), r.start(of(g, 0), policy(sink.AddNewFields))
	eventually(t, "both have partitions", func() bool { return len(a.Status()) == 2 && len(b.Status()) == 2 })
	r.waitApplied(10)
	reader, err := r.pool.BeginTx(t.Context(), pgx.TxOptions{})
	r.must(err)
	defer func() { _ = reader.Rollback(t.Context()) }()
	if _, err := reader.Exec(t.Context(), "select count(*) from events"); err != nil {
		t.Fatal(err)
	}
	const per = 200
	for i := range int32(4) {
		first := 1000 * (int(i) + 1)
		r.produceAvro(i, 7, first, per)
		if i < 3 { // of the last one nothing is new
			r.produceNoted(i, first+per, per)
			r.produceAvro(i, 7, first+2*per, per)
		}
	}
	told := func(p *process) bool {
		return strings.Contains(p.log.String(), "the table can't be altered now, since somebody reads or writes it for long")
	}
	r.waitApplied(10 + 4*per)
	eventually(t, "it is told that the table can't be altered", func() bool { return told(a) || told(b) })
	began := time.Now()
	r.produceAvro(3, 7, 9000, per)
	r.waitApplied(10 + 5*per)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("a partition without new fields was held up for %v", took)
	}
	r.must(reader.Rollback(t.Context()))
	r.waitApplied(10 + 5*per + 6*per)
	check := func() {
		t.Helper()
		if got := r.queryInt("select count(*) from events where note = id::text"); got != 3*per {
			t.Errorf("%d events have what is new in them, want %d", got, 3*per)
		}
		if got := r.queryInt("select count(*) from events where note is null"); got != 10+8*per {
			t.Errorf("%d events have nothing new in them, want %d", got, 10+8*per)
		}
	}
	check()
	ends := map[int32]int64{0: 10 + 3*per, 1: 3 * per, 2: 3 * per, 3: 2 * per}
	r.verify(ends)
	for i, end := range ends {
		r.exec("select oncesink.rewind($1, $2, $3, 0)", group, r.topic, i)
		eventually(t, "it is read again", func() bool {
			return r.queryInt(`select next_offset from oncesink.offsets where sink_group = $1 and partition = $2`, group, i) >= end && r.queryInt(`select count(*) from applied where partition = $1 and n > 1`, i) == end
		})
	}
	check()
	r.must(a.end(t))
	r.must(b.end(t))
	if got := r.queryInt(`select count(*) from oncesink.dead_letters`); got != 0 {
		t.Errorf("%d dead letters", got)
	}
}

// A dead letter whose record has a new field is tried again once there is a column: it waits alone, and holds nothing up.
func TestNewFieldOfADeadLetter(t *testing.T) {
	r, g := avroRig(t, 1)
	g.SeedSchema("orders-value", 2, 8, sr.Schema{Schema: notedSchema})
	r.exec("alter table events add constraint no_five check (id <> 5)")
	r.produceNoted(0, 0, 10)
	p := r.start(of(g, 0))
	r.waitApplied(9)
	r.must(p.end(t))
	r.exec("alter table events drop constraint no_five")
	p = r.start(of(g, 0), policy(sink.HoldNewFields))
	r.exec("select oncesink.retry_dead_letters($1, late => true)", group)
	eventually(t, "it is told that the letter waits", func() bool {
		return strings.Contains(p.log.String(), "dead letters can't be tried again") && strings.Contains(p.log.String(), "no column takes it (new_fields: hold)")
	})
	r.produceAvro(0, 7, 100, 10)
	r.waitApplied(19)
	r.exec("alter table events add note text")
	eventually(t, "the letter is written", func() bool { return r.queryInt("select count(*) from events where id = 5 and note = '5'") == 1 })
	r.must(p.end(t))
	if got := r.queryInt("select count(*) from oncesink.dead_letters where status = 'resolved'"); got != 1 {
		t.Errorf("%d letters are resolved", got)
	}
}
