package engine

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/target"
)

// addRow appends a row whose cells are the part's last, with its canonical key and version. A row whose texts
// only PostgreSQL can read stays open until Seal.
func (p *Part) addRow(t *target.Table, r row, limit int) *fault {
	p.rows = append(p.rows, r)
	k := sealing{p: p, r: &p.rows[len(p.rows)-1], t: t}
	key := k.seal()
	switch {
	case k.fault != nil:
		return k.fault
	case len(p.keyText)-p.began.keyText > limit:
		return tooLarge(limit)
	case len(k.open) > 0:
		p.open = append(p.open, int32(len(p.rows)-1))
	}
	p.keys = append(p.keys, key)
	return nil
}

// distinct refuses an event that has two elements with one key, among rows of children from one to before another.
// Those that are open are left out.
func (p *Part) distinct(t *target.Table, from, to int) *fault {
	if to-from < 2 {
		return nil
	}
	met := make(map[string]bool, to-from)
	for i := from; i < to; i++ {
		if key := p.keys[i].keyIn(p.keyText); len(key) > 0 {
			if met[string(key)] {
				return &fault{record: p.rows[i].record, table: t.Title(), column: t.Columns[t.Key[0]].Name, code: uniqueViolation,
					message: "two elements of " + t.Config.Each + " have one key"}
			}
			met[string(key)] = true
		}
	}
	return nil
}

// Seal makes the part ready to be written. It reads the keys and versions that are open with what is known of their
// spellings; a record whose key or version is none becomes a fault. Spellings that are
// not known are returned, and nothing is sealed yet.
func (p *Part) Seal(known spellings) (open spellings) {
	if p.sealed == len(p.records) {
		return nil
	}
	began, faults := len(p.keyText), slices.Clone(p.faults)
	for _, i := range p.open {
		k := sealing{p: p, r: &p.rows[i], t: p.plan.tables[p.rows[i].table], known: known}
		p.keys[i] = k.seal()
		if k.fault != nil {
			faults = append(faults, *k.fault)
		}
		open.merge(k.open)
	}
	if len(open) > 0 {
		p.keyText = p.keyText[:began]
		return open
	}
	faults = append(faults, p.siblings()...)
	p.open, p.sealed = nil, len(p.records)
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

// siblings are the faults of events that have two elements with one key, of which one was open.
func (p *Part) siblings() (faults []fault) {
	for _, i := range p.open {
		t := p.plan.tables[p.rows[i].table]
		if t.Parent == nil {
			continue
		}
		same := func(k int) bool { return p.rows[k].record == p.rows[i].record && p.rows[k].table == p.rows[i].table }
		from, to := int(i), int(i)+1
		for ; from > 0 && same(from-1); from-- {
		}
		for ; to < len(p.rows) && same(to); to++ {
		}
		if f := p.distinct(t, from, to); f != nil {
			faults = append(faults, *f)
		}
	}
	return faults
}

// sealing is one row on its way to a canonical key.
type sealing struct {
	p     *Part
	r     *row
	t     *target.Table
	known spellings
	open  spellings
	fault *fault
}

// seal appends the row's canonical key and version to the part's keyText. Of a row that is open, or at fault, there
// is none.
func (k *sealing) seal() keyCell {
	start := len(k.p.keyText)
	k.key()
	mid := len(k.p.keyText)
	k.version()
	if k.fault != nil || len(k.open) > 0 {
		k.p.keyText = k.p.keyText[:start]
		return keyCell{off: start}
	}
	return keyCell{start, int32(mid - start), int32(len(k.p.keyText) - mid)}
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
		k.p.keyText = append(k.p.keyText, k.canonical(k.t.Version, "the event has no version (rule 11)")...)
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

// refuse notes the first reason.
func (k *sealing) refuse(c *target.Column, code, message string) {
	if k.fault == nil {
		k.fault = &fault{record: k.r.record, table: k.t.Title(), column: c.Name, code: code, message: message}
	}
}
