// Package draft writes a first configuration, and the table for it, by what a topic's records look like. It says why it
// chose what it chose, and nothing of a record but the names of its fields.
package draft

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/oncesink/oncesink/internal/connect"
	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
	"github.com/oncesink/oncesink/internal/looks"
	"github.com/oncesink/oncesink/sink"
)

// Table is what a topic could become.
type Table struct {
	Name, Topic string
	// Settings is what is said under topics of its own; often nothing.
	Settings string
	// Records were looked at; Tombstones of them have no value.
	Records, Tombstones int
	Columns             []Column
	// Key are the names of the primary key's columns; none: the table has one row per event.
	Key []string
	// RecordKey says how a tombstone names its row, in the order of Key.
	RecordKey []Source
	// Derived: so does the engine without being told.
	Derived bool
	Version string
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
	said := fmt.Sprintf("the records of topic %s can't be read as JSON: they look like %s", e.Topic, like)
	if set := looks.Setting(e.Topic, like); set != "" {
		return said + ". Write its table by hand: " + set + " (docs/formats.md)"
	}
	return said + ". What can be read is in docs/formats.md"
}

// topic is what is being looked at.
type topic struct {
	name string
	// The records' values, and their keys, are JSON of Kafka Connect with their schemas, or have an id before them.
	apart, keysApart bool
	// base is where the fields of a row lie in an event, and prefix what of this columns say.
	base, prefix []string
	flattened    bool           // events may be flattened changes
	around       *sink.Envelope // nil: nothing is
	envelope     string         // as the configuration says it
	records      []record       // in the order in which they were given
	// Of all records.
	tombstones, unreadable int
	change                 bool // they are envelopes of Debezium
	fields                 *object
}

// record is one of them, with what its value says.
type record struct {
	key       []byte
	keyDoc    []byte // without its schema
	keySchema bool   // it has one
	raw       []byte // the value as it is
	tombstone bool
	readable  bool // as JSON
	does      does
	schema    *connect.Written       // nil if it has none
	value     event.Value            // the event
	gone      []event.Value          // of an event that deletes its row, what it has of that
	row       map[string]event.Value // nil if there is none in the record
	withheld  bool                   // a value of it is unavailable
}

// Look makes a table for a topic of its records, of each partition in the order of their offsets. An error is an *Unreadable.
func Look(name string, records []sink.Record) (*Table, error) {
	out, around, err := look(name, records, true)
	if err == nil && around == "flattened" && len(out.Key) == 0 {
		// Each event has a row, and __deleted is a field like others.
		out, _, err = look(name, records, false)
	}
	return out, err
}

func look(name string, records []sink.Record, flattened bool) (out *Table, around string, err error) {
	t := &topic{name: name, fields: newObject(), flattened: flattened}
	if err := t.read(records); err != nil {
		return nil, "", err
	}
	out = &Table{Name: tableName(name), Topic: name, Records: len(t.records), Tombstones: t.tombstones, Settings: t.settings()}
	taken := t.columns(out)
	t.key(out, taken)
	t.version(out)
	t.children(out)
	t.notes(out)
	return out, t.envelope, nil
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
	t.notesAround(out)
	empty := t.unfit(out)
	if empty > 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("%s of %s records have no row in them, and make one of nulls.", count(empty), count(out.Records)))
	}
}

// unfit says which records will be dead letters, and returns how many will be rows without a value.
func (t *topic) unfit(out *Table) (empty int) {
	keyed := len(out.Key) > 0
	byField := keyed && out.keyFrom() != "$key"
	var noKey, noRow, zero, noName, strange, truncated, gone, withheld int
	for _, r := range t.records {
		switch {
		case r.tombstone:
			if keyed && (len(out.RecordKey) == 0 || tombstoneFails(out, r)) {
				noName++
			}
		case !r.readable || r.does == ignored:
		case r.does == unknown:
			strange++
		case keyed && r.does == truncates:
			truncated++
		case keyed && r.does == deletes:
			if !t.namesRow(out, r) {
				gone++
			}
		case r.row == nil && (byField || out.Version != ""):
			noRow++
		case out.keyFrom() == "$key" && r.key == nil:
			noKey++
		case r.row == nil:
			empty++
		case !keyed && r.withheld:
			withheld++
		case t.holdsZero(out, r):
			zero++
		}
	}
	say := func(n int, why string) {
		if n > 0 {
			out.Unfit = append(out.Unfit, count(n)+" "+why)
		}
	}
	if !t.reads(out) {
		t.unreadable = 0
		for _, r := range t.records {
			if !r.tombstone && (!utf8.Valid(r.raw) || bytes.IndexByte(r.raw, 0) >= 0) {
				t.unreadable++
			}
		}
	}
	say(t.unreadable, "can't be read as JSON, or name a field twice")
	say(strange, "do not say what has happened in one of the ways that the envelope knows")
	say(truncated, "say that the source's table was truncated (op: t): `truncate: ignore` would leave them out")
	say(gone, "delete a row, and neither the event nor the record's key names it")
	say(noRow, "are JSON without a row in it")
	say(withheld, "have a placeholder in place of a value that the source did not send, which only a row with a key can do without")
	say(noKey, "have no key")
	say(zero, `hold the character \u0000, which PostgreSQL has in no text`)
	if len(out.RecordKey) == 0 {
		say(noName, "are tombstones, and no record key names a row: `tombstones: ignore` would leave them out")
	} else {
		say(noName, "are tombstones whose key names no row")
	}
	return empty
}

// reads reports whether events are read, and not only taken as they are.
func (t *topic) reads(out *Table) bool {
	return t.around != nil || slices.ContainsFunc(out.Columns, func(c Column) bool { return c.From != "$key" && c.From != "$value" })
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
