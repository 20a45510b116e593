//go:build unix

package pgserver_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/pgserver"
)

// parentEnv makes this test binary a parent that starts a server in a folder and waits to be killed.
const parentEnv = "PGSERVER_TEST_PARENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentEnv); dir != "" {
		srv, err := pgserver.Start(context.Background(), pgserver.Options{Dir: dir})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(srv.URL("postgres"))
		select {}
	}
	os.Exit(m.Run())
}

func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := pgserver.TempDir("oncesink-pgserver-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func start(t *testing.T, opts pgserver.Options) *pgserver.Server {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = tempDir(t)
	}
	opts.Version = os.Getenv("ONCESINK_TEST_POSTGRES")
	srv, err := pgserver.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.Stop(context.Background(), pgserver.Immediate); err != nil {
			t.Error(err)
		}
	})
	return srv
}

func query(t *testing.T, url, sql string) (s string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), sql).Scan(&s); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return s
}

func answers(url string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return false
	}
	conn.Close(ctx)
	return true
}

// segment returns the id of the System V segment that the server of a folder holds.
func segment(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(strings.Split(string(b), "\n")[6])
	return f[1]
}

// segments lists the ids of all System V segments.
func segments(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("ipcs", "-m").Output()
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) > 1 {
			ids = append(ids, f[1])
		}
	}
	return " " + strings.Join(ids, " ") + " "
}

func TestServer(t *testing.T) {
	dir := tempDir(t)
	srv := start(t, pgserver.Options{Dir: dir, Settings: map[string]string{"work_mem": "7MB"}})
	url := srv.URL("postgres")
	if got := query(t, url, `select current_setting('work_mem') || ' ' || current_setting('fsync')`); got != "7MB on" {
		t.Errorf("got settings %s, want 7MB on", got)
	}
	if os.Geteuid() == 0 {
		info, err := os.Stat(fmt.Sprintf("/proc/%d", srv.PID()))
		if err == nil && info.Sys().(*syscall.Stat_t).Uid == 0 {
			t.Error("the server runs as root")
		}
	}
	socket := fmt.Sprintf("host=%s port=%d user=postgres dbname=postgres", dir, srv.Port())
	if got := query(t, socket, `select 'socket'`); got != "socket" {
		t.Errorf("got %s", got)
	}
	if err := srv.Start(t.Context()); err == nil {
		t.Error("a running server was started again")
	}
	if err := srv.Stop(t.Context(), pgserver.Fast); err != nil {
		t.Fatal(err)
	}
	if answers(url) || srv.PID() != 0 {
		t.Error("a stopped server is there")
	}
	if err := srv.Stop(t.Context(), pgserver.Fast); err != nil {
		t.Errorf("a second stop: %v", err)
	}
	if err := srv.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !answers(url) {
		t.Error("no answer at the old address")
	}
}

// A kill leaves no process and no shared memory behind, and what was committed is there after the restart.
func TestKill(t *testing.T) {
	dir := tempDir(t)
	srv := start(t, pgserver.Options{Dir: dir})
	url := srv.URL("postgres")
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), `create table kept as select 1 as n`); err != nil {
		t.Fatal(err)
	}
	backend, postmaster, shm := conn.PgConn().PID(), srv.PID(), segment(t, dir)
	if !strings.Contains(segments(t), " "+shm+" ") {
		t.Fatalf("no segment %s", shm)
	}
	if err := srv.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{int(backend), postmaster} {
		if state, err := exec.Command("ps", "-o", "stat=", "-p", fmt.Sprint(pid)).Output(); err == nil && !strings.HasPrefix(string(state), "Z") {
			t.Errorf("process %d survived: %s", pid, state)
		}
	}
	if strings.Contains(segments(t), " "+shm+" ") {
		t.Errorf("segment %s survived", shm)
	}
	if err := srv.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := query(t, url, `select count(*)::text from kept`); got != "1" {
		t.Errorf("got %s rows, want 1", got)
	}
}

// A cluster that is there is used again, by another Server too.
func TestSameDirectory(t *testing.T) {
	dir := tempDir(t)
	first := start(t, pgserver.Options{Dir: dir})
	query(t, first.URL("postgres"), `select set_config('x.y', 'z', false)`)
	name := query(t, first.URL("postgres"), `select system_identifier::text from pg_control_system()`)
	if err := first.Stop(t.Context(), pgserver.Fast); err != nil {
		t.Fatal(err)
	}
	second := start(t, pgserver.Options{Dir: dir, Port: first.Port()})
	if got := query(t, second.URL("postgres"), `select system_identifier::text from pg_control_system()`); got != name {
		t.Errorf("got cluster %s, want %s", got, name)
	}
}

// Copied clusters are of one origin, and nothing that is done to one of them is in another.
func TestCopied(t *testing.T) {
	const identifier = `select system_identifier::text from pg_control_system()`
	first := start(t, pgserver.Options{Copied: true}).URL("postgres")
	query(t, first, `select lo_from_bytea(77777, 'kept')::text`)
	second := start(t, pgserver.Options{Copied: true}).URL("postgres")
	if a, b := query(t, first, identifier), query(t, second, identifier); a != b {
		t.Errorf("got clusters %s and %s, want copies of one", a, b)
	}
	if got := query(t, second, `select count(*)::text from pg_largeobject_metadata`); got != "0" {
		t.Errorf("got %s large objects of another cluster", got)
	}
	own := start(t, pgserver.Options{}).URL("postgres")
	if a, b := query(t, first, identifier), query(t, own, identifier); a == b {
		t.Errorf("got cluster %s again, want one of its own", a)
	}
}

// The server ends, and takes its shared memory with it, when the process that started it is killed.
func TestEndsWithParent(t *testing.T) {
	dir := tempDir(t)
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentEnv+"="+dir)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url := strings.TrimSpace(line)
	if !answers(url) {
		t.Fatalf("no answer at %s", url)
	}
	shm := segment(t, dir)
	parent.Process.Kill()
	parent.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := os.Stat(filepath.Join(dir, "data", "postmaster.pid"))
		if os.IsNotExist(err) && !answers(url) && !strings.Contains(segments(t), " "+shm+" ") {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the server, or its segment %s, is still there", shm)
		}
	}
}

// An error tells what the server said, and the way out.
func TestStartErrors(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, test := range []struct {
		name string
		opts func(t *testing.T) pgserver.Options
		want []string
	}{
		{"bad setting", func(t *testing.T) pgserver.Options {
			return pgserver.Options{Dir: tempDir(t), Settings: map[string]string{"work_mem": "much"}}
		}, []string{"invalid value", "work_mem", "server.log"}},
		{"port taken", func(t *testing.T) pgserver.Options {
			return pgserver.Options{Dir: tempDir(t), Port: taken.Addr().(*net.TCPAddr).Port}
		}, []string{"Address already in use"}},
		{"no directory", func(t *testing.T) pgserver.Options { return pgserver.Options{} }, []string{"directory", "invalid"}},
		{"unknown version", func(t *testing.T) pgserver.Options {
			return pgserver.Options{Dir: tempDir(t), Version: "latest"}
		}, []string{`version "latest"`, "18.6"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv, err := pgserver.Start(t.Context(), test.opts(t))
			if err == nil {
				srv.Kill()
				t.Fatal("started")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
		})
	}
}

// Root gets a clear error for a folder that the server's account can't reach; an ordinary user doesn't care.
func TestUnreachableDirectory(t *testing.T) {
	closed := filepath.Join(tempDir(t), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	opts := pgserver.Options{Dir: filepath.Join(closed, "server")}
	if os.Geteuid() != 0 {
		start(t, opts)
		return
	}
	if srv, err := pgserver.Start(t.Context(), opts); err == nil {
		srv.Kill()
		t.Error("started")
	} else if !strings.Contains(err.Error(), closed) || !strings.Contains(err.Error(), "/tmp") {
		t.Errorf("got %q, want the folder and the way out", err)
	}
}

// With no time left the server is killed rather than left behind.
func TestStopDeadline(t *testing.T) {
	srv := start(t, pgserver.Options{})
	pid := srv.PID()
	// A stopped postmaster doesn't hear that it should end.
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := srv.Stop(ctx, pgserver.Fast); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("got %v, want that it was killed", err)
	}
	if srv.PID() != 0 || answers(srv.URL("postgres")) {
		t.Error("the server is still there")
	}
}
