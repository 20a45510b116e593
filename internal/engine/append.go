package engine

// Append moves what q holds to the end of p: records can be decoded into a part of their own, where
// nobody waits for them, and be joined to the part that a writer will take under a lock. The records of q
// come after those of p. Afterwards q is empty, with its memory ready for the next records, and the
// payloads let go. Neither may have been handed to Write. It is not safe for concurrent use.
//
// A part is decoded in one way. If a table was altered between the two, the records of q are decoded
// again, as those of p were; Write decodes both as the tables are by then.
func (p *Part) Append(q *Part) {
	if len(q.records) == 0 {
		return
	}
	if len(p.records) == 0 {
		p.plan = q.plan
	} else {
		p.plan.decode(q)
	}
	records, cells, text, rows, keyText := len(p.records), len(p.cells), len(p.text), len(p.rows), len(p.keyText)
	p.records = append(room(p.records, len(q.records)), q.records...)
	p.cells = append(room(p.cells, len(q.cells)), q.cells...)
	p.text = append(room(p.text, len(q.text)), q.text...)
	p.rows = room(p.rows, len(q.rows))
	for _, r := range q.rows {
		r.text += text
		r.record += int32(records)
		r.first += int32(cells)
		p.rows = append(p.rows, r)
	}
	p.keyText = append(room(p.keyText, len(q.keyText)), q.keyText...)
	p.keys = room(p.keys, len(q.keys))
	for _, k := range q.keys {
		k.off += keyText
		p.keys = append(p.keys, k)
	}
	for _, i := range q.open {
		p.open = append(p.open, i+int32(rows))
	}
	for _, f := range q.faults {
		f.record += int32(records)
		p.faults = append(p.faults, f)
	}
	p.payload += q.payload
	p.To = q.To
	clear(q.records)
	*q = Part{records: q.records[:0], rows: q.rows[:0], cells: q.cells[:0], text: q.text[:0], keys: q.keys[:0], keyText: q.keyText[:0]}
}
