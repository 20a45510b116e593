package engine

import (
	"fmt"

	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Part is what one partition brings to a transaction: records in offset order,
// decoded to column texts. One goroutine fills it with Add; then it is handed to
// Write. It is not safe for concurrent use.
type Part struct {
	// Claim is set by the caller before Write: whose fence, and the position
	// before the first record.
	Claim offsets.Claim
	// To is the position after the last record added.
	To offsets.Position

	// mapping is what the records were decoded by.
	plan    *decodePlan
	records []sink.Record
	rows    []row   // ordered by record, then table
	faults  []fault // records that could not be decoded, by record
	cells   []cell
	text    []byte // the bytes of all cells
	began   extent // where the last record's began
	payload int    // bytes that the records' slices hold

	keys    []keyCell // of each row
	keyText []byte
	open    []int32 // rows whose key or version only PostgreSQL can read: see Seal

	// Filled by Seal when the part is about to be written.
	sealed int    // how many records were there then
	faulty []bool // by record; nil if there are no faults
}

// row is what one record becomes in one table.
type row struct {
	text      int   // where its record's texts begin in Part.text
	record    int32 // index into Part.records
	table     int32 // index into plan.tables
	first     int32 // index into Part.cells of the first column's cell
	tombstone bool  // only the key columns' cells are set
	// arrays has a bit for each table of children whose array the event has. Their rows follow.
	arrays uint16
}

// cell is the text of one column, or one of the marks: a slice of Part.text, counted from where the
// record's texts begin. Cells of one record may share a text.
type cell struct{ off, len int32 }

// cellFrom is the text that was appended from start on.
func (p *Part) cellFrom(start int) cell {
	return cell{int32(start - p.began.text), int32(len(p.text) - start)}
}

// textOf is the text of one of the row's cells that has one.
func (p *Part) textOf(r *row, x cell) []byte {
	start := r.text + int(x.off)
	return p.text[start : start+int(x.len)]
}

// keyCell is a row's canonical key and its canonical version, which follow each other in Part.keyText.
type keyCell struct {
	off          int
	key, version int32
}

func (k keyCell) keyIn(text []byte) []byte { return text[k.off : k.off+int(k.key)] }

func (k keyCell) versionIn(text []byte) []byte {
	start := k.off + int(k.key)
	return text[start : start+int(k.version)]
}

// extent is how much of a part is filled.
type extent struct{ rows, cells, text, keyText, open int }

// truncate takes back what the last record has become.
func (p *Part) truncate() {
	p.rows, p.keys, p.cells = p.rows[:p.began.rows], p.keys[:p.began.rows], p.cells[:p.began.cells]
	p.text, p.keyText, p.open = p.text[:p.began.text], p.keyText[:p.began.keyText], p.open[:p.began.open]
}

func (p *Part) extent() extent {
	return extent{len(p.rows), len(p.cells), len(p.text), len(p.keyText), len(p.open)}
}

// maxRecordBytes bounds what one record becomes: its texts, cells and rows, and apart from these its keys. A
// cell counts with 32 bits from where the record begins.
const maxRecordBytes = 1 << 30

// recordBytes is what the last record has become so far.
func (p *Part) recordBytes() int {
	return len(p.text) - p.began.text + cellSize*(len(p.cells)-p.began.cells) + rowSize*(len(p.rows)-p.began.rows)
}

// tooLarge is the fault of a record that becomes too much.
func tooLarge(limit int) *fault {
	return &fault{code: pgtext.TooMuch, message: fmt.Sprintf("what the record becomes in its tables takes more than %d MiB: it has too many or too large elements or fields for the columns that take them", limit>>20)}
}

// Marks in cell.len.
const (
	cellNull   = -1 // SQL NULL
	cellAbsent = -2 // the event does not have the field: the column stays as it is
)

// fault says why a record can't become rows: it goes to the dead letters whole.
type fault struct {
	record        int32
	table, column string
	code          string // SQLSTATE that PostgreSQL would give, or "ONS.." of our own
	message       string
	constraint    string // of a table, where a sample was tried
}
