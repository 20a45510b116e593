package torture

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/internal/localserver"
	"github.com/oncesink/oncesink/internal/testpg"
)

// ddl executes statements that wait for a lock a little at a time, as one should beside a table in use.
func (r *rig) alter(sql string) {
	r.Helper()
	r.eventually(sql, func() bool {
		_, err := r.db.Exec(context.Background(), `begin; set local lock_timeout = '300ms'; `+sql+`; commit`, pgx.QueryExecModeSimpleProtocol)
		var pg *pgconn.PgError
		if errors.As(err, &pg) && (pg.Code == "55P03" || pg.Code == "40P01") {
			return false
		}
		r.must(err)
		return true
	})
}

// schemaChanges happen under load: what fits is adopted, and what doesn't stops the process, until the table is what it was.
func schemaChanges(r *rig) {
	r.begin(setup{})
	r.load(300)
	p := r.start("")
	r.moved(100)
	for range 2 {
		for _, change := range []struct{ what, sql string }{
			{"columns added", `alter table latest add extra int default 7`},
			{"columns dropped", `alter table latest drop extra`},
			{"types changed", `alter table events alter value type varchar(200)`},
			{"types changed", `alter table events alter value type text, alter o type numeric`},
			{"types changed", `alter table events alter o type bigint using o::bigint`},
			{"constraints and indexes added", `alter table latest add constraint positive check (version > 0); create index on events (id)`},
			{"constraints dropped", `alter table latest drop constraint positive`},
			{"tables truncated, and filled again at once", `create temp table kept on commit drop as table latest; truncate latest; insert into latest select * from kept`},
			{"tables replaced by a copy", `lock table latest; create table next (like latest including all); insert into next select * from latest;
				create trigger goes_back after update on next for each row when (new.version < old.version) execute function goes_back();
				drop table latest; alter table next rename to latest`},
		} {
			since := time.Now()
			r.alter(change.sql)
			r.fired(change.what, 1)
			r.recovered(since)
		}
		for _, change := range []struct{ what, away, back string }{
			{"tables renamed, which ends the process with 2", `alter table events rename to elsewhere`, `alter table elsewhere rename to events`},
			{"columns renamed that the mapping names, which ends the process with 2", `alter table events rename p to q`, `alter table events rename q to p`},
		} {
			since := time.Now()
			r.alter(change.away)
			select {
			case <-p.proc.Done():
			case <-time.After(patience):
				r.Fatalf("it goes on: %s", change.what)
			}
			var code *exec.ExitError
			if err := p.proc.Err(); !errors.As(err, &code) || code.ExitCode() != 2 {
				r.Errorf("it ended with %v: %s", err, change.what)
			}
			r.fired(change.what, 1)
			r.alter(change.back)
			p = r.start("")
			r.recovered(since)
		}
	}
}

// credentials are rotated: the database's password first, and the file that has it later; and the file first.
func credentials(r *rig) {
	server := testpg.Start(r.T, withCodes)
	r.begin(setup{url: server.URL()})
	r.must(os.WriteFile(filepath.Join(server.Data(), "pg_hba.conf"), []byte("host all sink all scram-sha-256\nhost all all all trust\nlocal all all trust\n"), 0o600))
	r.exec(`create role sink login superuser`)
	r.exec(`select pg_reload_conf()`)
	file := filepath.Join(r.dir, "password")
	role := func(word string) { r.exec(`alter role sink password '` + word + `'`) }
	tell := func(word string) { r.must(os.WriteFile(file, []byte(word+"\n"), 0o600)) }
	word := rand.Text()
	role(word)
	tell(word)
	u, err := url.Parse(r.sinkURL())
	r.must(err)
	u.User = url.User("sink")
	r.load(300)
	config := r.configAt(u.String(), "", "password_file: "+file)
	p := r.start(config)
	r.start(config)
	r.moved(100)
	for i := range 4 {
		word = rand.Text()
		since := time.Now()
		if i%2 == 0 {
			before, told := refused(server, "28P01"), p.logged("refuses the credentials")
			role(word)
			r.again()
			r.eventually("the password is refused", func() bool {
				return refused(server, "28P01") > before && p.logged("refuses the credentials") > told
			})
			r.fired("28P01 of an old password", refused(server, "28P01")-before)
			tell(word)
		} else {
			tell(word)
			r.again()
			r.pause(r.between(10*time.Millisecond, 500*time.Millisecond))
			role(word)
			r.again()
		}
		r.fired("passwords rotated", 1)
		r.recovered(since)
	}
	for _, p := range r.sinks {
		if p.proc.Exited() {
			r.Errorf("%s has ended: %v", p.name, p.proc.Err())
		}
	}
}

// upgrade replaces processes of an older version, whose ledger had a migration less, by those of this one, one by one, and goes back.
func upgrade(r *rig) {
	old := r.w.older(r)
	current := r.w.binary
	r.w.binary = old // makes the ledger
	defer func() { r.w.binary = current }()
	r.begin(setup{})
	config := r.config("", "")
	r.load(300)
	first, second := r.startWith(old, nil, config), r.startWith(old, nil, config)
	both := func(a, b *process) {
		r.Helper()
		r.eventually("both have partitions", func() bool { return a.logged(`"reading"`) > 0 && b.logged(`"reading"`) > 0 && r.members() != nil })
	}
	both(first, second)
	r.moved(100)
	versions := r.number(`select sum(version) from oncesink.schema_version`)
	r.w.binary = current
	r.run("init", "-c", config)
	if now := r.number(`select sum(version) from oncesink.schema_version`); now <= versions {
		r.Fatalf("the ledger was of version %d, and is of %d", versions, now)
	}
	r.fired("migrations of the ledger beside older processes", 1)
	r.moved(100)
	replace := func(p *process, by string) *process {
		since := time.Now()
		if r.rnd.IntN(2) == 0 {
			p.term()
		} else {
			p.kill()
		}
		next := r.startWith(by, nil, config)
		r.eventually("it has partitions", func() bool { return next.logged(`"reading"`) > 0 })
		r.recovered(since)
		return next
	}
	first = replace(first, current)
	r.fired("processes replaced by newer ones", 1)
	r.moved(200) // of both versions
	second = replace(second, current)
	r.fired("processes replaced by newer ones", 1)
	r.moved(100)
	replace(first, old)
	r.fired("processes replaced by older ones, beside newer ones", 1)
	r.moved(200)
	_ = second
}

// older builds the version before the last migration of the ledger, from the repository's history.
func (w *world) older(r *rig) string {
	r.Helper()
	git := func(args ...string) string {
		r.Helper()
		out, err := exec.Command("git", append([]string{"-C", "../.."}, args...)...).Output()
		if err != nil {
			r.Fatalf("git %s: %v; this row builds an older version, and needs the repository with its history (git fetch --unshallow)", strings.Join(args, " "), err)
		}
		return strings.TrimSpace(string(out))
	}
	added := git("log", "-1", "--format=%H", "--diff-filter=A", "--", "offsets/sql")
	commit := git("rev-parse", added+"^")
	dir := r.T.TempDir()
	tar := filepath.Join(dir, "old.tar")
	git("archive", "-o", tar, commit)
	if out, err := exec.Command("tar", "-x", "-C", dir, "-f", tar).CombinedOutput(); err != nil {
		r.Fatalf("tar: %v\n%s", err, out)
	}
	binary := filepath.Join(dir, "oncesink-old")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "./cmd/oncesink")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		r.Fatalf("build %s: %v\n%s", commit, err, out)
	}
	r.res.Note = "the older version is " + commit[:10]
	return binary
}

// pooler is PgBouncer in transaction mode between the sink and the server, with fewer sessions there than the sink has; it is killed and
// restarted, and so are the server's sessions behind it.
func pooler(r *rig) {
	server := testpg.Start(r.T)
	r.begin(setup{url: server.URL()})
	port, err := localserver.FreePort()
	r.must(err)
	bouncer := startBouncer(r, port)
	r.pg.Aim(net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	r.load(400)
	r.start("")
	r.start("")
	r.moved(200)
	for i := range 4 {
		r.pause(r.between(10*time.Millisecond, 400*time.Millisecond))
		since := time.Now()
		switch i {
		case 0, 2:
			bouncer.proc.Signal(syscall.SIGKILL)
			r.fired("PgBouncer killed with -9, and started again", 1)
		case 1:
			bouncer.proc.Signal(syscall.SIGTERM)
			r.fired("PgBouncer ended by SIGTERM, and started again", 1)
		case 3:
			r.fired("sessions ended behind PgBouncer", int(r.number(`select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name like '%oncesink%' or usename = 'pooled'`)))
			r.recovered(since)
			continue
		}
		<-bouncer.proc.Done()
		bouncer = startBouncer(r, port)
		r.recovered(since)
		through := bouncer.logged("login attempt")
		if through == 0 {
			r.Error("nobody came back through PgBouncer")
		}
		r.fired("logins through it since", through)
	}
}

// bouncer is a running PgBouncer.
type bouncer struct {
	r    *rig
	log  string
	proc *localserver.Process
}

func (b *bouncer) logged(text string) int {
	out, err := os.ReadFile(b.log)
	b.r.must(err)
	return strings.Count(string(out), text)
}

// startBouncer starts PgBouncer in front of the row's server.
func startBouncer(r *rig, port int) *bouncer {
	r.Helper()
	program := "pgbouncer"
	if _, err := exec.LookPath(program); err != nil {
		program = "/usr/sbin/pgbouncer" // not in everybody's path
	}
	u, err := url.Parse(r.url)
	r.must(err)
	dir := r.T.TempDir()
	r.must(os.Chmod(dir, 0o777))
	config := filepath.Join(dir, "pgbouncer.ini")
	r.must(os.WriteFile(config, fmt.Appendf(nil, `[databases]
* = host=%s port=%s user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
server_lifetime = 1
`, u.Hostname(), u.Port(), port), 0o644))
	args := []string{config}
	if os.Geteuid() == 0 {
		args = []string{"-u", "nobody", config}
	}
	b := &bouncer{r: r, log: filepath.Join(dir, "pgbouncer.log")}
	f, err := os.Create(b.log)
	r.must(err)
	defer f.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = f, f
	if b.proc, err = localserver.Start(cmd, syscall.SIGKILL); err != nil {
		r.Fatalf("start PgBouncer, which this row needs (Debian: apt-get install pgbouncer): %v", err)
	}
	r.Cleanup(func() {
		_ = b.proc.Signal(syscall.SIGKILL)
		<-b.proc.Done()
	})
	r.eventually("PgBouncer listens", func() bool {
		if b.proc.Exited() {
			text, _ := os.ReadFile(b.log)
			r.Fatalf("PgBouncer: %v\n%s", b.proc.Err(), text)
		}
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return b
}
