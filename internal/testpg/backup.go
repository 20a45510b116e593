package testpg

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/oncesink/oncesink/internal/pgserver"
	"github.com/oncesink/oncesink/internal/testenv"
)

// Log returns what the server has logged, starts that are over included.
func (s *Server) Log() string {
	s.t.Helper()
	text, err := s.srv.Log()
	if err != nil {
		s.t.Fatal(err)
	}
	return text
}

// Data returns the server's data directory.
func (s *Server) Data() string { return filepath.Join(s.srv.Dir(), "data") }

// Tool runs one of PostgreSQL's programs, as the server's account, until it ends.
func (s *Server) Tool(name string, args ...string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*stopTimeout)
	defer cancel()
	if out, err := s.srv.Tool(ctx, name, args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// Backup is a base backup of a server, from which another one may be started once.
type Backup struct {
	of  *Server
	dir string
}

// Backup takes a base backup of the running server.
func (s *Server) Backup() *Backup {
	s.t.Helper()
	dir, err := pgserver.TempDir("oncesink-testpg-", memory()...)
	if err != nil {
		s.t.Fatal(err)
	}
	release, err := testenv.OwnDir(dir)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := release(); err != nil {
			s.t.Error(err)
		}
	})
	// The account may not write to dir yet: it makes the copy in its own directory, on the same file system.
	made := filepath.Join(s.srv.Dir(), "backup")
	s.Tool("pg_basebackup", "-h", "127.0.0.1", "-p", strconv.Itoa(s.srv.Port()), "-U", "postgres", "-D", made, "-X", "stream", "-c", "fast", "--no-sync")
	if err := os.Rename(made, filepath.Join(dir, "data")); err != nil {
		s.t.Fatal(err)
	}
	return &Backup{s, dir}
}

// Standby starts a hot standby that follows the server which the backup is of.
func (b *Backup) Standby(settings ...string) *Server {
	b.of.t.Helper()
	return b.start("standby.signal", append(settings, fmt.Sprintf("primary_conninfo=host=127.0.0.1 port=%d user=postgres", b.of.srv.Port()))...)
}

// Restore starts a server that recovers by the settings, such as restore_command and recovery_target_name. It answers to queries while it recovers.
func (b *Backup) Restore(settings ...string) *Server {
	b.of.t.Helper()
	return b.start("recovery.signal", settings...)
}

func (b *Backup) start(signal string, settings ...string) *Server {
	t := b.of.t
	t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, "data", signal), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	opts := options(b.dir)
	opts.Copied = false
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		opts.Settings[name] = value
	}
	srv, err := pgserver.Start(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := srv.Stop(ctx, pgserver.Immediate); err != nil {
			t.Error(err)
		}
	})
	return &Server{t: t, srv: srv}
}
