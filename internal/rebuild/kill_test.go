package rebuild_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/rebuild"
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
	Table   sink.TableConfig
	Range   *rebuild.Range
}

func child(raw string) error {
	var spec childSpec
	if err := json.Unmarshal([]byte(raw), &spec); err != nil {
		return err
	}
	ctx := context.Background()
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
	_, err = rebuild.Run(ctx, rebuild.Options{
		Pool: pool, Admin: kadm.NewClient(client), Cluster: "kfake", Table: spec.Table.Name, Range: spec.Range,
		Sink:     sink.Config{Tables: []sink.TableConfig{spec.Table}},
		Consumer: consumer.Config{Brokers: spec.Brokers, Group: group, Topics: map[string]consumer.Start{"orders": {}}, MaxBatchRecords: 200},
		Logger:   slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	return err
}

// start runs a child; ended is closed when it has come to its end.
func (r *rig) child(span *rebuild.Range) (cmd *exec.Cmd, ended chan error) {
	r.Helper()
	spec, err := json.Marshal(childSpec{r.url, r.brokers, r.tables[0], span})
	r.must(err)
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(spec))
	var out strings.Builder
	cmd.Stderr = &out
	r.must(cmd.Start())
	ended = make(chan error, 1)
	go func() {
		err := cmd.Wait()
		if err != nil && !strings.Contains(err.Error(), "killed") {
			r.Errorf("%v\n%s", err, out.String())
		}
		ended <- err
	}()
	return cmd, ended
}

// Each command killed with -9 at random moments, and run once more: the table is what one call makes of it, and
// until that call it is what it was.
func TestKilled(t *testing.T) {
	for _, tc := range []struct {
		name   string
		span   *rebuild.Range
		events func(*rig, int64) event
		kills  int
	}{
		{"rebuild in bulk", nil, (*rig).uniform, testenv.Times(6, 50)},
		{"rebuild", nil, (*rig).mixed, testenv.Times(6, 50)},
		{"backfill", &rebuild.Range{Column: "placed_at", From: "2026-11-03", To: "2026-11-15"}, (*rig).mixed, testenv.Times(8, 100)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, upserts, ordersTable)
			r.history(2000, 600, func(id int64) event { return tc.events(r, id) })
			r.sync()
			want := r.state()
			damage := func() string {
				r.exec(`update orders set note = 'damaged' where order_id % 3 = 0 and placed_at >= '2026-11-03' and placed_at < '2026-11-15'`)
				r.exec(`delete from orders where order_id % 3 = 1 and placed_at >= '2026-11-03' and placed_at < '2026-11-15'`)
				return r.state()
			}
			damaged := damage()
			// How long one call takes says when to kill: the quickest so far, since others share the machine.
			began := time.Now()
			if _, ended := r.child(tc.span); <-ended != nil {
				t.Fatal("the first call failed")
			}
			whole := time.Since(began)
			killed := 0
			for range tc.kills {
				if r.state() == want {
					if damaged = damage(); damaged == want {
						t.Fatal("nothing was damaged")
					}
				}
				began := time.Now()
				cmd, ended := r.child(tc.span)
				select {
				case <-time.After(time.Duration(r.rand.Int64N(int64(whole)))):
					_ = cmd.Process.Kill()
					if <-ended != nil {
						killed++
					}
				case <-ended:
					whole = min(whole, time.Since(began))
				}
				if s := r.state(); s != damaged && s != want {
					t.Fatalf("killed, and the table is neither as before nor done:\n%.400s", s)
				}
			}
			if killed < tc.kills/3 {
				t.Errorf("only %d of %d calls were killed on their way", killed, tc.kills)
			}
			t.Logf("%d of %d killed; one call takes %v", killed, tc.kills, whole)
			if _, ended := r.child(tc.span); <-ended != nil {
				t.Fatal("the last call failed")
			}
			if got := r.state(); got != want {
				t.Errorf("got\n%.500s\nwant\n%.500s", got, want)
			}
			r.clean()
		})
	}
}

func offsetsBefore(topic string, partition int32, at int64) kadm.Offsets {
	var o kadm.Offsets
	o.Add(kadm.Offset{Topic: topic, Partition: partition, At: at})
	return o
}
