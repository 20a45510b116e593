package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// send adds events as records that are decoded, and writes them.
func (e *engine) send(topic string, partition int32, evs ...ev) {
	e.t.Helper()
	e.write(e.received(topic, partition, evs...))
}

// received is a part as a consumer fills it. A tombstone's key is what stands in cols.
func (e *engine) received(topic string, partition int32, evs ...ev) *decode.Part {
	e.t.Helper()
	p := offsets.Partition{Topic: topic, Partition: partition}
	c, ok := e.claims[p]
	if !ok {
		c = e.claim(topic, partition)
	}
	part := &decode.Part{Claim: c}
	for _, v := range evs {
		r := sink.Record{Topic: topic, Partition: partition, Offset: v.offset, Epoch: -1, Timestamp: time.Unix(1700000000, 0), Value: v.json()}
		if v.gone {
			r.Key, r.Value = []byte(v.cols), nil
		}
		if _, err := e.Add(part, r); err != nil {
			e.t.Fatal(err)
		}
	}
	return part
}

// retry writes the letters of a partition that are asked for, and says how many were written and refused.
func (e *engine) retry(topic string, partition int32) string {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), time.Minute)
	defer cancel()
	claim := e.claims[offsets.Partition{Topic: topic, Partition: partition}]
	all, err := e.Requests(ctx, claim, 100, 1<<20)
	if err != nil {
		e.t.Fatal(err)
	}
	resolved, refused := 0, 0
	for _, r := range all {
		part := &decode.Part{Claim: r.Claim}
		if _, err := e.Add(part, r.Records...); err != nil {
			e.t.Fatal(err)
		}
		done, failed, err := e.Retry(ctx, part, r.Late)
		if err != nil {
			e.t.Fatal(err)
		}
		resolved, refused = resolved+done, refused+failed
	}
	return fmt.Sprintf("%d written, %d refused", resolved, refused)
}

func (e *engine) want(what, got, want string) {
	e.t.Helper()
	if got != want {
		e.t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

const letters = `select "offset", status, code, attempts, coalesce(settled_by, '') from oncesink.dead_letters order by 1`

// Rule 30: letters that somebody asks for are written once their reason is gone, by the order of the guard, and settled in the same
// transaction; one that fails again says why now. The position does not move.
func TestRetryLetters(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key, v varchar(3), n int check (n < 10))")
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}}}})
	e.send("o", 0,
		ev{offset: 0, cols: "id=1 v=a n=1"},
		ev{offset: 1, cols: "id=1 v=long n=1"}, // an older event of a row that moves on
		ev{offset: 2, cols: "id=2 v=long n=1"},
		ev{offset: 3, cols: "id=3 v=long n=11"}, // refused for another reason, too
		ev{offset: 4, cols: "id=1 v=c n=2"},
		ev{offset: 5, cols: "id=x v=d n=2"},
		ev{offset: 6, cols: "id=6 v=long n=6"},
	)
	db.Want("1|new|22001|1|\n2|new|22001|1|\n3|new|22001|1|\n5|new|22P02|1|\n6|new|22001|1|", letters)
	db.Do("alter table q alter v type varchar(9)")
	e.want("nothing is asked for", e.retry("o", 0), "0 written, 0 refused")
	db.Want("4", "select oncesink.retry_dead_letters('g', code => '22001')")
	db.Want("1", `select oncesink.discard_dead_letters('g', "offset" => 6)`)
	e.want("asked for by code, one discarded", e.retry("o", 0), "2 written, 1 refused")
	db.Want("1|resolved|22001|1|retry\n2|resolved|22001|1|retry\n3|new|23514|2|\n5|new|22P02|1|\n6|discarded|22001|1|postgres", letters)
	db.Want("1|c|2\n2|long|1", "select id, v, n from q order by 1")
	db.Want("7", "select next_offset from oncesink.offsets")

	db.Do("alter table q drop constraint q_n_check")
	db.Want("2", "select oncesink.retry_dead_letters('g', 'o', 0)")
	e.want("the rest", e.retry("o", 0), "1 written, 1 refused")
	db.Want("3|resolved|23514|2|retry\n5|new|22P02|2|", letters+" offset 2 limit 2")
	db.Want("1", "select oncesink.discard_dead_letters('g', undo => true)")
	db.Want("1", `select oncesink.retry_dead_letters('g', "offset" => 6)`)
	e.want("undone", e.retry("o", 0), "1 written, 0 refused")
	db.Want("1|c|2\n2|long|1\n3|long|11\n6|long|6", "select id, v, n from q order by 1")

	s := e.Stats()
	if s.Records != 7 || s.DeadLetters != 5 || s.Resolved != 4 {
		t.Errorf("counted %d records, %d dead letters, %d resolved", s.Records, s.DeadLetters, s.Resolved)
	}
}

// Whoever lost the partition writes no letter of it, and a letter that was settled meanwhile is not written.
func TestRetryIsFenced(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key, v varchar(3))")
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}}}})
	e.send("o", 0, ev{offset: 0, cols: "id=1 v=long"}, ev{offset: 1, cols: "id=2 v=long"})
	db.Do("alter table q alter v type varchar(9)")
	db.Do("select oncesink.retry_dead_letters('g')")
	ask := func() *decode.Part {
		all, err := e.Requests(t.Context(), e.claims[offsets.Partition{Topic: "o"}], 100, 1<<20)
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		part := &decode.Part{Claim: all[0].Claim}
		if _, err := e.Add(part, all[0].Records...); err != nil {
			t.Fatal(err)
		}
		return part
	}
	late := ask()
	db.Do(`select oncesink.discard_dead_letters('g', "offset" => 1)`)
	if done, failed, err := e.Retry(t.Context(), late, false); done != 0 || failed != 0 || err != nil {
		t.Errorf("one was discarded meanwhile: %d, %d, %v", done, failed, err)
	}
	db.Want("0", "select count(*) from q")

	late = ask()
	e.claim("o", 0) // somebody else, in effect
	var fenced *offsets.FencedError
	if _, _, err := e.Retry(t.Context(), late, false); !errors.As(err, &fenced) {
		t.Errorf("another claim: %v", err)
	}
	late = ask()
	e.send("o", 0, ev{offset: 2, cols: "id=3 v=c"})
	if _, _, err := e.Retry(t.Context(), late, false); !errors.As(err, &fenced) {
		t.Errorf("the position has moved: %v", err)
	}
	db.Want("0|retry\n1|discarded", `select "offset", status from oncesink.dead_letters order by 1`)
	db.Want("3", "select id from q")
	late = ask()
	if done, _, err := e.Retry(t.Context(), late, false); done != 1 || err != nil {
		t.Errorf("the owner: %d, %v", done, err)
	}
}

// Where the guard does not decide what a late record leaves, the record is not written, and its letter says why, unless that is
// what was asked for.
func TestRetryTooLate(t *testing.T) {
	var called []int64
	handler := func(_ context.Context, _ pgx.Tx, records []sink.Record) error {
		for _, r := range records {
			called = append(called, r.Offset)
		}
		return nil
	}
	for _, tt := range []struct {
		name    string
		table   sink.TableConfig
		handler sink.Handler
		evs     []ev // the first one is refused: its v is too long
		partial bool
		why     string // "": written at once
		rows    string // after it was asked for with late
	}{
		{name: "a whole event", evs: []ev{{cols: "id=1 v=long w=a"}, {offset: 1, cols: "id=1 v=b w=b"}}, rows: "1|b|b"},
		{name: "a whole event, the later one is partial", evs: []ev{{cols: "id=1 v=long w=a"}, {offset: 1, cols: "id=1 v=b"}}, rows: "1|b|-"},
		{name: "a partial event, the row moved on", evs: []ev{{cols: "id=1 v=long"}, {offset: 1, cols: "id=1 v=b w=b"}}, why: "later event has written the row", rows: "1|b|b"},
		{name: "a partial event, the row did not move", evs: []ev{{offset: 1, cols: "id=1 v=long"}, {offset: 2, cols: "id=2 v=b w=b"}}, rows: "1|long|-\n2|b|b"},
		{name: "no guard", table: sink.TableConfig{Guard: sink.GuardNone}, evs: []ev{{cols: "id=1 v=long w=a"}, {offset: 1, cols: "id=1 v=b w=b"}}, why: "no guard", rows: "1|long|a"},
		{name: "a handler", handler: handler, evs: []ev{{cols: "id=1 v=long w=a"}, {offset: 1, cols: "id=2 v=b w=b"}}, why: "handlers have been called for later records", rows: "1|long|a\n2|b|b"},
		{name: "append", table: sink.TableConfig{Strategy: sink.Append}, evs: []ev{{cols: "id=1 v=long"}, {offset: 1, cols: "id=2 v=b w=b"}}, rows: "1|long|-\n2|b|b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db := newDatabase(t, "create table q (id int primary key, v varchar(3), w text)")
			tc := tt.table
			tc.Name, tc.Topics = "q", []string{"o"}
			if tc.Strategy != sink.Append {
				tc.Key = []string{"id"}
			}
			cfg := sink.Config{Tables: []sink.TableConfig{tc}}
			if tt.handler != nil {
				cfg.Handlers = []sink.Handler{tt.handler}
			}
			called = nil
			e := db.open(cfg)
			for i := range tt.evs { // together they would be folded, and nobody would look at the first one
				e.send("o", 0, tt.evs[i])
			}
			db.Want("1", "select count(*) from oncesink.dead_letters where code = '22001'")
			db.Do("alter table q alter v type varchar(9)")
			db.Do("select oncesink.retry_dead_letters('g')")
			if tt.why == "" {
				e.want("asked for", e.retry("o", 0), "1 written, 0 refused")
				db.Want(tt.rows, "select id, v, w from q order by 1")
				return
			}
			e.want("asked for", e.retry("o", 0), "0 written, 1 refused")
			db.Want("new|ONS31|2", "select status, code, attempts from oncesink.dead_letters")
			said := db.Lines("select message from oncesink.dead_letters")
			if !strings.Contains(said, tt.why) || !strings.Contains(said, "Before: 22001 value too long") {
				t.Errorf("said %q", said)
			}
			db.Do("select oncesink.retry_dead_letters('g')")
			e.want("asked for again", e.retry("o", 0), "0 written, 1 refused")
			if again := db.Lines("select message from oncesink.dead_letters"); again != said {
				t.Errorf("said %q, and then %q", said, again)
			}
			before := len(called)
			db.Do("select oncesink.retry_dead_letters('g', late => true)")
			e.want("late", e.retry("o", 0), "1 written, 0 refused")
			db.Want(tt.rows, "select id, v, w from q order by 1")
			if tt.handler != nil && len(called) != before+1 {
				t.Errorf("the handler was called for %v", called)
			}
		})
	}
}

// A replay settles the letters of what it writes, and one that it refuses says why now; a discarded one stays discarded.
// What comes for the first time asks nothing.
func TestReplaySettlesLetters(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key, v varchar(3))")
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}}}})
	all := func() *decode.Part {
		return e.received("o", 0, ev{offset: 0, cols: "id=1 v=long"}, ev{offset: 1, cols: "id=2 v=b"}, ev{offset: 2, cols: "id=3 v=longerone"}, ev{offset: 3, cols: "id=4 v=long"})
	}
	e.write(all())
	db.Do(`select oncesink.discard_dead_letters('g', "offset" => 3)`)
	db.Do("alter table q alter v type varchar(5)")
	e.rewind("o", 0, 0)
	e.write(all())
	db.Want("0|resolved|22001|1|replay\n2|new|22001|2|\n3|discarded|22001|1|postgres", letters)
	db.Want("1|long\n2|b\n4|long", "select id, v from q order by 1")
	// A table that refuses what it took opens the letter again.
	db.Do("truncate q")
	db.Do("alter table q alter v type varchar(3)")
	e.rewind("o", 0, 0)
	e.write(all())
	db.Want("0|new|22001|2|\n2|new|22001|3|\n3|discarded|22001|1|postgres", letters)
	db.Do("alter table q alter v type varchar(9)")
	e.rewind("o", 0, 2)
	e.write(e.received("o", 0, ev{offset: 2, cols: "id=3 v=longerone"}, ev{offset: 3, cols: "id=4 v=long"}))
	db.Want("0|new|22001|2|\n2|resolved|22001|3|replay\n3|discarded|22001|1|postgres", letters)
}

// Who looks for requests finds their partitions, in a time that does not grow with the letters; who asks compares no letter with each other
// one, also where the server has no statistics of them yet, as after a flood.
func TestAsked(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key)")
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}}}})
	want := func(want ...string) {
		t.Helper()
		asked, err := e.Asked(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for p := range asked {
			got = append(got, p.String())
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("asked for %q, want %q", got, want)
		}
	}
	want()
	db.Do(`insert into oncesink.dead_letters (sink_group, topic_id, topic, generation, partition, "offset", headers, message)
		select g, md5(t)::uuid, t, 0, p, i, '[]', 'm' from unnest('{g,a,z}'::text[]) g, unnest('{b,o,a}'::text[]) t, generate_series(0, 2) p, generate_series(1, 2000) i`)
	want()
	db.Do("set statement_timeout = '60s'") // of two seconds' work
	db.Do("select oncesink.discard_dead_letters('z')")
	db.Do("select oncesink.retry_dead_letters('a'), oncesink.retry_dead_letters('g', 'b', 1), oncesink.retry_dead_letters('g', 'o', 0), oncesink.retry_dead_letters('g', 'o', 2), oncesink.retry_dead_letters('g', 'a', 0, 7)")
	want("a/0", "b/1", "o/0", "o/2")
	db.Do("vacuum analyze oncesink.dead_letters")
	plan := db.Lines("explain (analyze, costs off, timing off, summary off, buffers off) " + strings.ReplaceAll(statement.ListRequests, "$1::text", "'g'"))
	for _, rows := range regexp.MustCompile(`actual rows=(\d+)`).FindAllStringSubmatch(plan, -1) {
		if n, _ := strconv.Atoi(rows[1]); n > 10 {
			t.Fatalf("it reads %d rows:\n%s", n, plan)
		}
	}
}

// What it takes to write some letters does not grow with those that are open.
func TestRetryAmongMany(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key, v text)")
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}}}})
	db.Do(`insert into oncesink.dead_letters (sink_group, topic_id, topic, generation, partition, "offset", value, headers, message)
		select 'g', $1::text::uuid, 'o', 0, 0, i, convert_to('{"id":' || i || '}', 'UTF8'), '[]', 'm' from generate_series(0, 49999) i`, e.claim("o", 0).TopicID.String())
	db.Do("select oncesink.retry_dead_letters('g')")
	took := func(f func()) time.Duration {
		began := time.Now()
		for range 8 {
			f()
		}
		return time.Since(began)
	}
	look := took(func() { db.Lines("select count(*) from oncesink.dead_letters where length(value) = 0") })
	write := took(func() { e.want("some", e.retry("o", 0), "100 written, 0 refused") })
	t.Logf("%v for 800 letters of 50000, which are looked at in %v", write, look)
	if write > 120*look { // thirty times as long; four hundred times where each is compared with all
		t.Errorf("800 letters of 50000 took %v, where it takes %v to look at them all as often", write, look)
	}
}

// Letters of a topic that was recreated and adopted since are written as what they were: before all that the new one has.
func TestRetryAfterAdoption(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key, v varchar(3))")
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}}}})
	e.send("o", 0, ev{offset: 8, cols: "id=1 v=long"}, ev{offset: 9, cols: "id=2 v=long"})
	e.recreate("o")
	e.send("o", 0, ev{offset: 0, cols: "id=1 v=new"}, ev{offset: 1, cols: "id=3 v=long"})
	db.Do("alter table q alter v type varchar(9)")
	db.Do("select oncesink.retry_dead_letters('g')")
	e.want("of both", e.retry("o", 0), "3 written, 0 refused")
	db.Want("1|new\n2|long\n3|long", "select id, v from q order by 1")
	db.Want("3", "select count(*) from oncesink.dead_letters where status = 'resolved'")
}

// Histories of events, letters, requests, discards and replays leave what a model says: the last event of each key that was
// written, each event once in the append table, and no open letter of a written event.
func TestRetryModel(t *testing.T) {
	for range 3 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 1))
			db := newDatabase(t, "create table q (id int primary key, v int)", "create table log (id int, v int check (v < 10))")
			e := db.open(sink.Config{Tables: []sink.TableConfig{
				{Name: "q", Topics: []string{"o"}, Key: []string{"id"}},
				{Name: "log", Topics: []string{"o"}, Strategy: sink.Append},
			}})
			const settled, open, gone = 0, 1, 2
			type event struct {
				id, v   int
				written bool
				letter  int
			}
			var events []event
			limit := 10 // what the table takes; it grows
			takes := func(v int) bool { return v < limit }
			for range 40 {
				switch rnd.IntN(6) {
				case 0, 1: // new events
					var evs []ev
					for range 1 + rnd.IntN(5) {
						x := event{id: rnd.IntN(4), v: rnd.IntN(16)}
						x.written = takes(x.v)
						if !x.written {
							x.letter = open
						}
						evs = append(evs, ev{offset: int64(len(events)), cols: fmt.Sprintf("id=%d v=%d", x.id, x.v)})
						events = append(events, x)
					}
					e.send("o", 0, evs...)
				case 2:
					limit += rnd.IntN(2)
					db.Do(fmt.Sprintf("alter table log drop constraint log_v_check, add constraint log_v_check check (v < %d)", limit))
				case 3: // a request for some
					at := rnd.IntN(len(events) + 1)
					db.Do(`select oncesink.retry_dead_letters('g', "offset" => $1)`, int64(at))
					if rnd.IntN(2) == 0 {
						at = -1
						db.Do(`select oncesink.retry_dead_letters('g')`)
					}
					e.retry("o", 0)
					for i := range events {
						if x := &events[i]; x.letter == open && (at < 0 || at == i) && takes(x.v) {
							x.letter, x.written = settled, true
						}
					}
				case 4:
					if len(events) > 0 {
						at := rnd.IntN(len(events))
						db.Do(`select oncesink.discard_dead_letters('g', "offset" => $1)`, int64(at))
						if events[at].letter == open {
							events[at].letter = gone
						}
					}
				case 5: // a replay from somewhere
					if len(events) == 0 {
						continue
					}
					from := rnd.IntN(len(events))
					e.rewind("o", 0, int64(from))
					var evs []ev
					for i := from; i < len(events); i++ {
						x := &events[i]
						evs = append(evs, ev{offset: int64(i), cols: fmt.Sprintf("id=%d v=%d", x.id, x.v)})
						if takes(x.v) {
							x.written = true
							if x.letter == open {
								x.letter = settled
							}
						}
					}
					e.send("o", 0, evs...)
				}
			}
			rows, logged, status := map[int]int{}, 0, []string{}
			for i, x := range events {
				if x.written {
					rows[x.id] = x.v
					logged++
				}
				if x.letter != settled {
					status = append(status, fmt.Sprintf("%d|%s", i, []string{"", "new", "discarded"}[x.letter]))
				}
			}
			var want []string
			for id := range 4 {
				if v, ok := rows[id]; ok {
					want = append(want, fmt.Sprintf("%d|%d", id, v))
				}
			}
			db.Want(strings.Join(want, "\n"), "select id, v from q order by 1")
			db.Want(fmt.Sprintf("%d|%d", logged, logged), "select count(*), count(distinct _oncesink_offset) from log")
			db.Want(strings.Join(status, "\n"), `select "offset", status from oncesink.dead_letters where status <> 'resolved' order by 1`)
			if t.Failed() {
				t.Logf("seed %d", seed)
			}
		})
	}
}

// A letter for which a handler has an error that would halt its partition is refused once more: what comes next in the log does not wait for
// it.
func TestRetryHaltsNothing(t *testing.T) {
	broken := errors.New("the handler is broken")
	db := newDatabase(t, "create table q (id int primary key, v varchar(3))")
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}}}, Handlers: []sink.Handler{
		func(_ context.Context, _ pgx.Tx, records []sink.Record) error {
			if records[0].Offset == 0 {
				return broken
			}
			return nil
		}}})
	e.send("o", 0, ev{offset: 0, cols: "id=1 v=long"})
	e.send("o", 0, ev{offset: 1, cols: "id=2 v=long"})
	db.Do("alter table q alter v type varchar(9)")
	db.Do("select oncesink.retry_dead_letters('g', late => true)")
	e.want("both", e.retry("o", 0), "1 written, 1 refused")
	db.Want("0|new|handler 0: the handler is broken\n1|resolved|value too long for type character varying(3)", `select "offset", status, message from oncesink.dead_letters order by 1`)
	db.Want("2", "select id from q")
}
