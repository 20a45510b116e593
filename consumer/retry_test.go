package consumer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// produceLong appends events whose v is too long for the table at first.
func (r *rig) produceLong(partition int32, first, n int) {
	r.t.Helper()
	recs := make([]*kgo.Record, n)
	for i := range recs {
		recs[i] = &kgo.Record{Topic: r.topic, Partition: partition, Value: fmt.Appendf(nil, `{"id":%d,"v":"too long"}`, first+i)}
	}
	r.must(r.client.ProduceSync(r.t.Context(), recs...).FirstErr())
}

func (r *rig) letters(status string) int64 {
	r.t.Helper()
	return r.queryInt(`select count(*) from oncesink.dead_letters where status = $1`, status)
}

// Dead letters that somebody asks for are written by the owner of their partition: before a run until the end ends, and
// of a paused partition once it goes on.
func TestRetryByOwner(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 2)
	r.exec(`alter table events alter v type varchar(4)`)
	r.produce(0, 0, 5)
	r.produceLong(0, 5, 3)
	r.produceLong(1, 10, 2)
	untilEnd := func(c *Config, _ *sink.Config) { c.UntilEnd = true }
	r.must(r.start(untilEnd).wait(t))
	if n := r.letters("new"); n != 5 {
		t.Fatalf("%d letters, want 5", n)
	}
	r.exec(`alter table events alter v type text`)
	// Nobody runs: the request waits, and a run until the end carries it out although there is nothing to read.
	r.exec(`select oncesink.retry_dead_letters($1, partition => 0, late => true)`, group)
	r.must(r.start(untilEnd).wait(t))
	if retry, resolved := r.letters("retry"), r.letters("resolved"); retry != 0 || resolved != 3 {
		t.Errorf("%d to be tried, %d resolved, want 3", retry, resolved)
	}
	r.exec(`select oncesink.pause($1, 'orders', 1)`, group)
	p := r.start()
	eventually(t, "it is paused", func() bool { return p.states() == "orders/0 running, orders/1 paused" })
	r.exec(`select oncesink.retry_dead_letters($1, late => true)`, group)
	r.exec(`select oncesink.resume($1, 'orders', 1)`, group)
	eventually(t, "the others are written", func() bool { return r.letters("resolved") == 5 })
	r.verify(map[int32]int64{0: 8, 1: 2})
	if s := p.Stats(); s.Resolved != 2 || s.Records != 0 {
		t.Errorf("counted %d resolved, %d records", s.Resolved, s.Records)
	}
}

// A letter that can't be tried for the time being, because a handler says that it passes, holds up nothing that comes new, and is
// written when it has passed.
func TestRetryHoldsNothingUp(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
	r.exec(`alter table events alter v type varchar(4)`)
	r.produceLong(0, 0, 1)
	var down atomic.Bool
	down.Store(true)
	p := r.start(func(_ *Config, s *sink.Config) {
		s.Handlers = append(s.Handlers, func(_ context.Context, _ pgx.Tx, records []sink.Record) error {
			if down.Load() && records[0].Offset == 0 {
				return sink.Transient(errors.New("the other service is down"))
			}
			return nil
		})
	})
	eventually(t, "it is refused", func() bool { return r.letters("new") == 1 })
	r.exec(`alter table events alter v type text`)
	r.exec(`select oncesink.retry_dead_letters($1, late => true)`, group)
	for n := range int64(3) {
		told := int(n) + 1
		eventually(t, "it was tried", func() bool { return p.Stats().Retries["handler"] >= int64(told) })
		r.produce(0, int(n)+1, 1)
		r.waitApplied(n + 1)
	}
	if n := r.letters("retry"); n != 1 {
		t.Errorf("%d letters are to be tried, want 1", n)
	}
	if log := p.log.String(); strings.Count(log, "dead letters can't be tried again") == 0 || !strings.Contains(log, "from offset 0 on: handler 1: the other service is down") {
		t.Errorf("not told:\n%s", log)
	}
	down.Store(false)
	eventually(t, "it is written", func() bool { return r.letters("resolved") == 1 })
	r.verify(map[int32]int64{0: 4})
}

// A run until the end does not end before letters that are asked for could be tried.
func TestUntilEndWaitsForLetters(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
	r.exec(`alter table events alter v type varchar(4)`)
	r.produceLong(0, 0, 2)
	untilEnd := func(c *Config, _ *sink.Config) { c.UntilEnd = true }
	r.must(r.start(untilEnd).wait(t))
	r.exec(`alter table events alter v type text`)
	r.exec(`update oncesink.dead_letters set headers = '5' where "offset" = 0`) // by hand
	r.exec(`select oncesink.retry_dead_letters($1, late => true)`, group)
	p := r.start(untilEnd)
	eventually(t, "it is told", func() bool { return strings.Contains(p.log.String(), "dead letters can't be tried again") })
	p.mu.Lock()
	m := p.Consumer.member
	p.mu.Unlock()
	for range 3 { // looks at the table
		m.mu.Lock()
		m.asked = nil
		m.mu.Unlock()
		eventually(t, "the letters are looked at", func() bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.asked != nil
		})
		if !m.asking(offsets.Partition{Topic: "orders"}) {
			t.Fatal("nobody waits for the letters")
		}
	}
	r.exec(`update oncesink.dead_letters set headers = '[]' where "offset" = 0`)
	r.must(p.wait(t))
	if n := r.letters("resolved"); n != 2 {
		t.Errorf("%d letters are resolved, want 2", n)
	}
}

// Retries run beside what comes new, sessions are killed at any point of either, members come and go: no letter is lost, none is
// applied twice, none is left open.
func TestRetryUnderLoad(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	const partitions = 3
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", partitions)
	r.exec(`alter table events alter v type varchar(4)`)
	r.exec(`create table log (id bigint, v text)`)
	change := func(c *Config, s *sink.Config) {
		smallBatches(c, s)
		s.DeadLetters = sink.DeadLetters{MaxRatio: 1, MaxConsecutive: -1}
		s.Tables = append(s.Tables, sink.TableConfig{Name: "log", Topics: []string{r.topic}, Strategy: sink.Append})
	}
	r.initWith(change)
	produced := map[int32]int64{}
	add := func(p int32, n int, long bool) {
		first := int(p)*1_000_000 + int(produced[p])
		if long {
			r.produceLong(p, first, n)
		} else {
			r.produce(p, first, n)
		}
		produced[p] += int64(n)
	}
	p := r.start(change)
	for range 12 {
		for q := range int32(partitions) {
			add(q, 1+rnd.IntN(120), false)
			add(q, rnd.IntN(25), true)
		}
	}
	eventually(t, "all is read", func() bool {
		return r.queryInt(`select coalesce(sum(next_offset), 0)::bigint from oncesink.offsets`) == produced[0]+produced[1]+produced[2]
	})
	open := r.letters("new")
	if open == 0 {
		t.Fatal("no letters")
	}
	r.exec(`alter table events alter v type text`)
	kills := 0
	for n := 0; n < 60 || kills < 8; n++ { // then they are left alone: a slow machine would not come to an end
		for q := range int32(partitions) {
			add(q, 1+rnd.IntN(80), false)
		}
		r.exec(`select oncesink.retry_dead_letters($1, partition => $2, late => true)`, group, rnd.IntN(partitions))
		switch rnd.IntN(4) {
		case 0, 1:
			r.exec(`select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'oncesink %' and pid <> pg_backend_pid() order by random() limit 1`)
			kills++
		case 2:
			r.exec(`select oncesink.pause($1, 'orders', $2), oncesink.resume($1, 'orders', $2)`, group, rnd.IntN(partitions))
		case 3:
			if n%5 == 0 {
				other := r.start(change)
				r.must(p.end(t))
				p = other
			}
		}
		if n%10 == 0 { // something is written between two storms
			before := r.letters("resolved")
			r.exec(`select oncesink.retry_dead_letters($1, late => true)`, group)
			eventually(t, "a letter is written", func() bool { return r.letters("resolved") > before || r.letters("new")+r.letters("retry") == 0 })
		}
	}
	r.exec(`select oncesink.retry_dead_letters($1, late => true)`, group)
	eventually(t, "no letter is open", func() bool { return r.letters("new")+r.letters("retry") == 0 })
	eventually(t, "all is read again", func() bool {
		return r.queryInt(`select coalesce(sum(next_offset), 0)::bigint from oncesink.offsets`) == produced[0]+produced[1]+produced[2]
	})
	r.verify(produced)
	total := produced[0] + produced[1] + produced[2]
	for table, got := range map[string]int64{"log": r.queryInt(`select count(*) from log`), "events": r.queryInt(`select count(*) from events`)} {
		if got != total {
			t.Errorf("%s has %d rows of %d events", table, got, total)
		}
	}
	if got := r.letters("resolved"); got != open {
		t.Errorf("%d letters are resolved of %d", got, open)
	}
	t.Logf("%d letters under %d kills", open, kills)
}
