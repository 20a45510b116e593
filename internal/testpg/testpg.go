// Package testpg gives tests real PostgreSQL servers: one shared by a test process,
// and private ones that a test may stop, kill and start again.
//
// ONCESINK_TEST_POSTGRES selects the version (15, 18, ...); by default it is the newest
// one installed. A server that can't be had is a failure, never a skip.
package testpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/pgserver"
	"github.com/oncesink/oncesink/internal/testenv"
)

// stopTimeout bounds every stop of a server.
const stopTimeout = 30 * time.Second

// shared is the test process's server, started by the first test that asks for a database.
var shared struct {
	sync.Mutex
	server    *pgserver.Server
	admin     *pgxpool.Pool // creates and drops databases
	err       error
	strategy  string            // how databases are copied, as create database wants it
	count     int               // databases so far, for their names
	templates map[string]string // databases by what they are called in code
}

// Main runs the tests and then stops the shared server. It returns the exit code:
//
//	func TestMain(m *testing.M) { os.Exit(testpg.Main(m)) }
func Main(m testenv.Runner) int { return testenv.Main(m) }

// options are those of every test server. Without fsync: a test kills processes, not the machine.
func options(dir string) pgserver.Options {
	return pgserver.Options{
		Dir:     dir,
		Version: os.Getenv("ONCESINK_TEST_POSTGRES"),
		Copied:  true,
		Settings: map[string]string{
			"fsync": "off",
			// Of tables that nobody has analyzed it takes the smallest queries for large ones: a tenth of a second each.
			"jit": "off",
			// Freezing rewrites the xmax of a row, by which tests see that nobody wrote or locked it.
			"autovacuum": "off",
			// As many as prepared transactions and pools of parallel tests may want.
			"max_connections":           "300",
			"max_prepared_transactions": "16",
		},
	}
}

// server returns the shared server and a number that no other call gets. shared must be locked.
func server(t testing.TB) (*pgserver.Server, int) {
	t.Helper()
	shared.count++
	if shared.server == nil && shared.err == nil {
		// Not the test's context: the server outlives the test that came first.
		var stop func() error
		shared.server, stop, shared.err = start(context.Background(), nil)
		testenv.AtExit(stop)
		if shared.err == nil {
			if shared.admin, shared.err = pgxpool.New(context.Background(), shared.server.URL("postgres")); shared.err == nil {
				testenv.AtExit(func() error { shared.admin.Close(); return nil })
				shared.strategy, shared.err = copying(shared.admin)
			}
		}
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server, shared.count
}

// copying asks for copies of files, where the server lets one choose (15): writing a whole database to the log takes twice as
// long, and a copy of files has what each first connection has to put together otherwise.
func copying(admin *pgxpool.Pool) (strategy string, err error) {
	err = admin.QueryRow(context.Background(), "select case when current_setting('server_version_num')::int >= 150000 then ' strategy file_copy' else '' end").Scan(&strategy)
	return strategy, err
}

// start starts a server in a folder of its own; stop stops it and removes the folder.
func start(ctx context.Context, settings []string) (srv *pgserver.Server, stop func() error, err error) {
	stop = func() error { return nil }
	dir, err := pgserver.TempDir("oncesink-testpg-", memory()...)
	if err != nil {
		return nil, stop, err
	}
	release, err := testenv.OwnDir(dir)
	if err != nil {
		return nil, stop, err
	}
	opts := options(dir)
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		opts.Settings[name] = value
	}
	if srv, err = pgserver.Start(ctx, opts); err != nil {
		return nil, release, err
	}
	return srv, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		return errors.Join(srv.Stop(ctx, pgserver.Immediate), release())
	}, nil
}

// URL creates an empty database on the shared server and returns its address. The
// database is dropped, with whoever is connected to it, when the test ends.
func URL(t testing.TB) string {
	t.Helper()
	return database(t, "template1")
}

// URLLike is URL, for a copy of a database that fill has filled: once, for all tests of
// the process that give the same name. What many tests begin with costs less that way.
func URLLike(t testing.TB, name string, fill func(context.Context, *pgx.Conn) error) string {
	t.Helper()
	return database(t, template(t, name, fill))
}

func template(t testing.TB, name string, fill func(context.Context, *pgx.Conn) error) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	srv, n := server(t)
	if database, ok := shared.templates[name]; ok {
		return database
	}
	database := fmt.Sprintf("template_%d", n)
	execute(t, t.Context(), "create database "+database)
	ctx, cancel := context.WithTimeout(t.Context(), stopTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, srv.URL(database))
	if err != nil {
		t.Fatal(err)
	}
	err = fill(ctx, conn)
	if err := errors.Join(err, conn.Close(ctx)); err != nil {
		t.Fatalf("fill the database %s: %v", name, err)
	}
	if shared.templates == nil {
		shared.templates = map[string]string{}
	}
	shared.templates[name] = database
	return database
}

// database creates a copy of a database, until the test ends.
func database(t testing.TB, template string) (url string) {
	t.Helper()
	srv, n, strategy := func() (*pgserver.Server, int, string) {
		shared.Lock()
		defer shared.Unlock() // also if the server can't be had, which ends this test
		srv, n := server(t)
		return srv, n, shared.strategy
	}()
	name := fmt.Sprintf("t%d_%s", n, plain(t.Name()))
	execute(t, t.Context(), "create database "+name+" template "+template+strategy)
	t.Cleanup(func() { execute(t, context.Background(), "drop database if exists "+name+" with (force)") })
	return srv.URL(name)
}

// execute runs a statement on the shared server.
func execute(t testing.TB, ctx context.Context, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if _, err := shared.admin.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// plain makes the name of a test fit for a database: lower case, digits and underscores, 40 bytes at most.
func plain(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '_'
	}, name)
	return name[:min(len(name), 40)]
}

// Server is a private server of one test.
type Server struct {
	t   testing.TB
	srv *pgserver.Server
}

// Start starts a private server for a test: for those that stop or kill it. Settings
// ("name=value") are added to the usual ones; the last one of a name counts. It is
// stopped and removed when the test ends.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	srv, stop, err := start(t.Context(), settings)
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return &Server{t: t, srv: srv}
}

// URL returns the address of the server's database postgres. It stays the same over restarts.
func (s *Server) URL() string { return s.srv.URL("postgres") }

// PID returns the process id of the postmaster, or 0 while it is stopped.
func (s *Server) PID() int { return s.srv.PID() }

// Stop stops the server: pgserver.Fast or pgserver.Immediate.
func (s *Server) Stop(mode pgserver.Mode) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := s.srv.Stop(ctx, mode); err != nil {
		s.t.Fatal(err)
	}
}

// Kill ends the server and its children with SIGKILL.
func (s *Server) Kill() {
	s.t.Helper()
	if err := s.srv.Kill(); err != nil {
		s.t.Fatal(err)
	}
}

// Start starts the stopped or killed server again and waits until it answers.
func (s *Server) Start() {
	s.t.Helper()
	if err := s.srv.Start(context.Background()); err != nil {
		s.t.Fatal(err)
	}
}
