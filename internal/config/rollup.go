package config

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/oncesink/oncesink/internal/rollup"
)

// Rollup is a view of counts and sums per group over a target table, which is kept in
// the transaction that changes the rows.
type Rollup struct {
	// Name of the view, NAME or SCHEMA.NAME.
	Name string `yaml:"name"`
	// Table is the target table, as its entry under tables names it.
	Table string `yaml:"table"`
	// GroupBy are the groups: a column's name to an SQL expression over a row of the table, for
	// example day: "(placed_at at time zone 'UTC')::date". A day is one in the zone that
	// the expression names, never in the session's.
	GroupBy Fields `yaml:"group_by"`
	// Columns are what is kept of each group: a column's name to count, count(EXPR),
	// sum(EXPR), min(EXPR) or max(EXPR).
	Columns Fields `yaml:"columns"`
	// Where is a condition on the rows that count. Defaults to none.
	Where string `yaml:"where,omitempty"`
	// Mode is incremental (adds what rows are now and takes away what they were; writers don't
	// wait for each other) or recompute (makes the touched groups anew; needed for min and max). Defaults to incremental.
	Mode string `yaml:"mode,omitempty" jsonschema:"enum=incremental,enum=recompute"`
}

// Fields are names with a text each, in the order of the file.
type Fields []Field

// Field is one of Fields.
type Field struct{ Name, Text string }

func (v *validator) rollups() {
	tables := map[string]bool{}
	var names []string
	for i := range v.cfg.Tables {
		tables[v.cfg.qualified(v.cfg.Tables[i].Name)] = true
		names = append(names, v.cfg.Tables[i].Name)
	}
	seen := map[string]string{}
	for i := range v.cfg.Rollups {
		path, r := fmt.Sprintf("rollups[%d]", i), &v.cfg.Rollups[i]
		v.rollupName(path+".name", r.Name)
		name := v.cfg.qualified(r.Name)
		switch first, again := seen[name]; {
		case r.Name == "":
		case again:
			v.problem(path+".name", "is the name of %s, too", first)
		case tables[name]:
			v.problem(path+".name", "is a table: a rollup is a view of its own")
		}
		seen[name] = path
		switch {
		case r.Table == "":
			v.problem(path+".table", "is required: the table whose rows are counted and summed")
		case !tables[v.cfg.qualified(r.Table)] && !v.cfg.HasPatterns():
			v.problem(path+".table", "is not under tables%s", Suggest(r.Table, names))
		}
		v.fields(path+".group_by", r.GroupBy, `the groups, such as {day: "(placed_at at time zone 'UTC')::date"}`)
		v.fields(path+".columns", r.Columns, "what is kept, such as {orders: count, revenue: sum(amount)}")
		v.oneOf(path+".mode", r.Mode, "incremental", "recompute")
		for _, c := range r.Columns {
			if c.Text == "" {
				continue
			}
			if function, err := rollup.Function(c.Text); err != nil {
				v.problem(path+".columns."+c.Name, "%v", err)
			} else if r.Mode != "recompute" && (function == "min" || function == "max") {
				v.problem(path+".columns."+c.Name, "can't be taken back when its row changes: set mode: recompute")
			}
			if slices.ContainsFunc(r.GroupBy, func(g Field) bool { return g.Name == c.Name }) {
				v.keyProblem(path+".columns."+c.Name, "is the name of a group, too")
			}
		}
	}
}

func (v *validator) fields(path string, fields Fields, what string) {
	if len(fields) == 0 {
		v.problem(path, "is required: %s", what)
	}
	for _, f := range fields {
		if f.Text == "" {
			v.problem(path+"."+f.Name, "is empty")
		}
	}
}

// ToRollups returns the definitions of the rollups.
func (c *Config) ToRollups() []rollup.Definition {
	columns := func(fields Fields) (out []rollup.Column) {
		for _, f := range fields {
			out = append(out, rollup.Column{Name: f.Name, SQL: f.Text})
		}
		return out
	}
	var out []rollup.Definition
	for _, r := range c.Rollups {
		guarded := slices.ContainsFunc(c.Tables, func(t Table) bool { return c.qualified(t.Name) == c.qualified(r.Table) && t.Guard != "none" })
		out = append(out, rollup.Definition{
			Name: r.Name, Table: r.Table, GroupBy: columns(r.GroupBy), Columns: columns(r.Columns), Where: r.Where,
			Mode: rollup.Mode(cmp.Or(r.Mode, string(rollup.Incremental))), SearchPath: cmp.Or(c.Postgres.SearchPath, "public"), Guarded: guarded,
		})
	}
	return out
}
