package engine

import (
	"context"

	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/internal/statement"
)

// keepDeadLetters writes the dead letters of the transaction's records: those that the
// tables refused and those that could not be decoded.
func (t *transaction) keepDeadLetters(ctx context.Context) error {
	for _, x := range t.records {
		for _, f := range x.part.Faults {
			if f.Record >= x.lo && f.Record < x.hi {
				t.dead = append(t.dead, bind.Letter{Part: x.part, Record: f.Record, Code: f.Code, Message: f.Message, Plain: f.Plain, Table: f.Table, Column: f.Column})
			}
		}
	}
	w := t.w
	for rest := t.dead; len(rest) > 0; {
		n, size := 0, 0
		for n < len(rest) && (n == 0 || size < bind.MaxStatementBytes) {
			r := rest[n].Entry()
			size += len(r.Key) + len(r.Value)
			for _, h := range r.Headers {
				size += 2 * (len(h.Key) + len(h.Value))
			}
			n++
		}
		w.params.Letters(t.s.ledger.Group(), rest[:n])
		w.exec("keep dead letters", nil, statement.KeepLetters)
		rest = rest[n:]
	}
	return t.send(ctx)
}
