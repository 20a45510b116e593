package decode

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/sink"
)

// watch is how a topic's events are searched for new fields: by their schemas, once each, or by their names where there is none.
type watch struct {
	at    int32      // the place of [event.NewFields], or of the row, among the paths into the value; -1: nobody asks
	names []string   // of the row within the event; nil where the value is the row itself
	all   []*watched // by table: nil if it ignores new fields
	found atomic.Pointer[[]*verdict]
	mu    sync.Mutex // held by who adds to found
}

// watched is a table that does not ignore new fields.
type watched struct {
	taken map[string]bool // fields that columns take, or that are to have none
	whole bool            // a column takes all
}

// verdict is which fields of a schema's rows are new, by table.
type verdict struct {
	fields [][]NewField
	// overlooked: all of them are, and nobody has to look any more.
	overlooked atomic.Bool
}

// watch finds out whether any of the topic's tables asks for new fields. It is called when all other paths have their places.
func (d *decoder) compileWatch(values *paths, format event.Format) {
	d.watch.at = -1
	d.watch.found.Store(&[]*verdict{})
	some := false
	d.watch.all = make([]*watched, len(d.tables))
	for i := range d.tables {
		if t := &d.tables[i]; t.NewFields != "" && t.NewFields != sink.IgnoreNewFields {
			d.watch.all[i] = d.watched(t)
			some = some || !d.watch.all[i].whole
		}
	}
	if !some {
		return
	}
	if d.envelope.Envelope != nil && d.envelope.After != "" {
		d.watch.names, _ = fields.Split(d.envelope.After) // the configuration was checked
	}
	if _, schemas := format.(event.Watching); schemas {
		d.watch.at = values.add(event.NewFields)
		return
	}
	d.watch.at, d.watch.names = values.add(d.envelope.row("")), nil
}

// watched gathers what a table takes of rows.
func (d *decoder) watched(t *tableDecoder) *watched {
	w := &watched{taken: map[string]bool{}}
	takes := func(src *source.Source) {
		path := src.Path
		switch {
		case src.Meta == source.Value:
			w.whole = true
			return
		case src.Meta == source.Envelope && (d.envelope.Envelope == nil || d.envelope.After == ""), src.Meta == source.Field, src.Meta == source.Event:
		default:
			return
		}
		if names, err := fields.Split(path); err == nil && len(names) > 0 {
			w.taken[names[0]] = true
		}
	}
	for i := range t.Columns {
		if t.Columns[i].Computed == nil {
			takes(&t.Columns[i].Source)
		}
	}
	for i := range t.When {
		takes(&t.When[i].Source)
	}
	for i := range t.DeleteWhen {
		takes(&t.DeleteWhen[i].Source)
	}
	for i := range t.Soft {
		takes(&t.Soft[i].Source)
	}
	for _, child := range t.Children {
		takes(&source.Source{Path: child.Config.Each})
		for i := range child.Columns {
			if src := &child.Columns[i].Source; src.Meta == source.Event {
				takes(src)
			}
		}
	}
	if e := d.envelope.Envelope; e != nil && e.After == "" {
		takes(&source.Source{Path: e.Op})
		takes(&source.Source{Path: e.Encoded})
	}
	for _, name := range t.Ignored {
		w.taken[name] = true
	}
	return w
}

// prefixed reports whether a field is the event's, and none of the row.
func (d *decoder) prefixed(name string) bool {
	return d.envelope.Envelope != nil && d.envelope.Prefix != "" && strings.HasPrefix(name, d.envelope.Prefix)
}

// judge looks at a schema: it returns which verdict stands about it, counted from 1, and 0 if nothing in it is new.
func (d *decoder) judge(root *event.Shape) int64 {
	row := root.At(d.watch.names...)
	if row == nil {
		return 0
	}
	v, some := &verdict{fields: make([][]NewField, len(d.tables))}, false
	for i, w := range d.watch.all {
		if w == nil || w.whole {
			continue
		}
		for _, f := range row.Fields {
			if !w.taken[f.Name] && (f.Alias == "" || !w.taken[f.Alias]) && !d.prefixed(f.Name) {
				v.fields[i] = append(v.fields[i], NewField{f.Name, f.Shape})
				some = true
			}
		}
	}
	if !some {
		return 0
	}
	d.watch.mu.Lock()
	defer d.watch.mu.Unlock()
	all := *d.watch.found.Load()
	if i := slices.IndexFunc(all, v.same); i >= 0 { // as it is for most versions of a schema
		return int64(i + 1)
	}
	all = append(slices.Clip(all), v)
	d.watch.found.Store(&all)
	return int64(len(all))
}

// same reports whether another verdict is about the same fields of the same kinds.
func (v *verdict) same(o *verdict) bool {
	return slices.EqualFunc(v.fields, o.fields, func(a, b []NewField) bool {
		return slices.EqualFunc(a, b, func(x, y NewField) bool {
			return x.Name == y.Name && x.Shape.Kind == y.Shape.Kind && x.Shape.Bits == y.Shape.Bits && x.Shape.Sense == y.Shape.Sense && x.Shape.Said == y.Shape.Said
		})
	})
}

// news returns the fields of a row to be written that are new to a table which wants it; nil if there are none. It is decided by the
// schema, whatever the record has of it: so the same records wait wherever they are read first.
func (d *decoder) news(sc *scratch, rec *sink.Record) *NewFields {
	v := &sc.values[d.watch.at]
	if v.Kind == event.Object {
		return d.newsIn(sc, rec, v)
	}
	if v.Kind != event.Int || v.N == 0 {
		return nil
	}
	found := (*d.watch.found.Load())[v.N-1]
	if found.overlooked.Load() {
		return nil
	}
	over := true
	for i := range d.tables {
		var left []NewField
		for _, f := range found.fields[i] {
			if !d.values.schemas.overlooks(d.tables[i].Title(), f.Name) {
				left = append(left, f)
			}
		}
		over = over && len(left) == 0
		if len(left) > 0 && d.writesTo(i, sc, rec) {
			return &NewFields{Topic: d.values.topic, Table: d.tables[i].Table, Fields: left}
		}
	}
	if over {
		found.overlooked.Store(true)
	}
	return nil
}

// newsIn looks at the names in a document, for want of a schema.
func (d *decoder) newsIn(sc *scratch, rec *sink.Record, v *event.Value) *NewFields {
	row := *v
	for _, name := range d.watch.names {
		found := event.Value{}
		if row.Kind == event.Object {
			for n, member := range fields.Members(row.Raw) {
				if string(n) == name {
					found = member
				}
			}
		}
		row = found
	}
	if row.Kind != event.Object {
		return nil
	}
	for i, w := range d.watch.all {
		if w == nil || w.whole || sc.unwanted[i] {
			continue
		}
		var left []NewField
		for n := range fields.Members(row.Raw) {
			if w.taken[string(n)] || d.prefixed(string(n)) || d.values.schemas.overlooks(d.tables[i].Title(), string(n)) {
				continue
			}
			left = append(left, NewField{Name: string(n)})
		}
		if len(left) > 0 && d.writesTo(i, sc, rec) {
			return &NewFields{Topic: d.values.topic, Table: d.tables[i].Table, Fields: left}
		}
	}
	return nil
}

// writesTo reports whether a table wants an event, and writes a row for it.
func (d *decoder) writesTo(i int, sc *scratch, rec *sink.Record) bool {
	if sc.unwanted[i] {
		return false
	}
	deletes, r := sc.meetsAll(d.tables[i].DeleteWhen, d.tables[i].deleteAt, rec)
	return r == nil && !deletes
}
