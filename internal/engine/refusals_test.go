package engine

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"context"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/sink"
)

// canary stands in every value that is refused: no log may have it.
const canary = "c4nary"

// The first dead letter of each kind is told at once, with its place and reason; the others by number, once a minute and at
// the end. Nothing that is told has a value of a record.
func TestRefusalsAreTold(t *testing.T) {
	if onRoute() {
		return
	}
	var log bytes.Buffer
	db := newDatabase(t, "create table q (id int primary key, n int, name varchar(3), day date, state text check (state <> 'bad'), doc jsonb)",
		`create function f() returns trigger language plpgsql as $$ begin if new.n = 13 then raise 'no %', new.state; end if; return new; end $$`,
		"create trigger f before insert or update on q for each row execute function f()")
	e := db.open(sink.Config{
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}}},
		Handlers: []sink.Handler{func(_ context.Context, _ pgx.Tx, records []sink.Record) error {
			for _, r := range records {
				if bytes.Contains(r.Value, []byte("handler")) {
					return sink.Poison(errors.New("can't read " + string(r.Value)))
				}
			}
			return nil
		}},
		HandlersReplaySafe: true,
	})
	add := func(from int, events ...string) *decode.Part {
		p := &decode.Part{Claim: e.claims[e.claim("o", 0).Partition]}
		for i, event := range events {
			e.Add(p, incoming("o", int64(from+i), "", strings.ReplaceAll(event, "CANARY", canary)))
		}
		return p
	}
	e.write(add(0,
		`{"id":1,"n":"CANARY"}`,
		`{"id":2,"name":"CANARY"}`,
		`{"id":3,"day":"CANARY"}`,
		`{"id":4,"state":"bad","name":"c4n"}`,
		`{"id":5,"n":13,"state":"CANARY"}`,
		`CANARY`,
		`{"id":7,"n":{"CANARY":1}}`,
		`{"id":"CANARY"}`,
		`{"id":9,"state":"handler CANARY"}`,
		`{"id":10,"n":"CANARY"}`,
		`{"id":11,"n":"CANARY"}`,
		`{"id":12,"n":1}`,
		`{"id":13,"doc":"CANARY","doc":2}`,
	))
	const first, more = `msg="a record is refused: it is kept as a dead letter"`, `msg="more records are refused"`
	told := log.String()
	for _, want := range []string{
		`topic=o partition=0 offset=0 code=22P02 table=public.q column=n reason="no text of the type, or no valid JSON"`,
		`topic=o partition=0 offset=1 code=22001 table=public.q column=name reason="longer than the column"`,
		`topic=o partition=0 offset=2 code=22007 table=public.q column=day reason=`,
		`topic=o partition=0 offset=3 code=23514 table=public.q constraint=q_state_check reason="a check of the column or table refuses it"`,
		`topic=o partition=0 offset=4 code=P0001 table=public.q reason="a function of the database refuses it"`,
		`topic=o partition=0 offset=5 code=22P02 reason="no text of the type, or no valid JSON"`,
		`topic=o partition=0 offset=7 code=22P02 table=public.q column=id reason="no text of the type, or no valid JSON"`,
		`topic=o partition=0 offset=8 reason="a handler refuses it"`,
		`topic=o partition=0 offset=12 code=22030 reason="parse JSON at byte`,
	} {
		if !strings.Contains(told, "level=WARN "+first+" "+want) {
			t.Errorf("not told: %s", want)
		}
	}
	if n := strings.Count(told, first); n != 9 {
		t.Errorf("%d kinds are told, want 9", n)
	}
	if strings.Contains(told, more) {
		t.Error("the number of others is told within the minute")
	}

	e.tell(time.Now().Add(59*time.Second), false)
	if strings.Contains(log.String(), more) {
		t.Error("the number of others is told within the minute")
	}
	e.tell(time.Now().Add(61*time.Second), false)
	if got := log.String(); strings.Count(got, more) != 1 || !strings.Contains(got, more+` dead_letters=3 topic=o partition=0 offset=10 code=22P02 table=public.q column=n reason=`) {
		t.Error("the number of others is not told once after a minute")
	}
	e.tell(time.Now().Add(200*time.Second), true)
	if strings.Count(log.String(), more) != 1 {
		t.Error("what was told is told again")
	}
	log.Reset()
	e.write(add(13, `{"id":14,"n":"CANARY"}`))
	if log.Len() > 0 {
		t.Error("one more of a kind is told at once")
	}
	e.TellRest()
	if got := log.String(); strings.Count(got, more) != 1 || !strings.Contains(got, more+" dead_letters=1 ") {
		t.Errorf("the rest is not told at the end")
	}
	if strings.Contains(told+log.String(), canary[:4]) {
		t.Error("a value is told")
	}
	if t.Failed() {
		t.Logf("told:\n%s%s", told, log.String())
	}
	got := e.Stats()
	if got.DeadLetters != 13 || len(got.Refused) != 9 || got.Refused[0] != (sink.RefusedStats{Refusal: sink.Refusal{Topic: "o", Code: "22P02", Table: "public.q", Column: "n"}, DeadLetters: 5}) {
		t.Errorf("the counts are %+v", got)
	}
}

// What is told was committed: a dead letter of an attempt that came to nothing is told once, after the one that did not.
func TestRefusalsOfFailedAttempts(t *testing.T) {
	if onRoute() {
		return
	}
	var log bytes.Buffer
	db := newDatabase(t, "create table q (id int primary key, n varchar(2))")
	attempts := 0
	e := db.open(sink.Config{
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}}},
		Handlers: []sink.Handler{func(context.Context, pgx.Tx, []sink.Record) error {
			if attempts++; attempts < 3 {
				return sink.Transient(errors.New("not yet"))
			}
			return nil
		}},
		HandlersReplaySafe: true,
	})
	e.write(e.part("o", 0, ev{offset: 0, cols: "id=1 n=abc"}, ev{offset: 1, cols: "id=2 n=ab"}))
	if n := strings.Count(log.String(), "a record is refused"); n != 1 || attempts < 3 || e.Stats().DeadLetters != 1 {
		t.Errorf("told %d times after %d attempts, counts %+v:\n%s", n, attempts, e.Stats(), log.String())
	}
}

// Kinds are told apart up to a bound.
func TestRefusalsAreBounded(t *testing.T) {
	rs := refusals{kinds: map[sink.Refusal]*refusalStats{}}
	var all sink.Stats
	for i := range 3 * maxRefusals {
		rs.add(&all, map[sink.Refusal]tallied{{Topic: "o", Code: fmt.Sprintf("%05d", i)}: {letters: 2}})
	}
	if got := rs.stats(); len(got) != maxRefusals+1 || all.DeadLetters != 6*maxRefusals || got[0] != (sink.RefusedStats{DeadLetters: 4 * maxRefusals}) {
		t.Errorf("%d kinds, %d dead letters, first %+v", len(got), all.DeadLetters, got[0])
	}
	fresh, more := rs.due(time.Now(), true)
	if len(fresh) != maxRefusals+1 || len(more) != maxRefusals+1 || rs.untold != 0 {
		t.Errorf("tells of %d and %d, %d left", len(fresh), len(more), rs.untold)
	}
	if fresh, more = rs.due(time.Now(), true); len(fresh)+len(more) > 0 {
		t.Error("tells again")
	}
}
