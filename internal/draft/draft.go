// Package draft writes a first configuration, and the table for it, by what a topic's records look like. It says why it
// chose what it chose, and nothing of a record but the names of its fields.
package draft

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
	"github.com/oncesink/oncesink/internal/looks"
	"github.com/oncesink/oncesink/sink"
)

// Table is what a topic could become.
type Table struct {
	Name, Topic string
	// Records were looked at; Tombstones of them have no value.
	Records, Tombstones int
	Columns             []Column
	// Key are the names of the primary key's columns; none: the table has one row per event.
	Key []string
	// RecordKey says how a tombstone names its row, in the order of Key.
	RecordKey []Source
	Version   string
	// Without are values of the field Kind by which events are left out: they have no row, and tombstones do what they say.
	Kind    string
	Without []string
	// Children are arrays of objects, which could have tables of their own.
	Children []Children
	// KeyWhy, VersionWhy say why; Notes what else is to be known. LeftOut are fields that got no column, with why.
	KeyWhy, VersionWhy string
	Notes, LeftOut     []string
	// Unfit says which of the records will be dead letters, by count and reason.
	Unfit []string
}

// Column is one of a table.
type Column struct {
	Name, Type string
	// From is empty where the field has the column's name.
	From, Unit string
	Why        string
	// Inner are the fields of an object, which could have columns of their own.
	Inner []Column
}

// Source is a column and where its value comes from.
type Source struct{ Column, From string }

// Children are the elements of an array.
type Children struct {
	Table, Each, Index string
	Columns            []Column
	Why                string
}

// Unreadable is a topic whose records are no JSON objects.
type Unreadable struct {
	Topic string
	// Looks is what they look like, as in [looks.Like]; empty if they don't look alike.
	Looks string
}

func (e *Unreadable) Error() string {
	like := e.Looks
	if like == "" {
		like = "several formats, of which none is an object of JSON"
	}
	return fmt.Sprintf("the records of topic %s can't be read: they look like %s. Events are JSON objects; other formats can't be read yet", e.Topic, like)
}

// topic is what is being looked at.
type topic struct {
	name    string
	base    []string // where the fields of a row lie in a value
	records []record // in the order in which they were given
	// Of all records.
	tombstones, unreadable int
	change                 bool // they are envelopes of Debezium
	fields                 *object
}

// record is one of them, with what its value says.
type record struct {
	key       []byte
	tombstone bool
	readable  bool                   // as JSON
	value     event.Value            // where the fields of a row lie
	row       map[string]event.Value // nil if there is none in the record
}

// Look makes a table for a topic of its records, of each partition in the order of their offsets. An error is an *Unreadable.
func Look(name string, records []sink.Record) (*Table, error) {
	t := &topic{name: name, fields: newObject()}
	if err := t.read(records); err != nil {
		return nil, err
	}
	out := &Table{Name: tableName(name), Topic: name, Records: len(t.records), Tombstones: t.tombstones}
	taken := t.columns(out)
	t.key(out, taken)
	t.version(out)
	t.children(out)
	t.notes(out)
	return out, nil
}

// whole is the plan that finds nothing: reading by it says whether a document is one that the decoder takes.
var whole = must(fields.New(nil))

func must(s *fields.Set, err error) *fields.Set {
	if err != nil {
		panic(err)
	}
	return s
}

// readable returns the value that a document is, if the decoder takes it.
func readable(doc []byte) (event.Value, bool) {
	if whole.Extract(doc, nil) != nil {
		return event.Value{}, false
	}
	return fields.Document(doc), true
}

// read finds out where the fields of a row lie, and collects what they hold.
func (t *topic) read(records []sink.Record) error {
	var objects [][]byte
	var values [][]byte
	for _, r := range records {
		if r.Control {
			continue
		}
		rec := record{key: r.Key, tombstone: r.Value == nil}
		if r.Value == nil {
			t.tombstones++
		} else {
			values = append(values, r.Value)
			rec.value, rec.readable = readable(r.Value)
			switch {
			case !rec.readable:
				t.unreadable++
			case rec.value.Kind == event.Object:
				objects = append(objects, rec.value.Raw)
			}
		}
		t.records = append(t.records, rec)
	}
	if len(objects) == 0 && len(values) > 0 {
		return &Unreadable{Topic: t.name, Looks: looks.Like(values)}
	}
	t.base, t.change = looks.Rows(objects)
	for i := range t.records {
		t.row(&t.records[i])
	}
	return nil
}

// row finds a record's row, and has its fields looked at.
func (t *topic) row(r *record) {
	v := inside(r.value, t.base)
	if v.Kind != event.Object {
		return
	}
	r.value, r.row = v, map[string]event.Value{}
	for name, member := range fields.Members(v.Raw) {
		r.row[string(name)] = member
	}
	t.fields.add(v)
}

// inside follows a path.
func inside(v event.Value, path []string) event.Value {
	for _, name := range path {
		if v.Kind != event.Object {
			return event.Value{}
		}
		found := event.Value{}
		for member, value := range fields.Members(v.Raw) {
			if string(member) == name {
				found = value
			}
		}
		v = found
	}
	return v
}

// path writes names as a source has them.
func path(names ...string) string {
	escaped := make([]string, len(names))
	for i, n := range names {
		escaped[i] = fields.Escape(n)
	}
	return strings.Join(escaped, ".")
}

// rows are the records that have a row.
func (t *topic) rows() int { return t.fields.count }

// notes says what a person should know, and which records will be dead letters.
func (t *topic) notes(out *Table) {
	t.without(out)
	if len(t.base) > 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("The records are %s: the fields of a row lie in %s.", t.envelope(), path(t.base...)))
	}
	empty := t.unfit(out)
	if empty > 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("%s of %s records have no row in them, and make one of nulls.", count(empty), count(out.Records)))
	}
}

// kinds are what Debezium says of changes that have no row after them: a delete, a truncated table, a message.
var kinds = []string{"d", "t", "m"}

// without leaves out deletes that tombstones follow: what deletes the row is the tombstone.
func (t *topic) without(out *Table) {
	if !t.change || t.tombstones == 0 || len(out.RecordKey) == 0 || out.keyFrom() == "$key" {
		return
	}
	kind := append(t.base[:len(t.base)-1:len(t.base)-1], "op")
	var met []string
	for _, r := range t.records {
		if r.tombstone || !r.readable || r.row != nil {
			continue
		}
		op := said(inside(r.value, kind))
		if !slices.Contains(kinds, op) { // it is not known what it is
			return
		}
		if !slices.Contains(met, op) {
			met = append(met, op)
		}
	}
	if len(met) > 0 {
		slices.Sort(met)
		out.Kind, out.Without = path(kind...), met
	}
}

func (t *topic) envelope() string {
	switch {
	case t.change:
		return "change events of Debezium"
	case t.base[0] == "data":
		return "CloudEvents"
	}
	return "JSON of Kafka Connect with its schema"
}

// unfit says which records will be dead letters, and returns how many will be rows without a value.
func (t *topic) unfit(out *Table) (empty int) {
	byField := len(out.Key) > 0 && out.keyFrom() != "$key"
	noKey, noRow, zero, noName := 0, 0, 0, 0
	for _, r := range t.records {
		switch {
		case r.tombstone:
			if len(out.Key) > 0 && (len(out.RecordKey) == 0 || tombstoneFails(out, r)) {
				noName++
			}
		case !r.readable:
		case r.row == nil && byField && out.Kind == "":
			noRow++
		case r.row == nil && byField: // left out
		case out.keyFrom() == "$key" && r.key == nil:
			noKey++
		case r.row == nil:
			empty++
		case t.holdsZero(out, r):
			zero++
		}
	}
	say := func(n int, why string) {
		if n > 0 {
			out.Unfit = append(out.Unfit, count(n)+" "+why)
		}
	}
	say(t.unreadable, "can't be read as JSON, or name a field twice")
	switch {
	case !t.change:
		say(noRow, "are JSON without a row in it")
	default:
		say(noRow, "are changes without a row after them, such as deletes (op: d); what deletes a row is a tombstone whose key names it: see that the connector sends them")
	}
	say(noKey, "have no key")
	say(zero, `hold the character \u0000, which PostgreSQL has in no text`)
	if len(out.RecordKey) == 0 {
		say(noName, "are tombstones, and no record key names a row: `tombstones: ignore` would leave them out")
	} else {
		say(noName, "are tombstones whose key names no row")
	}
	return empty
}

// keyFrom is where the key's only column comes from.
func (t *Table) keyFrom() string {
	if len(t.Key) != 1 {
		return ""
	}
	return t.Columns[0].From // the key's columns come first
}

func count(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
