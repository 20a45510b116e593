package engine

import (
	"encoding/binary"
	"math"

	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/tables"
)

// COPY in binary takes half of PostgreSQL's time: it spares it the reading of texts. So Go
// reads those of the plain spellings whose value is beyond doubt, and leaves all
// others to the types' input functions: a single one sends its rows by COPY in text
// (rule 19). Lengths, precisions, domains and encodings stay with PostgreSQL, whose
// receive functions check them as the input functions do.

const (
	// patience is how many COPYs go in text after a value that Go did not read.
	patience = 16
	// binaryChunk bounds what is made in one go: no more than this is kept, in bytes, and a row.
	binaryChunk = 1 << 20
)

// binaryHeader is that of a COPY in binary: its signature, no flags, nothing more.
const binaryHeader = "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"

// wiresOf are the binary forms of the columns; nil if one of them is not known here.
func wiresOf(t *tables.Table, s statement.Shape) []pgtext.Wire {
	forms := make([]pgtext.Wire, len(s.Columns))
	for k, i := range s.Columns {
		if forms[k] = t.Columns[i].Wire(); forms[k] == nil {
			return nil
		}
	}
	return forms
}

// plain reports whether the rows of the next COPY may be tried in binary.
func (t *table) plain() bool {
	if t.learn.inText.Load() > 0 {
		t.learn.inText.Add(-1)
		return false
	}
	return true
}

// appendBinary makes a COPY in binary of the first n events. It is n = 0 if one of
// them has a value that Go does not read.
func (t *table) appendBinary(dst []byte, s statement.Shape, forms []pgtext.Wire, events []bind.Event) (data []byte, n int) {
	fields := len(s.Columns)
	if t.Guarded {
		fields += 2
	}
	dst = append(dst, binaryHeader...)
	for n < len(events) && len(dst) < binaryChunk {
		e := &events[n]
		dst = binary.BigEndian.AppendUint16(dst, uint16(fields))
		for k, i := range s.Columns {
			x := e.Cell(i)
			dst = binary.BigEndian.AppendUint32(dst, math.MaxUint32) // null
			if x.Len < 0 {
				continue
			}
			start, ok := len(dst), false
			if dst, ok = forms[k](&t.Columns[i].Type, dst, e.Text(x)); !ok {
				return dst, 0
			}
			binary.BigEndian.PutUint32(dst[start-4:], uint32(len(dst)-start))
		}
		if t.Guarded {
			dst = binary.BigEndian.AppendUint32(dst, 4)
			dst = binary.BigEndian.AppendUint32(dst, uint32(e.Part.Claim.Source))
			dst = binary.BigEndian.AppendUint32(dst, 8)
			dst = binary.BigEndian.AppendUint64(dst, uint64(e.Offset()))
		}
		n++
	}
	return binary.BigEndian.AppendUint16(dst, math.MaxUint16), n // the end
}
