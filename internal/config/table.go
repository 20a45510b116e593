package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/pgname"
)

// The rules of tables are package mapping's. Here is what only the file can tell: keys that are there and empty, topic
// beside topics, and where a column's source is written.

// rules brings what package mapping finds wrong to where it is written.
func (v *validator) rules() {
	cfg := v.cfg.standIn().ToSink()
	for _, p := range mapping.Check(&cfg, nil) {
		message := p.Text
		switch {
		case len(p.Known) > 0:
			message += Suggest(p.Given, p.Known)
		case p.Fix != "":
			message += ": " + p.Fix
		}
		v.problems = append(v.problems, Problem{Path: v.written(p.Path), Message: message, onKey: p.OnKey})
	}
}

// written is the path by which the file has a key: topics may be written as topic, and a column's from as its text.
func (v *validator) written(path string) string {
	table, key, _ := strings.Cut(path, ".")
	switch {
	case strings.HasPrefix(key, "topics") && !v.given(table+".topics") || v.given(table+".topic") && strings.HasPrefix(key, "topics["):
		return table + ".topic"
	case strings.HasSuffix(key, ".from") && !v.given(path):
		return strings.TrimSuffix(path, ".from")
	}
	return path
}

// table checks how an entry is written.
func (v *validator) table(path string, t *Table) {
	for _, key := range []string{"strategy", "guard", "tombstones", "new_fields"} {
		v.notEmpty(path+"."+key, map[string]string{"strategy": t.Strategy, "guard": t.Guard, "tombstones": t.Tombstones, "new_fields": t.NewFields}[key])
	}
	if t.Topic != "" && len(t.Topics) > 0 {
		v.keyProblem(path+".topics", "is given beside topic: use one of them")
	}
	for _, name := range slices.Sorted(maps.Keys(t.Columns)) {
		v.column(path+".columns."+name, t.Columns[name])
	}
}

// column refuses one that says nothing: without an entry it is the field of its name.
func (v *validator) column(path string, c Column) {
	for key, value := range map[string]string{"encoding": c.Encoding, "zone": c.Zone, "unit": c.Unit, "rounding": c.Rounding, "default_for": string(c.DefaultFor)} {
		v.notEmpty(path+"."+key, value)
	}
	if c.Default == nil && v.given(path+".default") {
		v.problem(path+".default", `is empty: write a text, or "" for one without a letter`)
	}
	if c.Scale == nil && v.given(path+".scale") {
		v.problem(path+".scale", "is empty: write a number, or leave the key out")
	}
	from := path + ".from"
	switch {
	case c.SQL != "":
	case v.given(path + ".sql"):
		v.problem(path+".sql", "is empty: write an SQL expression over other columns of the event")
	case c.From == "" && v.given(from):
		v.problem(from, "is empty: write a field's path, such as customer.id")
	case c.From == "" && c.Encoding == "" && c.Zone == "" && c.Unit == "" && c.Rounding == "" && c.Scale == nil && c.Default == nil && c.DefaultFor == "" && !v.given(path+".default") && !v.given(path+".scale") && len(c.Inputs) == 0:
		v.problem(path, "is empty: write a field's path, such as customer.id")
	}
}

// notEmpty refuses a key that is there without a value: it would be its default.
func (v *validator) notEmpty(path, value string) {
	if value == "" && v.given(path) {
		v.problem(path, "is empty: write a value, or leave the key out")
	}
}

// rollupName checks the name of a rollup.
func (v *validator) rollupName(path, name string) {
	schema, _, err := pgname.Split(name) // which everything else reads names by
	switch {
	case name == "":
		v.problem(path, "is required: NAME or SCHEMA.NAME")
	case err != nil:
		v.problem(path, `must be NAME or SCHEMA.NAME, a name with a dot in double quotes, as in "a.b"`)
	case schema == "oncesink":
		v.problem(path, "is in the schema oncesink, which holds the positions: use another schema")
	}
}
