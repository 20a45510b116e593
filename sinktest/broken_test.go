package sinktest_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/sink"
	"github.com/oncesink/oncesink/sinktest"
)

func TestMain(m *testing.M) { os.Exit(testpg.Main(m)) }

// payment is what the records of the tests hold.
type payment struct {
	Account int `json:"account"`
	Cents   int `json:"cents"`
}

// payments are n records for each of two partitions, one partition listed after
// the other. Each account's are in one partition.
func payments(n int) []sink.Record {
	var out []sink.Record
	for p := range int32(2) {
		for i := range n {
			value, _ := json.Marshal(payment{Account: 2*(i%2) + int(p), Cents: 100*int(p) + i})
			out = append(out, sink.Record{Topic: "payments", Partition: p, Value: value})
		}
	}
	return out
}

// each makes a handler of a function for each record.
func each(f func(ctx context.Context, tx pgx.Tx, r sink.Record, p payment) error) sink.Handler {
	return func(ctx context.Context, tx pgx.Tx, records []sink.Record) error {
		for _, r := range records {
			var p payment
			if err := json.Unmarshal(r.Value, &p); err != nil {
				return sink.Poison(err)
			}
			if err := f(ctx, tx, r, p); err != nil {
				return err
			}
		}
		return nil
	}
}

// statement is a handler that executes a statement for each payment: its parameters are
// account, cents, partition and offset.
func statement(sql string) sink.Handler {
	return each(func(ctx context.Context, tx pgx.Tx, r sink.Record, p payment) error {
		_, err := tx.Exec(ctx, sql, p.Account, p.Cents, r.Partition, r.Offset)
		return err
	})
}

const (
	credit = `insert into balances as b (account, cents) select $1::int, $2::int where $3::int + $4::bigint >= 0
		on conflict (account) do update set cents = b.cents + excluded.cents`
	// The last payment of an account, without a look at which one is there.
	last = `insert into balances as b (account, cents) select $1::int, $2::int where $3::int + $4::bigint >= 0
		on conflict (account) do update set cents = excluded.cents`
	// The last one by its offset.
	latest = `insert into balances as b (account, cents, at) select $1::int, $2::int, $4::bigint where $3::int >= 0
		on conflict (account) do update set cents = excluded.cents, at = excluded.at where b.at < excluded.at`
	balances = "create table balances (account int primary key, cents int, at bigint);"
)

// keep logs to the test, and keeps what was logged.
func keep(t *testing.T, logged *strings.Builder) func(string, ...any) {
	return func(format string, args ...any) {
		t.Helper()
		t.Logf(format, args...)
		fmt.Fprintf(logged, format+"\n", args...)
	}
}

// failures are the failures that the error joins.
func failures(t *testing.T, err error) []*sinktest.Failure {
	t.Helper()
	var f *sinktest.Failure
	switch joined, ok := err.(interface{ Unwrap() []error }); {
	case err == nil:
	case ok:
		var out []*sinktest.Failure
		for _, err := range joined.Unwrap() {
			out = append(out, failures(t, err)...)
		}
		return out
	case errors.As(err, &f):
		return []*sinktest.Failure{f}
	default:
		t.Fatalf("got %v, want a *Failure", err)
	}
	return nil
}

// perturbations of the failures, those with tables that differ.
func perturbations(t *testing.T, err error) (differ, all []sinktest.Perturbation) {
	t.Helper()
	for _, f := range failures(t, err) {
		all = append(all, f.Perturbation)
		if len(f.Tables) > 0 {
			differ = append(differ, f.Perturbation)
		}
	}
	return differ, all
}

// Each handler is wrong in its way, and the perturbation that is there for it says so.
func TestBrokenHandlers(t *testing.T) {
	for _, tt := range []struct {
		name     string
		setup    string
		handler  sink.Handler
		handlers func(*pgxpool.Pool) []sink.Handler
		safe     bool
		// want fails, may can.
		want, may []sinktest.Perturbation
		rounds    int
	}{
		{
			name: "a counter that is not declared replay-safe is fine", handler: statement(credit),
		},
		{
			name: "a guarded handler that is declared replay-safe is fine", handler: statement(latest), safe: true,
		},
		{
			name: "the clock", setup: "create table seen (at timestamptz, c int);",
			handler: each(func(ctx context.Context, tx pgx.Tx, _ sink.Record, p payment) error {
				_, err := tx.Exec(ctx, "insert into seen values (now(), $1)", p.Cents)
				return err
			}),
			want: []sinktest.Perturbation{sinktest.Repetition},
		},
		{
			name: "chance", setup: "create table seen (chance float8, c int);",
			handler: each(func(ctx context.Context, tx pgx.Tx, _ sink.Record, p payment) error {
				_, err := tx.Exec(ctx, "insert into seen values (random(), $1)", p.Cents)
				return err
			}),
			want: []sinktest.Perturbation{sinktest.Repetition},
		},
		{
			name: "the borders of batches", setup: "create table batches (records int);",
			handler: func(ctx context.Context, tx pgx.Tx, records []sink.Record) error {
				_, err := tx.Exec(ctx, "insert into batches values ($1)", len(records))
				return err
			},
			want: []sinktest.Perturbation{sinktest.Redelivery},
			may:  []sinktest.Perturbation{sinktest.Reordering, sinktest.Crash},
		},
		{
			name: "the order between partitions", setup: "create table latest (one bool primary key, cents int); insert into latest values (true, -1);",
			handler: each(func(ctx context.Context, tx pgx.Tx, _ sink.Record, p payment) error {
				_, err := tx.Exec(ctx, "update latest set cents = $1", p.Cents)
				return err
			}),
			want: []sinktest.Perturbation{sinktest.Reordering},
		},
		{
			name: "a connection of its own", setup: "create table mails (cents int);",
			handler: each(func(ctx context.Context, tx pgx.Tx, _ sink.Record, p payment) error {
				conn, err := pgx.ConnectConfig(ctx, tx.Conn().Config())
				if err != nil {
					return err
				}
				defer conn.Close(ctx)
				_, err = conn.Exec(ctx, "insert into mails values ($1)", p.Cents)
				return err
			}),
			want: []sinktest.Perturbation{sinktest.Crash},
			may:  []sinktest.Perturbation{sinktest.Redelivery},
		},
		{
			name: "a pool of its own", setup: "create table mails (cents int);",
			handlers: func(pool *pgxpool.Pool) []sink.Handler {
				return []sink.Handler{each(func(ctx context.Context, _ pgx.Tx, _ sink.Record, p payment) error {
					_, err := pool.Exec(ctx, "insert into mails values ($1)", p.Cents)
					return err
				})}
			},
			want: []sinktest.Perturbation{sinktest.Crash},
			may:  []sinktest.Perturbation{sinktest.Redelivery},
		},
		{
			name: "a sequence", setup: "create table numbered (n bigserial, cents int);",
			handler: each(func(ctx context.Context, tx pgx.Tx, _ sink.Record, p payment) error {
				_, err := tx.Exec(ctx, "insert into numbered (cents) values ($1)", p.Cents)
				return err
			}),
			want: []sinktest.Perturbation{sinktest.Crash},
			may:  []sinktest.Perturbation{sinktest.Redelivery, sinktest.Reordering},
		},
		{
			name: "a sum in memory", setup: "create table total (one bool primary key, cents int); insert into total values (true, 0);",
			handlers: func(*pgxpool.Pool) []sink.Handler {
				sum := 0
				return []sink.Handler{each(func(ctx context.Context, tx pgx.Tx, _ sink.Record, p payment) error {
					sum += p.Cents
					_, err := tx.Exec(ctx, "update total set cents = $1", sum)
					return err
				})}
			},
			want:   []sinktest.Perturbation{sinktest.Redelivery, sinktest.Crash},
			rounds: 10, // a round by itself may show nothing
		},
		{
			name: "a counter that is declared replay-safe", handler: statement(credit), safe: true,
			want: []sinktest.Perturbation{sinktest.Replay},
			may:  []sinktest.Perturbation{sinktest.Redelivery},
		},
		{
			name: "a row that goes back in time during a replay", handler: statement(last), safe: true,
			want: []sinktest.Perturbation{sinktest.Replay},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := sinktest.Case{
				Setup: balances + tt.setup, Records: payments(5), Handlers: tt.handlers, Rounds: cmp.Or(tt.rounds, 2),
				Config: sink.Config{Handlers: []sink.Handler{tt.handler}, HandlersReplaySafe: tt.safe},
			}
			if !slices.Contains(tt.want, sinktest.Crash) {
				c.MaxCuts = 3
			}
			var logged strings.Builder
			c.Logf = keep(t, &logged)
			err := sinktest.Check(t.Context(), testpg.URL(t), c)
			if err != nil {
				t.Log(err)
			}
			differ, all := perturbations(t, err)
			for _, p := range tt.want {
				if !slices.Contains(differ, p) {
					t.Errorf("%s shows no difference", p)
				}
			}
			for _, p := range all {
				if !slices.Contains(tt.want, p) && !slices.Contains(tt.may, p) {
					t.Errorf("%s fails", p)
				}
			}
			if tried := !strings.Contains(logged.String(), "replay: not tried"); !slices.Contains(tt.want, sinktest.Repetition) && tried != tt.safe {
				t.Errorf("replay was tried: %v, want %v", tried, tt.safe)
			}
		})
	}
}
