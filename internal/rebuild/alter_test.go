package rebuild_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/rebuild"
	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/sink"
)

// A table that is altered between the making of its stage and the cut is loaded anew, with the columns that it has
// then: no column keeps what another type made of it, none is left out.
func TestAlteredMeanwhile(t *testing.T) {
	phases := []string{"loading", "comparing", "applying"}
	for i, tc := range []struct {
		name, sql string
		change    func(*rebuild.Options)
	}{
		{"add", `alter table orders add coupon text`, nil},
		{"drop", `alter table orders drop note`, nil},
		{"retype", `alter table orders alter amount type numeric(12, 4)`, nil},
		{"replace", `alter table orders drop note; alter table orders add note varchar(40)`, nil},
		{"swap", `alter table orders add coupon text`, swap},
		{"in bulk, numbers", `alter table orders add coupon int`, func(*rebuild.Options) {}},
		{"in bulk", `alter table orders add coupon text`, func(*rebuild.Options) {}},
	} {
		// A column more, row by row and in bulk, in each phase; the other alterations in one each.
		for k, phase := range phases {
			if tc.name != "add" && tc.name != "in bulk" && k != i%len(phases) && testenv.Times(0, 1) == 0 {
				continue
			}
			t.Run(tc.name+" while "+phase, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, upserts, ordersTable)
				one := func(id int64) event {
					e := r.mixed(id)
					if tc.change != nil {
						e = r.uniform(id)
					}
					if e != nil {
						e["coupon"] = 7
					}
					return e
				}
				r.history(600, 80, one)
				r.sync()
				var once sync.Once
				altered := false
				res := r.rebuilt(func(o *rebuild.Options) {
					if tc.change != nil {
						tc.change(o)
					}
					o.Progress = func(p rebuild.Progress) {
						if p.Phase == phase || o.Swap && p.Phase == "indexing" || phase == "loading" && (p.Phase == "indexing" || p.Phase == "comparing") {
							once.Do(func() {
								altered = true
								r.exec(tc.sql)
							})
						}
					}
				})
				select {
				case <-r.says("beginning anew"):
				default:
					t.Errorf("did not begin anew: %+v", res)
				}
				if !altered {
					t.Error("was not altered")
				}
				r.fromScratch(r.state())
				r.clean()
			})
		}
	}
}

// The mapping that the group goes on with counts, also if it changes on the way.
func TestMappingChangedMeanwhile(t *testing.T) {
	r := newRig(t, upserts, ordersTable)
	r.history(500, 100, r.mixed)
	r.sync()
	want := r.state()
	var once sync.Once
	_, err := r.rebuild(func(o *rebuild.Options) {
		o.Progress = func(p rebuild.Progress) {
			if p.Phase == "applying" {
				once.Do(func() { r.exec(`update oncesink.mappings set fingerprint = 'another' where sink_group = $1`, group) })
			}
		}
	})
	var config *sink.ConfigError
	if !errors.As(err, &config) || !strings.Contains(err.Error(), "another mapping") || r.state() != want {
		t.Errorf("%v", err)
	}
}

// By a mapping that is not the group's a dry run shows what differs, and refuses what the command itself refuses, in the same words; verify
// compares.
func TestDryRunOfAnotherMapping(t *testing.T) {
	for _, target := range []string{"public.orders", "public.items", "public."} {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			r := withChildren(t)
			r.history(200, 50, r.basket)
			r.sync()
			r.exec(`update oncesink.mappings set fingerprint = 'x' || fingerprint where sink_group = $1 and target like $2 || '%'`, group, target)
			r.exec(`update orders set note = 'damaged'`)
			before, was := value[string](r, own), r.all()
			for name, how := range map[string]func(*rebuild.Options){"rebuild": func(*rebuild.Options) {}, "swap": swap, "backfill": days("2026-11-01", "2026-12-01")} {
				_, err := r.rebuild(how)
				dry, dryErr := r.rebuild(how, func(o *rebuild.Options) { o.DryRun, o.KeepStage = true, true })
				var config *sink.ConfigError
				if !errors.As(err, &config) || dryErr == nil || err.Error() != dryErr.Error() || !strings.Contains(err.Error(), "writes table "+target) {
					t.Errorf("%s: the run says %v, the dry run %v", name, err, dryErr)
				}
				if dry == nil || dry.Changed == 0 {
					t.Errorf("%s: the dry run shows %+v", name, dry)
				}
				if got := value[string](r, own); got != before || r.all() != was {
					t.Errorf("%s: afterwards there is\n%s\nwhere there was\n%s", name, got, before)
				}
			}
			if res := r.rebuilt(func(o *rebuild.Options) { o.DryRun, o.Verify = true, true }); res.Changed == 0 {
				t.Errorf("verify: %+v", res)
			}
		})
	}
}

// A group that stands behind the end of what is read, from the start or from the last moment on, is refused, and nothing is left; one whose log is late
// is waited for.
func TestBehindTheEnd(t *testing.T) {
	for name, phase := range map[string]string{"at first": "", "while it is compared": "comparing", "late": "late"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, upserts, ordersTable)
			r.history(200, 50, r.mixed)
			r.sync()
			r.exec(`update orders set note = 'damaged'`)
			before, was := value[string](r, own), r.state()
			beyond := func() {
				r.exec(`update oncesink.offsets set next_offset = next_offset + 1 where sink_group = $1 and partition = 1`, group)
			}
			var once, waited sync.Once
			told := false
			if phase != "comparing" {
				once.Do(beyond)
			}
			res, err := r.rebuild(func(o *rebuild.Options) {
				o.Ends, o.EndsFix = "the archive", "leave it out"
				o.Progress = func(p rebuild.Progress) {
					if p.Phase == phase {
						once.Do(beyond)
					}
					if strings.HasPrefix(p.Phase, "waiting: group "+group+" stands at offset ") {
						waited.Do(func() {
							told = true
							if phase == "late" {
								r.must(r.client.ProduceSync(context.Background(), &kgo.Record{Topic: "orders", Partition: 1, Key: []byte("1"), Value: []byte(`{}`)}).FirstErr())
							}
						})
					}
				}
			})
			if !told {
				t.Error("it does not say what it waits for")
			}
			if phase == "late" {
				if err != nil || !res.Differs() {
					t.Errorf("%+v, %v", res, err)
				}
				return
			}
			var config *sink.ConfigError
			if !errors.As(err, &config) || !strings.Contains(err.Error(), "of orders/1, and the archive ends at ") || config.Fix != "leave it out" {
				t.Errorf("%v", err)
			}
			if got := value[string](r, own); got != before || r.state() != was {
				t.Errorf("afterwards there is\n%s\nwhere there was\n%s", got, before)
			}
		})
	}
}

// A topic that is adopted meanwhile has other events: the call begins anew, and says so if it can't end.
func TestAdoptedMeanwhile(t *testing.T) {
	r := newRig(t, upserts, ordersTable)
	r.history(500, 100, r.mixed)
	r.sync()
	want := r.state()
	var once sync.Once
	_, err := r.rebuild(func(o *rebuild.Options) {
		o.Progress = func(p rebuild.Progress) {
			if p.Phase == "applying" {
				once.Do(func() { r.exec(`select oncesink.adopt($1, 'orders', gen_random_uuid())`, group) })
			}
		}
	})
	var config *sink.ConfigError
	if !errors.As(err, &config) || rebuild.OutcomeOf(err) != rebuild.Unchanged || r.state() != want {
		t.Errorf("%v", err)
	}
}

// What an error means for the table: as it was until the commit is sent, done afterwards, and between the two whatever
// the server says.
func TestOutcome(t *testing.T) {
	for _, tc := range []struct {
		name  string
		phase string
		do    func(r *rig, cancel context.CancelFunc)
		want  rebuild.Outcome
		fails bool
		done  bool
	}{
		{"interrupted before", "applying", func(_ *rig, cancel context.CancelFunc) { cancel() }, rebuild.Unchanged, true, false},
		{"interrupted at the commit", "committing", func(_ *rig, cancel context.CancelFunc) { cancel() }, rebuild.Unchanged, false, true},
		{"a stage that stays", "committing", func(r *rig, _ context.CancelFunc) {
			tx, err := r.pool.Begin(context.Background())
			r.must(err)
			_, err = tx.Exec(context.Background(), `lock oncesink.dead_letters in access share mode; lock oncesink."public.orders stage" in access share mode`)
			r.must(err)
			r.Cleanup(func() { _ = tx.Rollback(context.Background()) })
		}, rebuild.Changed, true, true},
		{"the answer is lost, and asked for", "committing", func(r *rig, _ context.CancelFunc) { r.endCut() }, rebuild.Unchanged, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, upserts, ordersTable)
			r.history(500, 100, r.mixed)
			r.sync()
			want := r.state()
			r.exec(`update orders set note = 'damaged'`)
			damaged := r.state()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			o := r.options()
			met := false
			o.Progress = func(p rebuild.Progress) {
				if p.Phase == tc.phase && !met {
					met = true
					tc.do(r, cancel)
				}
			}
			res, err := rebuild.Run(ctx, o)
			if (err != nil) != tc.fails || rebuild.OutcomeOf(err) != tc.want || !met {
				t.Errorf("%v: outcome %v, want %v", err, rebuild.OutcomeOf(err), tc.want)
			}
			if tc.done != (r.state() == want) || !tc.done != (r.state() == damaged) || tc.done != (res != nil) {
				t.Errorf("done: %v, result %+v", r.state() == want, res)
			}
		})
	}
}

// endCut ends the session that holds the cut, and waits for its end.
func (r *rig) endCut() {
	r.Helper()
	pid := value[int32](r, `select pid from pg_locks where relation = 'orders'::regclass and mode = 'RowExclusiveLock' and database = (select oid from pg_database where datname = current_database()) limit 1`)
	r.exec(`select pg_terminate_backend($1)`, pid)
	r.eventually("it is gone", func() bool {
		return !value[bool](r, `select exists (select from pg_stat_activity where pid = $1)`, pid)
	})
}

// deaf is a connection that hears no answer any more once the count has moved on.
type deaf struct {
	net.Conn
	count *atomic.Int32
	born  int32
}

func (d *deaf) Read(b []byte) (int, error) {
	n, err := d.Conn.Read(b)
	if d.count.Load() != d.born {
		_ = d.Close()
		return 0, io.EOF
	}
	return n, err
}

// A commit whose answer is lost, and that took place, is one that took place.
func TestLostAnswer(t *testing.T) {
	r := newRig(t, upserts, ordersTable)
	r.history(500, 100, r.mixed)
	r.sync()
	want := r.state()
	r.exec(`update orders set note = 'damaged'`)
	cfg := r.pool.Config()
	dial, count := cfg.ConnConfig.DialFunc, &atomic.Int32{}
	cfg.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &deaf{conn, count, count.Load()}, nil
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	r.must(err)
	defer pool.Close()
	asked := false
	res := r.rebuilt(func(o *rebuild.Options) {
		o.Pool = pool
		o.Progress = func(p rebuild.Progress) {
			switch p.Phase {
			case "committing":
				count.Add(1)
			case "asking what became of the commit":
				asked = true
			}
		}
	})
	if r.state() != want || res.Changed == 0 || !asked {
		t.Errorf("asked %v; %+v", asked, res)
	}
	r.clean()
}

// Rule 34: a rebuild fills the columns that there are from events of before them, and waits for none, whatever the group would do.
func TestNewFieldsInTheLog(t *testing.T) {
	table := upserts
	table.NewFields = sink.WarnOfNewFields
	r := newRig(t, table, ordersTable)
	r.history(100, 20, func(id int64) event {
		e := r.uniform(id)
		e["coupon"], e["more"] = "c", 1
		return e
	})
	r.sync()
	r.exec("alter table orders add coupon text")
	r.tables[0].NewFields = sink.HoldNewFields
	r.rebuilt(func(*rebuild.Options) {})
	if all, filled := value[int](r, "select count(*) from orders"), value[int](r, "select count(*) from orders where coupon = 'c'"); all == 0 || filled != all {
		t.Errorf("%d of %d rows have what their events had", filled, all)
	}
}
