package sink

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// seal computes the canonical keys of the part's rows, once. A record whose key or version is
// not one becomes a fault.
func (s *Sink) seal(p *Part) {
	if p.sealed {
		return
	}
	p.sealed = true
	p.keys = make([]cell, 0, len(p.rows))
	for i := range p.rows {
		r := &p.rows[i]
		t := s.tables[r.table]
		start := len(p.keyText)
		if f := t.appendKeyOf(p, r); f != nil {
			p.faults = append(p.faults, *f)
			p.keyText = p.keyText[:start]
		}
		p.keys = append(p.keys, cell{int32(start), int32(len(p.keyText) - start)})
	}
	slices.SortStableFunc(p.faults, func(a, b fault) int { return cmp.Compare(a.record, b.record) })
	p.faults = slices.CompactFunc(p.faults, func(a, b fault) bool { return a.record == b.record })
	if len(p.faults) > 0 {
		p.faulty = make([]bool, len(p.records))
		for _, f := range p.faults {
			p.faulty[f.record] = true
		}
	}
}

// appendKeyOf appends the row's key to p.keyText, so that equal keys are equal
// bytes and no key is the beginning of another. The order is that of the index
// where that is cheap: numbers sort by length first.
func (t *table) appendKeyOf(p *Part, r *row) *fault {
	if t.strategy == Append {
		return nil
	}
	bad := func(i int, code, message string) *fault {
		return &fault{record: r.record, table: t.schema + "." + t.name, column: t.columns[i].name, code: code, message: message}
	}
	for _, k := range t.key {
		c := p.cells[int(r.first)+k]
		if c.len < 0 {
			return bad(k, "23502", "the event has no value for this column of the key")
		}
		canon, ok := t.columns[k].canonicalKey(p.text[c.off : c.off+c.len])
		if !ok {
			return bad(k, "22P02", "the key is not a value of type "+t.columns[k].typ)
		}
		switch t.columns[k].kind {
		case kindInt, kindNumeric:
			p.keyText = binary.BigEndian.AppendUint16(p.keyText, uint16(len(canon)))
			p.keyText = append(p.keyText, canon...)
		default:
			p.keyText = append(append(p.keyText, canon...), 0)
		}
	}
	if t.version >= 0 && !r.tombstone && p.cells[int(r.first)+t.version].len < 0 {
		return bad(t.version, "23502", "the event has no version")
	}
	return nil
}

// span is a range of a part's records.
type span struct {
	part   *Part
	lo, hi int32
}

// spans are the records of a transaction, or of a part of it, in the order they
// are applied: within a partition by offset.
type spans []span

func (s spans) records() int {
	n := 0
	for _, x := range s {
		n += int(x.hi - x.lo)
	}
	return n
}

// halve splits the records in two. There must be at least two.
func (s spans) halve() (spans, spans) {
	n := int32(s.records() / 2)
	for i, x := range s {
		switch size := x.hi - x.lo; {
		case n > size:
			n -= size
		case n == size:
			return s[: i+1 : i+1], s[i+1:]
		default:
			left := append(s[:i:i], span{x.part, x.lo, x.lo + n})
			right := append(spans{{x.part, x.lo + n, x.hi}}, s[i+1:]...)
			return left, right
		}
	}
	return s, nil
}

// rows returns the range of the part's rows that belong to the span.
func (x span) rows() (int, int) {
	at := func(record int32) int {
		i, _ := slices.BinarySearchFunc(x.part.rows, record, func(r row, record int32) int { return cmp.Compare(r.record, record) })
		return i
	}
	return at(x.lo), at(x.hi)
}
