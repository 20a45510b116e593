package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/looks"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// A partition of which too many records can't be written halts before they flood the table of dead letters. The ledger counts,
// in the transaction that keeps the letters.

// limited reports whether letters are counted: those of records that come for the first time, of a sink that isn't a stage.
func (t *transaction) limited() bool {
	d := &t.s.cfg.DeadLetters
	return t.again == nil && len(t.s.stages) == 0 && (d.MaxRatio < 1 || d.MaxConsecutive >= 0)
}

const counting = "count dead letters"

// countLetters counts the letters of the transaction so far. Those of records that have one already, since they were read
// before, don't count.
func (t *transaction) countLetters(ctx context.Context, trial bool) error {
	all, err := t.lettersBy(ctx)
	if err != nil || len(all) == 0 {
		return err
	}
	d := &t.s.cfg.DeadLetters
	t.w.doing = append(t.w.doing, doing{verb: counting})
	err = t.s.ledger.QueueLetters(t.conn.Conn(), t.w.batch, all, offsets.LetterLimits{Ratio: d.MaxRatio, Window: d.Window, Run: d.MaxConsecutive}, trial)
	if err != nil {
		return err
	}
	return t.send(ctx)
}

// lettersBy counts the new letters of each partition.
func (t *transaction) lettersBy(ctx context.Context) (all []offsets.Letters, err error) {
	dead := t.deadRecords()
	if len(dead) == 0 {
		return nil, nil
	}
	behind, err := t.behindLetters(ctx)
	if err != nil {
		return nil, err
	}
	for i, x := range t.records {
		if len(dead[x.part]) == 0 {
			continue
		}
		known, err := t.knownLetters(ctx, x, dead[x.part], behind[x.part.Claim.Partition])
		if err != nil {
			return nil, err
		}
		n := offsets.Letters{Partition: x.part.Claim.Partition, From: t.steps[i].Claim.Position.Next, To: t.steps[i].To.Next}
		for k := x.lo; k < x.hi; k++ {
			r := &x.part.Records[k]
			if r.Control {
				continue
			}
			n.Records++
			if !dead[x.part][k] || known[r.Offset] {
				n.Trailing = 0
				continue
			}
			n.Letters++
			n.Trailing++
			n.Longest = max(n.Longest, n.Trailing)
			if n.Letters == n.Records {
				n.Leading++
			}
		}
		if n.Letters > 0 {
			all = append(all, n)
		}
	}
	return all, nil
}

// knownLetters are the offsets of the dead records that have a letter already: of those behind which there is one at all.
func (t *transaction) knownLetters(ctx context.Context, x span, dead map[int32]bool, behind int64) (map[int64]bool, error) {
	var at []int64
	for k := range dead {
		if offset := x.part.Records[k].Offset; offset < behind {
			at = append(at, offset)
		}
	}
	if len(at) == 0 {
		return nil, nil
	}
	if err := t.send(ctx); err != nil { // what is queued comes first
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, t.s.cfg.StatementTimeout+t.s.slack)
	defer cancel()
	c := x.part.Claim
	rows, err := t.tx.Query(ctx, statement.KnownLetters, t.s.ledger.Group(), c.TopicID.String(), c.Partition.Partition, at)
	var found []int64
	if err == nil {
		found, err = pgx.CollectRows(rows, pgx.RowTo[int64])
	}
	if err != nil {
		return nil, &writeError{doing{verb: "look for dead letters"}, err}
	}
	known := make(map[int64]bool, len(found))
	for _, offset := range found {
		known[offset] = true
	}
	return known, nil
}

// deadRecords are those of the transaction's records that are known to be dead letters.
func (t *transaction) deadRecords() map[*decode.Part]map[int32]bool {
	dead := map[*decode.Part]map[int32]bool{}
	add := func(p *decode.Part, record int32) {
		if dead[p] == nil {
			dead[p] = map[int32]bool{}
		}
		dead[p][record] = true
	}
	for _, x := range t.records {
		for _, f := range x.part.Faults {
			if f.Record >= x.lo && f.Record < x.hi {
				add(x.part, f.Record)
			}
		}
	}
	for _, d := range t.dead {
		add(d.Part, d.Record)
	}
	return dead
}

// tryLimits looks whether the letters that a bisection has found are too many already: each costs it several
// statements, and what is refused record by record is seldom the records' fault.
func (t *transaction) tryLimits(ctx context.Context) error {
	const first = 128
	if n := len(t.dead); n < first || n&(n-1) != 0 || !t.limited() {
		return nil
	}
	return t.countLetters(ctx, true)
}

// flooded halts the partitions that have too many dead letters, and says why. It reports false for any other error.
func (j *job) flooded(err error, records spans) bool {
	var many *offsets.TooManyLettersError
	if !errors.As(err, &many) {
		return false
	}
	told := false
	for _, m := range many.Partitions {
		for _, x := range records {
			if x.part.Claim.Partition == (offsets.Partition{Topic: m.Topic, Partition: m.Partition}) {
				j.fail(spans{x}, &sink.HaltError{Err: &floodError{j.tellTooMany(m, x), many}})
				told = true
			}
		}
	}
	return told
}

// floodError is an *offsets.TooManyLettersError in words for a person.
type floodError struct {
	text string
	many *offsets.TooManyLettersError
}

func (e *floodError) Error() string { return e.text }
func (e *floodError) Unwrap() error { return e.many }

// tellTooMany says what is too much, what the records look like and what to do.
func (j *job) tellTooMany(m offsets.TooManyLetters, x span) string {
	d, c := &j.s.cfg.DeadLetters, x.part.Claim
	var b strings.Builder
	b.WriteString(c.Partition.String() + ": ")
	if m.Rule == "run" {
		fmt.Fprintf(&b, "too many dead letters: %d records in a row can't be written (max_consecutive: %d)", m.Letters, d.MaxConsecutive)
	} else {
		fmt.Fprintf(&b, "too many dead letters: %d of the last %d records can't be written (max_ratio: %v)", m.Letters, m.Of, d.MaxRatio)
	}
	letters := j.deadOf(x)
	most, n := mostFrequent(letters)
	if n > 0 {
		fmt.Fprintf(&b, ", %d of these for %s", n, most.Code)
		if most.Table != "" {
			b.WriteString(" in " + most.Table)
		}
		if most.Column != "" {
			b.WriteString(", column " + most.Column)
		}
	}
	const some = 20
	var values [][]byte
	for _, l := range letters[:min(some, len(letters))] {
		values = append(values, l.Entry().Value)
	}
	_, said := j.s.cfg.Topics[c.Topic]
	// Objects of which a column can't take a value are events, as far as one can see.
	if like := looks.Like(values); like != "" && (!looks.Plain(like) || most.Column == "" || most.Code == pgtext.NoValue) {
		fmt.Fprintf(&b, ". They look like %s", like)
		// Who has said how the topic is read needs another hint.
		if set := looks.Setting(c.Topic, like); set != "" && !said {
			b.WriteString(": " + set)
		}
	}
	fmt.Fprintf(&b, ". The position stands before them, at offset %d. Correct the mapping and start again; or the table, and then: %s; or let them be dead letters: %s",
		c.Position.Next, offsets.Remedy("resume", j.s.ledger.Group(), c.Topic, c.Partition.Partition),
		offsets.Remedy("accept_dead_letters", j.s.ledger.Group(), c.Topic, c.Partition.Partition, x.to().Next))
	return b.String()
}

// deadOf are the letters that the last attempt had for the records.
func (j *job) deadOf(x span) (letters []bind.Letter) {
	for _, d := range j.dead {
		if d.Part == x.part && d.Record >= x.lo && d.Record < x.hi {
			letters = append(letters, d)
		}
	}
	return letters
}

// mostFrequent is the kind that most of the letters are of, the first one of several.
func mostFrequent(letters []bind.Letter) (most sink.Refusal, n int) {
	counts := map[sink.Refusal]int{}
	for i := range letters {
		kind := kindOf(&letters[i])
		if counts[kind]++; counts[kind] > n {
			most, n = kind, counts[kind]
		}
	}
	return most, n
}
