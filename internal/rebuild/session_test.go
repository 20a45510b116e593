package rebuild_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/oplock"
	"github.com/oncesink/oncesink/internal/rebuild"
	"github.com/oncesink/oncesink/internal/testpg"
)

// Nothing of a command outlives its transactions: behind a pooler the next one to get the connection would have it.
func TestNothingStaysOnAConnection(t *testing.T) {
	r := newRig(t, upserts, ordersTable)
	r.history(1000, 100, r.mixed)
	r.sync()
	r.exec(`update orders set note = 'damaged'`)
	cfg := r.pool.Config()
	o := &testpg.Outside{}
	cfg.ConnConfig.Tracer = o
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	r.must(err)
	defer pool.Close()
	for name, change := range map[string]func(*rebuild.Options){
		"rebuild": func(*rebuild.Options) {}, "verify": func(o *rebuild.Options) { o.DryRun, o.Verify = true, true }, "backfill": days("2026-11-01", "2026-11-30"), "swap": swap,
	} {
		r.rebuilt(change, func(o *rebuild.Options) { o.Pool = pool })
		for _, sql := range o.Seen() {
			t.Errorf("%s: outlives its transaction: %s", name, sql)
		}
	}
	if n := value[int](r, `select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`); n != 0 {
		t.Errorf("%d locks are left", n)
	}
}

// While a rebuild waits and works its lock holds back no vacuum, and when it is lost the command ends before the cut.
func TestLostLock(t *testing.T) {
	r := newRig(t, upserts, ordersTable)
	r.history(500, 100, r.mixed)
	r.sync()
	r.exec(`delete from orders where order_id % 2 = 0`)
	want := r.state()
	var once sync.Once
	_, err := r.rebuild(func(o *rebuild.Options) {
		o.Progress = func(p rebuild.Progress) {
			if p.Phase != "applying" {
				return
			}
			once.Do(func() {
				held := value[int](r, `with l as materialized (select a.pid from pg_stat_activity a join pg_locks l using (pid) where locktype = 'advisory' and objsubid = 2 and classid = 1869505382
					and datname = current_database() and backend_xmin is null and backend_xid is null) select count(*) from l where pg_terminate_backend(pid)`)
				if held != 1 {
					t.Errorf("%d sessions keep others out without a snapshot, want 1", held)
				}
				r.eventually("it is gone", func() bool {
					return value[int](r, `select count(*) from pg_locks where locktype = 'advisory' and classid = 1869505382 and database = (select oid from pg_database where datname = current_database())`) == 0
				})
			})
		}
	})
	var lost *oplock.LostError
	if !errors.As(err, &lost) || rebuild.OutcomeOf(err) != rebuild.Unchanged || r.state() != want {
		t.Errorf("%v, unchanged: %v", err, r.state() == want)
	}
	r.rebuilt()
	r.fromScratch(r.state())
	r.clean()
}

// A database that ends idle sessions and transactions, and long ones, ends no rebuild.
func TestSettingsOfTheDatabase(t *testing.T) {
	r := newRig(t, upserts, ordersTable)
	r.history(500, 100, r.mixed)
	r.sync()
	r.exec(`do $$ begin execute format('alter database %I set idle_in_transaction_session_timeout = ''300ms''', current_database());
		execute format('alter database %I set idle_session_timeout = ''1500ms''', current_database()); -- longer than what a pool hands out without asking
		execute format('alter database %I set statement_timeout = ''700ms''', current_database());
		if current_setting('server_version_num')::int >= 170000 then execute format('alter database %I set transaction_timeout = ''700ms''', current_database()); end if; end $$`)
	pool, err := pgxpool.NewWithConfig(t.Context(), r.pool.Config())
	r.must(err)
	defer pool.Close()
	waited := false
	r.rebuilt(func(o *rebuild.Options) {
		o.Pool = pool
		o.Progress = func(p rebuild.Progress) {
			if p.Phase == "comparing" && !waited {
				waited = true
				began := time.Now()
				r.eventually("longer than the timeouts", func() bool { return time.Since(began) > 2*time.Second })
			}
		}
	})
	if !waited {
		t.Error("was not stopped")
	}
}
