package torture

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/oncesink/oncesink/internal/localserver"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/internal/torture/checker"
)

// scarcity: no room for the log, no descriptors for new connections, no memory.
func scarcity(r *rig) {
	r.begin(setup{})
	r.load(300)
	// No disk: what it says can't be written anywhere.
	since := time.Now()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	r.must(err)
	defer full.Close()
	cmd := exec.Command(r.w.binary, "run", "-c", r.config("", ""))
	cmd.Stdout, cmd.Stderr = full, full
	mute, err := localserver.Start(cmd, syscall.SIGKILL)
	r.must(err)
	defer func() { _ = mute.Signal(syscall.SIGKILL) }()
	r.moved(300)
	r.pg.Reset() // it has something to say
	r.fired("a process whose log is on a full disk", 1)
	r.recovered(since)
	r.must(mute.Signal(syscall.SIGTERM))
	select {
	case <-mute.Done():
	case <-time.After(patience):
		r.Fatal("it doesn't end")
	}
	// No descriptors, while its connections are lost.
	p := r.start("")
	r.moved(100)
	for range 3 {
		since = time.Now()
		before := p.logged("too many open files")
		restore := limit(r, p, files, 3)
		r.pg.Reset()
		r.eventually("no descriptors", func() bool { return p.logged("too many open files") > before })
		r.pause(r.between(100*time.Millisecond, 2*time.Second))
		r.fired("EMFILE of a new connection", p.logged("too many open files")-before)
		restore()
		r.recovered(since)
	}
	// No memory: it dies of it, and is started again.
	for range 2 {
		since = time.Now()
		limit(r, p, memory, 1<<20)
		r.produceLarge()
		select {
		case <-p.proc.Done():
		case <-time.After(patience):
			r.Fatal("it lives on without memory")
		}
		if p.logged("out of memory")+p.logged("cannot allocate memory")+p.logged("pthread_create failed") == 0 {
			r.Errorf("it died of something else: %v", p.proc.Err())
		}
		r.fired("death for want of memory", 1)
		p = r.start("")
		r.recovered(since)
	}
	// A little memory, all the time.
	p.term()
	since = time.Now()
	p = r.startWith(r.w.binary, []string{"GOMEMLIMIT=40MiB"}, "")
	r.moved(300)
	r.fired("a process with 40 MiB of memory for its heap", 1)
	r.recovered(since)
}

// produceLarge produces events that need memory: they are dead letters, and kept whole.
func (r *rig) produceLarge() {
	r.Helper()
	raw := `{"id": "none", "more": "` + strings.Repeat("x", 700_000) + `"}`
	for key := range int64(40) {
		r.send(r.client, event{kind: checker.Poison, key: key, partition: -1, raw: raw}, nil)
	}
	r.acknowledged()
}

// clocks jump, by an hour, forward and back: PostgreSQL's by libfaketime, and the sink's, which was built with a time.Now that a file moves.
func clocks(r *rig) {
	server, setServer := fakedServer(r)
	binary := r.w.clocked(r)
	r.begin(setup{url: server.URL()})
	file := filepath.Join(r.dir, "clock")
	set := func(seconds int) { r.must(os.WriteFile(file, fmt.Append(nil, seconds), 0o600)) }
	set(0)
	r.load(300)
	p := r.startWith(binary, []string{"ONCESINK_CLOCK=" + file}, "")
	r.moved(100)
	zero := r.number(`select extract(epoch from clock_timestamp())::bigint`) - time.Now().Unix()
	if zero < -5 || zero > 5 {
		r.Fatalf("the server's clock is off by %d s before it jumps", zero)
	}
	for _, hours := range []int{1, -1, 0} {
		since := time.Now()
		setServer(hours * 3600)
		r.eventually("the server's clock jumps", func() bool {
			off := r.number(`select extract(epoch from clock_timestamp())::bigint`) - time.Now().Unix() - int64(hours)*3600
			return -5 < off && off < 5
		})
		r.fired("jumps of PostgreSQL's clock", 1)
		r.moved(100)
		if hours == 1 { // a transaction is open across the next jump
			r.pg.Hole()
			r.pause(50 * time.Millisecond)
			setServer(-7200)
			r.pg.Heal()
		}
		r.recovered(since)
	}
	for _, hours := range []int{1, -1, 0} {
		since := time.Now()
		set(hours * 3600)
		r.eventually("the sink's clock jumps", func() bool { return p.logged(fmt.Sprintf("clock jumped to %d", hours*3600)) > 0 })
		r.fired("jumps of the sink's clock", 1)
		r.moved(100)
		r.recovered(since)
	}
	// A claim by a process that is an hour behind.
	set(-3600)
	since := time.Now()
	p.kill()
	r.startWith(binary, []string{"ONCESINK_CLOCK=" + file}, "")
	r.fired("a claim with a clock that is an hour behind", 1)
	r.recovered(since)
}

// fakedServer is one whose clock set moves, in seconds.
func fakedServer(r *rig) (server *testpg.Server, set func(seconds int)) {
	r.Helper()
	found, _ := filepath.Glob("/usr/lib/*/faketime/libfaketime.so.1")
	if len(found) == 0 {
		r.Fatal("no libfaketime, which this row needs (Debian: apt-get install libfaketime)")
	}
	dir, err := os.MkdirTemp("", "oncesink-clock-") // which the server's account can enter, too
	r.must(err)
	r.Cleanup(func() { r.must(os.RemoveAll(dir)) })
	r.must(os.Chmod(dir, 0o755))
	file := filepath.Join(dir, "clock")
	set = func(seconds int) {
		next := file + ".next"
		r.must(os.WriteFile(next, fmt.Appendf(nil, "%+d\n", seconds), 0o644))
		r.must(os.Rename(next, file))
	}
	set(0)
	environment := map[string]string{"LD_PRELOAD": found[0], "FAKETIME_TIMESTAMP_FILE": file, "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
	for name, value := range environment { // the server has the environment of who starts it
		r.must(os.Setenv(name, value))
	}
	defer func() {
		for name := range environment {
			r.must(os.Unsetenv(name))
		}
	}()
	return testpg.Start(r.T), set
}

// clocked builds the program with a clock that the file ONCESINK_CLOCK moves, in seconds: the standard library's time.Now adds them. What is
// measured by the monotonic clock stays as it is, as it does when a machine's clock is set.
func (w *world) clocked(r *rig) string {
	r.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	r.must(err)
	source := filepath.Join(strings.TrimSpace(string(out)), "src", "time", "time.go")
	text, err := os.ReadFile(source)
	r.must(err)
	const now = "\tsec, nsec, mono := runtimeNow()\n\tif mono == 0 {"
	if strings.Count(string(text), now) != 1 {
		r.Fatalf("%s has not the beginning of time.Now that this row edits", source)
	}
	edited := strings.Replace(string(text), now, strings.Replace(now, "\n", "\n\tsec += Jumped\n", 1), 1) + "\n// Jumped is by how many seconds the clock has jumped.\nvar Jumped int64\n"
	dir := r.T.TempDir()
	r.must(os.WriteFile(filepath.Join(dir, "time.go"), []byte(edited), 0o644))
	r.must(os.WriteFile(filepath.Join(dir, "clock.go"), []byte(`package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

func init() {
	go func() {
		for ; ; time.Sleep(20 * time.Millisecond) {
			text, err := os.ReadFile(os.Getenv("ONCESINK_CLOCK"))
			if n, _ := strconv.ParseInt(string(text), 10, 64); err == nil && n != time.Jumped {
				time.Jumped = n
				fmt.Fprintln(os.Stderr, "clock jumped to", n)
			}
		}
	}()
}
`), 0o644))
	main, err := filepath.Abs("../../cmd/oncesink/clock.go") // which is not there otherwise
	r.must(err)
	r.must(os.WriteFile(filepath.Join(dir, "overlay.json"), fmt.Appendf(nil, `{"Replace": {%q: %q, %q: %q}}`,
		source, filepath.Join(dir, "time.go"), main, filepath.Join(dir, "clock.go")), 0o644))
	binary := filepath.Join(dir, "oncesink-clock")
	if out, err := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary, "../../cmd/oncesink").CombinedOutput(); err != nil {
		r.Fatalf("go build -overlay: %v\n%s", err, out)
	}
	return binary
}
