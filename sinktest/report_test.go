package sinktest_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/sink"
	"github.com/oncesink/oncesink/sinktest"
)

// recorder is a test that fails without failing ours.
type recorder struct {
	testing.TB
	errors, logs []string
}

func (r *recorder) Error(args ...any) { r.errors = append(r.errors, fmt.Sprint(args...)) }
func (r *recorder) Logf(format string, args ...any) {
	r.logs = append(r.logs, fmt.Sprintf(format, args...))
}
func (r *recorder) Errorf(format string, args ...any) { r.Error(fmt.Sprintf(format, args...)) }

// What a test prints says which handler promise is broken, where, and how to see it again.
func TestReport(t *testing.T) {
	c := sinktest.Case{
		Setup: balances, Records: payments(2), Rounds: 1, Seed: 7,
		Config: sink.Config{Handlers: []sink.Handler{statement(credit)}, HandlersReplaySafe: true},
		Skip:   []sinktest.Perturbation{sinktest.Redelivery, sinktest.Reordering, sinktest.Crash},
	}
	r := &recorder{TB: t}
	sinktest.Run(r, testpg.URL(t), c)
	want := `sinktest: replay, round 0 (seed 7): the tables differ from the reference: applying records again must change nothing, not even until the replay has passed
  the handlers are declared replay-safe (HandlersReplaySafe): they must not change a table when they run again for records that were applied
  table balances (- reference, + here):
    - account=1 cents=100 at=null
    - account=2 cents=1 at=null
    - account=3 cents=101 at=null
    + account=1 cents=200 at=null
    + account=2 cents=2 at=null
    + account=3 cents=202 at=null
  what was done:
    write everything, rewind everything to 0
    write again payments/0 up to offset 1, payments/1 up to offset 1
  to repeat it: ONCESINK_SINKTEST_SEED=7`
	if len(r.errors) != 1 || r.errors[0] != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(r.errors, "\n"), want)
	}
	if !slices.Contains(r.logs, "sinktest: seed 7") {
		t.Errorf("the log %q lacks the seed", r.logs)
	}
}

// The same seed does the same, and the environment's counts.
func TestSeed(t *testing.T) {
	c := sinktest.Case{
		Setup: balances, Records: payments(6), Rounds: 3, MaxCuts: 1,
		Config: sink.Config{Handlers: []sink.Handler{statement(credit)}, HandlersReplaySafe: true},
	}
	steps := func() string {
		t.Helper()
		var out []string
		for _, f := range failures(t, sinktest.Check(t.Context(), testpg.URL(t), c)) {
			out = append(out, f.Error())
		}
		return strings.Join(out, "\n")
	}
	t.Setenv(sinktest.SeedVariable, "12")
	first := steps()
	if !strings.Contains(first, "seed 12") {
		t.Errorf("got %s, want a failure with seed 12", first)
	}
	c.Seed = 5 // the environment's is stronger
	if again := steps(); again != first {
		t.Errorf("got\n%s\nwant\n%s", again, first)
	}
	t.Setenv(sinktest.SeedVariable, "twelve")
	if err := sinktest.Check(t.Context(), testpg.URL(t), c); err == nil || !strings.Contains(err.Error(), "read ONCESINK_SINKTEST_SEED") {
		t.Errorf("got %v, want a refused seed", err)
	}
}

// Nothing is left on the server, whatever the outcome; nor is the named database touched.
func TestLeavesNothing(t *testing.T) {
	url := testpg.Start(t).URL()
	c := sinktest.Case{
		Setup: balances, Records: payments(2), Rounds: 1, MaxCuts: 2,
		Config: sink.Config{Handlers: []sink.Handler{statement(credit)}},
	}
	sinktest.Run(t, url, c)
	c.Setup = "nonsense"
	if err := sinktest.Check(t.Context(), url, c); err == nil {
		t.Error("nonsense is no error")
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var databases []string
	var tables int
	err = errors.Join(
		conn.QueryRow(t.Context(), "select array_agg(datname::text order by datname) from pg_database").Scan(&databases),
		conn.QueryRow(t.Context(), "select count(*) from pg_class where relnamespace = 'public'::regnamespace or relname = 'offsets'").Scan(&tables))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"postgres", "template0", "template1"}; !slices.Equal(databases, want) || tables != 0 {
		t.Errorf("databases %v and %d tables are left, want %v and none", databases, tables, want)
	}
}
