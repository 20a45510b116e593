package pgserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// downloadVersion is what is fetched where no version is named and none is installed.
const downloadVersion = "18.6.0"

// Binaries returns the directory of initdb and postgres of a version: installed ones,
// else downloaded ones (see [Download]). A version is "" (the newest installed), a
// major version ("15") or a full one ("18.6").
func Binaries(ctx context.Context, version string) (string, error) {
	var best string
	var bestVersion []int
	for _, dir := range installed() {
		v, ok := serverVersion(ctx, dir)
		if ok && matches(version, v) && slices.Compare(v, bestVersion) > 0 {
			best, bestVersion = dir, v
		}
	}
	if best != "" {
		return best, nil
	}
	return Download(ctx, version)
}

// installed returns the directories that hold a server, in the places where
// Debian, RPM, Homebrew, Postgres.app and a PATH keep them.
func installed() []string {
	var dirs []string
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "/usr/libexec/postgresql*",
		"/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin",
	} {
		found, _ := filepath.Glob(pattern)
		dirs = append(dirs, found...)
	}
	slices.Sort(dirs)
	return slices.DeleteFunc(slices.Compact(dirs), func(dir string) bool { return !hasServer(dir) })
}

// hasServer tells whether a directory holds what is needed to make and run a cluster.
func hasServer(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.IsDir() {
			return false
		}
	}
	return true
}

// serverVersion asks a server for its version: "postgres (PostgreSQL) 15.18 (Debian ...)".
func serverVersion(ctx context.Context, dir string) ([]int, bool) {
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return nil, false
	}
	_, rest, ok := strings.Cut(string(out), "(PostgreSQL) ")
	f := strings.Fields(rest)
	if !ok || len(f) == 0 {
		return nil, false
	}
	return numbers(f[0]), true
}

// matches tells whether a server's version is the wanted one; "" wants any, "15" any 15.
func matches(want string, have []int) bool {
	if want == "" {
		return true
	}
	w := numbers(want)
	return len(w) > 0 && slices.Equal(w[:min(len(w), len(have))], have[:min(len(w), len(have))])
}

// numbers parses "18.6", and the "18" of "18beta1".
func numbers(version string) []int {
	var ns []int
	for part := range strings.SplitSeq(version, ".") {
		digits := part[:len(part)-len(strings.TrimLeft(part, "0123456789"))]
		n, err := strconv.Atoi(digits)
		if err != nil {
			break
		}
		ns = append(ns, n)
	}
	return ns
}

// fullVersion returns the version to download for a wanted one.
func fullVersion(want string) (string, error) {
	known := map[int]string{14: "14.24.0", 15: "15.19.0", 16: "16.15.0", 17: "17.11.0", 18: downloadVersion}
	w := numbers(want)
	switch {
	case want == "":
		return downloadVersion, nil
	case len(w) == 1 && known[w[0]] != "":
		return known[w[0]], nil
	case len(w) == 2:
		return fmt.Sprintf("%d.%d.0", w[0], w[1]), nil
	case len(w) == 3:
		return want, nil
	}
	return "", fmt.Errorf("download PostgreSQL: version %q is not known; name it in full, such as 18.6", want)
}
