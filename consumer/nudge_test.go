package consumer

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/testenv"
)

// TestFetchesGoOn: a loop of the client that misses that it is to go on is begun again. The moment can't be hit from outside: the test
// runs TestHeldUp with a copy of franz-go in which it can be stretched, which takes a minute to compile.
func TestFetchesGoOn(t *testing.T) {
	if testenv.Times(0, 1) == 0 {
		return // before a release
	}
	client := filepath.Join(t.TempDir(), "franz-go")
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/twmb/franz-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(client, os.DirFS(strings.TrimSpace(string(out)))); err != nil {
		t.Fatal(err)
	}
	edit(t, filepath.Join(client, "pkg", "kgo", "source.go"),
		"\tsession.incWorker()\n\tdefer session.decWorker()\n\n\t// After our add", "\tif hold := HoldLoop.Load(); hold != nil {\n\t\t(*hold)()\n\t}\n\tsession.incWorker()\n\tdefer session.decWorker()\n\n\t// After our add",
		"func (s *source) loopFetch() {", "// HoldLoop is called by each loop before it is one of the session's workers.\nvar HoldLoop atomic.Pointer[func()]\n\nfunc (s *source) loopFetch() {")
	edit(t, filepath.Join(client, "pkg", "kgo", "consumer.go"),
		"func (c *consumer) stopSession() (listOrEpochLoads, *topicsPartitions) {\n", "// HoldSession is called before each session ends.\nvar HoldSession atomic.Pointer[func()]\n\nfunc (c *consumer) stopSession() (listOrEpochLoads, *topicsPartitions) {\n\tif hold := HoldSession.Load(); hold != nil {\n\t\t(*hold)()\n\t}\n")
	modfile := filepath.Join(t.TempDir(), "go.mod")
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if name == "go.mod" {
			text = append(text, "\nreplace github.com/twmb/franz-go => "+client+"\n"...)
		}
		if err := os.WriteFile(filepath.Join(filepath.Dir(modfile), name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := exec.Command("go", "test", "-modfile", modfile, "-tags", "heldup", "-vet=off", "-count=1", "-run", "^TestHeldUp$", ".")
	if out, err := run.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// edit replaces texts of a file, each of which it has once.
func edit(t *testing.T, file string, pairs ...string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for i := 0; i < len(pairs); i += 2 {
		if strings.Count(text, pairs[i]) != 1 {
			t.Fatalf("%s has changed: see whether its loop still ends without having seen a new session, and whether nudge is still needed", file)
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
