package config

import (
	"os"
	"path/filepath"
	"testing"
)

// The command line's address comes before the environment's, and that before the file's. Whoever lets others than this machine act has a token.
func TestAdminAddress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, flag, environment string
		admin                   Admin
		want                    string
		given                   bool
		problem                 string
	}{
		{name: "nobody says", want: AdminListen},
		{name: "the file", admin: Admin{Listen: "[::1]:1"}, want: "[::1]:1", given: true},
		{name: "the environment", environment: ":2", admin: Admin{Listen: "[::1]:1"}, want: ":2", given: true},
		{name: "the command line", flag: "off", environment: ":2", want: "off", given: true},
		{name: "no port", flag: "localhost", problem: `--admin-listen must be HOST:PORT, such as 127.0.0.1:9187 or ":9187", or off`},
		{name: "a scheme", environment: "http://localhost:80", problem: `ONCESINK_ADMIN_LISTEN must be HOST:PORT, such as 127.0.0.1:9187 or ":9187", or off`},
		{name: "actions here", admin: Admin{Listen: "localhost:1", Actions: true}, want: "localhost:1", given: true},
		{name: "actions for all", flag: ":1", admin: Admin{Actions: true}, problem: "--admin-listen lets others than this machine act, without a token: give admin.token_file, or leave admin.actions out"},
		{name: "actions with a token", flag: ":1", admin: Admin{Actions: true, TokenFile: "x"}, want: ":1", given: true},
	} {
		address, given, err := tt.admin.Address(tt.flag, tt.environment)
		problem := ""
		if err != nil {
			problem = err.Error()
		}
		if address != tt.want || given != tt.given || problem != tt.problem {
			t.Errorf("%s: %q %v %q, want %q %v %q", tt.name, address, given, problem, tt.want, tt.given, tt.problem)
		}
	}
}

func TestAdminToken(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if token, err := (&Admin{TokenFile: file}).Token(); token != "sesame" || err != nil {
		t.Errorf("%q %v", token, err)
	}
	if _, err := (&Admin{TokenFile: file + "x"}).Token(); err == nil {
		t.Error("a file that is not there")
	}
	if cfg := parse(t, string(read(t, "testdata/valid/everything.yaml"))); cfg.Admin.Listen != ":9187" || !cfg.Admin.HasPage() || cfg.Metrics.Partitions != 100 || cfg.Admin.Hosts[0] != "sink.example.com" {
		t.Errorf("%+v", cfg.Admin)
	}
}
