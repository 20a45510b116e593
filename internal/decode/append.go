package decode

// Append moves what q holds to the end of p: records can be decoded into a part of their own, where
// nobody waits for them, and be joined to the part that a writer will take under a lock. The records of q
// come after those of p. Afterwards q is empty, with its memory ready for the next records, and the
// payloads let go. Neither may have been handed to Write. It is not safe for concurrent use.
//
// A part is decoded in one way. If a table was altered between the two, the records of q are decoded
// again, as those of p were; Write decodes both as the tables are by then. An error is one of [Plan.Add]: p is as it was, and q
// holds its records, and can be appended once the schema is learnt.
func (p *Part) Append(q *Part) error {
	if len(q.Records) == 0 {
		return nil
	}
	by := p.DecodedBy
	if len(p.Records) == 0 {
		by = q.DecodedBy
	}
	if err := by.redecode(q, by != q.DecodedBy); err != nil {
		return err
	}
	p.DecodedBy, p.blind = by, p.blind || q.blind
	records, cells, text, rows, keyText := len(p.Records), len(p.Cells), len(p.Text), len(p.Rows), len(p.KeyText)
	p.Records = append(room(p.Records, len(q.Records)), q.Records...)
	p.Cells = append(room(p.Cells, len(q.Cells)), q.Cells...)
	p.Text = append(room(p.Text, len(q.Text)), q.Text...)
	p.Rows = room(p.Rows, len(q.Rows))
	for _, r := range q.Rows {
		r.text += text
		r.Record += int32(records)
		r.First += int32(cells)
		p.Rows = append(p.Rows, r)
	}
	p.KeyText = append(room(p.KeyText, len(q.KeyText)), q.KeyText...)
	p.Keys = room(p.Keys, len(q.Keys))
	for _, k := range q.Keys {
		k.off += keyText
		p.Keys = append(p.Keys, k)
	}
	for _, i := range q.open {
		p.open = append(p.open, i+int32(rows))
	}
	for _, f := range q.Faults {
		f.Record += int32(records)
		p.Faults = append(p.Faults, f)
	}
	p.payload += q.payload
	p.To = q.To
	clear(q.Records)
	*q = Part{Records: q.Records[:0], Rows: q.Rows[:0], Cells: q.Cells[:0], Text: q.Text[:0], Keys: q.Keys[:0], KeyText: q.KeyText[:0]}
	return nil
}
