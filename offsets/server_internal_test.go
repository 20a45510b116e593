package offsets

import (
	"errors"
	"strings"
	"testing"
)

// Servers that only speak PostgreSQL's protocol are refused by name.
func TestServerOf(t *testing.T) {
	for version, want := range map[string]string{
		"PostgreSQL 15.8 (Debian 15.8-0+deb12u1) on x86_64-pc-linux-gnu, compiled by gcc (Debian 12.2.0-14) 12.2.0, 64-bit":                    "",
		"PostgreSQL 16.4 on aarch64-unknown-linux-gnu, compiled by gcc (GCC) 9.5.0, 64-bit":                                                    "",
		"CockroachDB CCL v24.3.1 (x86_64-pc-linux-gnu, built 2024/12/02 11:32:18, go1.22.8 X:nocoverageredesign)":                              "CockroachDB",
		"PostgreSQL 15.2-YB-2025.1.0.0-b0 on x86_64-pc-linux-gnu, compiled by clang version 17.0.6 (https://github.com/yugabyte/llvm), 64-bit": "YugabyteDB",
	} {
		var e *ServerError
		switch err := serverOf(version); {
		case want == "" && err != nil, want != "" && (!errors.As(err, &e) || e.Server != want || !strings.Contains(err.Error(), "Use PostgreSQL")):
			t.Errorf("%s: %v, want %q", version, err, want)
		}
	}
}
