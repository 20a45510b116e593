package decode

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/tables"
)

// AddRow appends a row whose cells are the part's last, with its canonical key and version. A row whose texts
// only PostgreSQL can read stays open until Seal.
func (p *Part) AddRow(t *tables.Table, r Row, limit int) *Fault {
	p.Rows = append(p.Rows, r)
	k := sealing{p: p, r: &p.Rows[len(p.Rows)-1], t: t}
	key := k.seal()
	switch {
	case k.fault != nil:
		return k.fault
	case len(p.KeyText)-p.Began.keyText > limit:
		return tooLarge(limit)
	case len(k.open) > 0:
		p.open = append(p.open, int32(len(p.Rows)-1))
	}
	p.Keys = append(p.Keys, key)
	return nil
}

// distinct refuses an event that has two elements with one key, among rows of children from one to before another.
// Those that are open are left out.
func (p *Part) distinct(t *tables.Table, from, to int) *Fault {
	if to-from < 2 {
		return nil
	}
	met := make(map[string]bool, to-from)
	for i := from; i < to; i++ {
		if key := p.Keys[i].KeyIn(p.KeyText); len(key) > 0 {
			if met[string(key)] {
				return &Fault{Record: p.Rows[i].Record, Table: t.Title(), Column: t.Columns[t.Key[0]].Name, Code: pgerr.UniqueViolation,
					Message: "two elements of " + t.Config.Each + " have one key", Plain: true}
			}
			met[string(key)] = true
		}
	}
	return nil
}

// Seal makes the part ready to be written. It reads the keys and versions that are open with what is known of their
// spellings; a record whose key or version is none becomes a fault. Spellings that are
// not known are returned, and nothing is sealed yet.
func (p *Part) Seal(known Spellings) (open Spellings) {
	if p.sealed == len(p.Records) {
		return nil
	}
	began, faults := len(p.KeyText), slices.Clone(p.Faults)
	for _, i := range p.open {
		k := sealing{p: p, r: &p.Rows[i], t: p.DecodedBy.Tables[p.Rows[i].Table], known: known}
		p.Keys[i] = k.seal()
		if k.fault != nil {
			faults = append(faults, *k.fault)
		}
		open.merge(k.open)
	}
	if len(open) > 0 {
		p.KeyText = p.KeyText[:began]
		return open
	}
	faults = append(faults, p.siblings()...)
	p.open, p.sealed = nil, len(p.Records)
	slices.SortStableFunc(faults, func(a, b Fault) int { return cmp.Compare(a.Record, b.Record) })
	p.Faults = slices.CompactFunc(faults, func(a, b Fault) bool { return a.Record == b.Record })
	if len(p.Faults) > 0 {
		p.Faulty = make([]bool, len(p.Records))
		for _, f := range p.Faults {
			p.Faulty[f.Record] = true
		}
	}
	return nil
}

// siblings are the faults of events that have two elements with one key, of which one was open.
func (p *Part) siblings() (faults []Fault) {
	for _, i := range p.open {
		t := p.DecodedBy.Tables[p.Rows[i].Table]
		if t.Parent == nil {
			continue
		}
		same := func(k int) bool { return p.Rows[k].Record == p.Rows[i].Record && p.Rows[k].Table == p.Rows[i].Table }
		from, to := int(i), int(i)+1
		for ; from > 0 && same(from-1); from-- {
		}
		for ; to < len(p.Rows) && same(to); to++ {
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
	r     *Row
	t     *tables.Table
	known Spellings
	open  Spellings
	fault *Fault
}

// seal appends the row's canonical key and version to the part's keyText. Of a row that is open, or at fault, there
// is none.
func (k *sealing) seal() keyCell {
	start := len(k.p.KeyText)
	k.key()
	mid := len(k.p.KeyText)
	k.version()
	if k.fault != nil || len(k.open) > 0 {
		k.p.KeyText = k.p.KeyText[:start]
		return keyCell{off: start}
	}
	return keyCell{start, int32(mid - start), int32(len(k.p.KeyText) - mid)}
}

// key appends the row's key to the part's keyText, so that equal keys are equal
// bytes and no key is the beginning of another. The order is the index's where
// that is cheap: numbers sort by length first.
func (k *sealing) key() {
	for _, i := range k.t.Key {
		canon := k.canonical(i, "the event has no value for this column of the key")
		switch k.t.Columns[i].Kind {
		case pgtext.KindInt, pgtext.KindNumeric:
			k.p.KeyText = binary.BigEndian.AppendUint32(k.p.KeyText, uint32(len(canon)))
			k.p.KeyText = append(k.p.KeyText, canon...)
		default:
			k.p.KeyText = append(append(k.p.KeyText, canon...), 0)
		}
	}
}

func (k *sealing) version() {
	if k.t.Version >= 0 && (!k.r.Tombstone || k.r.Versioned) {
		k.p.KeyText = append(k.p.KeyText, k.canonical(k.t.Version, "the event has no version")...)
	}
}

// canonical returns the canonical text of a column that must have a value.
func (k *sealing) canonical(i int, missing string) []byte {
	c := &k.t.Columns[i]
	x := &k.p.Cells[int(k.r.First)+i]
	if x.Len < 0 {
		k.refuse(c, pgtext.Refuse(pgtext.NoValue, missing))
		return nil
	}
	text := k.p.TextOf(k.r, *x)
	canon, ok := c.CanonicalKey(text)
	if !ok {
		s := k.known[c][string(text)]
		switch {
		case s == nil:
			k.open.add(c, string(text))
		case s.Refused != nil:
			k.refuse(c, s.Refused)
		default:
			canon = s.Canon
		}
	}
	if c.Kind == pgtext.KindText && !c.IsChar() && len(canon) < len(text) {
		x.Len = int32(len(canon)) // spaces that the column does not store: they must not be looked up
	}
	return canon
}

// refuse notes the first reason.
func (k *sealing) refuse(c *tables.Column, r *pgtext.Refusal) {
	if k.fault == nil {
		k.fault = faultOf(c.Name, r)
		k.fault.Record, k.fault.Table = k.r.Record, k.t.Title()
	}
}
