// Package testenv ends what a test process started for all its tests: the shared
// servers of testpg and testkafka. Their Main functions are this package's.
package testenv

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oncesink/oncesink/internal/localserver"
)

// ownerFile is locked by the living owner of a folder.
const ownerFile = "owner.lock"

// atExit is what Main does after the tests, last first.
var atExit struct {
	sync.Mutex
	fs []func() error
}

// Runner is what [Main] runs: a *testing.M.
type Runner interface{ Run() int }

// Main runs the tests and then everything given to AtExit. It returns the exit code.
func Main(m Runner) int {
	code := m.Run()
	atExit.Lock()
	defer atExit.Unlock()
	fs := atExit.fs
	atExit.fs = nil
	for _, f := range slices.Backward(fs) {
		if err := f(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	return code
}

// AtExit makes Main call f after the tests. An error of f fails the test run.
func AtExit(f func() error) {
	atExit.Lock()
	defer atExit.Unlock()
	atExit.fs = append(atExit.fs, f)
}

// OwnDir marks a new folder as this process's, until release removes it. It also removes
// those of the same name (up to the random digits that [os.MkdirTemp] puts at its end)
// whose owners died without a release.
func OwnDir(dir string) (release func() error, err error) {
	f, err := os.OpenFile(filepath.Join(dir, ownerFile), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("own folder: %w", err)
	}
	if err := localserver.Lock(f, false); err != nil {
		f.Close()
		return nil, fmt.Errorf("own folder: %w", err)
	}
	name := strings.TrimRight(filepath.Base(dir), "0123456789")
	others, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), name+"*", ownerFile))
	for _, other := range others {
		removeOrphan(other)
	}
	return func() error {
		f.Close()
		return os.RemoveAll(dir)
	}, nil
}

// removeOrphan removes the folder of an owner file that nobody holds. A young one may be about to be locked.
func removeOrphan(path string) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return // another user's
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || time.Since(info.ModTime()) < time.Minute || localserver.Lock(f, false) != nil {
		return
	}
	os.RemoveAll(filepath.Dir(path))
}

// Times returns how often a random test repeats: every time, or as often as before a release, where
// ONCESINK_TEST_LONG is set.
func Times(always, long int) int {
	if os.Getenv("ONCESINK_TEST_LONG") != "" {
		return long
	}
	return always
}
