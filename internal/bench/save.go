package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// record is the file of raw figures.
type record struct {
	Scene   scene
	Ratios  []verdict `json:",omitempty"`
	Medians []result
	Runs    []result
}

// verdict is a goal, and whether it is met.
type verdict struct {
	What     string
	Measured float64
	Goal     string
	Met      bool
}

// save writes the results where the documentation shows them: name.json, name.svg, and
// the tables into the page performance.md. The raw figures come first, in case of errors.
func save(dir, name string, s scene, runs, rs []result) error {
	r := record{Scene: s, Medians: rs, Runs: runs}
	if name != "growth" {
		for _, g := range goals(rs) {
			r.Ratios = append(r.Ratios, verdict{g.what, g.got, g.String(), g.met()})
		}
	}
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, name+".json"), append(raw, '\n'), 0o644); err != nil {
		return err
	}
	sections := map[string]string{name: report(rs).RenderMarkdown() + "\n\n" + s.String()}
	if gs := goals(rs); name != "performance" && len(gs) > 0 {
		sections[name] += "\n\n" + ratioTable(gs).RenderMarkdown()
	}
	if name == "performance" {
		if err := draw(filepath.Join(dir, name+".svg"), rs); err != nil {
			return err
		}
		sections = map[string]string{
			"measurements": report(rs).RenderMarkdown() + "\n\n" + s.String(),
			"ratios":       ratioTable(goals(rs)).RenderMarkdown(),
		}
	}
	page := filepath.Join(dir, "performance.md")
	text, err := os.ReadFile(page)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	out := string(text)
	for section, content := range sections {
		if err == nil {
			out, err = fill(out, section, content)
		}
	}
	if err != nil {
		return err
	}
	return os.WriteFile(page, []byte(out), 0o644)
}

// fill replaces what stands between the marks of a name in a page.
func fill(page, name, text string) (string, error) {
	first, last := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->"
	before, rest, ok1 := strings.Cut(page, first)
	_, after, ok2 := strings.Cut(rest, last)
	if !ok1 || !ok2 {
		return "", fmt.Errorf("the page has no place for the %s: it is between %q and %q", name, first, last)
	}
	return before + first + text + "\n" + last + after, nil
}
