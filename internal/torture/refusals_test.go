package torture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/oncesink/oncesink/internal/pgserver"
	"github.com/oncesink/oncesink/internal/testpg"
)

// withCodes has a server begin the lines of its log with the SQLSTATE and the application.
const withCodes = "log_line_prefix=%e %a "

// refused counts what a server has refused with a SQLSTATE. Sessions that it didn't let in have no name, and are anybody's.
func refused(server *testpg.Server, code string) int {
	return len(regexp.MustCompile(`(?m)^`+code+` (oncesink \w+|\[unknown\]) +(ERROR|FATAL): `).FindAllString(server.Log(), -1))
}

// session is one of the row's own, past the wire.
func (r *rig) session() *pgx.Conn {
	r.Helper()
	conn, err := pgx.Connect(context.Background(), r.url)
	r.must(err)
	r.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (r *rig) do(conn *pgx.Conn, sql string) {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	r.must(err)
}

// again ends the sinks' sessions, for settings that a session begins with.
func (r *rig) again() {
	r.Helper()
	r.exec(`select pg_terminate_backend(pid) from pg_stat_activity where ` + ours)
}

// refusals are errors of a server that pass, each until the sink has met it.
func refusals(r *rig) {
	disk := newDisk(r)
	server := testpg.Start(r.T, withCodes, "max_connections=30", "deadlock_timeout=1s")
	r.begin(setup{url: server.URL(), pgYAML: "lock_timeout: 2s"})
	r.load(300)
	r.start("")
	r.moved(50)
	readOnly(r, server)
	diskFull(r, server, disk)
	noSlots(r, server)
	lockTimeout(r, server)
	deadlocks(r, server)
	serialization(r, server)
}

// readOnly: the address leads to a standby for a while.
func readOnly(r *rig, server *testpg.Server) {
	standby := server.Backup().Standby(withCodes)
	since := time.Now()
	r.pg.Aim(host(r, standby.URL()))
	r.pg.Reset()
	r.eventually("0A000", func() bool { return refused(standby, "0A000") > 2 })
	r.fired("0A000 and 25006 of a read-only server", refused(standby, "0A000")+refused(standby, "25006"))
	r.pg.Aim(host(r, r.url))
	r.pg.Reset()
	r.recovered(since)
	standby.Stop(pgserver.Immediate)
}

// disk is a small file system in memory.
type disk struct {
	dir string
	err error
}

// newDisk mounts one, which needs the right to.
func newDisk(r *rig) *disk {
	d := &disk{}
	if d.dir, d.err = pgserver.TempDir("oncesink-disk-"); d.err != nil {
		return d
	}
	r.Cleanup(func() { _ = os.Remove(d.dir) })
	as := func(args ...string) *exec.Cmd {
		if os.Geteuid() != 0 {
			args = append([]string{"sudo", "-n"}, args...)
		}
		return exec.Command(args[0], args[1:]...)
	}
	if out, err := as("mount", "-t", "tmpfs", "-o", "size=16m,mode=1777", "tmpfs", d.dir).CombinedOutput(); err != nil {
		d.err = errors.Join(err, errors.New(string(out)))
		return d
	}
	r.Cleanup(func() {
		if out, err := as("umount", d.dir).CombinedOutput(); err != nil {
			r.Errorf("umount %s: %v\n%s", d.dir, err, out)
		}
	})
	return d
}

// fill leaves no room; free makes some again.
func (d *disk) fill(r *rig) (free func()) {
	r.Helper()
	path := filepath.Join(d.dir, "ballast")
	f, err := os.Create(path)
	r.must(err)
	defer f.Close()
	for chunk := make([]byte, 64<<10); ; {
		if _, err := f.Write(chunk); errors.Is(err, syscall.ENOSPC) {
			break
		} else if err != nil {
			r.Fatal(err)
		}
	}
	return func() { r.must(os.Remove(path)) }
}

// diskFull: the table of events lies on a file system that fills up.
func diskFull(r *rig, server *testpg.Server, d *disk) {
	if d.err != nil {
		r.Errorf("no small disk can be mounted, which needs root or sudo: %v", d.err)
		return
	}
	space := filepath.Join(d.dir, "space")
	r.exec(`copy (select 1) to program 'mkdir -m 700 ` + space + `'`)
	r.exec(`create tablespace small location '` + space + `'`)
	r.exec(`alter table events set tablespace small`)
	r.moved(50)
	free := d.fill(r)
	since := time.Now()
	r.eventually("53100", func() bool { return refused(server, "53100") > 0 })
	r.pause(r.between(100*time.Millisecond, time.Second))
	r.fired("53100 of a full disk", refused(server, "53100"))
	free()
	r.recovered(since)
	r.exec(`alter table events set tablespace pg_default`)
	r.exec(`drop tablespace small`)
}

// noSlots: others take all connections.
func noSlots(r *rig, server *testpg.Server) {
	since := time.Now()
	var others []*pgx.Conn
	own := 0 // refusals of the row's own sessions, which the server tells apart from none
	sinks := func() int { return refused(server, "53300") - own }
	defer func() {
		for _, conn := range others {
			_ = conn.Close(context.Background())
		}
	}()
	r.eventually("53300", func() bool {
		for {
			conn, err := pgx.Connect(context.Background(), r.url)
			if err != nil {
				own++
				break
			}
			others = append(others, conn)
		}
		r.again()
		return sinks() > 2
	})
	r.fired("53300 with all connections taken", sinks())
	for _, conn := range others {
		_ = conn.Close(context.Background())
	}
	others = nil
	r.recovered(since)
}

// lockTimeout: somebody locks the table for longer than it waits.
func lockTimeout(r *rig, server *testpg.Server) {
	conn := r.session()
	r.do(conn, `begin; lock table latest in access exclusive mode`)
	since := time.Now()
	r.eventually("55P03", func() bool { return refused(server, "55P03") > 0 })
	r.do(conn, `commit`)
	r.fired("55P03 of a lock", refused(server, "55P03"))
	r.recovered(since)
}

// deadlocks: somebody else locks rows in another order. The sink's session waits first, and is the one that finds it.
func deadlocks(r *rig, server *testpg.Server) {
	table, rows := r.session(), r.session()
	r.do(rows, `set deadlock_timeout = '1min'`)
	for range 20 {
		since := time.Now()
		r.do(table, `begin; lock table latest in share row exclusive mode`) // until there is a batch of many rows
		r.do(rows, `begin; select from latest where id = 49 for update`)
		for key := int64(1); key <= r.keys; key += int64(r.partitions) {
			r.send(r.client, event{key: key, partition: -1}, nil)
		}
		r.acknowledged()
		r.do(table, `commit`)
		r.eventually("it waits for a row", func() bool {
			return r.number(`select count(*) from pg_stat_activity where `+ours+` and $1::int = any(pg_blocking_pids(pid))`, rows.PgConn().PID()) > 0
		})
		r.do(rows, `select from latest where id % 3 = 1 for update; commit`)
		r.recovered(since)
		if n := refused(server, "40P01"); n > 0 {
			r.fired("40P01 of a deadlock", n)
			return
		}
	}
	r.Error("no deadlock")
}

// serialization: a trigger raises it, as one does that writes to another server. The sink's own transactions are of read committed, which has none.
func serialization(r *rig, server *testpg.Server) {
	since := time.Now()
	r.exec(`create function fails() returns trigger language plpgsql as $$
		begin
			if random() < 0.3 then
				raise exception 'could not serialize access' using errcode = '40001';
			end if;
			return null;
		end $$;
		create trigger fails after insert on events for each statement execute function fails()`)
	r.eventually("40001", func() bool { return refused(server, "40001") > 2 })
	r.fired("40001 of a serialization, by a trigger", refused(server, "40001"))
	r.exec(`drop trigger fails on events`)
	r.recovered(since)
}

// members of the group by their ids, with their partitions, where each has one and the group is settled; nil otherwise.
func (r *rig) members() (list []string) {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	groups, err := kadm.NewClient(r.client).DescribeGroups(ctx, r.name)
	r.must(err)
	group := groups[r.name]
	if group.Err != nil || group.State != "Stable" {
		return nil
	}
	for _, m := range group.Members {
		assigned, ok := m.Assigned.AsConsumer()
		if !ok || len(assigned.Topics) == 0 {
			return nil
		}
		list = append(list, fmt.Sprint(m.MemberID, assigned.Topics[0].Partitions))
	}
	slices.Sort(list)
	return list
}

// locked: a table is locked for longer than the group's session, and the process stays in the group.
func locked(r *rig) {
	r.begin(setup{pgYAML: "lock_timeout: 1s"})
	r.load(300)
	r.start("")
	r.start("")
	var before []string
	r.eventually("both have partitions", func() bool { before = r.members(); return len(before) == 2 })
	r.moved(100)
	conn := r.session()
	since := time.Now()
	r.do(conn, `begin; lock table latest in access exclusive mode`)
	at := sum(r.positions())
	r.pause(r.between(3*sessionTimeout, 4*sessionTimeout))
	if now := sum(r.positions()); now != at {
		r.Errorf("the positions went from %d to %d while the table was locked", at, now)
	}
	r.do(conn, `commit`)
	r.fired("seconds that the table was locked", int(time.Since(since).Seconds()))
	unlocked := time.Now()
	r.recovered(unlocked)
	if after := r.members(); !slices.Equal(after, before) || r.loggedAny("group session lost") > 0 {
		r.Errorf("the group's members were %v, and are %v", before, after)
	}
	if r.metric("retries_total", `"55"`) == 0 {
		r.Error("the lock was not noticed")
	}
}
