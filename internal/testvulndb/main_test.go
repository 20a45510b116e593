package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

func TestBuild(t *testing.T) {
	entries, folder := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{
		"GO-2026-0002.json": `{"id":"GO-2026-0002","modified":"2026-03-01T00:00:00Z","affected":[{"package":{"name":"stdlib"}},{"package":{"name":"stdlib"}},{"package":{"name":"example.org/b"}}]}`,
		"GO-2026-0001.json": `{"id":"GO-2026-0001","modified":"2026-04-01T00:00:00Z","affected":[{"package":{"name":"stdlib"}}]}`,
	} {
		if err := os.WriteFile(filepath.Join(entries, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := build(entries, folder); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"index/db.json": `{"modified":"2026-04-01T00:00:00Z"}`,
		"index/modules.json": `[{"path":"example.org/b","vulns":[{"id":"GO-2026-0002","modified":"2026-03-01T00:00:00Z"}]},` +
			`{"path":"stdlib","vulns":[{"id":"GO-2026-0001","modified":"2026-04-01T00:00:00Z"},{"id":"GO-2026-0002","modified":"2026-03-01T00:00:00Z"}]}]`,
		"ID/GO-2026-0001.json": `{"id":"GO-2026-0001","modified":"2026-04-01T00:00:00Z","affected":[{"package":{"name":"stdlib"}}]}`,
	} {
		got, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil || string(got) != want {
			t.Errorf("%s: got %s (%v), want %s", name, got, err, want)
		}
	}
	if err := build(t.TempDir(), folder); err == nil {
		t.Error("a folder without entries makes a list in which nothing is known, without an error")
	}
}

func TestAnswers(t *testing.T) {
	tests := []struct {
		name, body string
		status     int
		usable     bool
	}{
		{"the list", `{"modified":"2026-04-01T00:00:00Z"}`, http.StatusOK, true},
		{"a proxy's page", "<html>log in</html>", http.StatusOK, false},
		{"a refusal", `{"modified":"2026-04-01T00:00:00Z"}`, http.StatusForbidden, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
			}))
			defer server.Close()
			if err := answers(t.Context(), server.URL); (err == nil) != tt.usable {
				t.Errorf("usable %v: got %v", tt.usable, err)
			}
		})
	}
}
