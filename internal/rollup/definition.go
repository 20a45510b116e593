package rollup

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/oncesink/oncesink/sink"
)

// Mode is a way to keep a rollup.
type Mode string

// The modes.
const (
	Incremental Mode = "incremental"
	Recompute   Mode = "recompute"
)

// Column is a column of a rollup and how it is made.
type Column struct{ Name, SQL string }

// Definition says what a rollup is.
type Definition struct {
	// Name of the view, "name" or "schema.name".
	Name string
	// Table that it is made of, as the sink's configuration names it.
	Table string
	// GroupBy are SQL expressions over a row of the table.
	GroupBy []Column
	// Columns are count, count(EXPR), sum(EXPR), min(EXPR) or max(EXPR).
	Columns []Column
	// Where, if not empty, is a condition on a row of the table.
	Where string
	// Mode defaults to Incremental.
	Mode Mode
	// SearchPath finds tables, types and functions that name no schema.
	SearchPath string
	// Guarded tells that the table has the sink's engine columns.
	Guarded bool
}

// measure is a compiled column.
type measure struct {
	name, function, argument string
}

var call = regexp.MustCompile(`(?is)^\s*(count|sum|min|max)\s*(?:\((.*)\))?\s*$`)

// parseMeasure reads count, count(EXPR), sum(EXPR), min(EXPR) or max(EXPR).
func parseMeasure(c Column) (measure, error) {
	m := call.FindStringSubmatch(c.SQL)
	if m == nil {
		return measure{}, fmt.Errorf("%q is none of count, count(...), sum(...), min(...), max(...)", c.SQL)
	}
	out := measure{c.Name, strings.ToLower(m[1]), strings.TrimSpace(m[2])}
	if out.function == "count" && out.argument == "*" {
		out.argument = ""
	}
	if out.argument == "" && out.function != "count" {
		return measure{}, fmt.Errorf("%s of nothing: write %s(amount)", out.function, out.function)
	}
	return out, nil
}

// Function returns count, sum, min or max for the text of a column.
func Function(sql string) (string, error) {
	m, err := parseMeasure(Column{SQL: sql})
	return m.function, err
}

// Check checks what needs no database. Its errors are *sink.ConfigErrors, joined.
func (d *Definition) Check() error {
	var errs []error
	problem := func(fix, format string, args ...any) {
		errs = append(errs, &sink.ConfigError{Problem: "rollup " + d.Name + ": " + fmt.Sprintf(format, args...), Fix: fix})
	}
	if len(d.GroupBy) == 0 {
		problem(`name its groups, such as day: "(placed_at at time zone 'UTC')::date"`, "it has no group_by")
	}
	if len(d.Columns) == 0 {
		problem("name its columns, such as orders: count", "it counts and sums nothing")
	}
	if d.Mode != Incremental && d.Mode != Recompute {
		problem("write incremental or recompute", "mode %q", d.Mode)
	}
	seen := map[string]bool{}
	for _, c := range append(append([]Column{}, d.GroupBy...), d.Columns...) {
		if c.Name == "" || seen[c.Name] {
			problem("give each column a name of its own", "column %q", c.Name)
		}
		seen[c.Name] = true
	}
	for _, c := range d.Columns {
		m, err := parseMeasure(c)
		switch {
		case err != nil:
			problem("a column is count, count(EXPR), sum(EXPR), min(EXPR) or max(EXPR)", "column %s: %v", c.Name, err)
		case d.Mode == Incremental && (m.function == "min" || m.function == "max"):
			problem("write mode: recompute, or leave the column out", "column %s: a %s can't be taken back when its row changes", c.Name, m.function)
		}
	}
	return errors.Join(errs...)
}

// fingerprint tells whether a rollup that is there is the one defined here. Its list
// begins with a number: change it when the meaning of the same definition changes.
func (d *Definition) fingerprint() string {
	b, err := json.Marshal([]any{1, d.Table, d.GroupBy, d.Columns, d.Where, d.Mode, d.SearchPath, d.Guarded})
	if err != nil {
		panic(err) // texts and lists of texts
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}
