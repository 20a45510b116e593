package rebuild_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/archive"
	"github.com/oncesink/oncesink/internal/kafka"
	"github.com/oncesink/oncesink/internal/rebuild"
	"github.com/oncesink/oncesink/internal/rollup"
	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// childEnv makes the test binary one call of Run, so that it can be killed.
const childEnv = "ONCESINK_REBUILD_CHILD"

// childSpec is what the child is to do.
type childSpec struct {
	URL     string
	Brokers []string
	Tables  []sink.TableConfig
	Range   *rebuild.Range
	Swap    bool
	Verify  bool
	Archive string // where it lies; empty: there is none
}

// said is what a child that fails says of the table, by its outcome.
var said = map[rebuild.Outcome]string{rebuild.Unchanged: "nothing was changed", rebuild.Changed: "all was changed", rebuild.InDoubt: "ask the ledger"}

func child(raw string) error {
	var spec childSpec
	if err := json.Unmarshal([]byte(raw), &spec); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	pool, _, err := offsets.NewPool(ctx, spec.URL, 12)
	if err != nil {
		return err
	}
	defer pool.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(spec.Brokers...))
	if err != nil {
		return err
	}
	defer client.Close()
	var records kafka.Archive
	if spec.Archive != "" {
		if records, err = archive.Open(ctx, spec.Archive, archive.Options{}); err != nil {
			return err
		}
	}
	_, err = rebuild.Run(ctx, rebuild.Options{
		Archive: records,
		Pool:    pool, Admin: kadm.NewClient(client), Cluster: "kfake", Table: spec.Tables[0].Name, Range: spec.Range, Swap: spec.Swap, DryRun: spec.Verify, Verify: spec.Verify,
		Sink:     sink.Config{Tables: spec.Tables},
		Consumer: consumer.Config{Brokers: spec.Brokers, Group: group, Topics: map[string]consumer.Start{"orders": {}}, MaxBatchRecords: 200},
		Logger:   slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return fmt.Errorf("%s: %w", said[rebuild.OutcomeOf(err)], err)
	}
	return nil
}

// ended is how a child ended: nil, or by what it said, or not at all.
type ended struct {
	err  error
	said string
}

// child runs one; what is returned has its end.
func (r *rig) child(spec childSpec) (cmd *exec.Cmd, end chan ended) {
	r.Helper()
	spec.URL, spec.Brokers, spec.Tables = r.url, r.brokers, r.tables
	raw, err := json.Marshal(spec)
	r.must(err)
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(raw))
	var out strings.Builder
	cmd.Stderr = &out
	r.must(cmd.Start())
	end = make(chan ended, 1)
	go func() {
		err := cmd.Wait()
		e := ended{err: err}
		for _, words := range said {
			if strings.Contains(out.String(), words) {
				e.said = words
			}
		}
		if err != nil && e.said == "" && !strings.Contains(err.Error(), "signal: ") {
			r.Errorf("%v\n%s", err, out.String())
		}
		end <- e
	}()
	return cmd, end
}

// Each command killed with -9, or interrupted, at random moments, and run once more: the table, its children and rollups are what one call
// makes of them, from the log, or from an archive of what the log has lost, until that call they are what they were, and what an interrupted call says of them is true.
func TestKilled(t *testing.T) {
	for _, tc := range []struct {
		name     string
		spec     childSpec
		children bool // with an archive, which has what the logs of two partitions have lost
		events   func(*rig, int64) event
		kills    int
	}{
		{"rebuild in bulk", childSpec{}, false, (*rig).uniform, testenv.Times(2, 50)},
		{"rebuild", childSpec{}, true, (*rig).basket, testenv.Times(4, 50)},
		{"rebuild of children in bulk, swapped", childSpec{Swap: true}, true, (*rig).uniformBasket, testenv.Times(4, 50)},
		{"backfill", childSpec{Range: &rebuild.Range{Column: "placed_at", From: "2026-11-03", To: "2026-11-15"}}, true, (*rig).basket, testenv.Times(4, 50)},
		{"verify", childSpec{Verify: true}, true, (*rig).basket, testenv.Times(2, 50)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, upserts, ordersTable)
			damages := `update orders set note = 'damaged' where order_id % 3 = 0 and placed_at >= '2026-11-03' and placed_at < '2026-11-15'`
			state, rolled := r.state, func() {}
			if tc.children {
				r.addItems()
				state = r.all
				damages += `; update items set pieces = 77 where order_id in (select order_id from orders where order_id % 4 = 0 and placed_at >= '2026-11-03' and placed_at < '2026-11-15');
					delete from items where order_id in (select order_id from orders where order_id % 3 = 1 and placed_at >= '2026-11-03' and placed_at < '2026-11-15')`
				if !tc.spec.Swap { // which rollups stand in the way of
					rolled = r.rollUp()
				}
			}
			damages += `; delete from orders where order_id % 3 = 1 and placed_at >= '2026-11-03' and placed_at < '2026-11-15'`
			r.history(1500, 500, func(id int64) event { return tc.events(r, id) })
			r.sync()
			if tc.children {
				below := map[int32]int64{0: r.end(0), 1: r.end(1) / 2}
				tc.spec.Archive = r.archived(map[int32]int64{0: below[0], 1: below[1] + 20}).String()
				r.trim(below)
			}
			want := state()
			damage := func() string {
				r.exec(damages)
				return state()
			}
			damaged := damage()
			// How long one call takes says when to kill: the quickest so far, since others share the machine.
			began := time.Now()
			if _, end := r.child(tc.spec); (<-end).err != nil {
				t.Fatal("the first call failed")
			}
			whole := time.Since(began)
			if tc.spec.Verify {
				want = damaged // which it leaves
			}
			killed, interrupted := 0, 0
			for range tc.kills {
				if state() == want && !tc.spec.Verify {
					if damaged = damage(); damaged == want {
						t.Fatal("nothing was damaged")
					}
				}
				began := time.Now()
				cmd, end := r.child(tc.spec)
				var e ended
				select {
				case <-time.After(time.Duration(r.rand.Int64N(int64(whole)))):
					if r.rand.IntN(3) == 0 {
						_ = cmd.Process.Signal(os.Interrupt)
						interrupted++
					} else {
						_ = cmd.Process.Kill()
					}
					if e = <-end; e.err != nil {
						killed++
					}
				case e = <-end:
					whole = min(whole, time.Since(began))
				}
				s := state()
				if s != damaged && s != want {
					t.Fatalf("killed, and the table is neither as before nor done:\n%.400s", s)
				}
				if e.err == nil && s != want || e.said == said[rebuild.Unchanged] && s != damaged || e.said == said[rebuild.Changed] && s != want {
					t.Errorf("ended with %v, said that %q, and the table is as before: %v", e.err, e.said, s == damaged)
				}
				rolled()
			}
			if killed < tc.kills/3 {
				t.Errorf("only %d of %d calls were killed on their way", killed, tc.kills)
			}
			t.Logf("%d of %d killed, %d by an interrupt; one call takes %v", killed, tc.kills, interrupted, whole)
			if _, end := r.child(tc.spec); (<-end).err != nil {
				t.Fatal("the last call failed")
			}
			if got := state(); got != want {
				t.Errorf("got\n%.500s\nwant\n%.500s", got, want)
			}
			rolled()
			r.clean()
		})
	}
}

// rollUp keeps rollups of orders and items, and returns what checks them.
func (r *rig) rollUp() (check func()) {
	r.Helper()
	conn, err := r.pool.Acquire(r.Context())
	r.must(err)
	defer conn.Release()
	r.must(rollup.Init(r.Context(), conn.Conn()))
	all, err := rollup.Open(r.Context(), conn.Conn(), []rollup.Definition{
		{Name: "sales", Table: "orders", GroupBy: []rollup.Column{{Name: "status", SQL: "status"}}, Columns: []rollup.Column{{Name: "n", SQL: "count"}, {Name: "total", SQL: "sum(amount)"}}, SearchPath: "public", Mode: rollup.Incremental, Guarded: true},
		{Name: "sold", Table: "items", GroupBy: []rollup.Column{{Name: "sku", SQL: "sku"}}, Columns: []rollup.Column{{Name: "pieces", SQL: "sum(pieces)"}}, SearchPath: "public", Mode: rollup.Incremental, Guarded: true},
	})
	r.must(err)
	for _, one := range all {
		_, err := rollup.Build(r.Context(), r.pool, one)
		r.must(err)
	}
	return func() {
		r.Helper()
		conn, err := r.pool.Acquire(r.Context())
		r.must(err)
		defer conn.Release()
		for _, one := range all {
			if report, err := rollup.Verify(r.Context(), conn.Conn(), one); err != nil || report.Wrong > 0 || report.Groups == 0 {
				r.Errorf("rollup: %+v, %v", report, err)
			}
		}
	}
}

func offsetsBefore(topic string, partition int32, at int64) kadm.Offsets {
	var o kadm.Offsets
	o.Add(kadm.Offset{Topic: topic, Partition: partition, At: at})
	return o
}
