package archive

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Drafts that a killed process left are removed, and those that somebody writes are not; no draft is taken for a file.
func TestDrafts(t *testing.T) {
	r := newRig(t, t.TempDir(), Options{})
	w, err := r.a.Begin(t.Context(), r.s, 0)
	r.must(err)
	defer w.Abort()
	folder := filepath.Join(r.a.location, drafts)
	orphan := filepath.Join(folder, "orphan")
	r.must(os.WriteFile(orphan, []byte("x"), 0o600))
	entries, err := os.ReadDir(folder)
	r.must(err)
	past := time.Now().Add(-time.Hour)
	for _, e := range entries {
		r.must(os.Chtimes(filepath.Join(folder, e.Name()), past, past))
	}
	again := newRig(t, r.a.location, Options{})
	other, err := again.a.Begin(t.Context(), again.s, 0)
	r.must(err)
	other.Abort()
	if _, err := os.Stat(orphan); !os.IsNotExist(err) {
		t.Errorf("the orphan is there: %v", err)
	}
	r.must(w.Records(r.some(0, 5), 5))
	if files, err := r.a.Topics(t.Context(), ""); len(files) != 0 || err != nil {
		t.Errorf("before the end there are %v, %v", files, err)
	}
	_, err = w.Finish(t.Context())
	r.must(err)
	if entries, err := os.ReadDir(folder); len(entries) != 0 || err != nil {
		t.Errorf("drafts that are left: %v, %v", entries, err)
	}
}
