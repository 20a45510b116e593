package pgserver

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/oncesink/oncesink/internal/localserver"
)

// copyTemplate makes the cluster as a copy of one that initdb has made in the user's cache directory, for this server's
// binaries and options: initdb takes half a second of a processor, a copy a twentieth of that.
func (s *Server) copyTemplate(ctx context.Context) error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	version, err := exec.CommandContext(ctx, filepath.Join(s.bin, "postgres"), "--version").Output()
	if err != nil {
		return fmt.Errorf("ask %s for its version: %w", s.bin, err)
	}
	// Who made it is who may read it.
	owner := ""
	if s.account != nil {
		owner = s.account.name
	}
	id := sha256.Sum256([]byte(strings.Join(append(initdbOptions(), s.bin, owner, string(version)), "\x00")))
	dir := filepath.Join(cache, fmt.Sprintf("cluster-%x", id[:6]))
	err = localserver.FillOnce(dir, func(tmp string) error {
		if err := s.account.own(tmp); err != nil {
			return err
		}
		return s.initdb(ctx, filepath.Join(tmp, "data"))
	})
	if err != nil {
		return err
	}
	// As the server's account, which is to own the copy and may read the original.
	part := s.data() + ".part" // no cluster yet, whatever ends this process
	cmd := exec.CommandContext(ctx, "cp", "-R", "-p", filepath.Join(dir, "data"), part)
	s.prepare(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("copy the cluster in %s (remove that folder, and it is made again): %w\n%s", dir, errors.Join(err, ctx.Err()), localserver.LastLines(out))
	}
	return os.Rename(part, s.data())
}

// initdbOptions are all options of initdb but the directory.
func initdbOptions() []string {
	return []string{"-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"}
}

// initdb makes a cluster in a directory.
func (s *Server) initdb(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "initdb"), append(initdbOptions(), "-D", dir)...)
	s.prepare(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb (%s): %w\n%s", s.bin, errors.Join(err, ctx.Err()), localserver.LastLines(out))
	}
	return nil
}
