package decode

import (
	"slices"
	"strings"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/sink"
)

// envelope is what a topic's events have around a row: paths into the row are made paths into the event, and what stands at the
// operation's path tells what has happened.
type envelope struct {
	*sink.Envelope       // nil: the event is the row
	opAt           int32 // the operation's place among the paths into the value; -1 without one
	encodedAt      int32 // the same of a row as base64
}

// row is the path into the event for one into the row.
func (e *envelope) row(path string) string {
	if e.Envelope == nil {
		return path
	}
	return join(e.After, path)
}

// before is the path into the event for a column of the key in the row as it was.
func (e *envelope) before(src *source.Source) (path string, ok bool) {
	if e.Envelope == nil || e.Before == "" || src.Meta != source.Field {
		return "", false
	}
	return join(e.Before, src.Path), true
}

func join(prefix, path string) string {
	if prefix == "" {
		return path
	}
	if path == "" {
		return prefix
	}
	return prefix + "." + path
}

// compile finds the operation's place, when all other paths have theirs.
func (e *envelope) compile(values *paths) {
	e.opAt, e.encodedAt = -1, -1
	if e.Envelope == nil {
		return
	}
	if e.Op != "" {
		e.opAt = values.add(e.Op)
	}
	if e.Encoded != "" {
		e.encodedAt = values.add(e.Encoded)
	}
}

// trusted reports whether what an event that deletes has at a source is what it says there.
func (e *envelope) trusted(src *source.Source) bool {
	if e.Envelope == nil || !e.KeyOnly || src.Meta != source.Field {
		return true
	}
	names, err := fields.Split(src.Path)
	return err == nil && e.Prefix != "" && strings.HasPrefix(names[0], e.Prefix)
}

// tells reports whether an event has anything to say at a source: tombstones have no fields, and deletions not always those of a row.
func (e *envelope) tells(op operation, src *source.Source) bool {
	switch {
	case src.Meta == source.Field:
		return op == upserts || op == nothing || op == deletes && e.trusted(src)
	case src.OfValue():
		return op != tombstone
	}
	return true
}

// operation is what an event does to its row.
type operation uint8

const (
	upserts operation = iota
	deletes
	truncates
	nothing
	tombstone // a record without a value: its key alone says which row goes
	unknown   // nobody knows; so nobody knows either whether what stands in the row's place is one
)

// unknownOperation is the code of an event that does not say what has happened in one of the ways that its envelope has, and
// refusedTruncate that of one which empties a table that does not want that, encodedRow that of one whose row nobody reads,
// unmatchedEvent that of one which no table wants, where the topic asks for that.
const (
	unknownOperation = "ONS40"
	refusedTruncate  = "ONS41"
	encodedRow       = "ONS42"
	unmatchedEvent   = "ONS43"
)

// operation is what has happened, once the values are read.
func (sc *scratch) operation() (operation, *Fault) {
	e := &sc.d.envelope
	if e.encodedAt >= 0 {
		if k := sc.values[e.encodedAt].Kind; k != event.Absent && k != event.Null {
			return unknown, &Fault{Code: encodedRow, Message: "the event has its data as base64, in " + e.Encoded + ", and not as fields in " + e.After + ": what sends it has to send JSON", Plain: true}
		}
	}
	if e.opAt < 0 {
		return upserts, nil
	}
	v := &sc.values[e.opAt]
	text, there := sc.textOf(v)
	is := func(s string) bool { return there && s == string(text) }
	switch {
	case slices.ContainsFunc(e.Upsert, is):
		return upserts, nil
	case slices.ContainsFunc(e.Delete, is):
		return deletes, nil
	case slices.ContainsFunc(e.Ignore, is):
		return nothing, nil
	case slices.ContainsFunc(e.Truncate, is):
		return truncates, nil
	case len(e.Upsert) == 0:
		return upserts, nil
	case v.Kind == event.Absent:
		return unknown, &Fault{Code: unknownOperation, Message: "the event has no field " + e.Op + ", which says in its envelope what has happened to the row", Plain: true}
	}
	return unknown, &Fault{Code: unknownOperation, Message: "the field " + e.Op + " says of the row what the envelope does not know", Plain: true}
}

// gone appends what an event that deletes its row becomes in a table: only its key has values, and its version, where it has one.
func (t *tableDecoder) gone(p *Part, rec *sink.Record, sc *scratch) *Fault {
	first := len(p.Cells)
	for range t.Columns {
		p.Cells = append(p.Cells, Cell{Len: CellAbsent})
	}
	for i, k := range t.Key {
		x, r := t.keyOfGone(i, p, rec, sc)
		if r != nil {
			return faultOf(t.Columns[k].Name, r)
		}
		p.Cells[first+k] = x
	}
	row := Row{text: p.Began.text, Record: int32(len(p.Records) - 1), Table: t.index, First: int32(first), Tombstone: true}
	if t.Version >= 0 && sc.d.envelope.trusted(&t.Columns[t.Version].Source) {
		x, r := readCell(&t.Columns[t.Version], p, rec, t.columnAt[t.Version], sc)
		if r != nil {
			return faultOf(t.Columns[t.Version].Name, r)
		}
		if x.Len >= 0 {
			p.Cells[first+t.Version] = x
			row.Versioned = t.VersionedDeletes
		}
	}
	if len(t.Soft) > 0 {
		row.Tombstone, row.Versioned = false, false
		for i := range t.Soft {
			c := t.Columns[t.Soft[i].Column]
			c.Source = t.Soft[i].Source
			x, r := readCell(&c, p, rec, t.softAt[i], sc)
			if r == nil && x.Len < 0 {
				r = pgtext.Refuse(pgtext.NoValue, "the event that deletes the row has no value for this column, which says that it is deleted")
			}
			if r != nil {
				return faultOf(c.Name, r)
			}
			p.Cells[first+t.Soft[i].Column] = x
		}
	}
	return p.AddRow(t.Table, row, sc.d.Limit)
}

// keyOfGone is the i-th column of the key of a row that an event deletes: what the record's key says, if it is to, else what the event
// says, or the row as it was.
func (t *tableDecoder) keyOfGone(i int, p *Part, rec *sink.Record, sc *scratch) (Cell, *pgtext.Refusal) {
	k := t.Key[i]
	c := t.Columns[k]
	for n := range 3 {
		at := t.columnAt[k]
		switch {
		case n == 0 && (len(t.RecordKey) == 0 || rec.Key == nil), n == 2 && len(t.beforeAt) != len(t.Key):
			continue
		case n == 0:
			c.Source, at = t.RecordKey[i], t.keyAt[i]
		case n == 1:
			c.Source = t.Columns[k].Source
		case n == 2:
			at = t.beforeAt[i]
		}
		x, r := readCell(&c, p, rec, at, sc)
		if x.Len == CellUnavailable {
			x, r = t.withheld(k)
		}
		if r != nil || x.Len >= 0 {
			return x, r
		}
	}
	return Cell{}, pgtext.Refuse(pgtext.NoValue, "nothing in the event that deletes the row, or in the record's key, has a value for this column of the key")
}
