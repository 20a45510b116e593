// Package pgserver runs a private PostgreSQL cluster in a directory of its own:
// for the demo and for tests, never for data that somebody wants to keep.
//
// The binaries are the installed ones, else they are downloaded once (see [Binaries]).
// PostgreSQL refuses to run as root, so a root process starts it under an unprivileged
// account. The server belongs to the process that started it: it shuts down when that
// process ends, however it ends, and leaves no shared memory behind.
package pgserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/internal/localserver"
)

// startTimeout bounds initdb and the wait for the first answer, each; crash recovery is part of the latter.
const startTimeout = 60 * time.Second

// Options says where a server lives and what it is.
type Options struct {
	// Dir belongs to the server alone: it is created if missing, and handed to the
	// account that PostgreSQL runs under. A cluster found in it is used again.
	// Make it with [TempDir] if the process may be root.
	Dir string
	// Version is a major version ("15") or a full one ("18.6"). Defaults to the
	// newest one installed, or the one that is downloaded where none is.
	Version string
	// Copied takes a new cluster from one that is kept in the user's cache directory, which is quicker than initdb. All
	// such clusters have the same system identifier.
	Copied bool
	// Port on 127.0.0.1. Defaults to a free one.
	Port int
	// Settings are added to postgresql.conf's, as -c name=value. fsync stays on unless set here.
	Settings map[string]string
}

// Mode is the way a server is stopped.
type Mode string

const (
	// Fast ends all sessions, rolls back what is open, and writes a checkpoint.
	Fast Mode = "fast"
	// Immediate ends without a checkpoint; the next start recovers from the log.
	Immediate Mode = "immediate"
)

// Server is a running, or stopped, cluster. Its methods are safe for concurrent use.
type Server struct {
	opts    Options
	bin     string
	account *account
	port    int

	mu   sync.Mutex
	proc *localserver.Process // nil while stopped
}

// Start makes a cluster in opts.Dir, unless there is one, starts its server, and
// waits until it answers.
func Start(ctx context.Context, opts Options) (*Server, error) {
	dir, err := filepath.Abs(opts.Dir)
	if err != nil || opts.Dir == "" {
		return nil, fmt.Errorf("start PostgreSQL: directory %q: %w", opts.Dir, errors.Join(err, os.ErrInvalid))
	}
	opts.Dir = dir
	s := &Server{opts: opts, port: opts.Port}
	if s.account, err = runAs(); err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	if s.bin, err = Binaries(ctx, opts.Version); err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	if err := s.initialise(ctx); err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	if err := s.Start(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// initialise hands the directory to the server's account and makes a cluster in it, if there is none.
func (s *Server) initialise(ctx context.Context) error {
	if err := os.MkdirAll(s.opts.Dir, 0o700); err != nil {
		return fmt.Errorf("create directory: %w", err)
	}
	if err := s.account.own(s.opts.Dir); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.data(), "PG_VERSION")); err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if s.opts.Copied {
		return s.copyTemplate(ctx)
	}
	return s.initdb(ctx, s.data())
}

// Start starts a stopped server again, on the same directory and port, and waits
// until it answers. Starting a running server is an error.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil && !s.proc.Exited() {
		return errors.New("start PostgreSQL: already running")
	}
	// A port that was free a moment ago may be taken by now: try another, if the choice is ours.
	choose := s.port == 0
	var err error
	for range 3 {
		if choose {
			if s.port, err = localserver.FreePort(); err != nil {
				return fmt.Errorf("start PostgreSQL: %w", err)
			}
		}
		if err = s.launch(ctx); err == nil || !choose || !strings.Contains(err.Error(), "Address already in use") {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("start PostgreSQL in %s: %w", s.opts.Dir, err)
	}
	return nil
}

// launch starts the postmaster and waits for an answer. s.mu is held.
func (s *Server) launch(ctx context.Context) error {
	log, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	began, err := log.Stat()
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	cmd := exec.Command(filepath.Join(s.bin, "postgres"), s.arguments()...)
	s.prepare(cmd)
	cmd.Stdout, cmd.Stderr = log, log
	if s.proc, err = localserver.Start(cmd, syscall.SIGQUIT); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.waitReady(ctx); err != nil {
		tail := localserver.LogTail(s.logPath(), began.Size())
		s.stop(context.WithoutCancel(ctx), Immediate)
		return fmt.Errorf("%w; the end of its log %s:\n%s", err, s.logPath(), tail)
	}
	return nil
}

// waitReady returns once a connection works, the server has ended, or ctx has.
func (s *Server) waitReady(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		// First its own word: whoever answers at the port may be somebody else's server.
		if s.statusLine(linePID) == strconv.Itoa(s.proc.PID()) && s.statusLine(lineStatus) == "ready" {
			conn, err := pgconn.Connect(ctx, s.URL("postgres"))
			if err != nil {
				return fmt.Errorf("connect to the server: %w", err)
			}
			return conn.Close(ctx)
		}
		select {
		case <-tick.C:
		case <-s.proc.Done():
			return fmt.Errorf("wait for the server: it ended: %w", s.proc.Err())
		case <-ctx.Done():
			return fmt.Errorf("wait for the server: %w", ctx.Err())
		}
	}
}

// arguments returns the command line of the server.
func (s *Server) arguments() []string {
	settings := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"port":                    strconv.Itoa(s.port),
		"unix_socket_directories": s.socketDir(),
		"max_connections":         "200",
		// Segments as files below the data directory, so that not even a kill leaves one behind.
		"dynamic_shared_memory_type": "mmap",
		"log_destination":            "stderr",
		"logging_collector":          "off",
		"lc_messages":                "C",
	}
	maps.Copy(settings, s.opts.Settings)
	args := []string{"-D", s.data()}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	return args
}

// Stop ends the server and waits for it. When ctx ends first, the server is killed.
// Stopping a stopped server does nothing.
func (s *Server) Stop(ctx context.Context, mode Mode) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stop(ctx, mode)
}

func (s *Server) stop(ctx context.Context, mode Mode) error {
	if s.proc == nil {
		return nil
	}
	sig := syscall.SIGINT
	if mode == Immediate {
		sig = syscall.SIGQUIT
	}
	if err := s.proc.Signal(sig); err != nil {
		return fmt.Errorf("stop PostgreSQL: %w", err)
	}
	select {
	case <-s.proc.Done():
		s.proc = nil
		return nil
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("stop PostgreSQL, %s: killed: %w", mode, ctx.Err()), s.kill())
	}
}

// Kill ends the server and its children as a crash would: no process of it gets to
// do anything more. The next Start recovers.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kill()
}

func (s *Server) kill() error {
	if s.proc == nil {
		return nil
	}
	segment := s.sharedMemory()
	if err := s.proc.Kill(); err != nil {
		return fmt.Errorf("kill PostgreSQL: %w", err)
	}
	s.proc = nil
	if segment >= 0 {
		removeSharedMemory(segment)
	}
	return nil
}

// Tool returns a run of one of PostgreSQL's programs, such as pg_basebackup, as the server's account.
func (s *Server) Tool(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...)
	s.prepare(cmd)
	return cmd
}

// PID returns the process id of the postmaster, or 0 if it doesn't run.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil || s.proc.Exited() {
		return 0
	}
	return s.proc.PID()
}

// Port returns the port on 127.0.0.1. It stays the same over restarts.
func (s *Server) Port() int { return s.port }

// Dir returns the server's own directory, which its account may write to.
func (s *Server) Dir() string { return s.opts.Dir }

// Log returns what the server has logged since its cluster was made, those starts that are over included.
func (s *Server) Log() (string, error) {
	b, err := os.ReadFile(s.logPath())
	return string(b), err
}

// Bin returns the directory of the server's binaries.
func (s *Server) Bin() string { return s.bin }

// URL returns the address of a database of the server, for its superuser.
func (s *Server) URL(database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.User("postgres"),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

func (s *Server) data() string    { return filepath.Join(s.opts.Dir, "data") }
func (s *Server) logPath() string { return filepath.Join(s.opts.Dir, "server.log") }

// socketDir returns the directory of the Unix socket, or "" (no socket) where the path would be too long for one.
func (s *Server) socketDir() string {
	if len(filepath.Join(s.opts.Dir, ".s.PGSQL.65535")) > 100 {
		return ""
	}
	return s.opts.Dir
}

// prepare gives a command the server's account, a directory that account can be in,
// and an environment without settings of somebody else's PostgreSQL.
func (s *Server) prepare(cmd *exec.Cmd) {
	cmd.Dir = s.opts.Dir
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "PG") || strings.HasPrefix(v, "LC_") || strings.HasPrefix(v, "LANG")
	})
	cmd.Env = append(cmd.Env, "LC_ALL=C")
	s.account.apply(cmd)
}
