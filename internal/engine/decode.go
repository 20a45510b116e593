package engine

import (
	"cmp"
	"slices"

	"github.com/oncesink/oncesink/internal/fields"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/internal/target"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// add appends records, in offset order, and decodes them. Records below p.To are dropped.
func (dp *decodePlan) add(p *Part, records ...sink.Record) {
	var (
		d     *decoder
		sc    *scratch
		topic string
	)
	if p.plan == nil {
		p.plan = dp
	}
	bytes := 0
	for i := range records {
		bytes += len(records[i].Value)
	}
	p.records, p.text = room(p.records, len(records)), room(p.text, bytes)
	for i := range records {
		rec := &records[i]
		if rec.Offset < p.To.Next {
			continue
		}
		if d == nil || topic != rec.Topic {
			d.put(sc)
			topic, d = rec.Topic, p.plan.decoders[rec.Topic]
			sc = d.get()
		}
		p.To = offsets.Position{Next: rec.Offset + 1, Epoch: rec.Epoch, Time: rec.Timestamp}
		p.records = append(p.records, *rec)
		p.payload += sizeOf(rec)
		if d != nil && !rec.Control {
			d.decode(p, rec, sc)
		}
	}
	d.put(sc)
}

// decode decodes a part's records again, if it was another mapping that decoded them.
func (dp *decodePlan) decode(p *Part) {
	if p.plan == nil || p.plan.catalog == dp.catalog {
		p.plan = dp
		return
	}
	again := Part{Claim: p.Claim, To: p.To, plan: dp, records: p.records[:0], text: p.text[:0], rows: p.rows[:0], cells: p.cells[:0],
		keys: p.keys[:0], keyText: p.keyText[:0], payload: p.payload}
	for i := range p.records {
		rec := &p.records[i]
		again.records = append(again.records, *rec)
		d := dp.decoders[rec.Topic]
		if d == nil || rec.Control {
			continue
		}
		sc := d.get()
		d.decode(&again, rec, sc)
		d.put(sc)
	}
	*p = again
}

// Records is how many records the part holds.
func (p *Part) Records() int { return len(p.records) }

// Sizes of what a part holds, in bytes.
const (
	recordSize = 144
	rowSize    = 40 // with the place of its key
	cellSize   = 8
	headerSize = 40
)

// Bytes is the memory that the part's records take, roughly.
func (p *Part) Bytes() int {
	return p.payload + recordSize*len(p.records) + rowSize*len(p.rows) + cellSize*len(p.cells) + len(p.text) + len(p.keyText)
}

// Grow makes room in an empty part for records of about so many bytes in all.
func (p *Part) Grow(records, bytes int) {
	p.records = slices.Grow(p.records, records)
	p.rows, p.keys = slices.Grow(p.rows, records), slices.Grow(p.keys, records)
	p.text = slices.Grow(p.text, bytes/2)
}

// room makes room for n more elements, doubling what there is: append alone grows big
// slices by a quarter, and copies each element several times.
func room[T any](s []T, n int) []T {
	if cap(s)-len(s) >= n {
		return s
	}
	return slices.Grow(s, max(n, len(s)))
}

// sizeOf is what the record's slices hold.
func sizeOf(r *sink.Record) int {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += headerSize + len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

// decode turns the part's last record into its rows, in all tables or in none
// (rule 17).
func (d *decoder) decode(p *Part, rec *sink.Record, sc *scratch) {
	p.began = p.extent()
	f := d.rows(p, rec, sc)
	if f != nil {
		p.truncate()
		f.record = int32(len(p.records) - 1)
		p.faults = append(p.faults, *f)
	}
}

func (d *decoder) rows(p *Part, rec *sink.Record, sc *scratch) *fault {
	tombstone := rec.Value == nil
	sc.keyRead = false
	if tombstone {
		clear(sc.values)
	} else if d.values.Len() > 0 {
		if r := pgtext.RefusalOf(d.values.Extract(rec.Value, sc.values)); r != nil {
			return &fault{code: r.Code, message: r.Message}
		}
	}
	for i := range d.tables {
		t := &d.tables[i]
		var f *fault
		switch {
		case !tombstone || t.Strategy == sink.Append && !t.IgnoreTombstones:
			f = t.row(p, rec, sc)
		case !t.IgnoreTombstones:
			f = t.tombstone(p, rec, sc)
		}
		if f != nil {
			f.table = cmp.Or(f.table, t.Title()) // one of its children's may be there
			return f
		}
	}
	return nil
}

// row appends what an event becomes in a table.
func (t *tableDecoder) row(p *Part, rec *sink.Record, sc *scratch) *fault {
	first := len(p.cells)
	p.cells = room(p.cells, len(t.Columns))
	for i := range t.Columns {
		c := &t.Columns[i]
		if c.Computed != nil {
			p.cells = append(p.cells, cell{})
			continue
		}
		x, r := readCell(c, p, rec, t.columnAt[i], sc)
		if r != nil {
			return &fault{column: c.Name, code: r.Code, message: r.Message}
		}
		if p.recordBytes() > sc.d.limit {
			return tooLarge(sc.d.limit)
		}
		p.cells = append(p.cells, x)
	}
	compute(t.Table, p.cells[first:])
	own := len(p.rows)
	if f := p.addRow(t.Table, row{text: p.began.text, record: int32(len(p.records) - 1), table: t.index, first: int32(first)}, sc.d.limit); f != nil {
		return f
	}
	for i := range t.brood {
		parent := p.rows[own]
		if f := t.brood[i].rows(p, rec, sc, &parent); f != nil {
			return f
		}
		p.rows[own].arrays = parent.arrays
	}
	return nil
}

// tombstone appends what a tombstone becomes in a table: only its key has values.
func (t *tableDecoder) tombstone(p *Part, rec *sink.Record, sc *scratch) *fault {
	if len(t.RecordKey) == 0 {
		return &fault{code: "ONS01", message: "tombstone without record_key mapping"}
	}
	first := len(p.cells)
	for range t.Columns {
		p.cells = append(p.cells, cell{len: cellAbsent})
	}
	for i, k := range t.Key {
		c := t.Columns[k]
		c.Source = t.RecordKey[i]
		x, r := readCell(&c, p, rec, t.keyAt[i], sc)
		if r == nil && x.len < 0 {
			r = pgtext.Refuse(pgtext.NoValue, "the tombstone's record key has no value for this column of the key")
		}
		if r != nil {
			return &fault{column: c.Name, code: r.Code, message: r.Message}
		}
		p.cells[first+k] = x
	}
	return p.addRow(t.Table, row{text: p.began.text, record: int32(len(p.records) - 1), table: t.index, first: int32(first), tombstone: true}, sc.d.limit)
}

// cell appends the column's text to p.text; at is the source's place among the
// paths into the value or the key.
func readCell(c *target.Column, p *Part, rec *sink.Record, at int32, sc *scratch) (cell, *pgtext.Refusal) {
	start := len(p.text)
	var r *pgtext.Refusal
	switch src := &c.Source; {
	case src.Meta == source.Field:
		return readValue(c, p, sc.values[at])
	case src.Meta == source.Key && src.Path != "":
		if rec.Key == nil {
			return cell{len: cellNull}, nil
		}
		if r := sc.readKey(rec.Key); r != nil {
			return cell{}, r
		}
		return readValue(c, p, sc.keys[at])
	case src.Meta == source.KeyJSON:
		if rec.Key == nil {
			return cell{len: cellNull}, nil
		}
		if r := sc.readKey(rec.Key); r != nil {
			return cell{}, pgtext.Refuse(r.Code, r.Message+" ($key_json reads JSON; $key takes a key as it is)")
		}
		return readValue(c, p, sc.key)
	case src.Raw():
		b, ok := rawBytes(rec, src)
		if !ok {
			return cell{len: cellAbsent}, nil
		}
		if b == nil {
			return cell{len: cellNull}, nil
		}
		p.text, r = c.AppendBytes(p.text, b)
	case src.Meta == source.Timestamp && rec.Timestamp.IsZero():
		return cell{len: cellNull}, nil
	default:
		p.text = appendMeta(c, p.text, rec)
		r = c.CheckText(p.text[start:])
	}
	return p.cellFrom(start), r
}

func readValue(c *target.Column, p *Part, v fields.Value) (cell, *pgtext.Refusal) {
	switch v.Kind {
	case fields.Absent:
		return cell{len: cellAbsent}, nil
	case fields.Null: // in jsonb, too
		return cell{len: cellNull}, nil
	}
	start := len(p.text)
	var r *pgtext.Refusal
	p.text, r = c.AppendValue(p.text, v)
	return p.cellFrom(start), r
}

// rawBytes returns what a raw source gives; ok is false if the record has no such
// header. The last one of a name counts.
func rawBytes(r *sink.Record, src *source.Source) (b []byte, ok bool) {
	switch src.Meta {
	case source.Key:
		return r.Key, true
	case source.Value:
		return r.Value, true
	}
	for i := len(r.Headers) - 1; i >= 0; i-- {
		if r.Headers[i].Key == src.Header {
			return r.Headers[i].Value, true
		}
	}
	return nil, false
}

// compute marks the computed columns of a row whose cells begin at first: as there if all inputs are.
func compute(t *target.Table, cells []cell) {
	for i := range t.Columns {
		c := t.Columns[i].Computed
		if c == nil {
			continue
		}
		cells[i] = cell{}
		if slices.ContainsFunc(c.Inputs, func(k int) bool { return cells[k].len == cellAbsent }) {
			cells[i].len = cellAbsent
		}
	}
}
