package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestActionsArePinned: what workflows use is named by its commit, with the version that it is.
func TestActionsArePinned(t *testing.T) {
	paths, err := filepath.Glob("../.github/workflows/*.yml")
	if err != nil || len(paths) < 3 {
		t.Fatalf("workflows: %v, %v", paths, err)
	}
	pinned := regexp.MustCompile(`^[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	commits, uses := map[string]string{}, 0
	for _, path := range paths {
		for line := range strings.Lines(read(t, path)) {
			_, what, ok := strings.Cut(line, "uses: ")
			if !ok {
				continue
			}
			uses++
			what = strings.TrimSpace(what)
			if !pinned.MatchString(what) {
				t.Errorf("%s uses %s, which is not ACTION@COMMIT # VERSION", path, what)
			}
			action, _, _ := strings.Cut(what, "@")
			if other, known := commits[action]; known && other != what {
				t.Errorf("%s uses %s, and elsewhere it is %s", path, what, other)
			}
			commits[action] = what
		}
	}
	if uses < 10 {
		t.Errorf("%d uses: nothing is shown", uses)
	}
}

// TestReleaseNotes: a release has the notes of its section, and none without one.
func TestReleaseNotes(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "scripts"), 0o755); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(dir, "scripts", "release-notes")
	changes := "# Changelog\n\n## [Unreleased]\n\n- later\n\n## [1.1.0] - 2026-12-01\n\n### Added\n\n- new\n\n## [1.1.0-rc.1] - 2026-11-30\n\n- candidate\n\n[1.1.0]: https://example.org\n"
	for path, text := range map[string]string{script: read(t, "../scripts/release-notes"), filepath.Join(dir, "CHANGELOG.md"): changes} {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for version, want := range map[string]string{"v1.1.0": "### Added\n\n- new\n", "v1.1.0-rc.1": "- candidate\n", "v1.1": "", "v2.0.0": ""} {
		out, err := exec.Command("bash", script, version).Output()
		if got := string(out); (err == nil) != (want != "") || got != want {
			t.Errorf("%s: got %q (%v), want %q", version, got, err, want)
		}
	}
}

// TestUnitGivesTimeToStop: systemd waits as long as a stop may take by default, and ten seconds, as the chart does.
func TestUnitGivesTimeToStop(t *testing.T) {
	if unit := read(t, "systemd/oncesink.service"); !strings.Contains(unit, "\nTimeoutStopSec=30s\n") {
		t.Errorf("limits.stop_timeout is 20s by default, and the unit says\n%s", unit)
	}
}

// TestImagesAreAlike: the image of a release starts as the one that is built from source does.
func TestImagesAreAlike(t *testing.T) {
	start := func(path string) string {
		var out strings.Builder
		for line := range strings.Lines(read(t, path)) {
			if word, _, _ := strings.Cut(line, " "); strings.Contains("USER ENV HEALTHCHECK ENTRYPOINT CMD", word) {
				out.WriteString(line)
			}
		}
		return out.String()
	}
	source, release := start("../Dockerfile"), start("image/Dockerfile")
	if source != release || strings.Count(source, "\n") != 5 {
		t.Errorf("from source\n%sof a release\n%s", source, release)
	}
}
