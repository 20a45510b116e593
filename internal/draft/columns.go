package draft

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
)

// tells are fields of flattened events that say what has happened.
var tells = []string{"__deleted", "__op"} // it never changes

// maxColumns bounds a table: what has more fields is a map.
const maxColumns = 250

// word reports whether a field's name may become a column's: it can't be told from a name of data otherwise.
func word(name string) bool { return pattern.MatchString(name) && utf8.RuneCountInString(name) <= 60 }

// pattern has no bound: as {0,59} it took longer to compile than all else that the program begins with.
var pattern = regexp.MustCompile(`^[\p{L}_][\p{L}\p{N}_ .:/-]*$`)

// columns gives each field a column, and returns the names of columns by field.
func (t *topic) columns(out *Table) map[string]string {
	used, taken := map[string]bool{}, map[string]string{}
	var unnamed, more int
	for _, name := range t.fields.order {
		f := t.fields.fields[name]
		switch {
		case !word(name):
			unnamed++
			continue
		case t.around != nil && slices.Contains(tells, name):
			out.LeftOut = append(out.LeftOut, name+": it says what has happened to the row, and the envelope reads it")
			continue
		case f.present == f.nulls && f.typed == "":
			out.LeftOut = append(out.LeftOut, name+": it was always null, which says nothing of its type")
			continue
		case len(out.Columns) == maxColumns:
			more++
			continue
		}
		c := t.column(name, f, used, t.prefix)
		if len(t.prefix) == 0 && c.Name == name {
			c.From = ""
		}
		taken[name] = c.Name
		out.Columns = append(out.Columns, c)
	}
	if unnamed > 0 {
		out.LeftOut = append(out.LeftOut, fmt.Sprintf("%s field(s) whose names look like data", count(unnamed)))
	}
	if more += t.fields.more; more > 0 {
		out.LeftOut = append(out.LeftOut, fmt.Sprintf("%s field(s) beyond the first %d: is an object used as a map?", count(more), maxColumns))
	}
	if len(out.Columns) == 0 && t.tombstones < len(t.records) {
		out.Columns = append(out.Columns, Column{Name: unique("event", used), Type: "text", From: "$value", Why: "the whole event"})
	}
	return taken
}

// column is what a field becomes.
func (t *topic) column(name string, f *field, used map[string]bool, base []string) Column {
	c := Column{Name: unique(columnName(name), used), From: path(append(base[:len(base):len(base)], name)...)}
	c.Type, c.Unit, c.Why = f.typ(name)
	if f.inner != nil && f.only(f.objects) {
		for _, in := range f.inner.order {
			g := f.inner.fields[in]
			if word(in) && len(c.Inner) < 8 && (g.present > g.nulls || g.typed != "") && 2*g.present >= f.inner.count {
				n := Column{Name: columnName(name + "_" + in), From: c.From + "." + fields.Escape(in)}
				n.Type, n.Unit, _ = g.typ(in)
				c.Inner = append(c.Inner, n)
			}
		}
	}
	switch missing := t.rows() - f.present; {
	case missing > 0 && f.nulls > 0:
		c.Why += fmt.Sprintf("; %s of %s lack it, %s are null", count(missing), count(t.rows()), count(f.nulls))
	case missing > 0:
		c.Why += fmt.Sprintf("; %s of %s lack it", count(missing), count(t.rows()))
	case f.nulls > 0:
		c.Why += fmt.Sprintf("; %s of %s are null", count(f.nulls), count(t.rows()))
	}
	return c
}

// typ is the narrowest type that takes all that was seen, with room for what may come.
func (f *field) typ(name string) (typ, unit, why string) {
	scalars := f.bools + f.integers + f.fractions + f.texts
	switch {
	case f.typed != "":
		return f.typed, "", f.typedWhy
	case f.objects+f.arrays > 0 && f.wild:
		return "text", "", "JSON with numbers that are too large for jsonb"
	case f.only(f.objects):
		return "jsonb", "", "an object"
	case f.only(f.arrays):
		return "jsonb", "", "an array"
	case f.objects+f.arrays > 0:
		return "jsonb", "", "values of several kinds"
	case f.wild:
		return "text", "", "numbers that are too large for numeric"
	case f.only(f.bools):
		return "boolean", "", "true or false"
	case f.only(f.integers):
		return f.integer(name)
	case f.only(f.integers + f.fractions):
		return "numeric", "", "numbers with fractions"
	case f.only(f.texts):
		return f.textType()
	case scalars > 0:
		return "text", "", "values of several kinds"
	}
	return "text", "", "nothing but null"
}

func (f *field) textType() (typ, unit, why string) {
	switch {
	case f.uuids:
		return "uuid", "", "UUIDs"
	case f.times:
		return "timestamptz", "", "times with their zone"
	case f.localTimes:
		return "timestamp", "", "times without a zone"
	case f.dates:
		return "date", "", "dates"
	}
	return "text", "", "texts"
}

// small is what an integer column has much room for.
const small = 1_000_000

func (f *field) integer(name string) (typ, unit, why string) {
	if f.beyond {
		return "numeric", "", "integers that are too large for bigint"
	}
	if unit := f.epoch(name); unit != "" {
		return "timestamptz", unit, "by its name and its numbers a time, counted from 1970"
	}
	if id.MatchString(columnName(name)) || f.min < -small || f.max > small {
		return "bigint", "", "integers"
	}
	return "integer", "", "integers between " + fmt.Sprintf("-%[1]s and %[1]s", count(small))
}

var (
	id = regexp.MustCompile(`(^|_)(id|no|number|nr|key)$`)
	// moment is the name of a time.
	moment = regexp.MustCompile(`(^|_)(at|on|ts|ms|us|ns|millis|micros|nanos|time|timestamp|date|datetime|epoch|created|updated|modified|changed|deleted|expires|since|until)(_|$)`)
)

// Of the years 2000 to 2100, in seconds.
const (
	year2000 = 946_684_800
	year2100 = 4_102_444_800
)

// epoch is the unit in which all numbers lie between the years 2000 and 2100, of a field whose name says that it is a time.
func (f *field) epoch(name string) string {
	if !moment.MatchString(columnName(name)) {
		return ""
	}
	factor := int64(1)
	for _, unit := range []string{"s", "ms", "us", "ns"} {
		if f.min >= year2000*factor && f.max <= year2100*factor {
			return unit
		}
		factor *= 1000
	}
	return ""
}

// holdsZero reports whether a row has a text that no column can keep.
func (t *topic) holdsZero(out *Table, r record) bool {
	for name, v := range r.row {
		f := t.fields.fields[name]
		if f == nil || !f.zero || !word(name) {
			continue
		}
		one := &field{}
		one.add(v, maxDepth)
		typ, _, _ := f.typ(name)
		if one.zero && (v.Kind == event.String || typ == "jsonb" || strings.HasSuffix(typ, "[]")) {
			return true
		}
	}
	return false
}
