// Package bind makes of events what statements take: arrays with an element for each event, in PostgreSQL's binary form.
package bind

import (
	"encoding/binary"
	"maps"
	"math"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// OIDs of the parameters' types.
const (
	oidByteaArray = 1001
	oidInt4Array  = 1007
	oidTextArray  = 1009
	oidInt8Array  = 1016
	oidInt4       = 23

	oidBool  = 16
	oidBytea = 17
	oidInt8  = 20
	oidText  = 25
)

// Elements are the types of the elements of arrays.
var Elements = func() map[uint32]uint32 {
	all := pgtext.Elements()
	maps.Copy(all, map[uint32]uint32{oidByteaArray: oidBytea, oidInt4Array: oidInt4, oidTextArray: oidText, oidInt8Array: oidInt8})
	return all
}()

// MaxStatementBytes bounds the parameters of one statement; a message of the
// protocol holds at most 1 GiB.
const MaxStatementBytes = 64 << 20

// MaxStatementRows bounds the events of one statement. The server plans each by
// the size that the table has before it: on a table that a vacuum has seen empty
// it looks a key up by reading the whole table, whose pages this very statement
// fills. 50,000 rows took 16 s that way, 4,096 take a tenth of one.
const MaxStatementRows = 4096

// Params builds the binary parameters of one statement at a time, each an array
// with one element per event. Its buffers are reused: what it built is good until
// the next reset.
type Params struct {
	Values  [][]byte
	OIDs    []uint32
	Formats []int16 // all binary
	spare   [][]byte
}

func (p *Params) Reset() {
	for _, b := range p.Values {
		if cap(b) >= 512 {
			p.spare = append(p.spare, b)
		}
	}
	p.Values, p.OIDs = p.Values[:0], p.OIDs[:0]
}

// begin starts an array of n elements and about size bytes.
func (p *Params) begin(n, size int, element uint32) []byte {
	var b []byte
	if k := len(p.spare); k > 0 {
		b, p.spare = p.spare[k-1][:0], p.spare[:k-1]
	}
	if need := 20 + 4*n + size; cap(b) < need {
		b = make([]byte, 0, need+need/4)
	}
	b = binary.BigEndian.AppendUint32(b, 1) // dimensions
	b = binary.BigEndian.AppendUint32(b, 1) // may hold nulls
	b = binary.BigEndian.AppendUint32(b, element)
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	return binary.BigEndian.AppendUint32(b, 1) // lower bound
}

func (p *Params) End(b []byte, array uint32) {
	p.Values, p.OIDs = append(p.Values, b), append(p.OIDs, array)
	for len(p.Formats) < len(p.Values) {
		p.Formats = append(p.Formats, 1)
	}
}

const nullLength = math.MaxUint32 // -1

func appendElement(b, text []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
	return append(b, text...)
}

func appendNull(b []byte) []byte { return binary.BigEndian.AppendUint32(b, nullLength) }

// Column adds column i of the events as texts; absent cells become nulls.
func (p *Params) Column(events []Event, i int) { p.texts(events, i) }

// texts adds column i of the events; absent cells become nulls.
func (p *Params) texts(events []Event, i int) {
	size := 0
	for k := range events {
		size += max(0, int(events[k].Cell(i).Len))
	}
	b := p.begin(len(events), size, oidText)
	for k := range events {
		c := events[k].Cell(i)
		if c.Len < 0 {
			b = appendNull(b)
			continue
		}
		b = appendElement(b, events[k].Text(c))
	}
	p.End(b, oidTextArray)
}

// flags adds which of their n columns the events have: a bit each, numbered as get_bit does.
func (p *Params) flags(events []Event, n int) {
	size := (n + 7) / 8
	b := p.begin(len(events), len(events)*size, oidBytea)
	for k := range events {
		b = binary.BigEndian.AppendUint32(b, uint32(size))
		at := len(b)
		b = append(b, make([]byte, size)...)
		for i := range n {
			if events[k].Cell(i).Given() {
				b[at+i/8] |= 1 << (i % 8)
			}
		}
	}
	p.End(b, oidByteaArray)
}

// places adds the events' sources and offsets.
func (p *Params) places(events []Event) {
	b := p.begin(len(events), 4*len(events), oidInt4)
	for k := range events {
		b = binary.BigEndian.AppendUint32(b, 4)
		b = binary.BigEndian.AppendUint32(b, uint32(events[k].Part.Claim.Source))
	}
	p.End(b, oidInt4Array)
	b = p.begin(len(events), 8*len(events), oidInt8)
	for k := range events {
		b = binary.BigEndian.AppendUint32(b, 8)
		b = binary.BigEndian.AppendUint64(b, uint64(events[k].Offset()))
	}
	p.End(b, oidInt8Array)
}

// typed adds column i of the events as an array of its type; absent cells become nulls. It adds nothing, and is false, if it is a type whose
// values go as texts, or one of the values is spelled in a way that the server alone reads.
func (p *Params) typed(t *tables.Table, events []Event, i int) bool {
	oids, ok := t.Arrays(i)
	if !ok {
		return false
	}
	c := &t.Columns[i].Type
	wire, b := c.Wire(), p.begin(len(events), 12*len(events), oids.Element)
	for k := range events {
		x := events[k].Cell(i)
		b = appendNull(b)
		if x.Len < 0 {
			continue
		}
		start := len(b)
		if b, ok = wire(c, b, events[k].Text(x)); !ok {
			p.spare = append(p.spare, b)
			return false
		}
		binary.BigEndian.PutUint32(b[start-4:], uint32(len(b)-start))
	}
	p.End(b, oids.Array)
	return true
}

// Typed adds what a statement of this shape takes of the events, and returns the shape that says of which columns it is no texts.
func (p *Params) Typed(t *tables.Table, s statement.Shape, events []Event) statement.Shape {
	s.Typed = make([]bool, len(s.Columns))
	p.rows(t, s, events, func(j, i int) {
		if s.Typed[j] = p.typed(t, events, i); !s.Typed[j] {
			p.texts(events, i)
		}
	})
	return s
}

// Rows adds what a statement of this shape takes of the events, the columns as texts; for a statement that is only planned, of no events, as the
// shape says.
func (p *Params) Rows(t *tables.Table, s statement.Shape, events []Event) {
	p.rows(t, s, events, func(j, i int) {
		if s.Typed == nil || !s.Typed[j] || !p.typed(t, events, i) {
			p.texts(events, i)
		}
	})
}

// rows adds what a statement of this shape takes of the events, of which column adds that which is at j in the shape, and i in the table.
func (p *Params) rows(t *tables.Table, s statement.Shape, events []Event, column func(j, i int)) {
	for j, i := range s.Columns {
		if t.Columns[i].Computed == nil {
			column(j, i)
		}
	}
	if s.Flagged {
		p.flags(events, len(t.Columns))
	}
	if t.Guarded {
		p.places(events)
	}
}

// Text adds one text, not as an array.
func (p *Params) Text(s string) { p.End([]byte(s), oidText) }

// Integers adds bigints (wide) or integers.
func (p *Params) Integers(values []int64, wide bool) {
	if wide {
		b := p.begin(len(values), 8*len(values), oidInt8)
		for _, v := range values {
			b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b, 8), uint64(v))
		}
		p.End(b, oidInt8Array)
		return
	}
	b := p.begin(len(values), 4*len(values), oidInt4)
	for _, v := range values {
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, 4), uint32(v))
	}
	p.End(b, oidInt4Array)
}

// Ints adds integers, not as arrays.
func (p *Params) Ints(values ...int32) {
	for _, v := range values {
		p.End(binary.BigEndian.AppendUint32(nil, uint32(v)), oidInt4)
	}
}

// Boolean adds one, not as an array.
func (p *Params) Boolean(v bool) {
	var b byte
	if v {
		b = 1
	}
	p.End([]byte{b}, oidBool)
}

// Strings adds texts; empty ones are nulls.
func (p *Params) Strings(texts []string) {
	size := 0
	for _, s := range texts {
		size += len(s)
	}
	b := p.begin(len(texts), size, oidText)
	for _, s := range texts {
		if s == "" {
			b = appendNull(b)
			continue
		}
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	p.End(b, oidTextArray)
}

// Texts adds texts, of which none is null.
func (p *Params) Texts(texts []string) {
	size := 0
	for _, s := range texts {
		size += len(s)
	}
	b := p.begin(len(texts), size, oidText)
	for _, s := range texts {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	p.End(b, oidTextArray)
}

// Bytes adds byte strings; nil ones are nulls.
func (p *Params) Bytes(values [][]byte) {
	size := 0
	for _, v := range values {
		size += len(v)
	}
	b := p.begin(len(values), size, oidBytea)
	for _, v := range values {
		if v == nil {
			b = appendNull(b)
			continue
		}
		b = appendElement(b, v)
	}
	p.End(b, oidByteaArray)
}

// Event is one row of a part on its way into one table.
type Event struct {
	Key  []byte // canonical
	Part *decode.Part
	Row  int32
	Seq  int32 // the order in which the batch's events are to be applied
}

func (e *Event) Cell(i int) decode.Cell { return e.Part.Cells[int(e.Part.Rows[e.Row].First)+i] }

// Text is the text of one of the event's cells that has one.
func (e *Event) Text(x decode.Cell) []byte { return e.Part.TextOf(&e.Part.Rows[e.Row], x) }

// Version is the event's canonical version.
func (e *Event) Version() []byte {
	return e.Part.Keys[e.Row].VersionIn(e.Part.KeyText)
}

// Arrays are the tables of children whose array the event has.
func (e *Event) Arrays() uint16 { return e.Part.Rows[e.Row].Arrays }

// Tombstone reports whether the event has a key alone, and perhaps a version: its row goes.
func (e *Event) Tombstone() bool { return e.Part.Rows[e.Row].Tombstone }

// Versioned reports of a tombstone whether it has a version that counts.
func (e *Event) Versioned() bool { return e.Part.Rows[e.Row].Versioned }

// Withheld reports whether the source withheld values of the event, which therefore needs a row.
func (e *Event) Withheld() bool { return e.Part.Rows[e.Row].Withheld }

// Deletes reports whether the event deletes its row of the table.
func (e *Event) Deletes(t *tables.Table) bool { return t.Strategy == sink.Upsert && e.Tombstone() }

func (e *Event) Offset() int64 { return e.Part.Records[e.Part.Rows[e.Row].Record].Offset }
