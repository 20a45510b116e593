package docs_test

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// Every page is in one of the parts of the book, once; and every part has pages that exist. scripts/book looks at the rest.
func TestBook(t *testing.T) {
	// Of mkdocs.yml the part that is plain YAML: a tag for Python's objects stands before it.
	_, text, ok := strings.Cut(read(t, "mkdocs.yml"), "\nnav:\n")
	if !ok {
		t.Fatal("mkdocs.yml has no nav")
	}
	var nav []any
	if err := yaml.Unmarshal([]byte(text), &nav); err != nil {
		t.Fatal(err)
	}
	var pages, parts []string
	for _, entry := range nav {
		switch entry := entry.(type) {
		case string:
			pages = append(pages, entry)
		case map[string]any:
			for part, list := range entry {
				parts = append(parts, part)
				for _, page := range list.([]any) {
					pages = append(pages, page.(string))
				}
			}
		}
	}
	if want := []string{"Tutorial", "How to", "Reference", "Explanation"}; !slices.Equal(parts, want) {
		t.Errorf("the parts are %q, want %q", parts, want)
	}
	var exist []string
	for _, file := range files(t, ".md") {
		if page, ok := strings.CutPrefix(file, "docs/"); ok {
			exist = append(exist, page)
		}
	}
	for _, page := range pages {
		if !slices.Contains(exist, page) {
			t.Errorf("mkdocs.yml has docs/%s, which does not exist", page)
		}
	}
	for _, page := range exist {
		if n := len(slices.DeleteFunc(slices.Clone(pages), func(p string) bool { return p != page })); n != 1 {
			t.Errorf("docs/%s is in the nav of mkdocs.yml %d times: put it into one of its parts", page, n)
		}
	}
	// From the book's first page everything can be reached.
	front := read(t, "docs/README.md")
	for _, page := range pages {
		if page != "README.md" && !regexp.MustCompile(`\]\(`+regexp.QuoteMeta(path.Clean(page))+`[)#]`).MatchString(front) {
			t.Errorf("docs/README.md does not lead to %s", page)
		}
	}
}
