package torture

import (
	"context"
	"fmt"
	"net/url"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/pgserver"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/internal/torture/wire"
)

// ours is a condition on pg_stat_activity: a session of a sink.
const ours = `application_name like 'oncesink %' and backend_type = 'client backend'`

// host of a database's address.
func host(r *rig, address string) string {
	u, err := url.Parse(address)
	r.must(err)
	return u.Host
}

// sum of positions.
func sum(positions map[int32]int64) (n int64) {
	for _, next := range positions {
		n += next
	}
	return n
}

// look asks a server that may have been away until it answers, and returns the positions there.
func (r *rig) look() (at map[int32]int64) {
	r.Helper()
	r.db.Reset() // sessions of before
	r.eventually("the server answers", func() bool { at = r.positions(); return at != nil })
	return at
}

// process of the server, by a condition on pg_stat_activity.
func (r *rig) backend(where string) int {
	r.Helper()
	return int(r.number(`select pid from pg_stat_activity where ` + where + ` limit 1`))
}

// restarted has the server end and start again.
func (r *rig) restarted(server *testpg.Server, end func()) {
	r.Helper()
	end()
	server.Start()
	r.look()
}

// backends are killed: by pg_terminate_backend, by kill -9 of one, which restarts all, by a restart -m immediate, and one -m fast.
func backends(r *rig) {
	server := testpg.Start(r.T)
	r.begin(setup{url: server.URL()})
	r.load(400)
	r.start("")
	r.moved(100)
	for range 4 {
		r.pause(r.between(10*time.Millisecond, 300*time.Millisecond))
		since := time.Now()
		r.fired("sessions ended by pg_terminate_backend", int(r.number(`select count(pg_terminate_backend(pid)) from pg_stat_activity where `+ours)))
		r.recovered(since)
	}
	for range 2 {
		r.pause(r.between(10*time.Millisecond, 300*time.Millisecond))
		since := time.Now()
		r.must(syscall.Kill(r.backend(ours), syscall.SIGKILL))
		r.look()
		r.fired("kill -9 of a backend, which ends all of them", 1)
		r.recovered(since)
	}
	for _, mode := range []pgserver.Mode{pgserver.Immediate, pgserver.Fast} {
		r.pause(r.between(10*time.Millisecond, 300*time.Millisecond))
		since := time.Now()
		r.restarted(server, func() { server.Stop(mode) })
		r.fired("restart -m "+string(mode), 1)
		r.recovered(since)
	}
}

// asynchronous kills a server whose WAL writer has been behind for a while: what it had acknowledged is lost, rows and positions.
func asynchronous(r *rig) {
	server := testpg.Start(r.T, "wal_buffers=64MB", "checkpoint_timeout=1h")
	r.begin(setup{url: server.URL(), pgYAML: `synchronous_commit: "off"`, noReads: true})
	r.load(400)
	r.start("")
	lost := int64(0)
	for range 3 {
		r.moved(100)
		r.must(syscall.Kill(r.backend(`backend_type = 'walwriter'`), syscall.SIGSTOP))
		r.moved(int64(r.between(50, 200)))
		since := time.Now()
		seen := r.positions()
		r.pg.Hole()
		r.restarted(server, server.Kill)
		left := r.positions()
		r.pg.Heal()
		r.pg.Reset()
		r.fired("kill -9 of the server", 1)
		lost += sum(seen) - sum(left)
		r.recovered(since)
	}
	r.res.Note = fmt.Sprintf("%d events were acknowledged by the server, lost, and read again", lost)
	if lost <= 0 {
		r.Errorf("nothing was lost: the server had written all of its log")
	}
	r.fired("acknowledged events that the server had lost", int(lost))
}

// moveTo makes another server the row's.
func (r *rig) moveTo(server *testpg.Server) {
	r.Helper()
	var err error
	r.url = server.URL()
	r.db, err = pgxpool.New(context.Background(), r.url)
	r.must(err)
	r.Cleanup(r.db.Close)
}

// of asks another server for a number.
func (r *rig) of(server *testpg.Server, sql string) (n int64) {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, server.URL())
	r.must(err)
	defer func() { _ = conn.Close(ctx) }()
	r.must(conn.QueryRow(ctx, sql).Scan(&n))
	return n
}

// failover to a standby that lags, while the old primary is up, and one of two processes goes on writing there for a while.
func failover(r *rig) {
	old := testpg.Start(r.T, "wal_keep_size=256MB")
	r.begin(setup{url: old.URL(), noReads: true})
	standby := old.Backup().Standby()
	behind, err := wire.Listen(host(r, r.url)) // of the process that moves late
	r.must(err)
	r.Cleanup(func() { _ = behind.Close() })
	u, err := url.Parse(r.url)
	r.must(err)
	u.Host = behind.Addr()
	r.load(300)
	r.start("")
	r.start(r.configAt(u.String(), "", ""))
	r.eventually("each process has a partition", func() bool {
		return r.number(`select count(distinct owner) from oncesink.offsets where sink_group = $1 and owner is not null`, r.name) == 2
	})
	r.eventually("the standby follows", func() bool {
		return r.number(`select count(*) from pg_stat_replication where state = 'streaming'`) == 1
	})
	r.moved(200)
	r.must(syscall.Kill(r.backend(`backend_type = 'walsender'`), syscall.SIGSTOP))
	r.moved(int64(r.between(100, 400)))

	since := time.Now()
	if r.of(standby, `select pg_promote(true, 60)::int`) != 1 {
		r.Fatal("the standby is not promoted")
	}
	seen := r.positions()
	oldDB := r.db
	r.moveTo(standby)
	has := r.look()
	lag := sum(seen) - sum(has)
	if lag <= 0 {
		r.Fatalf("the standby does not lag: %v, %v", seen, has)
	}
	r.fired("events that the standby had not got", int(lag))
	r.pg.Aim(host(r, r.url))
	r.pg.Reset()
	r.fired("failover of a process", 1)
	r.moved(100)
	split := func() (n int64) {
		r.must(oldDB.QueryRow(context.Background(), `select sum(next_offset)::bigint from oncesink.offsets where sink_group = $1`, r.name).Scan(&n))
		return n
	}
	at := split()
	r.eventually("the old primary is written to, too", func() bool { return split() > at+30 })
	r.fired("events that went to the old primary after the failover", int(split()-at))
	behind.Aim(host(r, r.url))
	behind.Reset()
	r.fired("failover of a process", 1)
	r.recovered(since)
	r.moved(300)
}

// restore stops the server, and goes back to a point of before; the processes stay.
func restore(r *rig) {
	server := testpg.Start(r.T, "wal_keep_size=1GB")
	r.begin(setup{url: server.URL(), noReads: true})
	r.load(300)
	r.start("")
	r.start("")
	r.moved(100)
	backup := server.Backup()
	r.moved(100)
	r.exec(`select pg_create_restore_point('before')`)
	r.moved(int64(r.between(100, 400)))
	since := time.Now()
	seen := r.positions()
	server.Stop(pgserver.Fast)
	restored := backup.Restore("restore_command=cp "+server.Data()+"/pg_wal/%f %p", "recovery_target_name=before", "recovery_target_action=promote")
	r.moveTo(restored)
	r.eventually("it has recovered", func() bool { return r.number(`select pg_is_in_recovery()::int`) == 0 })
	has := r.look()
	if sum(has) >= sum(seen) {
		r.Fatalf("positions have not gone back: %v, %v", seen, has)
	}
	r.fired("events of which rows and position went back", int(sum(seen)-sum(has)))
	r.fired("restored to a point of before", 1)
	r.pg.Aim(host(r, r.url))
	r.pg.Reset()
	r.recovered(since)
	r.moved(300)
}
