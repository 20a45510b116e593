package engine

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/target"
)

// seal computes the canonical keys and versions of the part's rows. A
// record whose key or version is none becomes a fault. If texts are spelled in a
// way that only PostgreSQL can read and are not among the known spellings, seal
// returns them and nothing is sealed yet.
func (s *Sink) seal(p *Part, known spellings) (open spellings) {
	if p.sealed == len(p.records) {
		return nil
	}
	faults := p.faults
	p.keys = make([]keyCell, 0, len(p.rows))
	p.keyText = make([]byte, 0, 48*len(p.rows))
	var siblings twins
	began := 0 // where the record's keys do
	for i := range p.rows {
		k := sealing{p: p, r: &p.rows[i], t: p.plan.tables[p.rows[i].table], known: known}
		start := len(p.keyText)
		if i == 0 || p.rows[i].record != p.rows[i-1].record {
			began = start
		}
		k.key()
		mid := len(p.keyText)
		k.version()
		if k.t.Parent != nil && k.fault == nil && len(k.open) == 0 && siblings.met(k.r, p.keyText[start:mid]) {
			k.refuse(&k.t.Columns[k.t.Key[0]], uniqueViolation, "two elements of "+k.t.Config.Each+" have one key")
		}
		if len(p.keyText)-began > maxRecordBytes {
			f := tooLarge(maxRecordBytes)
			f.record, f.table = k.r.record, k.t.Title()
			k.fault = f
		}
		if k.fault != nil {
			faults = append(faults, *k.fault)
			mid = start
			p.keyText = p.keyText[:start]
		}
		open.merge(k.open)
		p.keys = append(p.keys, keyCell{start, int32(mid - start), int32(len(p.keyText) - mid)})
	}
	if len(open) > 0 {
		return open
	}
	p.sealed = len(p.records)
	slices.SortStableFunc(faults, func(a, b fault) int { return cmp.Compare(a.record, b.record) })
	p.faults = slices.CompactFunc(faults, func(a, b fault) bool { return a.record == b.record })
	if len(p.faults) > 0 {
		p.faulty = make([]bool, len(p.records))
		for _, f := range p.faults {
			p.faulty[f.record] = true
		}
	}
	return nil
}

// sealing is one row on its way to a canonical key.
type sealing struct {
	p     *Part
	r     *row
	t     *table
	known spellings
	open  spellings
	fault *fault
}

// key appends the row's key to the part's keyText, so that equal keys are equal
// bytes and no key is the beginning of another. The order is the index's where
// that is cheap: numbers sort by length first.
func (k *sealing) key() {
	for _, i := range k.t.Key {
		canon := k.canonical(i, "the event has no value for this column of the key")
		switch k.t.Columns[i].Kind {
		case pgtext.KindInt, pgtext.KindNumeric:
			k.p.keyText = binary.BigEndian.AppendUint32(k.p.keyText, uint32(len(canon)))
			k.p.keyText = append(k.p.keyText, canon...)
		default:
			k.p.keyText = append(append(k.p.keyText, canon...), 0)
		}
	}
}

func (k *sealing) version() {
	if k.t.Version >= 0 && !k.r.tombstone {
		k.p.keyText = append(k.p.keyText, k.canonical(k.t.Version, "the event has no version")...)
	}
}

// canonical returns the canonical text of a column that must have a value.
func (k *sealing) canonical(i int, missing string) []byte {
	c := &k.t.Columns[i]
	x := &k.p.cells[int(k.r.first)+i]
	if x.len < 0 {
		k.refuse(c, pgtext.NoValue, missing)
		return nil
	}
	text := k.p.textOf(k.r, *x)
	canon, ok := c.CanonicalKey(text)
	if !ok {
		s := k.known[c][string(text)]
		switch {
		case s == nil:
			k.open.add(c, string(text))
		case s.refused != nil:
			k.refuse(c, s.refused.Code, s.refused.Message)
		default:
			canon = s.canon
		}
	}
	if c.Kind == pgtext.KindText && !c.IsChar() && len(canon) < len(text) {
		x.len = int32(len(canon)) // spaces that the column does not store: they must not be looked up
	}
	return canon
}

func (k *sealing) refuse(c *target.Column, code, message string) {
	k.fault = &fault{record: k.r.record, table: k.t.Title(), column: c.Name, code: code, message: message}
}
