package docs

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/oncesink/oncesink/"

// foreign says which packages of others are kept out, by the packages that they are kept out of.
var foreign = []struct{ packages, never string }{
	{"offsets sink internal/event internal/fields internal/schemaid internal/connect internal/avro internal/protobuf internal/pgerr internal/pgname internal/pgtext internal/source internal/catalog internal/tables internal/statement internal/mapping internal/decode internal/bind internal/schema internal/engine internal/sample internal/rehearse internal/rollup", "github.com/twmb/franz-go"},
	{"internal/event internal/fields internal/schemaid internal/connect internal/avro internal/protobuf internal/source internal/decode", "github.com/jackc/pgx"},
	{"internal/event internal/fields internal/schemaid internal/connect internal/avro internal/protobuf internal/source internal/pgname internal/pgtext internal/tables internal/statement internal/mapping internal/decode sink", "net/http"},
}

// TestImports: packages import what lies below them in the picture of CONTRIBUTING.md, and nothing else of ours.
func TestImports(t *testing.T) {
	level, seen := levels(t), map[string]bool{}
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if strings.HasPrefix(name, "examples/") || len(p.GoFiles) == 0 || forTests(name) {
			continue
		}
		own, known := level[name]
		if !known {
			t.Errorf("%s is not in the picture of CONTRIBUTING.md", name)
			continue
		}
		for _, path := range p.Imports {
			imported, ours := strings.CutPrefix(path, module)
			if !ours {
				continue
			}
			if below, known := level[imported]; !known || below <= own {
				t.Errorf("%s imports %s, which does not lie below it", name, imported)
			}
		}
		for _, f := range foreign {
			if slices.Contains(strings.Fields(f.packages), name) && slices.ContainsFunc(p.Imports, func(path string) bool { return strings.HasPrefix(path, f.never) }) {
				t.Errorf("%s imports %s", name, f.never)
			}
		}
		seen[name] = true
	}
	for name := range level {
		if seen[name] {
			continue
		}
		t.Errorf("CONTRIBUTING.md shows %s, which is not there", name)
	}
}

// forTests reports whether a package serves tests, benchmarks or servers for them alone.
func forTests(name string) bool {
	return strings.HasPrefix(name, "internal/test") || strings.HasPrefix(name, "internal/torture") || slices.Contains([]string{"internal/e2e", "internal/bench", "internal/browser", "internal/lint", "internal/mutation", "internal/airflowexample", "internal/citusexample", "internal/dayexample", "internal/debeziumexample"}, name)
}

// levels reads the picture: the packages of each line, the topmost line 0.
func levels(t *testing.T) map[string]int {
	text, err := os.ReadFile("../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, picture, ok := strings.Cut(string(text), "```\n")
	picture, _, closed := strings.Cut(picture, "```")
	if !ok || !closed {
		t.Fatal("CONTRIBUTING.md has no picture")
	}
	level := map[string]int{}
	for n, line := range strings.Split(strings.TrimSpace(picture), "\n") {
		for _, word := range strings.Fields(line) {
			if strings.HasPrefix(word, "internal/") || slices.Contains([]string{"cmd/oncesink", "consumer", "sink", "sinktest", "offsets", "docs", "admin"}, word) {
				level[word] = n
			}
		}
	}
	if len(level) < 10 {
		t.Fatalf("the picture has %d packages", len(level))
	}
	return level
}

type goPackage struct {
	ImportPath string
	GoFiles    []string
	Imports    []string
}

func packages(t *testing.T) (all []goPackage) {
	cmd := exec.Command("go", "list", "-json=ImportPath,GoFiles,Imports", "./...")
	cmd.Dir, cmd.Stderr = "..", os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for dec := json.NewDecoder(out); ; {
		var p goPackage
		switch err := dec.Decode(&p); {
		case errors.Is(err, io.EOF):
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
			return all
		case err != nil:
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
