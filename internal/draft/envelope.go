package draft

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oncesink/oncesink/internal/connect"
	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
	"github.com/oncesink/oncesink/internal/looks"
	"github.com/oncesink/oncesink/sink"
)

// does is what an event does to its row, by the envelope of its topic.
type does uint8

const (
	writes does = iota
	deletes
	ignored
	truncates
	unknown // the envelope does not know it
)

// read finds out how the topic's records are to be read and where the fields of a row lie, and collects what they hold.
func (t *topic) read(records []sink.Record) error {
	var objects [][]byte
	var values [][]byte
	for _, r := range records {
		if r.Control {
			continue
		}
		rec := record{key: r.Key, keyDoc: r.Key, raw: r.Value, tombstone: r.Value == nil}
		if doc, schema, ok := connect.Apart(r.Key); ok {
			if _, ok := readable(doc); ok {
				rec.keyDoc, rec.keySchema, t.keysApart = doc, schema != nil, true
			}
		}
		if r.Value == nil {
			t.tombstones++
		} else {
			values = append(values, r.Value)
			doc, schema, apart := connect.Apart(r.Value)
			rec.value, rec.readable = readable(doc)
			rec.schema = schema
			t.apart = t.apart || apart && rec.readable
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
	if err := t.stands(objects); err != nil {
		return err
	}
	for i := range t.records {
		t.row(&t.records[i])
	}
	t.types()
	return nil
}

// stands finds out what stands around the rows.
func (t *topic) stands(objects [][]byte) (err error) {
	t.base, t.change = looks.Rows(objects)
	t.prefix = t.base
	switch {
	case t.change:
		t.around, t.envelope, t.prefix = sink.Debezium(), "debezium", nil
		if len(t.base) > 1 { // beside a schema that is none of Kafka Connect's
			outer := t.base[0] + "."
			t.around.After, t.around.Before, t.around.Op = outer+t.around.After, outer+t.around.Before, outer+t.around.Op
			t.envelope = fmt.Sprintf("{like: debezium, after: %s, before: %s, op: %s}", t.around.After, t.around.Before, t.around.Op)
		}
	case t.flattened && len(t.base) == 0 && looks.Flattened(objects):
		t.around, t.envelope = sink.Flattened(), "flattened"
	default:
		return nil
	}
	t.fields.withheld, err = connect.NewPlaceholder(t.around.Unavailable)
	return err
}

// settings is what the configuration says of the topic.
func (t *topic) settings() string {
	var all []string
	switch {
	case t.envelope != "": // the format is that of Kafka Connect's JSON
		all = append(all, "envelope: "+t.envelope)
	case t.apart:
		all = append(all, "format: "+string(sink.ConnectJSON))
	}
	if t.envelope == "" && t.keysApart {
		all = append(all, "key_format: "+string(sink.ConnectJSON))
	}
	return strings.Join(all, ", ")
}

// does is what an event does to its row.
func (t *topic) does(v event.Value) does {
	if t.around == nil {
		return writes
	}
	steps, _ := fields.Split(t.around.Op)
	op := inside(v, steps)
	said := said(op)
	switch {
	case op.Kind == event.Absent || op.Kind == event.Null:
	case slices.Contains(t.around.Upsert, said):
		return writes
	case slices.Contains(t.around.Delete, said):
		return deletes
	case slices.Contains(t.around.Ignore, said):
		return ignored
	case slices.Contains(t.around.Truncate, said):
		return truncates
	}
	if len(t.around.Upsert) == 0 {
		return writes
	}
	return unknown
}

// row finds a record's row, and has its fields looked at.
func (t *topic) row(r *record) {
	if !r.readable {
		return
	}
	r.does = t.does(r.value)
	v := inside(r.value, t.base)
	if r.does == deletes {
		r.gone = []event.Value{v}
		if t.around.Before != "" {
			steps, _ := fields.Split(t.around.Before)
			r.gone = append(r.gone, inside(r.value, steps))
		}
	}
	if r.does != writes || v.Kind != event.Object {
		return
	}
	r.row = map[string]event.Value{}
	for name, member := range fields.Members(v.Raw) {
		r.row[string(name)] = member
		r.withheld = r.withheld || t.fields.withheld.Is(&member)
	}
	t.fields.add(v)
}

// keyed are the records whose keys say something of rows: not those of events that have nothing to do with one.
func (t *topic) keyed() []record {
	if t.around == nil {
		return t.records
	}
	return slices.DeleteFunc(slices.Clone(t.records), func(r record) bool { return r.does >= ignored })
}

// derived reports whether the engine finds by itself how a record's key names its row.
func (t *topic) derived(out *Table) bool {
	if t.around == nil || !t.around.RecordKey {
		return false
	}
	for _, s := range out.RecordKey {
		i := slices.IndexFunc(out.Columns, func(c Column) bool { return c.Name == s.Column })
		from := out.Columns[i].From
		if from == "" {
			from = s.Column
		}
		if strings.HasPrefix(from, "$") || s.From != "$key."+from {
			return false
		}
	}
	return len(out.RecordKey) > 0
}

// namesRow reports whether an event that deletes its row says which: by the record's key, or what it has of the row.
func (t *topic) namesRow(out *Table, r record) bool {
	if len(out.RecordKey) > 0 && r.key != nil {
		return true // the keys of all records were looked at
	}
	for _, c := range out.Columns[:len(out.Key)] {
		name, from := t.fieldOf(c), r.gone
		if r.key != nil {
			v, ok := readable(r.keyDoc)
			if !ok {
				return false
			}
			from = append([]event.Value{v}, from...)
		}
		found := event.Value{}
		for _, v := range from {
			if found = inside(v, []string{name}); found.Kind != event.Null && found.Kind != event.Absent {
				break
			}
		}
		if !fits(c.Type, found) {
			return false
		}
	}
	return true
}

// notesAround says what a person should know of the envelope.
func (t *topic) notesAround(out *Table) {
	switch {
	case t.change:
		out.Notes = append(out.Notes, "The records are change events of Debezium: columns name fields of the row, and $envelope.PATH those of the event, as in $envelope.source.ts_ms.")
		if len(out.Key) > 0 {
			out.Notes = append(out.Notes, "When the source's table is truncated (op: t) the event is a dead letter: no row is removed. truncate: ignore would leave it out.")
		}
	case t.around != nil:
		out.Notes = append(out.Notes, "The records are flattened change events of Debezium: those whose __deleted is true delete their row.")
	}
	switch {
	case t.around != nil && len(out.Key) == 0:
		out.Notes = append(out.Notes, "No key was found, so that events which delete a row are rows, too.")
	case t.around != nil:
	case t.apart && len(t.prefix) == 0:
		out.Notes = append(out.Notes, "The records are JSON of Kafka Connect: columns name fields of the payload, and the schema says what their values are.")
	case len(t.prefix) > 0:
		what := "JSON beside a schema that is none of Kafka Connect's"
		if t.prefix[0] == "data" {
			what = "CloudEvents"
		}
		out.Notes = append(out.Notes, fmt.Sprintf("The records are %s: the fields of a row lie in %s.", what, path(t.prefix...)))
	}
}
