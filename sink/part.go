package sink

import "github.com/oncesink/oncesink/offsets"

// Part is what one partition brings to a transaction: records in offset order,
// decoded to column texts. One goroutine fills it with Add; then it is handed to
// Write. It is not safe for concurrent use.
type Part struct {
	// Claim is set by the caller before Write: whose fence, and the position
	// before the first record.
	Claim offsets.Claim
	// To is the position after the last record added.
	To offsets.Position

	records []Record
	rows    []row   // ordered by record, then table
	faults  []fault // records that could not be decoded, by record
	cells   []cell
	text    []byte // the bytes of all cells
	payload int    // bytes that the records' slices hold

	// Filled by seal when the part is about to be written.
	sealed   int    // how many records were there then
	keys     []cell // each row's canonical key, in keyText
	versions []cell // and its canonical version
	keyText  []byte
	faulty   []bool // by record; nil if there are no faults
}

// row is what one record becomes in one table.
type row struct {
	record    int32 // index into Part.records
	table     int32 // index into Sink.tables
	first     int32 // index into Part.cells of the first column's cell
	tombstone bool  // only the key columns' cells are set
	// arrays has a bit for each table of children whose array the event has. Their rows follow.
	arrays uint16
}

// cell is the text of one column: a slice of Part.text, or one of the marks.
type cell struct{ off, len int32 }

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
