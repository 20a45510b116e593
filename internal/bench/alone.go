package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/oncesink/oncesink/internal/localserver"
)

// alone makes sure that no other benchmark runs on this machine: they would measure each other.
func alone() (release func(), err error) {
	f, err := os.OpenFile(filepath.Join(os.TempDir(), "oncesink-bench.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := localserver.Lock(f, false); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("another benchmark is running on this machine: wait for its end (%s: %w)", f.Name(), err)
	}
	return func() { _ = f.Close() }, nil
}
