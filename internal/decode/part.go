package decode

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
	DecodedBy *Plan
	Records   []sink.Record
	Rows      []Row   // ordered by record, then table
	Faults    []Fault // records that could not be decoded, by record
	Cells     []Cell
	Text      []byte // the bytes of all cells
	Began     extent // where the last record's began
	payload   int    // bytes that the records' slices hold
	undecoded bool   // Redecode was not finished: there are records alone
	blind     bool   // records were decoded again by an older plan: what is new in them nobody has looked for

	Keys    []keyCell // of each row
	KeyText []byte
	open    []int32 // rows whose key or version only PostgreSQL can read: see Seal

	// Filled by Seal when the part is about to be written.
	sealed int    // how many records were there then
	Faulty []bool // by record; nil if there are no faults
}

// Row is what one record becomes in one table.
type Row struct {
	text      int   // where its record's texts begin in Part.text
	Record    int32 // index into Part.records
	Table     int32 // index into plan.tables
	First     int32 // index into Part.cells of the first column's cell
	Tombstone bool  // the row goes: only the key columns' cells are set
	Versioned bool  // of a tombstone: its version is set, too, and counts (rule 11)
	Withheld  bool  // the source withheld values: the row has to be there
	// Arrays has a bit for each table of children whose array the event has. Their rows follow.
	Arrays uint16
}

// Cell is the text of one column, or one of the marks: a slice of Part.text, counted from where the
// record's texts begin. Cells of one record may share a text.
type Cell struct{ Off, Len int32 }

// cellFrom is the text that was appended from start on.
func (p *Part) cellFrom(start int) Cell {
	return Cell{int32(start - p.Began.text), int32(len(p.Text) - start)}
}

// TextOf is the text of one of the row's cells that has one.
func (p *Part) TextOf(r *Row, x Cell) []byte {
	start := r.text + int(x.Off)
	return p.Text[start : start+int(x.Len)]
}

// keyCell is a row's canonical key and its canonical version, which follow each other in Part.keyText.
type keyCell struct {
	off          int
	key, version int32
}

func (k keyCell) KeyIn(text []byte) []byte { return text[k.off : k.off+int(k.key)] }

func (k keyCell) VersionIn(text []byte) []byte {
	start := k.off + int(k.key)
	return text[start : start+int(k.version)]
}

// extent is how much of a part is filled.
type extent struct{ rows, cells, text, keyText, open int }

// Truncate takes back what the last record has become.
func (p *Part) Truncate() {
	p.Rows, p.Keys, p.Cells = p.Rows[:p.Began.rows], p.Keys[:p.Began.rows], p.Cells[:p.Began.cells]
	p.Text, p.KeyText, p.open = p.Text[:p.Began.text], p.KeyText[:p.Began.keyText], p.open[:p.Began.open]
}

func (p *Part) Extent() extent {
	return extent{len(p.Rows), len(p.Cells), len(p.Text), len(p.KeyText), len(p.open)}
}

// MaxRecordBytes bounds what one record becomes: its texts, cells and rows, and apart from these its keys. A
// cell counts with 32 bits from where the record begins.
const MaxRecordBytes = 1 << 30

// recordBytes is what the last record has become so far.
func (p *Part) recordBytes() int {
	return len(p.Text) - p.Began.text + cellSize*(len(p.Cells)-p.Began.cells) + rowSize*(len(p.Rows)-p.Began.rows)
}

// tooLarge is the fault of a record that becomes too much.
func tooLarge(limit int) *Fault {
	return &Fault{Code: pgtext.TooMuch, Message: fmt.Sprintf("what the record becomes in its tables takes more than %d MiB: it has too many or too large elements or fields for the columns that take them", limit>>20), Plain: true}
}

// Marks in cell.len.
const (
	CellNull   = -1 // SQL NULL
	CellAbsent = -2 // the event does not have the field: the column stays as it is

	// CellUnavailable is a value that the source has and withheld: the column stays as it is, and there has to be a row.
	CellUnavailable = -3
)

// Given reports whether the event says what the column is: a text, or null.
func (x Cell) Given() bool { return x.Len >= CellNull }

// Unavailable is the code of a record that lacks a value which its source withheld, and can't do without.
const Unavailable = "ONS30"

// Fault says why a record can't become rows: it goes to the dead letters whole.
type Fault struct {
	Record        int32
	Table, Column string
	Code          string // SQLSTATE that PostgreSQL would give, or "ONS.." of our own
	Message       string
	Plain         bool   // Message quotes nothing of the record
	Constraint    string // of a table, where a sample was tried
}

// faultOf is the fault of a record that is refused, for a column if that has a name.
func faultOf(column string, r *pgtext.Refusal) *Fault {
	return &Fault{Column: column, Code: r.Code, Message: r.Message, Plain: r.Plain}
}
