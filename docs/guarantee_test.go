package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// proof is what a sentence of the guarantee names in parentheses at its end: tests, targets of make and scripts.
var proof = regexp.MustCompile(` \((` + "`[^`]+`(?:,\\s+`[^`]+`)*" + `)\)$`)

// sentences of the numbered promises of README, each with what it names as its proof.
func sentences(t *testing.T, readme string) map[string][]string {
	t.Helper()
	_, rest, ok := strings.Cut(readme, "\n**Promised**")
	promised, _, closed := strings.Cut(rest, "\n\nNamed is")
	if !ok || !closed {
		t.Fatal("README.md has no promises between **Promised** and what is said of the names")
	}
	out := map[string][]string{}
	for _, item := range regexp.MustCompile(`(?m)^\d+\. `).Split(promised, -1)[1:] {
		item = strings.Join(strings.Fields(item), " ")
		_, item, _ = strings.Cut(item, "* ") // the promise's name
		for sentence := range strings.SplitSeq(strings.TrimSuffix(item, "."), ". ") {
			m := proof.FindStringSubmatch(sentence)
			if m == nil {
				out[sentence] = nil
				continue
			}
			for name := range strings.SplitSeq(m[1], ", ") {
				out[sentence] = append(out[sentence], strings.Trim(name, "`"))
			}
		}
	}
	return out
}

// TestEverySentenceHasAProof: every sentence of the guarantee names what shows it, in a package that README says the tests are in.
func TestEverySentenceHasAProof(t *testing.T) {
	readme := read(t, "README.md")
	packages := regexp.MustCompile("`go test ([^`]+) -run").FindStringSubmatch(readme)
	if packages == nil {
		t.Fatal("README.md doesn't say how to run such a test")
	}
	var tests strings.Builder
	for dir := range strings.FieldsSeq(packages[1]) {
		files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("README.md names %s, which has no tests: %v", dir, err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			tests.Write(text)
		}
	}
	makefile := read(t, "Makefile")
	said := sentences(t, readme)
	if len(said) < 10 {
		t.Errorf("only %d sentences: nothing is shown", len(said))
	}
	for sentence, names := range said {
		if len(names) == 0 {
			t.Errorf("README.md promises %q, and names nothing that shows it", sentence)
		}
		for _, name := range names {
			if target, isTarget := strings.CutPrefix(name, "make "); isTarget {
				if !strings.Contains(makefile, "\n"+target+":") {
					t.Errorf("README.md names %s for %q: there is no such target", name, sentence)
				}
			} else if !regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(name) + `\(t \*testing\.T\)`).MatchString(tests.String()) {
				t.Errorf("README.md names %s for %q: %s has no such test", name, sentence, packages[1])
			}
		}
	}
}
