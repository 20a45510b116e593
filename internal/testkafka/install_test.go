package testkafka

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// script writes a program that prints to stderr.
func script(t *testing.T, dir, name, output string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, fmt.Appendf(nil, "#!/bin/sh\ncat >&2 <<'END'\n%s\nEND\n", output), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFindJava(t *testing.T) {
	dir := t.TempDir()
	old := script(t, dir, "java8", `openjdk version "1.8.0_392"`)
	eleven := script(t, dir, "java11", `openjdk version "11.0.2" 2019-01-15`)
	seventeen := script(t, dir, "java17", "Picked up JAVA_TOOL_OPTIONS: -Dx=y\nopenjdk version \"17.0.15\" 2025-04-15")
	early := script(t, dir, "java27", `openjdk version "27-ea" 2026-09-15`)
	strange := script(t, dir, "javax", `hello`)
	for _, test := range []struct {
		name  string
		paths []string
		want  string
		err   []string // parts of the error
	}{
		{"new enough", []string{seventeen}, seventeen, nil},
		{"early access", []string{early}, early, nil},
		{"the first that will do", []string{old, filepath.Join(dir, "none"), seventeen, early}, seventeen, nil},
		{"none", nil, "", []string{"no java", "openjdk-17-jre-headless", "JAVA_HOME"}},
		{"too old", []string{old, eleven}, "", []string{"java8 is version 8", "java11 is version 11", "openjdk-17-jre-headless"}},
		{"strange", []string{strange}, "", []string{"not understood"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := findJava(t.Context(), test.paths)
			if got != test.want || (err == nil) != (test.err == nil) {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
			for _, want := range test.err {
				if err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
		})
	}
}

// Without Maven the first fetch says what to install; a Maven that fails is quoted.
func TestFetchErrors(t *testing.T) {
	dir := t.TempDir()
	script(t, dir, "java", `openjdk version "17.0.15"`)
	t.Setenv("JAVA_HOME", "")
	t.Setenv("PATH", dir)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	if _, err := Install(t.Context()); err == nil || !strings.Contains(err.Error(), "apt-get install maven") {
		t.Errorf("got %v, want what to install", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "mvn"), []byte("#!/bin/sh\necho no route to repository\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Install(t.Context()); err == nil || !strings.Contains(err.Error(), "no route to repository") {
		t.Errorf("got %v, want what Maven said", err)
	}
}

func TestProxyOptions(t *testing.T) {
	t.Setenv("https_proxy", "")
	for _, test := range []struct{ proxy, want string }{
		{"", ""},
		{"http://proxy.example:3128", "-Dhttps.proxyHost=proxy.example -Dhttps.proxyPort=3128"},
		{"http://proxy.example", "-Dhttps.proxyHost=proxy.example -Dhttps.proxyPort=80"},
	} {
		t.Setenv("HTTPS_PROXY", test.proxy)
		if got := proxyOptions(); got != test.want {
			t.Errorf("HTTPS_PROXY=%q: got %q, want %q", test.proxy, got, test.want)
		}
	}
}
