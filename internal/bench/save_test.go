package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A page gets its tables between the marks, again and again.
func TestFill(t *testing.T) {
	page := "a\n<!-- ratios -->\nold\n<!-- end of ratios -->\nz\n"
	text := report([]result{{Who: "oncesink", Variant: "default", Load: "fresh", Rows: 1000, Seconds: 1, CPU: 2}}).RenderMarkdown()
	if !strings.Contains(text, "| oncesink | default | fresh | 1.0k | 2.00 |") {
		t.Errorf("table:\n%s", text)
	}
	want := "a\n<!-- ratios -->\n" + text + "\n<!-- end of ratios -->\nz\n"
	for range 2 {
		var err error
		if page, err = fill(page, "ratios", text); err != nil || page != want {
			t.Errorf("got %v\n%s\nwant\n%s", err, page, want)
		}
	}
	if got, err := fill(page, "nothing", "x"); err == nil {
		t.Errorf("a page without the marks is no error:\n%s", got)
	}
}

// All files are written: raw figures, plot and page.
func TestSave(t *testing.T) {
	dir := t.TempDir()
	page := filepath.Join(dir, "performance.md")
	var marks string
	for _, section := range []string{"measurements", "ratios", "growth"} {
		marks += "<!-- " + section + " -->\n<!-- end of " + section + " -->\n"
	}
	if err := os.WriteFile(page, []byte(marks), 0o644); err != nil {
		t.Fatal(err)
	}
	s := scene{Cores: 2, Records: 1000, Rounds: 2, Kafka: "4.3.1", PostgreSQL: "15.18", Settings: map[string]string{"fsync": "on"}}
	runs := []result{
		{Who: "oncesink", Variant: "default", Load: "fresh", Rows: 1000, Seconds: 1, CPU: 2},
		{Who: "oncesink", Variant: "default", Load: "fresh", Rows: 1000, Seconds: 3, CPU: 2},
	}
	for _, name := range []string{"performance", "growth"} {
		if err := save(dir, name, s, runs, medians(runs)); err != nil {
			t.Fatal(err)
		}
		var got record
		raw, err := os.ReadFile(filepath.Join(dir, name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &got); err != nil || len(got.Runs) != 2 || len(got.Medians) != 1 || got.Medians[0].Seconds != 2 || got.Scene.Settings["fsync"] != "on" {
			t.Errorf("%s.json: %v\n%s", name, err, raw)
		}
		if want := name == "performance"; (len(got.Ratios) > 0) != want {
			t.Errorf("%s.json: ratios %v, want some: %v", name, got.Ratios, want)
		}
	}
	svg, err := os.ReadFile(filepath.Join(dir, "performance.svg"))
	if err != nil || !strings.Contains(string(svg), "<svg") || !strings.Contains(string(svg), "oncesink, default") {
		t.Errorf("plot: %v, %d bytes", err, len(svg))
	}
	text, err := os.ReadFile(page)
	if err != nil || strings.Count(string(text), "| oncesink | default | fresh |") != 2 || !strings.Contains(string(text), "| CPU s per 1 M rows, fresh | 2.00 | <= 3 | met |") ||
		!strings.Contains(string(text), "PostgreSQL 15.18 with fsync=on") {
		t.Errorf("page: %v\n%s", err, text)
	}
}
