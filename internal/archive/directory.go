package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/oncesink/oncesink/internal/localserver"
)

// directory is a place in a file system.
type directory struct {
	root  string
	clean sync.Once // of drafts that nobody writes any more
}

// drafts is where files lie that are being written, within the place.
const drafts = ".drafts"

// errExists says that a file of that name is there.
var errExists = errors.New("there is a file of this name: another `oncesink archive run` writes the same partition")

func (d *directory) list(ctx context.Context, folder string) ([]object, error) {
	var out []object
	err := filepath.WalkDir(filepath.Join(d.root, filepath.FromSlash(folder)), func(name string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case e.IsDir() && e.Name() == drafts:
			return filepath.SkipDir
		case !e.Type().IsRegular():
			return ctx.Err()
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		within, err := filepath.Rel(d.root, name)
		out = append(out, object{filepath.ToSlash(within), info.Size()})
		return err
	})
	return out, err
}

func (d *directory) open(_ context.Context, name string, from int64) (io.ReadCloser, error) {
	f, err := os.Open(d.path(name))
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (d *directory) tail(_ context.Context, name string, n int64) ([]byte, error) {
	f, err := os.Open(d.path(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(-n, io.SeekEnd); err != nil {
		return nil, err
	}
	return tail(f, n)
}

func (d *directory) path(name string) string {
	return filepath.Join(d.root, filepath.FromSlash(name))
}

func (d *directory) begin(context.Context) (draft, error) {
	folder := filepath.Join(d.root, drafts)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	d.clean.Do(func() { removeOrphans(folder) })
	f, err := os.CreateTemp(folder, "")
	if err != nil {
		return nil, err
	}
	if err := localserver.Lock(f, false); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
	}
	return &localDraft{File: f, d: d}, nil
}

// removeOrphans removes drafts of processes that were killed: nobody has a lock on them.
func removeOrphans(folder string) {
	entries, _ := os.ReadDir(folder)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < time.Minute { // it may be about to be locked
			continue
		}
		name := filepath.Join(folder, e.Name())
		if f, err := os.Open(name); err == nil {
			if localserver.Lock(f, false) == nil {
				_ = os.Remove(name)
			}
			_ = f.Close()
		}
	}
}

// localDraft is a file beside those that are seen.
type localDraft struct {
	*os.File
	d    *directory
	done bool
}

func (l *localDraft) publish(_ context.Context, name string) error {
	if err := errors.Join(l.Chmod(0o444), l.Sync()); err != nil {
		return err
	}
	target := l.d.path(name)
	made, err := makeFolders(filepath.Dir(target))
	if err != nil {
		return err
	}
	// A link does not replace what is there, as a rename would.
	switch err := os.Link(l.Name(), target); {
	case errors.Is(err, fs.ErrExist):
		return errExists
	case err != nil:
		return err
	}
	for _, folder := range append(made, filepath.Dir(target)) {
		if err := syncFolder(folder); err != nil {
			return err
		}
	}
	l.discard()
	return nil
}

func (l *localDraft) discard() {
	if !l.done {
		l.done = true
		_ = os.Remove(l.Name())
		_ = l.Close()
	}
}

// makeFolders makes a folder and those above it that are missing, and returns the folders in which one was made.
func makeFolders(folder string) (in []string, err error) {
	for at := folder; ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); err == nil || filepath.Dir(at) == at {
			break
		}
		in = append(in, filepath.Dir(at))
	}
	return in, os.MkdirAll(folder, 0o755)
}

// syncFolder has the names in a folder survive a crash of the machine.
func syncFolder(folder string) error {
	if runtime.GOOS == "windows" { // it can't
		return nil
	}
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
