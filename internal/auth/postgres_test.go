package auth

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/secret"
	"github.com/oncesink/oncesink/internal/testcert"
)

// Each connection has what the files say now that the connection string names, and is known to be let in by something that changes, or
// that does not.
func TestPostgresIsPrepared(t *testing.T) {
	t.Setenv("PGPASSWORD", "")
	t.Setenv("PGPASSFILE", "")
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(file(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	testcert.New(t).Write(t, file("ca.pem"))
	testcert.New(t).WriteClient(t, "app", file("cert.pem"), file("key.pem"))
	put("password", "one")
	put("pass", "db:5432:*:app:one\n")
	files := "sslmode=verify-full&sslrootcert=" + file("ca.pem") + "&sslcert=" + file("cert.pem") + "&sslkey=" + file("key.pem")
	for name, c := range map[string]struct {
		url      string
		password *secret.Source
		changes  bool
		before   string
		after    string
	}{
		"of a file":            {"postgres://app@db/shop?" + files, secret.File("postgres.password_file", file("password")), true, "one", "two"},
		"of the password file": {"postgres://app@db/shop?passfile=" + file("pass"), nil, true, "one", "two"},
		"of the string":        {"postgres://app:fixed@db/shop?" + files, nil, false, "fixed", "fixed"},
		"a certificate":        {"postgres://app@db/shop?passfile=/none&" + files, nil, true, "", ""},
		"nothing":              {"postgres://app@db/shop?passfile=/none", nil, false, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			put("password", "one")
			put("pass", "db:5432:*:app:one\n")
			var log strings.Builder
			p := &Postgres{URL: c.url, Password: c.password, Log: slog.New(slog.NewTextHandler(&log, nil))}
			if p.Changes() != c.changes {
				t.Errorf("changes: %v", p.Changes())
			}
			cfg, err := pgxpool.ParseConfig(c.url)
			if err != nil {
				t.Fatal(err)
			}
			p.Change(cfg)
			prepared := func(want string) pgconn.Config {
				t.Helper()
				conn := cfg.ConnConfig.Copy()
				if err := cfg.BeforeConnect(t.Context(), conn); err != nil || conn.Password != want {
					t.Errorf("got %q, %v, want %q", conn.Password, err, want)
				}
				return conn.Config
			}
			first := prepared(c.before)
			put("password", "two")
			put("pass", "db:5432:*:app:two\n")
			testcert.New(t).Write(t, file("ca.pem"))
			second := prepared(c.after)
			if strings.Contains(c.url, "sslrootcert") && first.TLSConfig.RootCAs.Equal(second.TLSConfig.RootCAs) {
				t.Error("the authorities are those from before")
			}
			if !strings.Contains(c.url, "sslrootcert") {
				return
			}
			put("ca.pem", "in the middle of a change")
			for range 2 {
				if third := prepared(c.after); !third.TLSConfig.RootCAs.Equal(second.TLSConfig.RootCAs) {
					t.Error("the authorities are not those from before")
				}
			}
			if n := strings.Count(log.String(), "can't be read anew"); n != 1 {
				t.Errorf("told %d times:\n%s", n, log.String())
			}
			testcert.New(t).Write(t, file("ca.pem"))
		})
	}
}
