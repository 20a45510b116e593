package engine

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/oncesink/oncesink/internal/testenv"

	"github.com/oncesink/oncesink/internal/decode"
)

// routeEnv makes the tests of a process write every table by one route.
const routeEnv = "ONCESINK_TEST_ROUTE"

var routes = map[string]route{"statement": byStatement, "look": byLook, "copy": byCopy}

// force gives the tables of a sink the route that the process tests, if it does.
func force(s *Sink) {
	if r, ok := routes[os.Getenv(routeEnv)]; ok {
		for _, t := range s.plan().tables {
			t.learn.forced = &r
		}
	}
}

// onRoute reports whether this is one of the processes of routes. Tests of what is the same on each, or that take
// the routes themselves, are left to the process that started them.
func onRoute() bool { return os.Getenv(routeEnv) != "" }

// writers are the tests of this process that wrote through an engine, and whether any of them wrote so much at
// once that the learner had a choice.
var writers = struct {
	sync.Mutex
	many map[string]bool
}{many: map[string]bool{}}

// Write is the sink's, and notes whose test it is.
func (e *engine) Write(ctx context.Context, parts []*decode.Part) []Outcome {
	name, _, _ := strings.Cut(e.t.Name(), "/")
	rows := 0
	for _, p := range parts {
		rows += len(p.Rows)
	}
	writers.Lock()
	writers.many[name] = writers.many[name] || rows >= leastRows
	writers.Unlock()
	return e.Sink.Write(ctx, parts)
}

// writersFile lists the tests that write, which are those that a route can make fail, one a line; "many" follows
// the names of those that leave the learner a choice.
const writersFile = "testdata/writers.txt"

// checkWriters compares the tests that wrote with the list of them, after the tests: a test that writes and is
// not listed would be left out on the routes.
func checkWriters() error {
	if onRoute() {
		return nil
	}
	var wrote []string
	for name, many := range writers.many {
		if many {
			name += " many"
		}
		wrote = append(wrote, name)
	}
	slices.Sort(wrote)
	whole := true
	for name, all := range map[string][]string{"test.run": {"", "."}, "test.skip": {"", "^TestEveryRoute$"}, "test.fuzz": {""}, "test.list": {""}} {
		whole = whole && slices.Contains(all, flag.Lookup(name).Value.String())
	}
	if whole && *update {
		return os.WriteFile(writersFile, []byte(strings.Join(wrote, "\n")+"\n"), 0o644)
	}
	text, err := os.ReadFile(writersFile)
	if err != nil {
		return err
	}
	listed := strings.Split(strings.TrimSpace(string(text)), "\n")
	for _, name := range wrote {
		if !slices.Contains(listed, name) && !slices.Contains(listed, name+" many") {
			return fmt.Errorf("%s is not in %s, the list of tests that write: run all tests of the package with -update", name, writersFile)
		}
	}
	if whole && len(wrote) != len(listed) {
		return fmt.Errorf("%s lists %d tests that write, and %d wrote: run all tests of the package with -update", writersFile, len(listed), len(wrote))
	}
	return nil
}

// Rule 19: all that the tests of this package say of rows holds on every route. The tests that write run on each
// route, in a process of its own; this test's own process lets the learner choose, which with few rows means
// statements: what it chose so alone it does not do again. Before a release those that write few rows run by look and by copy;
// on other days random histories do, and the others by one of both, which is drawn for each.
func TestEveryRoute(t *testing.T) {
	if onRoute() {
		return // we are in one of those processes
	}
	t.Logf("-seed %d", *seed)
	drawn := rand.New(rand.NewPCG(*seed, 19))
	tests := map[route][]string{}
	both := testenv.Times(0, 1) == 1
	text, err := os.ReadFile(writersFile)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		test, many, _ := strings.Cut(strings.TrimSpace(line), " ")
		look := drawn.IntN(2) == 0
		one := !both && (many == "" && !strings.HasSuffix(test, "Histories") || strings.HasPrefix(test, "TestDistributed"))
		for _, r := range routes {
			if (many != "" || r != byStatement) && (!one || look == (r == byLook)) {
				tests[r] = append(tests[r], test)
			}
		}
	}
	for name, r := range routes {
		tests := tests[r]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if len(tests) == 0 {
				t.Fatalf("%s lists no test", writersFile)
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.count=1", "-test.timeout=15m", "-test.run=^("+strings.Join(tests, "|")+")$", fmt.Sprintf("-seed=%d", *seed))
			cmd.Env = append(os.Environ(), routeEnv+"="+name)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, failures(string(out)))
			}
		})
	}
}

// failures leaves out the lines of tests that passed.
func failures(out string) string {
	var kept []string
	for line := range strings.Lines(out) {
		if !strings.Contains(line, "--- PASS") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept[max(0, len(kept)-100):], "")
}

// The learner copies after one look at new keys alone, and takes twice the proof after
// every COPY that was undone.
func TestLearnerTrustsCopyLessEachTime(t *testing.T) {
	var l learner
	const n = 5000
	looks := func() int {
		for i := range 10_000 {
			switch l.next(n) {
			case byCopy:
				return i
			case byLook:
				l.saw(n, 0, n)
			}
		}
		t.Fatal("it never copies again")
		return 0
	}
	for i, want := range []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1024} {
		if got := looks(); got != want {
			t.Errorf("after %d failures it copies after %d looks, want %d", i, got, want)
		}
		l.failed()
	}
	looks()
	for range 64 {
		l.worked()
	}
	l.failed()
	if got := looks(); got != maxTrust {
		t.Errorf("after 64 COPYs that worked and a failure it takes %d looks, want %d", got, maxTrust)
	}
}

// A table that is only updated is looked at ever more rarely; a replay is noticed at once.
func TestLearnerStopsLooking(t *testing.T) {
	var l learner
	const n = 5000
	looks := 0
	for range 1000 {
		switch l.next(n) {
		case byLook:
			looks++
			l.saw(10, n-10, n)
		case byStatement:
			l.wrote(n, n)
		case byCopy:
			t.Fatal("it copies keys that exist")
		}
	}
	if looks > 25 {
		t.Errorf("%d looks at 1,000 batches of updates, want at most 25", looks)
	}
	l.wrote(n, 0)
	if got := l.next(n); got != byLook {
		t.Errorf("after a batch that changed nothing it takes route %d, want a look", got)
	}
	l.saw(0, 0, n)
	for range 10 {
		if got := l.next(n); got != byLook {
			t.Fatalf("a replay takes route %d, want a look", got)
		}
		l.saw(0, 0, n)
	}
	if got := l.next(leastRows - 1); got != byStatement {
		t.Errorf("a small round takes route %d, want a statement", got)
	}
}
