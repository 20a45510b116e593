package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// report is the table at the end.
type report struct{ checks []check }

// check is one line: what was compared, or the title of a section.
type check struct {
	title           bool
	what            string
	expected, found string
}

func (c check) ok() bool { return c.expected == c.found }

func (r *report) section(title string) { r.checks = append(r.checks, check{title: true, what: title}) }

func (r *report) add(what, expected, found string) {
	r.checks = append(r.checks, check{what: what, expected: expected, found: found})
}

func (r *report) number(what string, expected, found int64) {
	r.add(what, grouped(expected), grouped(found))
}

// good reports whether there was something to check, and all of it is as expected.
func (r *report) good() bool {
	for _, c := range r.checks {
		if !c.ok() {
			return false
		}
	}
	return slices.ContainsFunc(r.checks, func(c check) bool { return !c.title })
}

func (r *report) print(out io.Writer, colors bool) {
	t := table.NewWriter()
	t.SetOutputMirror(out)
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.SetColumnConfigs([]table.ColumnConfig{ // in 80 columns
		{Number: 2, Align: text.AlignRight, AlignHeader: text.AlignRight, WidthMax: 13, WidthMaxEnforcer: text.WrapSoft},
		{Number: 3, Align: text.AlignRight, AlignHeader: text.AlignRight, WidthMax: 13, WidthMaxEnforcer: text.WrapSoft},
	})
	t.AppendHeader(table.Row{"check", "expected", "found", ""})
	for i, c := range r.checks {
		if c.title {
			if i > 0 {
				t.AppendSeparator()
			}
			t.AppendRow(table.Row{emphasise(wrapped(c.what, ""), colors, text.Bold)})
			continue
		}
		verdict := emphasise("ok", colors, text.FgGreen)
		if !c.ok() {
			verdict = emphasise("DIFFERS", colors, text.FgRed, text.Bold)
		}
		t.AppendRow(table.Row{wrapped(c.what, "  "), c.expected, c.found, verdict})
	}
	fmt.Fprintln(out)
	t.Render()
}

// json prints for a program what was compared.
func (r *report) json(out io.Writer, seed uint64) error {
	if out == nil {
		return nil
	}
	type compared struct {
		Part     string `json:"part"`
		What     string `json:"what"`
		Expected string `json:"expected"`
		Found    string `json:"found"`
		OK       bool   `json:"ok"`
	}
	all := struct {
		OK     bool       `json:"ok"`
		Seed   uint64     `json:"seed"`
		Checks []compared `json:"checks"`
	}{OK: r.good(), Seed: seed, Checks: []compared{}}
	part := ""
	for _, c := range r.checks {
		if c.title {
			part = c.what
			continue
		}
		all.Checks = append(all.Checks, compared{part, c.what, c.expected, c.found, c.ok()})
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(all)
}

func emphasise(s string, colors bool, as ...text.Color) string {
	if !colors {
		return s
	}
	return text.Colors(as).Sprint(s)
}

// wrapped breaks what a line is about, and indents all of it.
func wrapped(what, indent string) string {
	const width = 34
	lines := strings.Split(text.WrapSoft(what, width-len(indent)), "\n")
	for i := range lines {
		lines[i] = indent + strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}
