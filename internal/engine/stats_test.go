package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/sink"
)

// Tombstones are counted once they are committed, those that met no row apart; a replay counts none, and warns of none.
func TestTombstonesAreCounted(t *testing.T) {
	for _, guard := range []sink.Guard{"", sink.GuardNone} {
		t.Run("guard "+string(guard), func(t *testing.T) {
			var log bytes.Buffer
			db := newDatabase(t, "create table q (name text primary key, v int)")
			e := db.open(sink.Config{Logger: slog.New(slog.NewTextHandler(&log, nil)), Tables: []sink.TableConfig{
				{Name: "q", Topics: []string{"o"}, Key: []string{"name"}, Guard: guard, RecordKey: map[string]string{"name": "$key"}}}})
			stats := func(want string) {
				t.Helper()
				var got []string
				for _, x := range e.Stats().Tables {
					got = append(got, fmt.Sprintf("%s %d %d", x.Table, x.Tombstones, x.TombstonesWithoutRow))
				}
				if got := strings.Join(got, ", "); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
			warnings := func(want int) {
				t.Helper()
				if got := strings.Count(log.String(), "tombstones met no row"); got != want {
					t.Errorf("%d warnings, want %d:\n%s", got, want, log.String())
				}
			}
			stats("")
			// A record that is refused makes the batch be written again, in halves: nothing counts twice.
			values := []string{`{"name": "ann", "v": 1}`, `{"name": "bob", "v": 1}`, "-ann", `{"name": "eve", "v": 99999999999}`}
			e.write(e.add(0, 0, values...))
			stats("public.q 1 0")
			warnings(0)
			values = append(values, `-"bob"`, `-"eve"`)
			e.write(e.add(0, 4, values[4:]...))
			stats("public.q 3 2")
			warnings(1)
			if !strings.Contains(log.String(), "topic=o table=public.q tombstones=2") || !strings.Contains(log.String(), "$key_json") {
				t.Errorf("it does not say what to look at:\n%s", log.String())
			}
			e.write(e.add(0, 6, `-"cid"`)) // within the minute
			stats("public.q 4 3")
			warnings(1)
			if guard == "none" {
				return
			}
			e.stats.tables["public.q"].unwarned = 0
			e.stats.tables["public.q"].warned = e.stats.tables["public.q"].warned.Add(-rowlessPause)
			e.rewind("o", 0, 0)
			e.write(e.add(0, 0, append(values, `-"cid"`)...))
			stats("public.q 4 3")
			warnings(1)
		})
	}
}

// What is committed is counted once it is, by table and way, and what kept it from that by its cause: a batch that was
// refused and written in pieces, a try that was rolled back, a COMMIT whose answer was lost count nothing twice.
func TestStats(t *testing.T) {
	wire := &scissors{}
	db := newDatabase(t, "create table q (id int primary key, v int)", "create table child (id int, n int, v int, primary key (id, n))")
	var refuse atomic.Bool
	var observed []string
	observer := &sink.Observer{
		Transaction: func(x *sink.Transaction) {
			if x.Began.IsZero() || x.Duration < x.Commit || (x.Commit > 0) != (x.Outcome == sink.Committed || x.Outcome == sink.Unknown) {
				t.Errorf("observed %+v", x)
			}
			observed = append(observed, fmt.Sprintf("%s %d %d %d %v %s", x.Outcome, x.Records, x.Bytes, x.DeadLetters, x.Tables, x.SQLState))
		},
		Resolved: func(committed bool, _ time.Duration) { observed = append(observed, fmt.Sprint("resolved ", committed)) },
	}
	saw := func(want ...string) {
		t.Helper()
		if !slices.Equal(observed, want) {
			t.Errorf("observed %q, want %q", observed, want)
		}
		observed = nil
	}
	e := db.open(sink.Config{Observer: observer,
		Tables: []sink.TableConfig{
			{Name: "q", Topics: []string{"o"}, Key: []string{"id"}},
			{Name: "child", Strategy: sink.Children, Parent: "q", Each: "items", Key: []string{"id", "n"}, Columns: map[string]sink.ColumnConfig{"n": {From: "$index"}}},
		},
		Handlers: []sink.Handler{func(context.Context, pgx.Tx, []sink.Record) error {
			if refuse.CompareAndSwap(true, false) {
				return sink.Transient(errors.New("not now"))
			}
			return nil
		}},
	}, wire.install)
	counts := func(want string) {
		t.Helper()
		s := e.Stats()
		if s.CommitTime <= 0 || s.TransactionTime < s.CommitTime {
			t.Errorf("%v of COMMIT in %v", s.CommitTime, s.TransactionTime)
		}
		s.CommitTime, s.TransactionTime = 0, 0
		if got := fmt.Sprint(s); got != "{"+want+"}" {
			t.Errorf("got %s, want {%s}", got, want)
		}
	}
	// By one way each, whatever the process tests.
	by := func(r route) {
		for _, tb := range e.tables {
			tb.learn.forced = &r
		}
	}
	event := func(id int, more string) string { return fmt.Sprintf(`{"id": %d, "v": 1%s}`, id, more) }
	by(byStatement)
	p := e.add(0, 0, event(1, ""), event(2, `, "items": [{"v": 1}, {"v": 2}]`), event(2, ""))
	e.Add(p, sink.Record{Topic: "o", Offset: 3, Control: true})
	e.write(p)
	counts("1 0s 0s 3 0 [] [{o 3 82}] 0 0 map[] map[] 0 0 0 0 0 map[] map[] map[] 0 [{public.child 0 2 0 0 0 0} {public.q 0 3 0 0 0 0}]")

	saw("committed 3 82 0 [{public.child 0 2 0 0 0 0} {public.q 0 3 0 0 0 0}] ")

	// A COPY that is undone, for a key is there, and then statements.
	by(byCopy)
	e.write(e.add(0, 4, event(1, "")))
	counts("2 0s 0s 4 0 [] [{o 4 99}] 0 0 map[] map[] 0 0 0 0 0 map[] map[] map[] 0 [{public.child 0 2 0 0 0 0} {public.q 0 4 0 0 0 0}]")
	e.write(e.add(0, 5, event(3, ""), event(4, "")))
	counts("3 0s 0s 6 0 [] [{o 6 133}] 0 0 map[] map[] 0 0 0 0 0 map[] map[] map[] 0 [{public.child 0 2 0 0 0 0} {public.q 2 4 0 0 0 0}]")

	// One record of the batch is a dead letter; a replay changes no row.
	by(byStatement)
	e.write(e.add(0, 7, event(5, ""), event(6, "")[:5], event(6, `, "items": [{"v": 99999999999}]`)))
	counts("4 0s 0s 9 2 [{{o 22P02  } 1} {{o 22003 public.child v} 1}] [{o 9 203}] 0 0 map[] map[] 0 0 0 0 0 map[] map[] map[] 0 [{public.child 0 2 0 0 0 0} {public.q 2 5 0 0 0 0}]")
	e.rewind("o", 0, 5)
	e.write(e.add(0, 5, event(3, ""), event(4, "")))
	counts("5 0s 0s 11 2 [{{o 22P02  } 1} {{o 22003 public.child v} 1}] [{o 11 237}] 0 0 map[] map[] 0 0 0 0 0 map[] map[] map[] 0 [{public.child 0 2 0 0 0 0} {public.q 2 5 0 2 0 0}]")

	observed = nil

	// What is in the way: a handler, a lost answer.
	refuse.Store(true)
	e.write(e.add(0, 7, event(5, "")))
	counts("6 0s 0s 12 2 [{{o 22P02  } 1} {{o 22003 public.child v} 1}] [{o 12 254}] 0 0 map[handler:1] map[handler:1] 0 0 0 0 0 map[] map[] map[] 0 [{public.child 0 2 0 0 0 0} {public.q 2 5 0 3 0 0}]")
	saw("retried 1 17 0 [] ", "committed 1 17 0 [{public.q 0 0 0 1 0 0}] ")
	var once sync.Once
	wire.cut = func() (c cut) { once.Do(func() { c = cutAfter }); return c }
	e.write(e.add(0, 8, event(7, "")))
	counts("7 0s 0s 13 2 [{{o 22P02  } 1} {{o 22003 public.child v} 1}] [{o 13 271}] 1 0 map[handler:1] map[handler:1] 0 1 1 0 0 map[] map[] map[] 0 [{public.child 0 2 0 0 0 0} {public.q 2 6 0 3 0 0}]")
	saw("unknown 1 17 0 [] ", "resolved true", "committed 1 17 0 [{public.q 0 1 0 0 0 0}] ")
}

// The words for what is in the way of an attempt.
func TestRetryCauses(t *testing.T) {
	pg := func(code string) error {
		return fmt.Errorf("write: %w", &pgconn.PgError{Code: code, Severity: "ERROR"})
	}
	for want, errs := range map[string][]error{
		"connection": {io.ErrUnexpectedEOF, &lostError{errors.New("gone")}, pg("08006")},
		"conflict":   {pg("40P01"), pg("40001")},
		"lock":       {pg("55P03")},
		"timeout":    {pg("57014"), pg("25P03")},
		"resources":  {pg("53100"), pg("53300")},
		"server":     {pg("57P01"), pg("57P03"), pg("25006")},
		"parent":     {pg("23503")},
		"handler":    {&handlerError{index: 0, err: sink.Transient(errors.New("not now"))}, &handlerError{index: 0, err: sink.Transient(pg("P0001"))}},
		"other":      {pg("XX000")},
	} {
		for _, err := range errs {
			if got := retryCause(err); got != want {
				t.Errorf("%v: %s, want %s", err, got, want)
			}
		}
	}
}
