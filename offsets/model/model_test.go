// Package model_test has Spin verify the model of the ledger's protocol, which is in Promela beside it, and
// makes sure that it can fail. docs/model.md says what is modelled.
package model_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the tables of docs/model.md anew")

// doc has the tables, between marks.
const doc = "../../docs/model.md"

// A configuration is what is set by -D, all of which must hold.
type configuration struct {
	name, flags string
	long        string // in place of flags, before a release; empty: the same
	about       string
}

var configurations = []configuration{
	{"group", "-DFAULTS=1 -DDEATHS -DLOST_ANSWERS", "-DFAULTS=1 -DMOVES=2 -DDEATHS -DLOST_ANSWERS -DBATCH=2", "zombies, late and unknown commits, lost answers, processes that die"},
	{"crash", "-DFAULTS=1 -DCRASH -DLOST_ANSWERS", "-DFAULTS=2 -DCRASH -DLOST_ANSWERS -DDEATHS", "the crash of a server with `synchronous_commit = off`"},
	{"failover", "-DFAULTS=1 -DFAILOVER -DE=1", "-DFAULTS=1 -DFAILOVER -DDEATHS", "a standby that lags, or a restore to an earlier moment"},
	{"pair", "-DP=2 -DE=1", "-DFAULTS=1 -DP=2 -DE=1", "two partitions in a transaction"},
	{"doubt", "-DFAULTS=1 -DP=2 -DE=1 -DMOVES=0 -DLOST_ANSWERS -DOPERATORS -DWISHES=1", "", "the same, its commit unknown, and a person moves one of them"},
	{"operators", "-DFAULTS=1 -DWISHES=1 -DOPERATORS -DE=1", "-DFAULTS=1 -DWISHES=1 -DOPERATORS", "rewind, accept_gap, and what draws a new fence only"},
	{"recreate", "-DFAULTS=1 -DWISHES=1 -DRECREATE -DE=1", "-DFAULTS=1 -DWISHES=1 -DRECREATE", "a topic that is made anew, and adopted"},
	{"letters", "-DFAULTS=1 -DWISHES=2 -DLETTERS -DE=1", "-DWISHES=2 -DLETTERS -DOPERATORS -DE=1", "a dead letter that is tried again, or discarded"},
	{"start", "-DFAULTS=1 -DCRASH -DSTART -DDEATHS -DE=1", "-DFAULTS=1 -DCRASH -DSTART -DDEATHS", "`start: latest`, and a crash"},
	{"vanish", "-DFAULTS=1 -DWISHES=1 -DVANISH -DE=1", "-DFAULTS=1 -DWISHES=1 -DVANISH", "a row that somebody deletes"},
	{"live", "-DLIVE -DFAULTS=1 -DE=1", "-DLIVE -DFAULTS=2 -DE=1", "processes that stop, or are cut off from Kafka, for a while or for ever"},
}

// A mutant is a protocol without one of its parts; it must break what it says.
type mutant struct{ name, flags, breaks, about string }

var mutants = []mutant{
	{"BLIND_SET", "-DONLY=1", "NoDup", "the position is set, whatever it was"},
	{"BLIND_SET", "-DONLY=4", "NoRegress", "the same"},
	{"GREATEST", "-DONLY=1", "NoDup", "`greatest(position, new)`"},
	{"NO_FENCE", "", "LastOwner", "the position alone is compared"},
	{"FENCE_ONLY", "-DONLY=2 -DFAULTS=1 -DFAILOVER", "NoGap", "the fence alone is compared"},
	{"COUNTER", "-DONLY=5 -DFAULTS=1 -DFAILOVER", "LastOwner", "a counter is the fence: it repeats after a failover"},
	{"REINSERT", "-DONLY=1 -DWISHES=1 -DVANISH", "NoDup", "an advance inserts the row that is not there"},
	{"NO_ABORT", "-DONLY=1", "NoDup", "an advance that matches no row is no error"},
	{"OFFSET_AFTER", "-DONLY=1", "NoDup", "the position moves in a second transaction"},
	{"OFFSET_BEFORE", "-DONLY=2", "NoGap", "the rows are written in a second transaction"},
	{"NO_REREAD", "-DONLY=1 -DFAULTS=1", "NoDup", "after an unknown commit the same is sent again, under what the row has now"},
	{"BELOW", "-DONLY=2 -DFAULTS=2 -DFAILOVER", "NoGap", "the same, but that it looks whether it was committed"},
	{"UNKNOWN_IS_DONE", "-DFAULTS=1", "KnownOutcome", "an unknown commit is taken for done"},
	{"SAME_FENCE", "-DFAULTS=1", "KnownOutcome", "a resolution draws no fence"},
	{"ANY_FENCE", "-DFAULTS=1 -DWISHES=1 -DOPERATORS -DP=2 -DE=1", "KnownOutcome", "a resolution compares the position alone"},
	{"ANY_TOPIC", "-DFAULTS=1 -DWISHES=1 -DRECREATE -DONLY=2", "NoGap", "a resolution does not look at the topic"},
	{"RESOLVE_ASYNC", "-DFAULTS=2 -DCRASH", "KnownOutcome", "a resolution is not durable"},
	{"CLAIM_ASYNC", "-DFAULTS=1 -DCRASH", "LastOwner", "a claim is not durable"},
	{"BEGIN_ASYNC", "-DFAULTS=1 -DCRASH -DSTART", "NoGap", "a first position is not durable"},
	{"BEGIN_AGAIN", "-DWISHES=1 -DSTART -DVANISH -DM=1", "NoGap", "who held a row makes it anew"},
	{"BY_NAME", "-DONLY=2 -DRECREATE -DWISHES=1", "NoGap", "a topic is known by its name"},
	{"ADOPT_KEEPS_FENCE", "-DONLY=2 -DRECREATE -DWISHES=1", "NoGap", "adopt draws no fence"},
	{"LATE_SIGHT", "-DRECREATE -DWISHES=1", "Owned", "a lane that halts looks at its row afterwards"},
	{"NO_HOLD", "-DLETTERS -DWISHES=1 -DE=1", "LastOwner", "letters are tried again without the fence"},
	{"NO_TAKE", "-DLETTERS -DWISHES=2 -DE=1", "StillWanted", "letters are tried again without a second look"},
	{"NO_WATCH", "-DWISHES=1 -DOPERATORS", "Owned", "nobody looks at the rows of a lane that rests"},
	{"LOSER_WAITS", "-DFAULTS=1", "Owned", "who lost its fence waits for the group"},
	{"NO_TERMINATE", "-DLIVE -DFAULTS=1 -DE=1 -DMOVES=0", "Owned", "a stopped owner's session is not ended"},
	{"ZOMBIE_RECLAIMS", "-DLIVE -DFAULTS=1 -DE=1 -DMOVES=0", "owned", "who lost its fence claims at once"},
}

// verify makes the verifier of a model and runs it: by search in breadth for the shortest way to an error, else in depth. It returns
// what was found, and how many actions lead to it.
func verify(t *testing.T, flags string, breadth bool) (states int, broken string, actions int) {
	t.Helper()
	ctx := t.Context()
	source, err := filepath.Abs("oncesink.pml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	command := func(name string, args ...string) string {
		c := exec.CommandContext(ctx, name, args...)
		c.Dir = dir
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s\nThe model needs Spin, and a C compiler: apt-get install spin gcc libc6-dev", strings.Join(c.Args, " "), err, out)
		}
		return string(out)
	}
	command("spin", append(append([]string{"-a"}, strings.Fields(flags)...), source)...)
	cc := []string{"-w", "-DNOREDUCE", "-DMEMLIM=6000", "-o", "pan", "pan.c"}
	run := []string{"-m1000000", "-w20"}
	live := strings.Contains(flags, "-DLIVE")
	switch {
	case live:
		cc, run = append(cc, "-O0", "-DNFAIR=6"), append(run, "-a", "-f")
	case breadth:
		cc = append(cc, "-O0", "-DSAFETY", "-DBFS")
	default:
		cc = append(cc, "-O1", "-DSAFETY")
	}
	command("cc", cc...)
	began := time.Now()
	out := command("./pan", run...)
	t.Logf("spin -a %s: verified in %v", flags, time.Since(began).Round(10*time.Millisecond))
	if m := regexp.MustCompile(`(?m)^ *([0-9.e+]+) states, stored`).FindStringSubmatch(out); m != nil {
		n, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		states = int(n)
	}
	errors := regexp.MustCompile(`errors: (\d+)`).FindStringSubmatch(out)
	if errors == nil || states == 0 || strings.Contains(out, "Search not completed") && errors[1] == "0" {
		t.Fatalf("the verifier did not finish:\n%s", out)
	}
	if errors[1] == "0" {
		return states, "", 0
	}
	broken = "?"
	if m := regexp.MustCompile(`assertion violated \W*(\w+)`).FindStringSubmatch(out); m != nil {
		broken = m[1]
	} else if strings.Contains(out, "acceptance cycle") {
		broken = "owned"
	}
	replayed := command("spin", append(append([]string{"-k", "oncesink.pml.trail", "-T"}, strings.Fields(flags)...), source)...)
	trail, err := os.ReadFile(filepath.Join(dir, "oncesink.pml.trail"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s is broken:\n%s", broken, replayed)
	return states, broken, steps(trail)
}

// steps counts the actions of a trail: the steps of all processes but those that only start others.
func steps(trail []byte) (n int) {
	started := false
	for line := range bytes.Lines(trail) {
		var step, process, action int
		if k, _ := fmt.Sscanf(string(line), "%d:%d:%d", &step, &process, &action); k != 3 || step < 0 {
			continue
		}
		started = started || process > 2
		if started && process > 1 {
			n++
		}
	}
	return n
}

// TestHolds: in every configuration all of it holds.
func TestHolds(t *testing.T) {
	long := os.Getenv("ONCESINK_TEST_LONG") != ""
	rows := make([]string, len(configurations))
	t.Run("all", func(t *testing.T) {
		for i, c := range configurations {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				flags := c.flags
				if long && c.long != "" {
					flags = c.long
				}
				states, broken, actions := verify(t, flags, false)
				if broken != "" {
					t.Errorf("%s is broken, after %d actions", broken, actions)
				}
				rows[i] = fmt.Sprintf("| %s | %s | `%s` | %d |", c.name, c.about, c.flags, states)
			})
		}
	})
	if !long {
		table(t, "configurations", rows)
	}
}

// TestMutantsBreak: without any of its parts, something does not hold.
func TestMutantsBreak(t *testing.T) {
	rows := make([]string, len(mutants))
	t.Run("all", func(t *testing.T) {
		for i, m := range mutants {
			t.Run(m.name+"/"+m.breaks, func(t *testing.T) {
				t.Parallel()
				_, broken, actions := verify(t, m.flags+" -D"+m.name, true)
				if broken != m.breaks {
					t.Errorf("it breaks %q, and should break %s: the model does not need what this mutant lacks", broken, m.breaks)
				}
				length := strconv.Itoa(actions)
				if strings.Contains(m.flags, "LIVE") {
					length = "-"
				}
				rows[i] = fmt.Sprintf("| `%s` | %s | %s | %s |", m.name, m.about, m.breaks, length)
			})
		}
	})
	table(t, "mutants", rows)
}

// TestMutantsAreKnown: what the model can be without is tried, all of it.
func TestMutantsAreKnown(t *testing.T) {
	var bounds = []string{"M", "P", "E", "BATCH", "FAULTS", "MOVES", "WISHES", "ONLY", "AWAKE", "HOLDS"}
	known := strings.Join(bounds, " ")
	for _, m := range mutants {
		known += " " + m.name + strings.ReplaceAll(m.flags, "-D", " ")
	}
	for _, c := range configurations {
		known += strings.ReplaceAll(c.flags+" "+c.long, "-D", " ")
	}
	words := strings.FieldsFunc(known, func(r rune) bool { return r == ' ' || r == '=' })
	files, err := filepath.Glob("*.pml")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	found := 0
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^#(?:ifn?def +|(?:el)?if .*?defined\()(\w+)|\|\| (?:!)?defined\((\w+)`).FindAllStringSubmatch(string(text), -1) {
			name := m[1] + m[2]
			found++
			if !slices.Contains(words, name) {
				t.Errorf("%s depends on %s, with which nothing is run", f, name)
			}
		}
	}
	if found < 30 {
		t.Errorf("only %d conditions: nothing is shown", found)
	}
}

// TestNames: what docs/model.md says that the model's inlines and processes stand for is there, and every one of them is said.
func TestNames(t *testing.T) {
	text := read(t, doc)
	var model strings.Builder
	files, _ := filepath.Glob("*.pml")
	for _, f := range files {
		model.WriteString(read(t, f))
	}
	said := 0
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (.*) \\|$").FindAllStringSubmatch(section(t, text, "map"), -1) {
		if !regexp.MustCompile(`(?m)^(inline|proctype|#define) ` + m[1] + `\b`).MatchString(model.String()) {
			t.Errorf("%s maps %s, which the model does not have", doc, m[1])
		}
		for _, at := range regexp.MustCompile("`([\\w.]+)` in `([\\w/.]+)`").FindAllStringSubmatch(m[2], -1) {
			said++
			word := at[1][strings.LastIndexByte(at[1], '.')+1:]
			code := read(t, filepath.Join("../..", at[2]))
			if !regexp.MustCompile(`(?m)^(func (\([^)]*\) )?|const |var )` + word + `\b|^create (or replace )?function oncesink\.` + word + `\(`).MatchString(code) {
				t.Errorf("%s looks for %s in %s, where it is not", doc, at[1], at[2])
			}
		}
	}
	if said < 20 {
		t.Errorf("only %d names: nothing is shown", said)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func marks(name string) (begin, end string) { return "<!-- " + name + " -->\n", "<!-- end -->" }

func section(t *testing.T, text, name string) string {
	t.Helper()
	begin, end := marks(name)
	_, rest, ok := strings.Cut(text, begin)
	inside, _, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no marks around %s", doc, name)
	}
	return inside
}

// table compares the rows of a table of the document with those of this run.
func table(t *testing.T, name string, rows []string) {
	t.Helper()
	if t.Failed() || slices.Contains(rows, "") { // with -run some only
		return
	}
	text := read(t, doc)
	old := section(t, text, name)
	head := strings.Join(strings.SplitAfterN(old, "\n", 3)[:2], "")
	now := head + strings.Join(rows, "\n") + "\n\n"
	if now == old {
		return
	}
	if !*update {
		t.Errorf("%s has other figures of %s. This run's, which -update writes:\n%s", doc, name, strings.Join(rows, "\n"))
		return
	}
	begin, _ := marks(name)
	if err := os.WriteFile(doc, []byte(strings.Replace(text, begin+old, begin+now, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}
