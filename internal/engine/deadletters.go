package engine

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/offsets"
)

// settleDeadLetters writes the dead letters of the transaction's records: those that the
// tables refused and those that could not be decoded. Of the others no letter stays open.
func (t *transaction) settleDeadLetters(ctx context.Context) error {
	for _, x := range t.records {
		for _, f := range x.part.Faults {
			if f.Record >= x.lo && f.Record < x.hi {
				t.dead = append(t.dead, bind.Letter{Part: x.part, Record: f.Record, Code: f.Code, Message: f.Message, Plain: f.Plain, Table: f.Table, Column: f.Column})
			}
		}
	}
	if len(t.dead) > 0 && t.limited() {
		if err := t.countLetters(ctx, false); err != nil {
			return err
		}
	}
	if err := t.resolveLetters(ctx); err != nil {
		return err
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
		if w.queued >= bind.MaxStatementBytes {
			if err := t.send(ctx); err != nil {
				return err
			}
		}
	}
	return t.send(ctx)
}

// resolveLetters settles the open letters of those of the transaction's records that are written, where there can be any:
// whoever reads on meets only what was never read before. After a rewind there are records again that were.
func (t *transaction) resolveLetters(ctx context.Context) error {
	by := "replay"
	if t.again != nil {
		by = "retry"
	}
	var behind map[offsets.Partition]int64
	if t.again == nil {
		var err error
		if behind, err = t.behindLetters(ctx); err != nil {
			return err
		}
	}
	var dead map[*decode.Part]map[int32]bool
	var ids []string
	var partitions, low, high []int64
	for _, x := range t.records {
		c := x.part.Claim
		if t.again == nil && (x.lo == x.hi || x.part.Records[x.lo].Offset >= behind[c.Partition]) {
			continue
		}
		if dead == nil {
			dead = t.deadRecords()
		}
		open := false // the last range goes on
		for i := x.lo; i < x.hi; i++ {
			at := x.part.Records[i].Offset
			switch {
			case dead[x.part][i]:
				open = false
			case open:
				high[len(high)-1] = at + 1
			default:
				ids, partitions = append(ids, c.TopicID.String()), append(partitions, int64(c.Partition.Partition))
				low, high = append(low, at), append(high, at+1)
				open = t.again == nil // what lies between letters is not among the records
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	t.w.params.Ranges(t.s.ledger.Group(), ids, partitions, low, high, by)
	sql := statement.ResolveLetters
	if t.again != nil {
		sql = statement.ResolveRequests
	}
	t.w.do(doing{verb: "resolve dead letters", resolves: true}, sql)
	return nil
}

// behindLetters are the offsets behind the last dead letters of the transaction's partitions, as they were when their claims were first
// met. What has come since lies before the records at hand.
func (t *transaction) behindLetters(ctx context.Context) (map[offsets.Partition]int64, error) {
	claims := t.s.claims
	behind := map[offsets.Partition]int64{}
	var unknown []offsets.Claim
	claims.Lock()
	for _, x := range t.records {
		c := x.part.Claim
		if m := claims.met[c.Partition]; m.known && m.fence == c.Fence {
			behind[c.Partition] = m.letters
		} else {
			unknown = append(unknown, c)
		}
	}
	claims.Unlock()
	if len(unknown) == 0 {
		return behind, nil
	}
	if err := t.send(ctx); err != nil { // what is queued comes first
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, t.s.cfg.StatementTimeout+t.s.slack)
	defer cancel()
	ids, partitions := make([]string, len(unknown)), make([]int32, len(unknown))
	for i, c := range unknown {
		ids[i], partitions[i] = c.TopicID.String(), c.Partition.Partition
	}
	rows, err := t.tx.Query(ctx, statement.HighestLetters, t.s.ledger.Group(), ids, partitions)
	var last []*int64
	if err == nil {
		last, err = pgx.CollectRows(rows, pgx.RowTo[*int64])
	}
	if err != nil {
		return nil, &writeError{doing{verb: "look for dead letters"}, err}
	}
	claims.Lock()
	defer claims.Unlock()
	for i, c := range unknown {
		m := met{fence: c.Fence, known: true}
		if last[i] != nil {
			m.letters = *last[i] + 1
		}
		claims.met[c.Partition], behind[c.Partition] = m, m.letters
	}
	return behind, nil
}
