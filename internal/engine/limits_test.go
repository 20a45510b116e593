package engine

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// writeSome writes events from an offset on; those that bad names are refused. It returns the error of the partition.
func (e *engine) writeSome(from, n int64, bad func(int64) bool) error {
	e.t.Helper()
	var evs []ev
	for i := from; i < from+n; i++ {
		v := "a"
		if bad(i) {
			v = "toolong"
		}
		evs = append(evs, ev{offset: i, cols: fmt.Sprintf("id=%d v=%s", i, v)})
	}
	p := e.received("o", 0, evs...)
	o := e.Write(e.t.Context(), []*decode.Part{p})[0]
	if o.Err == nil {
		e.claims[o.Claim.Partition] = o.Claim
	}
	return o.Err
}

func (e *engine) wantFlood(err error, says ...string) {
	e.t.Helper()
	var halt *sink.HaltError
	var many *offsets.TooManyLettersError
	if !errors.As(err, &halt) || !errors.As(err, &many) {
		e.t.Fatalf("got %v, want a halt for too many letters", err)
	}
	for _, s := range append(says, "too many dead letters") {
		if !strings.Contains(err.Error(), s) {
			e.t.Errorf("said %q, want %q", err, s)
		}
	}
}

func (e *engine) must(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

func limited(d sink.DeadLetters) sink.Config {
	return sink.Config{Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}}}, DeadLetters: d}
}

const limitsTable = "create table q (id int primary key, v varchar(3))"

// Rule 31: too many letters of the last records halt the partition before the transaction in which they would be: with all of it. What is
// counted is the ledger's, and letters of long ago don't count.
func TestLetterRatio(t *testing.T) {
	db := newDatabase(t, limitsTable)
	cfg := limited(sink.DeadLetters{MaxRatio: 0.1, Window: 1000})
	e := db.open(cfg)
	all := func(int64) bool { return true }
	none := func(int64) bool { return false }
	tenth := func(i int64) bool { return i%10 == 0 }
	e.must(e.writeSome(0, 10, all)) // a tenth of a tenth of the window
	e.wantFlood(e.writeSome(10, 1, all), "11 of the last 11 records", "22001 in public.q", "o/0: too many", "at offset 10",
		"select oncesink.accept_dead_letters('g', 'o', 0, 11)", "select oncesink.resume('g', 'o', 0)")
	db.Want("10|10|0", `select next_offset, (select count(*) from oncesink.dead_letters), (select count(*) from q) from oncesink.offsets`)

	e = db.open(cfg) // a restart forgets nothing
	e.claim("o", 0)
	e.wantFlood(e.writeSome(10, 5, func(i int64) bool { return i == 14 }))
	e.must(e.writeSome(10, 90, none))
	e.must(e.writeSome(100, 100, tenth))
	e.must(e.writeSome(200, 800, tenth))
	e.must(e.writeSome(1000, 2000, tenth)) // more than the window at once
	e.wantFlood(e.writeSome(3000, 100, func(i int64) bool { return i%9 == 0 }))
	e.must(e.writeSome(3000, 900, none))
	e.must(e.writeSome(3900, 90, all)) // of which the window has seen 900 good ones
	e.wantFlood(e.writeSome(3990, 20, all))
	e.must(e.writeSome(3990, 5000, none))
	e.must(e.writeSome(8990, 100, all))
}

// So do too many in a row, over any number of transactions.
func TestLetterRun(t *testing.T) {
	db := newDatabase(t, limitsTable)
	e := db.open(limited(sink.DeadLetters{MaxRatio: 1, MaxConsecutive: 20}))
	all := func(int64) bool { return true }
	e.must(e.writeSome(0, 15, all))
	e.must(e.writeSome(15, 6, func(i int64) bool { return i != 20 }))
	e.must(e.writeSome(21, 20, all))
	e.wantFlood(e.writeSome(41, 2, func(i int64) bool { return i == 41 }), "21 records in a row", "max_consecutive: 20")
	e.must(e.writeSome(41, 1, func(int64) bool { return false }))
	e.must(e.writeSome(42, 20, all))
	db.Want("60", "select count(*) from oncesink.dead_letters")
	unlimited := db.open(limited(sink.DeadLetters{MaxRatio: 1, MaxConsecutive: -1}))
	unlimited.claim("o", 0)
	unlimited.must(unlimited.writeSome(62, 300, all))
}

// A partition goes on where a person lets it, and no further than that; the others of the transaction are not held up.
func TestLettersAccepted(t *testing.T) {
	db := newDatabase(t, limitsTable)
	e := db.open(limited(sink.DeadLetters{Window: 100}))
	all := func(int64) bool { return true }
	err := e.writeSome(0, 50, all)
	e.wantFlood(err)
	other := e.received("o", 1, ev{offset: 0, cols: "id=1001 v=a"})
	var flood []ev
	for i := range int64(50) {
		flood = append(flood, ev{offset: i, cols: fmt.Sprintf("id=%d v=toolong", i)})
	}
	out := e.Write(t.Context(), []*decode.Part{e.received("o", 0, flood...), other})
	e.wantFlood(out[0].Err)
	e.must(out[1].Err)
	db.Want("1001", "select id from q")

	_, statement, _ := strings.Cut(err.Error(), "dead letters: select")
	statement, _, _ = strings.Cut(statement, ", or `")
	db.Want("o/0: what can't be written from offset 0 to 49 becomes dead letters, however many", "select"+statement)
	e.claim("o", 0)
	e.must(e.writeSome(0, 50, all))
	db.Want("50", "select count(*) from oncesink.dead_letters")
	e.wantFlood(e.writeSome(50, 20, all))

	// A replay counts no letter twice.
	e.rewind("o", 0, 0)
	db.Do("update oncesink.offsets set letters_free = 0")
	e.must(e.writeSome(0, 50, all))
	db.Want("50", "select count(*) from oncesink.dead_letters")

	// A topic that is made anew has had no letters, and nobody has let any pass.
	db.Do("update oncesink.offsets set letters_free = 1000")
	e.recreate("o")
	e.wantFlood(e.writeSome(0, 50, all))
}

// A replay that refuses what was written is a flood like any other: what has a letter does not count, and nothing else is let pass because a
// letter comes behind it.
func TestFloodOfReplay(t *testing.T) {
	db := newDatabase(t, limitsTable)
	e := db.open(limited(sink.DeadLetters{Window: 100}))
	last := func(i int64) bool { return i == 499 }
	e.must(e.writeSome(0, 500, last))
	db.Do("alter table q add check (id < 0) not valid") // which refuses the last one as well, of the rows that are written from now on
	db.Do("delete from q")
	e.rewind("o", 0, 495)
	e.wantFlood(e.writeSome(495, 50, last))
	e.rewind("o", 0, 0)
	e.wantFlood(e.writeSome(0, 100, last), "100 of the last 100 records", "23514")
	db.Do("alter table q drop constraint q_id_check")
	e.must(e.writeSome(0, 500, last))
	db.Want("499|22001|1", `select "offset", code, attempts from oncesink.dead_letters`)
}

// A mapping that refuses every record by the server's word is given up after as many as the limits allow, not after all: whether they are
// sifted out or searched for.
func TestFloodIsFoundEarly(t *testing.T) {
	for _, tt := range []struct{ name, table, code string }{
		{"too long", limitsTable, "22001"},
		{"a check", "create table q (id int primary key, v text check (length(v) < 4))", "23514"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db := newDatabase(t, append([]string{tt.table}, countAttempts...)...)
			e := db.open(limited(sink.DeadLetters{MaxConsecutive: 1000}))
			e.wantFlood(e.writeSome(0, 10_000, func(int64) bool { return true }), "for "+tt.code+" in public.q")
			e.attempts(4500)
			db.Want("0|0", "select next_offset, (select count(*) from oncesink.dead_letters) from oncesink.offsets")
		})
	}
}

// countAttempts counts the statements that insert into q, those that are rolled back as well.
var countAttempts = []string{"create sequence attempts", // which no rollback takes back
	`create function attempt() returns trigger language plpgsql as $$ begin perform nextval('attempts'); return null; end $$`,
	"create trigger attempt before insert on q execute function attempt()"}

func (e *engine) attempts(most int) {
	e.t.Helper()
	n, _ := strconv.Atoi(e.db.Lines("select case when is_called then last_value else 0 end from attempts"))
	e.t.Logf("%d statements", n)
	if n > most {
		e.t.Errorf("%d statements, want %d at most", n, most)
	}
}

// One record among thousands that the server refuses costs a few statements, and each of hundreds that break a constraint or are too long hardly
// more than the one that tries it alone. Then they are looked for before anything is written. What only a trigger knows is searched for.
func TestPoisonIsCheap(t *testing.T) {
	for _, tt := range []struct {
		name, table, bad, code string
		poisons                int64
		first, next            int // statements beside those that try one of them
	}{
		{"one of a check", "create table q (id int primary key, v text check (v <> 'toolong'))", "v=toolong", "23514", 1, 3, 2},
		{"one too long", limitsTable, "v=toolong", "22001", 1, 3, 2},
		{"hundreds too long", limitsTable, "v=toolong", "22001", 250, 3, 2},
		{"hundreds of too many digits", "create table q (id int primary key, v numeric(4,2))", "v=100.5", "22003", 250, 3, 2},
		{"one that is no interval", "create table q (id int primary key, v interval)", "v=soon", "22007", 1, 3, 2},
		{"hundreds that are no intervals", "create table q (id int primary key, v interval)", "v=soon", "22007", 250, 3, 2},
		{"hundreds of a check", "create table q (id int primary key, v text check (v <> 'bad'))", "v=bad", "23514", 250, 3, 2},
		{"hundreds of a check of a partition", "create table q (id int primary key, v text) partition by range (id); create table q1 partition of q (check (v <> 'bad')) for values from (0) to (4000); create table q2 partition of q default",
			"v=bad", "23514", 250, 3, 2},
		{"hundreds that are null", "create table q (id int primary key, v text not null)", "v=null", "23502", 250, 3, 2},
		{"hundreds without a value", "create table q (id int primary key, v text not null)", "", "23502", 250, 255, 255}, // an update of what may be there, and an insert
		{"hundreds without a parent", "create table p (v text primary key); insert into p values ('1'); create table q (id int primary key, v text references p)", "v=x", "23503", 250, 6, 5},
		{"one that a trigger refuses", `create table q (id int primary key, v text); create function g() returns trigger language plpgsql as $$ begin if new.v = 'bad' then raise 'no'; end if; return new; end $$;
			create trigger g before insert on q for each row execute function g()`, "v=bad", "P0001", 1, 40, 40},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const n = 2000
			db := newDatabase(t, append([]string{tt.table}, countAttempts...)...)
			cfg := limited(sink.DeadLetters{MaxRatio: 1, MaxConsecutive: -1})
			cfg.ForeignKeyWait = time.Nanosecond
			e := db.open(cfg)
			for batch, most := range []int{tt.first, tt.next} {
				db.Do("select setval('attempts', 1, false)")
				var evs []ev
				for i := int64(batch * n); i < int64(batch+1)*n; i++ {
					v := "v=1"
					if strings.HasSuffix(tt.table, " interval)") {
						v = "v=1_day"
					}
					if i%(n/tt.poisons) == n/tt.poisons/2 {
						v = tt.bad
					}
					evs = append(evs, ev{offset: i, cols: fmt.Sprintf("id=%d %s", i, v)})
				}
				e.write(e.received("o", 0, evs...))
				e.attempts(int(tt.poisons) + most)
				db.Want(fmt.Sprintf("%d|%d", int64(batch+1)*(n-tt.poisons), int64(batch+1)*tt.poisons), "select count(*), (select count(*) from oncesink.dead_letters where target like 'public.q%' and code = '"+tt.code+"') from q")
			}
		})
	}
}

// What is sifted out is what the server refuses, and nothing else: spaces at the end, characters of several bytes, numbers that are
// rounded, events of one key, children.
func TestSift(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key, v varchar(3), c char(2), n numeric(4,2), w text)", "create table k (id int, s varchar(2), primary key (id, s))")
	e := db.open(sink.Config{Tables: []sink.TableConfig{
		{Name: "q", Topics: []string{"o"}, Key: []string{"id"}},
		{Name: "k", Strategy: sink.Children, Parent: "q", Each: "k", Key: []string{"id", "s"}},
	}, DeadLetters: sink.DeadLetters{MaxRatio: 1, MaxConsecutive: -1}})
	docs := []string{
		`{"id":1,"v":"abc   ","c":"é€","n":99.99,"w":"kept"}`,
		`{"id":2,"v":"abcd"}`,
		`{"id":3,"v":"éèê","c":"a    ","n":"-99.994"}`,
		`{"id":4,"v":"éèêë"}`,
		`{"id":5,"n":99.999}`, // rounded up to what has no room
		`{"id":6,"n":1e2}`,
		`{"id":7,"v":"ok","k":[{"s":"ab"},{"s":"abc"}]}`,
		`{"id":8,"v":"ok","k":[{"s":"ab"}]}`,
		`{"id":1,"v":"abcde","w":"an event of the same key"}`,
		`{"id":9,"n":"NaN"}`,
		`{"id":10,"n":-123456789}`,
		`{"id":11,"c":"abc"}`,
	}
	p := &decode.Part{Claim: e.claim("o", 0)}
	for i, d := range docs {
		if _, err := e.Add(p, sink.Record{Topic: "o", Offset: int64(i), Epoch: -1, Value: []byte(d)}); err != nil {
			t.Fatal(err)
		}
	}
	e.write(p)
	db.Want("1|abc|é€|99.99|kept\n3|éèê|a |-99.99|-\n8|ok|-|-|-\n9|-|-|NaN|-", "select id, v, c, n, w from q order by 1")
	db.Want("8|ab", "select id, s from k")
	db.Want("1|22001|v\n3|22001|v\n4|22003|n\n5|22003|n\n6|22001|s\n8|22001|v\n10|22003|n\n11|22001|c", `select "offset", code, column_name from oncesink.dead_letters order by 1`)
}

// What the records look like is told where the mapping knows nothing of them.
func TestFloodSaysWhatItLooksLike(t *testing.T) {
	for _, tt := range []struct{ value, says string }{
		{`{"before":null,"after":{"id":1},"source":{},"op":"c"}`, "They look like change events of Debezium: `topics: {o: {envelope: debezium}}` reads them"},
		{"\x00\x00\x00\x00\x07\x02\x04", "Avro or Protobuf: `topics: {o: {format: avro}}`, or format: protobuf"},
		{`{"order":1,"customer":2}`, "They look like JSON objects with the fields customer, order."},
		{`{"id":1,"v":"toolong"}`, ""},
	} {
		db := newDatabase(t, limitsTable)
		e := db.open(limited(sink.DeadLetters{Window: 100}))
		p := &decode.Part{Claim: e.claim("o", 0)}
		for i := range int64(50) {
			if _, err := e.Add(p, sink.Record{Topic: "o", Offset: i, Epoch: -1, Value: []byte(tt.value)}); err != nil {
				t.Fatal(err)
			}
		}
		err := e.Write(t.Context(), []*decode.Part{p})[0].Err
		e.wantFlood(err, tt.says)
		if tt.says == "" && strings.Contains(err.Error(), "look like") {
			t.Errorf("said %q", err)
		}
	}
}
