package draft

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
)

// maxKey is how long a text may be that names a row: an index takes no more than 2,700 bytes.
const maxKey = 1000

// key chooses what names a row: what the record's key says, if a field says the same; or a field whose name and values say so;
// or the record's key itself; or nothing, and then each event has a row.
func (t *topic) key(out *Table, taken map[string]string) {
	named, distinct := t.namedKey(out, taken)
	for _, choose := range []func(*Table, map[string]string) bool{
		t.keyObject,
		func(out *Table, taken map[string]string) bool {
			return t.keyField(out, taken, named != "" && distinct && t.tombstones == 0)
		},
		func(out *Table, taken map[string]string) bool {
			if named == "" || t.tombstones > 0 {
				return false
			}
			out.Key = []string{taken[named]}
			out.KeyWhy = named + " is in every event"
			if distinct {
				out.KeyWhy += ", and no two have the same"
			}
			return true
		},
		t.keyItself,
	} {
		if !choose(out, taken) {
			continue
		}
		if t.streams(out) {
			out.KeyWhy = "Records have keys (" + list(out.Key) + "), but keys repeat, and no field says which of two events is newer: the key may only choose " +
				"the partition. So each event has a row of its own, and nothing is lost. If an event says how things stand from then on, write key: [" +
				strings.Join(out.Key, ", ") + "] instead of strategy: append, and make it the primary key"
			out.Key, out.RecordKey = nil, nil
			return
		}
		t.orderKey(out)
		out.Derived = t.derived(out)
		return
	}
	out.KeyWhy = "No field and no record key names a row in every event: each event has a row of its own. " +
		"If a field names what an event is about, write key: [FIELD] instead of strategy: append, and make it the primary key."
}

// streams reports whether the records' keys seem to say whom an event is about and not which row it makes: they repeat, are not
// called the table's id, nothing is deleted by them, and no event is newer than another.
func (t *topic) streams(out *Table) bool {
	if t.around != nil || t.tombstones > 0 || len(out.RecordKey) != 1 || strings.HasPrefix(out.RecordKey[0].From, "$key.") || rank(out.Key[0], out.Name) < 2 || t.versioned(out) >= 0 {
		return false
	}
	met := map[string]bool{}
	for _, r := range t.records {
		if r.row != nil && met[string(r.key)] {
			return true
		}
		met[string(r.key)] = true
	}
	return false
}

// usable reports whether every event has a value at a field that can name a row, and is what it looks like.
func (t *topic) usable(name string) bool {
	f := t.fields.fields[name]
	return f != nil && (f.typed == "" || f.plain) && t.names(name)
}

// names is usable also where the value is what its schema says.
func (t *topic) names(name string) bool {
	f := t.fields.fields[name]
	if f == nil || f.present != t.rows() || f.nulls > 0 || f.zero || f.wild || f.longest > maxKey {
		return false
	}
	switch typ, unit, _ := f.typ(name); typ {
	case "smallint", "integer", "bigint", "uuid":
		return unit == "" && f.only(f.texts+f.integers)
	case "numeric":
		return f.typed != "" && f.only(f.texts)
	case "text", "date":
		return f.only(f.texts + f.integers)
	}
	return false
}

// keyObject: the records' keys are objects of JSON whose fields the events have, or whose fields are all there is.
func (t *topic) keyObject(out *Table, taken map[string]string) bool {
	seen, base := newObject(), []string(nil)
	all := t.keyed()
	for _, r := range all {
		v, ok := readable(r.keyDoc)
		if !ok || v.Kind != event.Object {
			return false
		}
		if inner := inside(v, []string{"payload"}); inner.Kind == event.Object {
			base = []string{"payload"}
		}
		seen.add(inside(v, base))
	}
	if len(all) == 0 || len(seen.order) == 0 || len(seen.order) > 8 || seen.more > 0 {
		return false
	}
	var names, columns []string
	for _, name := range seen.order {
		f := seen.fields[name]
		if f.present != len(all) || f.nulls > 0 || f.objects+f.arrays+f.fractions+f.bools > 0 || f.zero || f.wild || f.longest > maxKey || !word(name) {
			return false
		}
		if !t.same(name, path(append(base[:len(base):len(base)], name)...)) {
			return false
		}
		names, columns = append(names, name), append(columns, taken[name])
	}
	if slices.Contains(columns, "") {
		return false
	}
	out.Key = columns
	for i, name := range names {
		out.RecordKey = append(out.RecordKey, Source{columns[i], "$key." + path(append(base[:len(base):len(base)], name)...)})
	}
	out.KeyWhy = "The record's key is an object with " + list(names) + ", which every event has as well"
	return true
}

// same reports whether each event has the value at a field that its key has at a path.
func (t *topic) same(name, at string) bool {
	if !t.names(name) {
		return false
	}
	steps, err := fields.Split(at)
	if err != nil {
		return false
	}
	f := t.fields.fields[name]
	numbers := f.integers > 0
	for _, r := range t.keyed() {
		if f.typed != "" && !f.plain && !r.keySchema {
			return false
		}
		v, _ := readable(r.keyDoc)
		v = inside(v, steps)
		if _, err := strconv.ParseInt(said(v), 10, 64); numbers && err != nil {
			return false
		}
		if r.row != nil && said(r.row[name]) != said(v) {
			return false
		}
	}
	return t.rows() > 0
}

// said is what a scalar says.
func said(v event.Value) string {
	if v.Kind == event.String {
		s, _ := fields.AppendString(nil, v.Raw)
		return string(s)
	}
	return string(v.Raw)
}

// keyField: a field says in every event what the record's key says. Where several do, the one with the likelier name; but not if
// keys repeat, as they do where they only choose the partition, and another field names each event.
func (t *topic) keyField(out *Table, taken map[string]string, another bool) bool {
	for _, from := range []string{"$key", "$key_json"} {
		var found []string
		for name := range taken {
			if t.usable(name) && t.equals(name, from) {
				found = append(found, name)
			}
		}
		if len(found) == 0 || another && t.repeats(found[0]) {
			continue
		}
		slices.SortFunc(found, func(a, b string) int {
			return cmp.Or(cmp.Compare(rank(a, out.Name), rank(b, out.Name)), strings.Compare(a, b))
		})
		out.Key, out.RecordKey = []string{taken[found[0]]}, []Source{{taken[found[0]], from}}
		out.KeyWhy = found[0] + " is in every event, and the record's key says the same"
		return true
	}
	return false
}

// equals reports whether a field says what the record's key is, or says as JSON; and tombstones have a key that may be such a field's.
func (t *topic) equals(name, from string) bool {
	f := t.fields.fields[name]
	typ, _, _ := f.typ(name)
	for _, r := range t.keyed() {
		key, ok := keyText(r, from)
		if !ok || r.row != nil && said(r.row[name]) != key || len(key) > maxKey || strings.ContainsRune(key, 0) {
			return false
		}
		_, err := strconv.ParseInt(key, 10, 64)
		switch {
		case (typ == "smallint" || typ == "integer" || typ == "bigint") && err != nil, typ == "uuid" && !uuid.MatchString(key), typ == "date" && !isTime("2006-01-02", key):
			return false
		}
	}
	return t.rows() > 0
}

// keyText is what a record's key is as a text, by the source that reads it.
func keyText(r record, from string) (string, bool) {
	if r.key == nil || !utf8.Valid(r.key) {
		return "", false
	}
	if from == "$key" {
		return string(r.key), true
	}
	v, ok := readable(r.keyDoc)
	return said(v), ok && v.Kind == event.String
}

func (t *topic) repeats(name string) bool {
	met := map[string]bool{}
	for _, r := range t.records {
		if r.row == nil {
			continue
		}
		s := said(r.row[name])
		if met[s] {
			return true
		}
		met[s] = true
	}
	return false
}

// rank says how likely a name is that of a key; lower is likelier.
func rank(name, table string) int {
	switch n := columnName(name); {
	case n == "id", n == "_id", n == "uuid":
		return 0
	case n == singular(table)+"_id", n == table+"_id":
		return 1
	case n == "event_id", n == "message_id":
		return 2
	case strings.HasSuffix(n, "_id"), strings.HasSuffix(n, "_uuid"):
		return 3
	}
	return 9
}

// namedKey is the field whose name says that it is a key, and whether no two events have the same in it.
func (t *topic) namedKey(out *Table, taken map[string]string) (name string, distinct bool) {
	var found []string
	for f := range taken {
		if rank(f, out.Name) < 9 && t.usable(f) && (rank(f, out.Name) < 2 || !t.repeats(f)) {
			found = append(found, f)
		}
	}
	if len(found) == 0 {
		return "", false
	}
	slices.SortFunc(found, func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a, out.Name), rank(b, out.Name)), strings.Compare(a, b))
	})
	return found[0], !t.repeats(found[0])
}

// keyItself: every record has a key that a text can be.
func (t *topic) keyItself(out *Table, _ map[string]string) bool {
	for _, r := range t.keyed() {
		if key, ok := keyText(r, "$key"); !r.tombstone && r.readable && (!ok || len(key) > maxKey || bytes.IndexByte(r.key, 0) >= 0) {
			return false
		}
	}
	if t.rows() == 0 && t.tombstones == 0 {
		return false
	}
	used := map[string]bool{}
	for _, c := range out.Columns {
		used[c.Name] = true
	}
	name := unique("record_key", used)
	out.Columns = append([]Column{{Name: name, Type: "text", From: "$key", Why: "the record's key"}}, out.Columns...)
	out.Key, out.RecordKey = []string{name}, []Source{{name, "$key"}}
	out.KeyWhy = "Every record has a key, and no field says the same. If the key only chooses the partition, one row per key is wrong: " +
		"then write strategy: append instead of key, or name a field that is another in every event"
	return true
}

// orderKey puts the key's columns first.
func (t *topic) orderKey(out *Table) {
	slices.SortStableFunc(out.Columns, func(a, b Column) int {
		return cmp.Compare(keyPlace(out, a.Name), keyPlace(out, b.Name))
	})
	for i := range out.Columns[:len(out.Key)] { // what names rows grows
		if c := &out.Columns[i]; c.Type == "integer" && strings.HasPrefix(c.Why, "integers") {
			c.Type, c.Why = "bigint", strings.Replace(c.Why, "integers between -1,000,000 and 1,000,000", "integers", 1)
		}
	}
}

func keyPlace(out *Table, name string) int {
	if i := slices.Index(out.Key, name); i >= 0 {
		return i
	}
	return len(out.Key)
}

// tombstoneFails reports whether a tombstone does not name a row.
func tombstoneFails(out *Table, r record) bool {
	if len(out.RecordKey) != 1 || out.RecordKey[0].From != "$key" {
		return false // else the keys of tombstones were looked at
	}
	key, ok := keyText(r, "$key")
	return !ok || len(key) > maxKey || strings.ContainsRune(key, 0)
}

// versions are names of what says which of two events is newer, the likeliest ones first.
var versions = []string{"version", "updated_at", "modified_at", "last_modified", "last_updated", "updated", "modified", "changed_at",
	"update_time", "updated_on", "modified_on", "revision", "sequence", "seq", "ts_ms", "event_time", "occurred_at", "timestamp", "ts"}

// version chooses what says which of two events of a key is newer.
func (t *topic) version(out *Table) {
	switch {
	case len(out.Key) == 0:
		return
	case t.around != nil:
		out.VersionWhy = "Change events of a row come in the order of its changes: the later offset counts"
		return
	}
	if at := t.versioned(out); at >= 0 {
		out.Version = out.Columns[at].Name
		out.VersionWhy = fmt.Sprintf("%s is in every event, and by its name says which of two events of a key is newer", t.fieldOf(out.Columns[at]))
		return
	}
	out.VersionWhy = "No field was found that says which of two events of a key is newer: the later offset counts"
}

// versioned returns the column that says which of two events is newer, -1 if there is none.
func (t *topic) versioned(out *Table) int {
	best, at := len(versions), -1
	for i, c := range out.Columns {
		name := t.fieldOf(c)
		f := t.fields.fields[name]
		if f == nil || slices.Contains(out.Key, c.Name) || f.present != t.rows() || f.nulls > 0 ||
			!slices.Contains([]string{"integer", "bigint", "timestamptz", "timestamp"}, c.Type) {
			continue
		}
		if n := slices.Index(versions, columnName(name)); n >= 0 && n < best {
			best, at = n, i
		}
	}
	return at
}

// fieldOf is the field that fills a column.
func (t *topic) fieldOf(c Column) string {
	if c.From == "" {
		return c.Name
	}
	steps, err := fields.Split(c.From)
	if err != nil || len(steps) != len(t.prefix)+1 {
		return ""
	}
	return steps[len(steps)-1]
}

// children are the arrays of objects that could have tables of their own.
func (t *topic) children(out *Table) {
	if len(out.Key) == 0 {
		return
	}
	for _, name := range t.fields.order {
		f := t.fields.fields[name]
		if !word(name) || !f.only(f.arrays) || f.elements == nil || f.mixed {
			continue
		}
		c := Children{Table: columnName(singular(out.Name) + "_" + name), Each: path(append(t.prefix[:len(t.prefix):len(t.prefix)], name)...), Why: name + " is an array of objects"}
		used := map[string]bool{}
		for _, k := range out.Key {
			used[k] = true
		}
		inner := *t
		inner.fields = f.elements
		for _, in := range f.elements.order {
			g := f.elements.fields[in]
			if !word(in) || g.present == g.nulls && g.typed == "" || len(c.Columns) == maxColumns {
				continue
			}
			col := inner.column(in, g, used, nil)
			if col.Name == in {
				col.From = ""
			}
			c.Columns = append(c.Columns, col)
		}
		c.Index = unique("line", used)
		out.Children = append(out.Children, c)
	}
}

func list(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}
