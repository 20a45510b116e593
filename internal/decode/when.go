package decode

import (
	"bytes"
	"strconv"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// wants finds out which tables want the record, and reports whether any does something about it: by the conditions on its value, or, before
// the value is read, by all others. So a record that only its headers tell from others need not be in the format of these.
func (d *decoder) wants(rec *sink.Record, sc *scratch, ofValue bool, op operation) (any bool, f *Fault) {
	for i := range d.tables {
		t := &d.tables[i]
		if !ofValue {
			sc.unwanted[i] = false
		}
		for k := range t.When {
			c := &t.When[k]
			if sc.unwanted[i] || c.Source.OfValue() != ofValue || op != upserts && !d.envelope.tells(op, &c.Source) {
				continue
			}
			met, r := sc.meets(c, t.whenAt[k], rec)
			if r != nil {
				return false, &Fault{Table: t.Title(), Code: r.Code, Message: r.Message, Plain: r.Plain}
			}
			sc.unwanted[i] = !met
		}
		any = any || !sc.unwanted[i] || t.Otherwise
	}
	return any, nil
}

// meetsAll reports whether there are conditions, and the record meets them all.
func (sc *scratch) meetsAll(conditions []tables.Condition, at []int32, rec *sink.Record) (bool, *pgtext.Refusal) {
	for k := range conditions {
		if met, r := sc.meets(&conditions[k], at[k], rec); r != nil || !met {
			return false, r
		}
	}
	return len(conditions) > 0, nil
}

// meets reports whether the record meets a condition; at is the place of its path.
func (sc *scratch) meets(c *tables.Condition, at int32, rec *sink.Record) (bool, *pgtext.Refusal) {
	switch src := &c.Source; {
	case src.OfValue():
		return sc.valueMeets(c, &sc.values[at]), nil
	case src.Meta == source.Topic:
		sc.text = append(sc.text[:0], rec.Topic...)
	case src.Meta == source.Partition:
		sc.text = strconv.AppendInt(sc.text[:0], int64(rec.Partition), 10)
	case src.Raw():
		b, ok := rawBytes(rec, src)
		return c.Met(b, ok && b != nil, true), nil
	case rec.Key == nil:
		return c.Met(nil, false, false), nil
	default:
		if r := sc.readKey(rec); r != nil {
			return false, r
		}
		return sc.valueMeets(c, &sc.keys[at]), nil
	}
	return c.Met(sc.text, true, true), nil
}

// valueMeets reports whether a value meets a condition. One without a text, such as an object, is there, and is nothing that it could be
// compared with.
func (sc *scratch) valueMeets(c *tables.Condition, v *event.Value) bool {
	switch v.Kind {
	case event.Absent, event.Null, event.Unavailable:
		return c.Met(nil, false, false)
	}
	text, ok := sc.textOf(v)
	return c.Met(text, true, ok)
}

// textOf is the text that a value is compared by, good until the next one; ok is false where it has none.
func (sc *scratch) textOf(v *event.Value) (text []byte, ok bool) {
	var err error
	switch {
	case v.Kind == event.Absent || v.Kind == event.Null || v.Kind == event.Unavailable:
		return nil, false
	case v.Kind == event.String && bytes.IndexByte(v.Raw, '\\') < 0:
		return v.Raw[1 : len(v.Raw)-1], true
	case v.Kind == event.String:
		text, err = fields.AppendString(sc.text[:0], v.Raw)
	default:
		text, err = v.AppendText(sc.text[:0])
	}
	sc.text = text
	return text, err == nil
}
