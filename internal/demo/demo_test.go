package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/oncesink/oncesink/internal/pgserver"
	"github.com/oncesink/oncesink/internal/testpg"
)

const workerEnv = "ONCESINK_DEMO_WORKER"

// TestMain runs the tests, or, when a demo has started this binary again, a worker.
func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) == "" {
		os.Exit(testpg.Main(m))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err := Worker(ctx, os.Args[len(os.Args)-1], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		os.Stderr.WriteString("worker: " + err.Error() + "\n")
		os.Exit(1)
	}
	os.Exit(0)
}

// run runs a small demo, and returns what a person would have seen.
func run(t *testing.T, ctx context.Context, opts Options) (string, error) {
	t.Helper()
	t.Setenv(workerEnv, "1")
	var out bytes.Buffer
	opts.Worker, opts.Program, opts.Out = []string{os.Args[0]}, "oncesink", io.MultiWriter(&out, t.Output())
	if opts.Seed == 0 {
		opts.Seed = rand.Uint64() // the first line shows it
	}
	err := Run(ctx, opts)
	return out.String(), err
}

// Rule 26, and the whole promise: through a crash, a zombie and a replay. Whether
// the faults hit is up to the demo: it fails if they didn't.
func TestDemo(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := run(t, ctx, Options{Orders: 4000})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"kill -9 worker", "aborted", "took over", "fenced", "counter: twice as much", "8,000"} {
		if !strings.Contains(out, want) {
			t.Errorf("the demo does not say %q", want)
		}
	}
	if strings.Contains(out, "DIFFERS") {
		t.Error("the demo found differences, and did not fail")
	}
}

// An interrupted demo leaves nothing behind: no process, no directory.
func TestInterrupted(t *testing.T) {
	t.Setenv("TMPDIR", temp(t))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	began := time.Now()
	watch := writerFunc(func(p []byte) {
		if bytes.Contains(p, []byte("orders flow")) {
			cancel()
		}
	})
	t.Setenv(workerEnv, "1")
	err := Run(ctx, Options{Worker: []string{os.Args[0]}, Seed: 1, Out: watch})
	if !errors.Is(err, ErrInterrupted) {
		t.Errorf("the demo ended with %v", err)
	}
	t.Logf("interrupted and cleaned up within %v of the start", time.Since(began))
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "oncesink-demo-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

// temp returns a directory that PostgreSQL's account can reach, too.
func temp(t *testing.T) string {
	t.Helper()
	dir, err := pgserver.TempDir("oncesink-demotest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestRefuses(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		opts Options
		want string
	}{
		"too few orders":             {Options{Orders: 10}, "at least 2000"},
		"a directory with something": {Options{Dir: full}, "is not empty"},
	} {
		if _, err := run(t, t.Context(), tt.opts); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", name, err, tt.want)
		}
	}
}

func TestMessage(t *testing.T) {
	for line, want := range map[string]string{
		`time=2026-01-01T00:00:00Z level=WARN msg="lost the fence" topic=orders partition=3 error="fenced: \"x\""`: `WARN lost the fence: fenced: "x"`,
		`time=2026-01-01T00:00:00Z level=INFO msg=working instance=1a2b3c4d`:                                       `INFO working`,
		`panic: something else`: `panic: something else`,
	} {
		if got := message(line); got != want {
			t.Errorf("message(%s) = %s, want %s", line, got, want)
		}
	}
	if got := message(strings.Repeat("é", 100)); len(got) > 88 || !utf8.ValidString(got) {
		t.Errorf("a long line becomes %q", got)
	}
}

func TestReport(t *testing.T) {
	var r report
	if r.good() {
		t.Error("a report without a check is good")
	}
	r.section("a section")
	r.number("rows", 1000, 1000)
	if !r.good() {
		t.Error("a report without a difference is not good")
	}
	r.number("rows", 1000, 999)
	if r.good() {
		t.Error("a report with a difference is good")
	}
	r.section("another section")
	r.number("sums", 1, 1)
	var out bytes.Buffer
	if err := r.json(&out, 17); err != nil {
		t.Fatal(err)
	}
	var compared struct {
		OK     bool
		Checks []struct {
			Part, What string
			OK         bool
		}
	}
	if err := json.Unmarshal(out.Bytes(), &compared); err != nil || compared.OK || len(compared.Checks) != 3 || !compared.Checks[0].OK || compared.Checks[1].OK ||
		compared.Checks[1].Part != "a section" || compared.Checks[2].Part != "another section" {
		t.Errorf("%v: %s", err, &out)
	}
	out.Reset()
	r.print(&out, false)
	for _, want := range []string{"1,000", "999", "ok", "DIFFERS"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

// Words are in colour on a terminal, unless its user wants none.
func TestNoColor(t *testing.T) {
	r := report{}
	r.number("rows", 1000, 999)
	for variable, want := range map[string]bool{"": true, "1": false} {
		t.Setenv("NO_COLOR", variable)
		var out bytes.Buffer
		opts := Options{Terminal: true}
		r.print(&out, opts.colors())
		if got := strings.Contains(out.String(), "\x1b["); got != want {
			t.Errorf("NO_COLOR=%q: colours %v\n%q", variable, got, &out)
		}
	}
	if (&Options{}).colors() {
		t.Error("colours where no terminal is")
	}
}
