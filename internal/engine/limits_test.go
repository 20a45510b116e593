package engine

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/decode"
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
	if !errors.As(err, &halt) {
		e.t.Fatalf("got %v, want a halt", err)
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
	e.wantFlood(e.writeSome(10, 1, all), "11 of the last 11 records", "22001 in public.q", "at offset 10", "JSON objects with the fields id, v",
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
}

// A mapping that refuses every record by the server's word is given up after some hundred attempts, not after all.
func TestFloodIsFoundEarly(t *testing.T) {
	db := newDatabase(t, limitsTable, "create sequence attempts", // which no rollback takes back
		`create function attempt() returns trigger language plpgsql as $$ begin perform nextval('attempts'); return null; end $$`,
		"create trigger attempt before insert on q execute function attempt()")
	e := db.open(limited(sink.DeadLetters{}))
	e.wantFlood(e.writeSome(0, 10_000, func(int64) bool { return true }), "for 22001 in public.q")
	if n, _ := strconv.Atoi(db.Lines("select last_value from attempts")); n > 4500 {
		t.Errorf("%d statements to find that 10,000 records can't be written", n)
	} else {
		t.Logf("%d statements", n)
	}
	db.Want("0|0", "select next_offset, (select count(*) from oncesink.dead_letters) from oncesink.offsets")
}
