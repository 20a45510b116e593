package main

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEditsApply: each mutation still has its text to replace, is Go afterwards, and names a test that is there.
func TestEditsApply(t *testing.T) {
	const root = "../.."
	for _, m := range guarantees {
		files, err := edited(root, m.edits)
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
		for name, text := range files {
			if strings.HasSuffix(name, ".go") {
				if _, err := parser.ParseFile(token.NewFileSet(), name, text, 0); err != nil {
					t.Errorf("%s: %v", m.name, err)
				}
			}
		}
		tests, err := filepath.Glob(filepath.Join(root, m.pkg, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, path := range tests {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			found = found || regexp.MustCompile(`(?m)^func `+m.run+`\(`).Match(text)
		}
		if !found {
			t.Errorf("%s: %s has no test %s", m.name, m.pkg, m.run)
		}
	}
}

// An edit whose text is not there once is an error.
func TestEdited(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("one two two"), 0o600); err != nil {
		t.Fatal(err)
	}
	for old, want := range map[string]string{"one": "X two two", "two": "", "three": ""} {
		files, err := edited(dir, []edit{{"f", old, "X"}})
		if got := files["f"]; got != want || (err == nil) != (want != "") {
			t.Errorf("edited %q: got %q, %v, want %q", old, got, err, want)
		}
	}
}
