package localserver_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/oncesink/oncesink/internal/localserver"
)

// Of many that want the same content, one makes it; the others wait until it is whole.
func TestFillOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "content")
	// What somebody who was killed left behind is not taken for content.
	if err := os.MkdirAll(filepath.Join(dir+".part", "half"), 0o755); err != nil {
		t.Fatal(err)
	}
	var fills atomic.Int32
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			err := localserver.FillOnce(dir, func(tmp string) error {
				fills.Add(1)
				return os.WriteFile(filepath.Join(tmp, "file"), []byte("whole"), 0o644)
			})
			if err != nil {
				t.Error(err)
			}
			if b, err := os.ReadFile(filepath.Join(dir, "file")); string(b) != "whole" {
				t.Errorf("got content %q, %v", b, err)
			}
		})
	}
	group.Wait()
	if fills.Load() != 1 {
		t.Errorf("filled %d times, want once", fills.Load())
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("got %v, want one file", entries)
	}
}

// A failure leaves nothing that a later attempt could take for content.
func TestFillOnceError(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "content")
	want := errors.New("no network")
	if err := localserver.FillOnce(dir, func(string) error { return want }); !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want no folder", err)
	}
	if err := localserver.FillOnce(dir, func(string) error { return nil }); err != nil {
		t.Error(err)
	}
}

func TestCacheDir(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "")
	dir, err := localserver.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	if !filepath.IsAbs(dir) || filepath.Base(dir) != "oncesink" {
		t.Errorf("got %s without HOME, want a folder oncesink of the account's home", dir)
	}
}

func TestLogTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	before := "an older start\n"
	if err := os.WriteFile(path, []byte(before+strings.Repeat("line\n", 30)+"the reason\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(string(localserver.LogTail(path, int64(len(before)))), "\n")
	if len(got) != 20 || got[19] != "the reason" || got[0] != "line" {
		t.Errorf("got %q, want the last 20 lines", got)
	}
	if got := localserver.LogTail(path+"x", 0); !strings.Contains(string(got), "no such file") {
		t.Errorf("got %q, want why it can't be read", got)
	}
}
