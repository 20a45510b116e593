// Package decode turns records into parts: rows of column texts with canonical keys, or one fault for a record that
// can not become rows in every table that its topic feeds. It knows a compiled mapping, and no database.
package decode

import (
	"cmp"
	"errors"
	"slices"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Add appends records, in offset order, and decodes them. Records below p.To are dropped.
// It returns how many it took: all, or those before the first one that can't be read yet, with a *[MissingSchema], that has fields which something
// is to be done about first, with a *[NewFields], or that nobody can read, with a *[SchemaError].
func (dp *Plan) Add(p *Part, records ...sink.Record) (n int, err error) {
	var (
		d     *decoder
		sc    *scratch
		topic string
	)
	if len(p.Records) == 0 {
		p.DecodedBy = dp
	} else if err = dp.Redecode(p); err != nil {
		return 0, err
	}
	bytes := 0
	for i := range records {
		bytes += len(records[i].Value)
	}
	p.Records, p.Text = room(p.Records, len(records)), room(p.Text, bytes)
	for i := range records {
		rec := &records[i]
		if rec.Offset < p.To.Next {
			n = i + 1
			continue
		}
		if d == nil || topic != rec.Topic {
			d.put(sc)
			topic, d = rec.Topic, p.DecodedBy.Decoders[rec.Topic]
			sc = d.get()
		}
		p.Records = append(p.Records, *rec)
		if d != nil && !rec.Control {
			if err = d.decode(p, sc); err != nil {
				err = p.DecodedBy.lacks(err)
				last := len(p.Records) - 1
				p.Records[last] = sink.Record{}
				p.Records = p.Records[:last]
				break
			}
		}
		p.To = offsets.Position{Next: rec.Offset + 1, Epoch: rec.Epoch, Time: rec.Timestamp}
		p.payload += sizeOf(rec)
		n = i + 1
	}
	d.put(sc)
	return n, err
}

// Redecode decodes a part's records again, if it was another mapping that decoded them. The errors are those
// of Add; after one the part holds its records and is not decoded, until Redecode is called again.
func (dp *Plan) Redecode(p *Part) error { return dp.redecode(p, false) }

// redecode may be blind to new fields: whoever writes the part decodes it again then.
func (dp *Plan) redecode(p *Part, blind bool) error {
	if !p.undecoded && (!p.blind || blind) && (p.DecodedBy == nil || p.DecodedBy.catalog == dp.catalog) {
		p.DecodedBy = dp
		return nil
	}
	again := Part{blind: blind, Claim: p.Claim, To: p.To, DecodedBy: dp, Records: p.Records[:0], Text: p.Text[:0], Rows: p.Rows[:0], Cells: p.Cells[:0],
		Keys: p.Keys[:0], KeyText: p.KeyText[:0], payload: p.payload}
	for i := range p.Records {
		again.Records = p.Records[:i+1]
		rec := &p.Records[i]
		d := dp.Decoders[rec.Topic]
		if d == nil || rec.Control {
			continue
		}
		sc := d.get()
		sc.blind = blind
		err := d.decode(&again, sc)
		sc.blind = false
		d.put(sc)
		if err != nil {
			err = dp.lacks(err)
			*p = Part{Claim: p.Claim, To: p.To, DecodedBy: dp, Records: p.Records, payload: p.payload, undecoded: true}
			return err
		}
	}
	*p = again
	return nil
}

// lacks notes of new fields which plan has no columns for them.
func (dp *Plan) lacks(err error) error {
	var news *NewFields
	if errors.As(err, &news) {
		news.By = dp
	}
	return err
}

// Len is how many records the part holds.
func (p *Part) Len() int { return len(p.Records) }

// Sizes of what a part holds, in bytes.
const (
	recordSize = 144
	rowSize    = 40 // with the place of its key
	cellSize   = 8
	headerSize = 40
)

// Bytes is the memory that the part's records take, roughly.
func (p *Part) Bytes() int {
	return p.payload + recordSize*len(p.Records) + rowSize*len(p.Rows) + cellSize*len(p.Cells) + len(p.Text) + len(p.KeyText)
}

// Grow makes room in an empty part for records of about so many bytes in all.
func (p *Part) Grow(records, bytes int) {
	p.Records = slices.Grow(p.Records, records)
	p.Rows, p.Keys = slices.Grow(p.Rows, records), slices.Grow(p.Keys, records)
	p.Text = slices.Grow(p.Text, bytes/2)
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
// (rule 17). After an error, one of Add's, the record has become nothing.
func (d *decoder) decode(p *Part, sc *scratch) error {
	p.Began = p.Extent()
	sc.arena, sc.keyRead = sc.arena[:0], false
	f := d.rows(p, &p.Records[len(p.Records)-1], sc)
	if f != nil {
		p.Truncate()
		if err := sc.failed; err != nil {
			sc.failed = nil
			return err
		}
		f.Record = int32(len(p.Records) - 1)
		p.Faults = append(p.Faults, *f)
	}
	return nil
}

func (d *decoder) rows(p *Part, rec *sink.Record, sc *scratch) *Fault {
	op := upserts
	if rec.Value == nil {
		op = tombstone
	}
	wanted, f := d.wants(rec, sc, false, op)
	if f != nil {
		return f
	}
	if op == tombstone || !wanted {
		clear(sc.values)
	} else if len(sc.values) > 0 {
		if r := sc.read(&d.values, rec.Value, rec, sc.values); r != nil {
			return faultOf("", r)
		}
	}
	if wanted && op != tombstone {
		var refused *Fault
		op, refused = sc.operation()
		if wanted, f = d.wants(rec, sc, true, op); f == nil && wanted {
			f = refused
		}
	}
	if f == nil && !wanted && op != nothing && d.refuses {
		f = &Fault{Code: unmatchedEvent, Message: "no table of the topic wants the event: it meets the conditions of none (unmatched: refuse)", Plain: true}
	}
	if f != nil || !wanted || op == nothing {
		return f
	}
	if d.watch.at >= 0 && op == upserts && !sc.blind {
		if news := d.news(sc, rec); news != nil {
			sc.failed = news
			return &Fault{}
		}
	}
	for i := range d.tables {
		t := &d.tables[i]
		f := t.take(p, rec, sc, op, sc.unwanted[i])
		if f != nil {
			f.Table = cmp.Or(f.Table, t.Title()) // one of its children's may be there
			return f
		}
	}
	return nil
}

// take appends what a record does to a table.
func (t *tableDecoder) take(p *Part, rec *sink.Record, sc *scratch, op operation, unwanted bool) *Fault {
	switch {
	case unwanted && !t.Otherwise, op == tombstone && t.IgnoreTombstones:
		return nil
	case t.Strategy == sink.Append:
		return t.row(p, rec, sc)
	case op == tombstone:
		return t.tombstone(p, rec, sc)
	case op == truncates && (unwanted || t.IgnoreTruncates):
		return nil
	case op == truncates:
		return &Fault{Code: refusedTruncate, Message: "the event says that all rows of the source are gone: `truncate: ignore` of the table leaves them", Plain: true}
	case op == deletes, unwanted:
		return t.gone(p, rec, sc)
	}
	switch deletes, r := sc.meetsAll(t.DeleteWhen, t.deleteAt, rec); {
	case r != nil:
		return faultOf("", r)
	case deletes:
		return t.gone(p, rec, sc)
	}
	return t.row(p, rec, sc)
}

// row appends what an event becomes in a table.
func (t *tableDecoder) row(p *Part, rec *sink.Record, sc *scratch) *Fault {
	first := len(p.Cells)
	p.Cells = room(p.Cells, len(t.Columns))
	withheld := false
	for i := range t.Columns {
		c := &t.Columns[i]
		if c.Computed != nil {
			p.Cells = append(p.Cells, Cell{})
			continue
		}
		if len(t.Soft) > 0 && t.IsSoft(i) {
			p.Cells = append(p.Cells, Cell{Len: CellNull})
			continue
		}
		x, r := readCell(c, p, rec, t.columnAt[i], sc)
		if x.Len == CellUnavailable {
			x, r = t.withheld(i)
			withheld = true
		} else if x.Len < 0 && r == nil {
			x = p.instead(c, x)
		}
		if r != nil {
			return faultOf(c.Name, r)
		}
		if p.recordBytes() > sc.d.Limit {
			return tooLarge(sc.d.Limit)
		}
		p.Cells = append(p.Cells, x)
	}
	Compute(t.Table, p.Cells[first:])
	own := len(p.Rows)
	if f := p.AddRow(t.Table, Row{text: p.Began.text, Record: int32(len(p.Records) - 1), Table: t.index, First: int32(first), Withheld: withheld}, sc.d.Limit); f != nil {
		return f
	}
	for i := range t.childDecoders {
		parent := p.Rows[own]
		if f := t.childDecoders[i].rows(p, rec, sc, &parent); f != nil {
			return f
		}
		p.Rows[own].Arrays = parent.Arrays
	}
	return nil
}

// tombstone appends what a tombstone becomes in a table: only its key has values.
func (t *tableDecoder) tombstone(p *Part, rec *sink.Record, sc *scratch) *Fault {
	if len(t.RecordKey) == 0 {
		return &Fault{Code: "ONS01", Message: "tombstone without record_key mapping", Plain: true}
	}
	first := len(p.Cells)
	for range t.Columns {
		p.Cells = append(p.Cells, Cell{Len: CellAbsent})
	}
	for i, k := range t.Key {
		c := t.Columns[k]
		c.Source = t.RecordKey[i]
		x, r := readCell(&c, p, rec, t.keyAt[i], sc)
		if x.Len == CellUnavailable {
			x, r = t.withheld(k)
		}
		if r == nil && x.Len < 0 {
			r = pgtext.Refuse(pgtext.NoValue, "the tombstone's record key has no value for this column of the key")
		}
		if r != nil {
			return faultOf(c.Name, r)
		}
		p.Cells[first+k] = x
	}
	return p.AddRow(t.Table, Row{text: p.Began.text, Record: int32(len(p.Records) - 1), Table: t.index, First: int32(first), Tombstone: true}, sc.d.Limit)
}

// cell appends the column's text to p.text; at is the source's place among the
// paths into the value or the key.
func readCell(c *tables.Column, p *Part, rec *sink.Record, at int32, sc *scratch) (Cell, *pgtext.Refusal) {
	start := len(p.Text)
	var r *pgtext.Refusal
	switch src := &c.Source; {
	case src.OfValue():
		return readValue(c, p, &sc.values[at])
	case src.Meta == source.Key && src.Path != "":
		if rec.Key == nil {
			return Cell{Len: CellNull}, nil
		}
		if r := sc.readKey(rec); r != nil {
			return Cell{}, r
		}
		return readValue(c, p, &sc.keys[at])
	case src.Meta == source.KeyJSON:
		if rec.Key == nil {
			return Cell{Len: CellNull}, nil
		}
		if r := sc.readKey(rec); r != nil {
			return Cell{}, &pgtext.Refusal{Code: r.Code, Message: r.Message + " ($key_json reads JSON; $key takes a key as it is)", Plain: r.Plain}
		}
		return readValue(c, p, &sc.keys[at])
	case src.Raw():
		b, ok := rawBytes(rec, src)
		if !ok {
			return Cell{Len: CellAbsent}, nil
		}
		if b == nil {
			return Cell{Len: CellNull}, nil
		}
		p.Text, r = c.AppendBytes(p.Text, b)
	case src.Meta == source.Timestamp && rec.Timestamp.IsZero():
		return Cell{Len: CellNull}, nil
	default:
		p.Text = appendMeta(c, p.Text, rec)
		r = c.CheckText(p.Text[start:])
	}
	return p.cellFrom(start), r
}

func readValue(c *tables.Column, p *Part, v *event.Value) (Cell, *pgtext.Refusal) {
	switch v.Kind {
	case event.Absent:
		return Cell{Len: CellAbsent}, nil
	case event.Null: // in jsonb, too
		return Cell{Len: CellNull}, nil
	case event.Unavailable:
		return Cell{Len: CellUnavailable}, nil
	}
	start := len(p.Text)
	var r *pgtext.Refusal
	p.Text, r = c.AppendValue(p.Text, v)
	return p.cellFrom(start), r
}

// instead is what a column takes for a mark: its default, if it has one for that.
func (p *Part) instead(c *tables.Column, mark Cell) Cell {
	if mark.Len == CellNull && c.Instead.Null || mark.Len == CellAbsent && c.Instead.Absent {
		start := len(p.Text)
		p.Text = append(p.Text, c.Instead.Text...)
		return p.cellFrom(start)
	}
	return mark
}

// withheld is what a value becomes that is there and that the source withheld. The column stays as it is, as if the event
// lacked it (rule 16), which a row that is made for the event can't do: such a record is refused, here where that is known
// here, and else by the statement that finds no row.
func (t *tableDecoder) withheld(i int) (Cell, *pgtext.Refusal) {
	if t.Strategy != sink.Upsert || i == t.Version || slices.Contains(t.Key, i) {
		return Cell{}, pgtext.Refuse(Unavailable, "the event does not have the value: its source withheld it (unavailable)")
	}
	return Cell{Len: CellUnavailable}, nil
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
	return lastHeader(r, src.Header)
}

// Compute marks the computed columns of a row whose cells begin at first: as there if all inputs are.
func Compute(t *tables.Table, cells []Cell) {
	for i := range t.Columns {
		c := t.Columns[i].Computed
		if c == nil {
			continue
		}
		cells[i] = Cell{}
		if slices.ContainsFunc(c.Inputs, func(k int) bool { return !cells[k].Given() }) {
			cells[i].Len = CellAbsent
		}
	}
}
