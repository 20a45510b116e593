package draft

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/oncesink/oncesink/internal/pgname"
)

// Tables names tables of different topics differently.
func Tables(tables []*Table) {
	used := map[string]bool{}
	for _, t := range tables {
		t.Name = unique(t.Name, used)
	}
}

// YAML writes the tables' entries in a configuration; ddl names the file with their statements.
func YAML(tables []*Table, ddl string) string {
	w := &writer{}
	if slices.ContainsFunc(tables, func(t *Table) bool { return t.Settings != "" }) {
		w.line("topics:")
		for _, t := range tables {
			if t.Settings != "" {
				w.line("  %s: {%s}", text(t.Topic), t.Settings)
			}
		}
		w.line("")
	}
	w.line("tables:")
	for i, t := range tables {
		if i > 0 {
			w.line("")
		}
		w.table(t, ddl)
	}
	return w.String()
}

type writer struct{ strings.Builder }

func (w *writer) line(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

// comment writes sentences in lines of 80 columns.
func (w *writer) comment(mark, text string) {
	const width = 80
	line := mark
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > width && line != mark {
			w.line("%s", line)
			line = mark
		}
		line += " " + word
	}
	w.line("%s", line)
}

// Comment returns what writes sentences as a comment, by the mark that begins one.
func Comment(sentences string) func(mark string) string {
	return func(mark string) string {
		w := &writer{}
		w.comment(mark, sentences)
		return w.String()
	}
}

// sentence ends a sentence.
func sentence(s string) string { return strings.TrimSuffix(s, ".") + "." }

func (w *writer) table(t *Table, ddl string) {
	const in, mark = "    ", "    #"
	w.line("  - name: %s", text(t.Name))
	w.line(in+"topic: %s", text(t.Topic))
	for _, n := range t.Notes {
		w.comment(mark, n)
	}
	for _, n := range t.Unfit {
		w.comment(mark, fmt.Sprintf("DEAD LETTERS: of %s records, %s.", count(t.Records), n))
	}
	w.comment(mark, sentence(t.KeyWhy))
	if len(t.Key) == 0 {
		w.line(in + "strategy: append")
	} else {
		w.line(in+"key: [%s]", join(t.Key))
		w.comment(mark, sentence(t.VersionWhy))
		if t.Version != "" {
			w.line(in+"version: %s", text(t.Version))
		}
	}
	w.recordKey(t)
	w.columns(t)
	for _, n := range t.LeftOut {
		w.comment(mark, "Left out: "+sentence(n))
	}
	for _, c := range t.Children {
		w.children(t, c, ddl)
	}
}

func (w *writer) recordKey(t *Table) {
	if len(t.RecordKey) == 0 {
		return
	}
	met := "A tombstone (a record without a value; there was none) would delete"
	if t.Tombstones > 0 {
		met = fmt.Sprintf("A tombstone (a record without a value; %s of %s records) deletes", count(t.Tombstones), count(t.Records))
	}
	if t.Derived {
		w.comment("    #", met+" the row that its key names: it has the fields of the table's key, by its envelope, and so no record_key is needed.")
		return
	}
	w.comment("    #", met+" the row that its key names.")
	var parts []string
	for _, s := range t.RecordKey {
		parts = append(parts, text(s.Column)+": "+source(s.From))
	}
	w.line("    record_key: {%s}", strings.Join(parts, ", "))
}

// columns writes what is not "the field of the same name", and what could be.
func (w *writer) columns(t *Table) {
	some := false
	for _, c := range t.Columns {
		some = some || c.From != "" || c.Unit != ""
	}
	mark := "    "
	if !some {
		mark = "    # "
		if !slices.ContainsFunc(t.Columns, func(c Column) bool { return len(c.Inner) > 0 }) {
			return
		}
	}
	w.line("%scolumns:", mark)
	for _, c := range t.Columns {
		if entry := entry(c); entry != "" {
			w.line("%s  %s: %s", mark, text(c.Name), entry)
		}
		if len(c.Inner) > 0 {
			w.comment("    #  ", c.Name+" is an object, in a jsonb column as a whole. Its fields can have columns:")
			for _, in := range c.Inner {
				w.line("    #   %s: %s # %s", text(in.Name), entryOf(in), in.Type)
			}
		}
	}
}

func entry(c Column) string {
	if c.From == "" && c.Unit == "" {
		return ""
	}
	return entryOf(c)
}

func entryOf(c Column) string {
	switch {
	case c.Unit == "":
		return source(c.From)
	case c.From == "":
		return "{unit: " + c.Unit + "}"
	}
	return "{from: " + source(c.From) + ", unit: " + c.Unit + "}"
}

func (w *writer) children(t *Table, c Children, ddl string) {
	w.line("")
	w.comment("  #", fmt.Sprintf("%s. For a row of each, which follow their event's row, take the statement for %s in %s, and these lines, out of comments:", c.Why, c.Table, ddl))
	w.line("  # - name: %s", text(c.Table))
	w.line("  #   strategy: children")
	w.line("  #   parent: %s", text(t.Name))
	w.line("  #   each: %s", source(c.Each))
	w.line("  #   key: [%s]", join(append(slices.Clone(t.Key), c.Index)))
	w.line("  #   columns:")
	w.line("  #     %s: $index", text(c.Index))
	for _, col := range c.Columns {
		if entry := entry(col); entry != "" {
			w.line("  #     %s: %s", text(col.Name), entry)
		}
	}
}

func join(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = text(n)
	}
	return strings.Join(out, ", ")
}

var plainText = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

// words are texts that YAML takes for something else.
var words = strings.Fields("null true false yes no on off y n")

// text writes a text in YAML.
func text(s string) string {
	if plainText.MatchString(s) && !slices.Contains(words, strings.ToLower(s)) {
		return s
	}
	return strconv.Quote(s)
}

// source writes a source in YAML.
func source(s string) string {
	if rest, ok := strings.CutPrefix(s, "$"); ok && plainText.MatchString(rest) {
		return s
	}
	return text(s)
}

// SQL writes the statements that create the tables.
func SQL(tables []*Table) string {
	w := &writer{}
	for i, t := range tables {
		if i > 0 {
			w.line("")
		}
		w.create(t)
	}
	return w.String()
}

func (w *writer) create(t *Table) {
	w.line("create table %s (", pgname.Readable(t.Name))
	names, types := 0, 0
	for _, c := range t.Columns {
		names, types = max(names, len(pgname.Readable(c.Name))), max(types, len(c.Type+t.constraint(c)))
	}
	for i, c := range t.Columns {
		typ := c.Type + t.constraint(c)
		if i < len(t.Columns)-1 || len(t.Key) > 1 {
			typ += ","
		}
		w.line("    %-*s %-*s -- %s", names, pgname.Readable(c.Name), types+1, typ, c.Why)
		for _, in := range c.Inner {
			w.line("    -- %s %s,", pgname.Readable(in.Name), in.Type)
		}
	}
	if len(t.Key) > 1 {
		w.line("    primary key (%s)", quotedAll(t.Key))
	}
	if len(t.Key) == 0 {
		w.line(");")
	} else {
		w.line(") with (fillfactor = 50); -- room on each page for the next version of its rows")
	}
	for _, c := range t.Children {
		w.createChildren(t, c)
	}
}

// constraint is what a column's definition says beyond its type.
func (t *Table) constraint(c Column) string {
	switch {
	case len(t.Key) == 1 && c.Name == t.Key[0]:
		return " primary key"
	case c.Name == t.Version:
		return " not null" // an event without it is a dead letter
	}
	return ""
}

func (w *writer) createChildren(t *Table, c Children) {
	w.line("")
	w.line("-- create table %s (", pgname.Readable(c.Table))
	for _, k := range t.Key {
		i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == k })
		w.line("--     %s %s,", pgname.Readable(k), t.Columns[i].Type)
	}
	w.line("--     %s integer,", pgname.Readable(c.Index))
	for _, col := range c.Columns {
		w.line("--     %s %s,", pgname.Readable(col.Name), col.Type)
	}
	w.line("--     primary key (%s)", quotedAll(append(slices.Clone(t.Key), c.Index)))
	w.line("-- ) with (fillfactor = 50);")
}

func quotedAll(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = pgname.Readable(n)
	}
	return strings.Join(out, ", ")
}
