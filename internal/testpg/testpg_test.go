package testpg_test

import (
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/pgserver"
	"github.com/oncesink/oncesink/internal/testpg"
)

func TestMain(m *testing.M) { os.Exit(testpg.Main(m)) }

func TestURL(t *testing.T) {
	first, second := testpg.URL(t), testpg.URL(t)
	if first == second {
		t.Fatalf("two databases have the address %s", first)
	}
	execute(t, first, `create table seen (n int)`)
	execute(t, second, `create table seen (n int)`) // fails if it were the same database
}

// A database is gone when its test is over, even if a connection is still open.
func TestURLDropped(t *testing.T) {
	var url string
	t.Run("inner", func(t *testing.T) {
		url = testpg.URL(t)
		if _, err := pgx.Connect(t.Context(), url); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := pgx.Connect(t.Context(), url); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Fatalf("got %v, want a database that does not exist", err)
	}
}

func TestStart(t *testing.T) {
	srv := testpg.Start(t, "work_mem=5MB")
	url := srv.URL()
	if got := query(t, url, `show work_mem`); got != "5MB" {
		t.Errorf("got work_mem %s, want 5MB", got)
	}
	execute(t, url, `create table kept (n int)`)
	for _, stop := range []func(){
		func() { srv.Stop(pgserver.Fast) },
		func() { srv.Stop(pgserver.Immediate) },
		srv.Kill,
	} {
		execute(t, url, `insert into kept values (1)`)
		stop()
		if _, err := pgx.Connect(t.Context(), url); err == nil {
			t.Fatal("a stopped server answered")
		}
		srv.Start()
		if srv.URL() != url {
			t.Fatalf("got address %s after a restart, want %s", srv.URL(), url)
		}
	}
	if got := query(t, url, `select count(*)::text from kept`); got != "3" {
		t.Errorf("got %s rows, want 3", got)
	}
}

func execute(t *testing.T, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func query(t *testing.T, url, sql string) (s string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), sql).Scan(&s); err != nil {
		t.Fatal(err)
	}
	return s
}
