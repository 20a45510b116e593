package engine

import (
	"encoding/binary"
	"math"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/target"
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

// elements are the types of the elements of arrays.
var elements = map[uint32]uint32{
	oidByteaArray: oidBytea, oidInt4Array: oidInt4, oidTextArray: oidText, oidInt8Array: oidInt8,
}

// maxStatementBytes bounds the parameters of one statement; a message of the
// protocol holds at most 1 GiB.
const maxStatementBytes = 64 << 20

// maxStatementRows bounds the events of one statement. The server plans each by
// the size that the table has before it: on a table that a vacuum has seen empty
// it looks a key up by reading the whole table, whose pages this very statement
// fills. 50,000 rows took 16 s that way, 4,096 take a tenth of one.
const maxStatementRows = 4096

// params builds the binary parameters of one statement at a time, each an array
// with one element per event. Its buffers are reused: what it built is good until
// the next reset.
type params struct {
	values  [][]byte
	oids    []uint32
	formats []int16 // all binary
	spare   [][]byte
}

func (p *params) reset() {
	for _, b := range p.values {
		if cap(b) >= 512 {
			p.spare = append(p.spare, b)
		}
	}
	p.values, p.oids = p.values[:0], p.oids[:0]
}

// begin starts an array of n elements and about size bytes.
func (p *params) begin(n, size int, element uint32) []byte {
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

func (p *params) end(b []byte, array uint32) {
	p.values, p.oids = append(p.values, b), append(p.oids, array)
	for len(p.formats) < len(p.values) {
		p.formats = append(p.formats, 1)
	}
}

const nullLength = math.MaxUint32 // -1

func appendElement(b, text []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
	return append(b, text...)
}

func appendNull(b []byte) []byte { return binary.BigEndian.AppendUint32(b, nullLength) }

// texts adds column i of the events; absent cells become nulls.
func (p *params) texts(events []event, i int) {
	size := 0
	for k := range events {
		size += max(0, int(events[k].cell(i).Len))
	}
	b := p.begin(len(events), size, oidText)
	for k := range events {
		c := events[k].cell(i)
		if c.Len < 0 {
			b = appendNull(b)
			continue
		}
		b = appendElement(b, events[k].text(c))
	}
	p.end(b, oidTextArray)
}

// flags adds which of their n columns the events have: a bit each, numbered as get_bit does.
func (p *params) flags(events []event, n int) {
	size := (n + 7) / 8
	b := p.begin(len(events), len(events)*size, oidBytea)
	for k := range events {
		b = binary.BigEndian.AppendUint32(b, uint32(size))
		at := len(b)
		b = append(b, make([]byte, size)...)
		for i := range n {
			if events[k].cell(i).Len != decode.CellAbsent {
				b[at+i/8] |= 1 << (i % 8)
			}
		}
	}
	p.end(b, oidByteaArray)
}

// places adds the events' sources and offsets.
func (p *params) places(events []event) {
	b := p.begin(len(events), 4*len(events), oidInt4)
	for k := range events {
		b = binary.BigEndian.AppendUint32(b, 4)
		b = binary.BigEndian.AppendUint32(b, uint32(events[k].part.Claim.Source))
	}
	p.end(b, oidInt4Array)
	b = p.begin(len(events), 8*len(events), oidInt8)
	for k := range events {
		b = binary.BigEndian.AppendUint32(b, 8)
		b = binary.BigEndian.AppendUint64(b, uint64(events[k].offset()))
	}
	p.end(b, oidInt8Array)
}

// rows adds what a statement of this shape takes of the events.
func (p *params) rows(t *target.Table, s statement.Shape, events []event) {
	for _, i := range s.Columns {
		if t.Columns[i].Computed == nil {
			p.texts(events, i)
		}
	}
	if s.Flagged {
		p.flags(events, len(t.Columns))
	}
	if t.Guarded {
		p.places(events)
	}
}

// text adds one text, not as an array.
func (p *params) text(s string) { p.end([]byte(s), oidText) }

// integers adds bigints (wide) or integers.
func (p *params) integers(values []int64, wide bool) {
	if wide {
		b := p.begin(len(values), 8*len(values), oidInt8)
		for _, v := range values {
			b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b, 8), uint64(v))
		}
		p.end(b, oidInt8Array)
		return
	}
	b := p.begin(len(values), 4*len(values), oidInt4)
	for _, v := range values {
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, 4), uint32(v))
	}
	p.end(b, oidInt4Array)
}

// ints adds integers, not as arrays.
func (p *params) ints(values ...int32) {
	for _, v := range values {
		p.end(binary.BigEndian.AppendUint32(nil, uint32(v)), oidInt4)
	}
}

// boolean adds one, not as an array.
func (p *params) boolean(v bool) {
	var b byte
	if v {
		b = 1
	}
	p.end([]byte{b}, oidBool)
}

// strings adds texts; empty ones are nulls.
func (p *params) strings(texts []string) {
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
	p.end(b, oidTextArray)
}

// bytes adds byte strings; nil ones are nulls.
func (p *params) bytes(values [][]byte) {
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
	p.end(b, oidByteaArray)
}

// event is one row of a part on its way into one table.
type event struct {
	key  []byte // canonical
	part *decode.Part
	row  int32
	seq  int32 // the order in which the batch's events are to be applied
}

func (e *event) cell(i int) decode.Cell { return e.part.Cells[int(e.part.Rows[e.row].First)+i] }

// text is the text of one of the event's cells that has one.
func (e *event) text(x decode.Cell) []byte { return e.part.TextOf(&e.part.Rows[e.row], x) }

// version is the event's canonical version.
func (e *event) version() []byte {
	return e.part.Keys[e.row].VersionIn(e.part.KeyText)
}

// arrays are the tables of children whose array the event has.
func (e *event) arrays() uint16 { return e.part.Rows[e.row].Arrays }

func (e *event) tombstone() bool { return e.part.Rows[e.row].Tombstone }

func (e *event) offset() int64 { return e.part.Records[e.part.Rows[e.row].Record].Offset }
