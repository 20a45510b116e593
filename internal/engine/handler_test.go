package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/sink"
)

// A handler's poison is bisected to the record; what the handler did for the others stands.
func TestHandlers(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key)", "create table seen (o bigint)")
	var mode string
	e := db.open(sink.Config{
		Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}}},
		Handlers: []sink.Handler{func(ctx context.Context, tx pgx.Tx, records []sink.Record) error {
			for _, r := range records {
				if _, err := tx.Exec(ctx, "insert into seen values ($1)", r.Offset); err != nil {
					return err
				}
				if r.Offset%10 == 3 {
					switch mode {
					case "poison":
						return sink.Poison(errors.New("threes are not liked"))
					case "data":
						_, err := tx.Exec(ctx, "select 1/0")
						return fmt.Errorf("count: %w", err)
					case "else":
						return errors.New("no idea")
					case "commit":
						return tx.Commit(ctx)
					case "rollback":
						return tx.Rollback(ctx)
					}
				}
			}
			return nil
		}},
		Logger: slog.New(slog.DiscardHandler),
	})
	write := func(base int64) error {
		var evs []ev
		for i := range int64(6) {
			v := ev{offset: base + i, cols: fmt.Sprintf("id=%d", base+i)}
			if i == 5 {
				v.fault = &decode.Fault{Code: "ONS01", Message: "no JSON"} // no handler gets to see it
			}
			evs = append(evs, v)
		}
		out := e.Write(t.Context(), []*decode.Part{e.part("o", 0, evs...)})
		e.claims[out[0].Claim.Partition] = out[0].Claim
		return out[0].Err
	}
	for i, m := range []string{"", "poison", "data"} {
		mode = m
		if err := write(int64(10 * i)); err != nil {
			t.Fatalf("%s: %v", m, err)
		}
	}
	db.Want("0 1 2 3 4 10 11 12 14 20 21 22 24", "select string_agg(o::text, ' ' order by o) from seen")
	db.Want("0 1 2 3 4 10 11 12 14 20 21 22 24", "select string_agg(id::text, ' ' order by id) from q")
	db.Want("5|ONS01|no JSON\n13|-|handler 0: threes are not liked\n15|ONS01|no JSON\n23|22012|division by zero\n25|ONS01|no JSON",
		`select "offset", code, message from oncesink.dead_letters order by 1`)
	for _, m := range []string{"else", "commit", "rollback"} {
		mode = m
		var halt *sink.HaltError
		if err := write(30); !errors.As(err, &halt) {
			t.Errorf("%s: got %v, want a *HaltError", m, err)
		}
		db.Want("26", "select next_offset from oncesink.offsets")
		db.Want("0", "select count(*) from seen where o >= 30")
	}
}

// A sink without tables runs its handlers, with positions, dead letters and all.
func TestHandlersAlone(t *testing.T) {
	db := newDatabase(t, "create table seen (o bigint)")
	e := db.open(sink.Config{Handlers: []sink.Handler{func(ctx context.Context, tx pgx.Tx, records []sink.Record) error {
		for _, r := range records {
			if r.Offset == 1 {
				return sink.Poison(errors.New("no"))
			}
			if _, err := tx.Exec(ctx, "insert into seen values ($1)", r.Offset); err != nil {
				return err
			}
		}
		return nil
	}}})
	p := &decode.Part{Claim: e.claim("any", 0)}
	for o := range int64(4) {
		e.Add(p, sink.Record{Topic: "any", Offset: o, Value: []byte("not JSON"), Control: o == 3})
	}
	e.write(p)
	db.Want("0\n2", "select o from seen order by o")
	db.Want("1", `select "offset" from oncesink.dead_letters`)
	db.Want("4", "select next_offset from oncesink.offsets")
	if e.ReplayRefused() == "" {
		t.Error("handlers that are not declared replay-safe refuse a replay")
	}
}

// Whoever waits for a context that ended does not wait for a server that answers nothing: the rollback has a second.
func TestRollbackAfterAnInterruptionIsShort(t *testing.T) {
	wire := &scissors{}
	db := newDatabase(t, "create table q (id int primary key)")
	ctx, interrupt := context.WithCancel(t.Context())
	e := db.open(sink.Config{
		Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}}},
		Handlers: []sink.Handler{func(ctx context.Context, tx pgx.Tx, _ []sink.Record) error {
			tx.Conn().PgConn().Conn().(*cutConn).hole = true
			interrupt()
			return ctx.Err()
		}},
	}, wire.install)
	e.shortSlack(20 * time.Second) // unless it is cut short
	e.claim("o", 0)
	parts := []*decode.Part{e.part("o", 0, ev{offset: 0, cols: "id=1"})}
	written := make(chan error, 1)
	go func() { written <- e.Write(ctx, parts)[0].Err }()
	select {
	case err := <-written:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the context's error", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it waits for the server")
	}
	db.Want("0", "select count(*) from q")
}

// What a handler says will pass is outlasted: nothing of it is committed meanwhile, the log and the ledger say what the
// partition is stuck at, and once the handler passes its records are written once.
func TestTransientHandler(t *testing.T) {
	db := newDatabase(t, "create table seen (o bigint)")
	var log syncBuffer
	var tries atomic.Int64
	var passes atomic.Bool
	e := db.open(sink.Config{
		Handlers: []sink.Handler{func(ctx context.Context, tx pgx.Tx, records []sink.Record) error {
			tries.Add(1)
			if _, err := tx.Exec(ctx, "insert into seen values ($1)", records[0].Offset); err != nil {
				return err
			}
			if !passes.Load() {
				return fmt.Errorf("ask the shop: %w", sink.Transient(errors.New("it does not answer")))
			}
			return nil
		}},
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	e.stuckAfter = 100 * time.Millisecond
	p := &decode.Part{Claim: e.claim("o", 0)}
	e.Add(p, sink.Record{Topic: "o", Offset: 0, Value: []byte("{}")})
	var written sync.WaitGroup
	var out []Outcome
	written.Go(func() { out = e.Write(t.Context(), []*decode.Part{p}) })
	waitUntil(t, func() bool {
		var stuck string
		err := e.pool.QueryRow(t.Context(), "select coalesce(stuck, '') from oncesink.status").Scan(&stuck)
		return err == nil && strings.Contains(stuck, "handler 0: ask the shop: it does not answer, again and again since")
	})
	db.Want("0|0", "select next_offset, (select count(*) from seen) from oncesink.offsets")
	passes.Store(true)
	written.Wait()
	if out[0].Err != nil {
		t.Fatal(out[0].Err)
	}
	db.Want("1|1|-", "select next_offset, (select count(*) from seen), (select stuck from oncesink.status) from oncesink.offsets")
	db.Want("0", "select count(*) from oncesink.dead_letters")
	if n := tries.Load(); n < 3 {
		t.Errorf("it was tried %d times", n)
	}
	for _, want := range []string{"writing is delayed", "writing is stuck"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, log.String())
		}
	}
}
