package testkafka

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// What was fetched counts if it is all of the set's files, as they were pinned, and nothing else.
func TestVerify(t *testing.T) {
	pinned := fmt.Sprintf("%x  a.jar\n%x  b.jar\n", sha256.Sum256([]byte("a")), sha256.Sum256([]byte("b")))
	pins := fstest.MapFS{"pins/set-1.sha256": {Data: []byte(pinned)}}
	for _, test := range []struct {
		name, set string
		files     map[string]string
		want      []string // parts of the error
	}{
		{"as pinned", "set-1", map[string]string{"a.jar": "a", "b.jar": "b"}, nil},
		{"another file", "set-1", map[string]string{"a.jar": "a", "b.jar": "B"}, []string{"b.jar has the SHA-256", "internal/testkafka/pins/set-1.sha256", "ONCESINK_MAVEN_REPOSITORY"}},
		{"one less", "set-1", map[string]string{"a.jar": "a"}, []string{"b.jar was not brought"}},
		{"one more", "set-1", map[string]string{"a.jar": "a", "b.jar": "b", "c.jar": "c"}, []string{`c.jar has the SHA-256`, `pinned is ""`}},
		{"nothing is pinned", "set-2", nil, []string{"internal/testkafka/pins/set-2.sha256 is not there"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range test.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			err := verify(pins, test.set, dir)
			if (err == nil) != (test.want == nil) {
				t.Errorf("got %v", err)
			}
			for _, want := range test.want {
				if err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
		})
	}
}
