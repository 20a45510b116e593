package testenv

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// runner is a test run that ends with a code.
type runner int

func (r runner) Run() int { return int(r) }

func TestMainEndsLastFirst(t *testing.T) {
	var got string
	AtExit(func() error { got += "a"; return nil })
	AtExit(func() error { got += "b"; return nil })
	if code := Main(runner(3)); code != 3 || got != "ba" {
		t.Errorf("got code %d and order %q, want 3 and ba", code, got)
	}
	if Main(runner(0)); got != "ba" {
		t.Errorf("got %q: a second Main did it again", got)
	}
	AtExit(func() error { return errors.New("server is stuck (expected in this test)") })
	if code := Main(runner(0)); code == 0 {
		t.Error("got code 0 after an error")
	}
}

// A folder goes with its release, and with the next run if its owner died without one;
// a living owner's folder stays, and so does one that is not of the name.
func TestOwnDir(t *testing.T) {
	parent := t.TempDir()
	mkdir := func(pattern string) string {
		t.Helper()
		dir, err := os.MkdirTemp(parent, pattern)
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
	// age makes a folder's mark as old as that of somebody who died long ago.
	age := func(dir string) {
		t.Helper()
		then := time.Now().Add(-time.Hour)
		if err := os.Chtimes(filepath.Join(dir, ownerFile), then, then); err != nil {
			t.Fatal(err)
		}
	}
	mark := func(dir string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, ownerFile), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	living, dead, young, other := mkdir("server-"), mkdir("server-"), mkdir("server-"), mkdir("data-")
	release, err := OwnDir(living)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dead, young, other} {
		mark(dir)
	}
	for _, dir := range []string{living, dead, other} {
		age(dir)
	}
	next := mkdir("server-")
	releaseNext, err := OwnDir(next)
	if err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{living: true, dead: false, young: true, other: true, next: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: there is %v, want %v", filepath.Base(dir), err == nil, want)
		}
	}
	if err := errors.Join(release(), releaseNext()); err != nil {
		t.Error(err)
	}
	for _, dir := range []string{living, next} {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: still there after its release", filepath.Base(dir))
		}
	}
}
