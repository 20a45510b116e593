package rebuild_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/rebuild"
	"github.com/oncesink/oncesink/sink"
)

// rewindAll sends the group back in every partition.
func (r *rig) rewindAll(by int64) {
	r.Helper()
	r.eventually("the rows are not locked for too long", func() bool {
		_, err := r.pool.Exec(context.Background(), `select oncesink.rewind(sink_group, topic, partition, greatest(0, next_offset - $2)) from oncesink.offsets where sink_group = $1`, group, by)
		if err != nil && pgerr.SQLState(err) != "55P03" {
			r.Fatalf("rewind: %v", err)
		}
		return err == nil
	})
}

var appends = sink.TableConfig{Name: "orders", Topics: []string{"orders"}, Strategy: sink.Append}

const appendTable = `create table orders (order_id bigint, status text, amount numeric, note text, placed_at timestamptz, updated_at bigint)`

// Promise 4: a group that is rewound between the load and the cut, and is down, is waited for. No reader
// sees a row go back in time, or vanish; also where it is rewound twice, and at the last moment.
func TestRewoundBeforeTheCut(t *testing.T) {
	for _, tc := range []struct {
		name    string
		table   sink.TableConfig
		create  string
		one     func(*rig, int64) event
		at      string // the phase in which it is rewound
		twice   bool
		changes []func(*rebuild.Options)
	}{
		{"comparing", upserts, ordersTable, (*rig).uniform, "comparing", false, nil},
		{"twice", upserts, ordersTable, (*rig).mixed, "comparing", true, nil},
		{"applying", upserts, ordersTable, (*rig).uniform, "applying", false, nil},
		{"append", appends, appendTable, (*rig).uniform, "comparing", false, nil},
		{"a day", upserts, ordersTable, (*rig).uniform, "comparing", false, []func(*rebuild.Options){days("2026-11-01", "2026-11-30")}},
		{"swap", upserts, ordersTable, (*rig).uniform, "applying", false, []func(*rebuild.Options){swap}},
		{"dry run", upserts, ordersTable, (*rig).mixed, "comparing", false, []func(*rebuild.Options){func(o *rebuild.Options) { o.DryRun = true }}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, tc.table, tc.create)
			r.history(1200, 120, func(id int64) event { return tc.one(r, id) })
			r.sync()
			var want string
			var once sync.Once
			down := make(chan struct{})
			finished := make(chan *rebuild.Result, 1)
			ctx, cancel := context.WithCancel(t.Context())
			var looking sync.WaitGroup
			go func() {
				res, err := r.rebuild(append(tc.changes, func(o *rebuild.Options) {
					o.Progress = func(p rebuild.Progress) {
						if p.Phase == tc.at {
							once.Do(func() {
								// The stage stands where the group stood; the group goes on, and back to between both.
								r.history(450, 120, func(id int64) event { return tc.one(r, id) })
								r.sync()
								want = r.state()
								r.rewindAll(70)
								if tc.twice {
									r.rewindAll(20)
								}
								if tc.table.Strategy != sink.Append && fmt.Sprintf("%p", tc.one) == fmt.Sprintf("%p", (*rig).uniform) {
									looking.Go(func() { r.watchVersions(ctx) })
								}
								close(down)
							})
						}
					}
				})...)
				if err != nil {
					t.Error(err)
				}
				finished <- res
			}()
			<-down
			select {
			case res := <-finished:
				t.Errorf("did not wait: %+v", res)
				finished <- res
			case <-r.says("rewound"):
			}
			if r.state() != want {
				t.Error("changed the table")
			}
			r.sync()
			res := <-finished
			if res == nil || r.state() != want || res.Differs() {
				t.Errorf("%+v; the table is what it was: %v", res, r.state() == want)
			}
			cancel()
			looking.Wait()
			r.clean()
		})
	}
}

// A claim, a pause and a gap draw new fences as well, and are no rewinds: nothing is waited for.
func TestFencesThatAreNoRewinds(t *testing.T) {
	r := newRig(t, upserts, ordersTable)
	r.history(1200, 120, r.mixed)
	r.sync()
	for _, phase := range []string{"comparing", "applying"} {
		once := sync.Once{}
		res := r.rebuilt(func(o *rebuild.Options) {
			o.Progress = func(p rebuild.Progress) {
				if p.Phase == phase {
					once.Do(func() {
						r.history(200, 120, r.mixed)
						r.sync() // claims
						r.exec(`select oncesink.pause($1, 'orders')`, group)
						r.exec(`select oncesink.resume($1, 'orders')`, group)
						r.history(30, 120, r.mixed)
						r.exec(`select oncesink.accept_gap($1, 'orders', 0, next_offset + 1) from oncesink.offsets where sink_group = $1 and partition = 0`, group)
					})
				}
			}
		})
		t.Logf("%+v", res)
	}
	r.sync()
	r.rebuilt() // what the gaps left out
	r.fromScratch(r.state())
}

// With the group rewound, going on, rewound again, all the time, whatever ends leaves what the events say.
func TestRewoundAllTheTime(t *testing.T) {
	for _, table := range []struct {
		cfg    sink.TableConfig
		create string
	}{{upserts, ordersTable}, {appends, appendTable}} {
		t.Run(string(table.cfg.Strategy), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, table.cfg, table.create)
			one := r.uniform // so that no row goes back, or vanishes
			r.history(1600, 120, one)
			stop := r.live()
			r.caughtUp()
			ctx, cancel := context.WithCancel(t.Context())
			var working sync.WaitGroup
			if table.cfg.Strategy != sink.Append {
				working.Go(func() { r.watchVersions(ctx) })
			} else {
				working.Go(func() { r.watchCount(ctx) })
			}
			for range 3 {
				res := r.rebuilt(func(o *rebuild.Options) {
					o.Progress = func(p rebuild.Progress) {
						if r.rand.IntN(2) == 0 && p.Phase != "waiting" && p.Phase != "committing" && ctx.Err() == nil { // committing holds the rows
							r.history(50, 120, one)
							r.rewindAll(int64(r.rand.IntN(200)))
						}
					}
				})
				if res.Differs() {
					t.Errorf("changed a table that was right: %+v", res)
				}
			}
			cancel()
			working.Wait()
			r.caughtUp()
			stop()
			r.fromScratch(r.state())
			r.clean()
		})
	}
}

// watchCount reads the number of rows again and again: none vanishes.
func (r *rig) watchCount(ctx context.Context) {
	last := 0
	pace := time.NewTicker(looks)
	defer pace.Stop()
	for ctx.Err() == nil {
		<-pace.C
		n := value[int](r, `select count(*) from orders`)
		if n < last {
			r.Errorf("%d rows vanished", last-n)
		}
		last = n
	}
}

// The same at the last moment: the cut waits for the rewind's lock.
func TestRewoundAtTheLastMoment(t *testing.T) {
	for _, table := range []struct {
		cfg    sink.TableConfig
		create string
	}{{upserts, ordersTable}, {appends, appendTable}} {
		t.Run(string(table.cfg.Strategy), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, table.cfg, table.create)
			r.history(800, 120, r.mixed)
			r.sync()
			var want string
			var once sync.Once
			finished := make(chan *rebuild.Result, 1)
			rewinding := make(chan pgx.Tx, 1)
			go func() {
				res, err := r.rebuild(func(o *rebuild.Options) {
					o.Progress = func(p rebuild.Progress) {
						if p.Phase == "applying" {
							once.Do(func() {
								r.history(450, 120, r.mixed)
								r.sync()
								want = r.state()
								tx, err := r.pool.Begin(t.Context())
								r.must(err)
								_, err = tx.Exec(t.Context(), `select oncesink.rewind(sink_group, topic, partition, next_offset - 70) from oncesink.offsets where sink_group = $1`, group)
								r.must(err)
								rewinding <- tx
							})
						}
					}
				})
				if err != nil {
					t.Error(err)
				}
				finished <- res
			}()
			tx := <-rewinding
			r.eventually("the cut waits for the rewind", func() bool {
				return value[bool](r, `select exists (select from pg_stat_activity where datname = current_database() and application_name = 'oncesink-rebuild' and wait_event_type = 'Lock')`)
			})
			r.must(tx.Commit(t.Context()))
			select {
			case res := <-finished:
				t.Errorf("did not wait: %+v", res)
				finished <- res
			case <-r.says("the group was rewound"):
			}
			if r.state() != want {
				t.Error("changed the table")
			}
			r.sync()
			if res := <-finished; res == nil || r.state() != want || res.Differs() {
				t.Errorf("%+v", res)
			}
			r.clean()
		})
	}
}
