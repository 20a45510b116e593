package engine

import (
	"errors"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/sink"
)

// ended tells the observer of the last attempt.
func (j *job) ended(outcome sink.Outcome, records spans, err error) {
	o := j.s.cfg.Observer
	if o == nil || o.Transaction == nil {
		return
	}
	t := &sink.Transaction{Outcome: outcome, Began: j.began, Duration: j.done.took, Commit: j.done.commit, DeadLetters: len(j.dead), Again: j.again != nil,
		Parts: records.measure(), Header: records.header}
	for i := range t.Parts {
		t.Records += t.Parts[i].Records
		t.Bytes += t.Parts[i].Bytes
	}
	if outcome == sink.Committed {
		t.Tables = j.done.effects.stats()
	}
	if err != nil {
		t.SQLState, t.Reason = pgerr.SQLState(err), describe(err)
	}
	o.Transaction(t)
}

// resolution tells the observer what the ledger said of a COMMIT, and counts it.
func (s *Sink) resolution(committed bool, took time.Duration) {
	s.stats.Lock()
	if committed {
		s.stats.UnknownCommitted++
	} else {
		s.stats.UnknownRolledBack++
	}
	s.stats.Unlock()
	if o := s.cfg.Observer; o != nil && o.Resolved != nil {
		o.Resolved(committed, took)
	}
}

// measure counts the records of each span, without markers, and their bytes.
func (s spans) measure() []sink.TransactionPart {
	parts := make([]sink.TransactionPart, len(s))
	for n, x := range s {
		p := sink.TransactionPart{Topic: x.part.Claim.Topic, Partition: x.part.Claim.Partition.Partition}
		for i := x.lo; i < x.hi; i++ {
			r := &x.part.Records[i]
			if r.Control {
				continue
			}
			if p.Records == 0 {
				p.First = r.Timestamp
			}
			p.Records++
			p.Bytes += len(r.Key) + len(r.Value)
			for k := range r.Headers {
				p.Bytes += len(r.Headers[k].Key) + len(r.Headers[k].Value)
			}
		}
		parts[n] = p
	}
	return parts
}

// header gives the values that one header has in the records.
func (s spans) header(name string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, x := range s {
			for i := x.lo; i < x.hi; i++ {
				for _, h := range x.part.Records[i].Headers {
					if h.Key == name && !yield(h.Value) {
						return
					}
				}
			}
		}
	}
}

// stats are the effects on each table, by name.
func (e effects) stats() []sink.TableStats {
	all := make([]sink.TableStats, 0, len(e))
	for t, x := range e {
		if s := x.stats(t.Title()); s != (sink.TableStats{Table: s.Table}) {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b sink.TableStats) int { return strings.Compare(a.Table, b.Table) })
	return all
}

// stats are what was done to one table, for people.
func (x *effect) stats(table string) sink.TableStats {
	s := sink.TableStats{Table: table, Copied: int64(x.copied), Upserted: int64(x.upserts), UnchangedByLook: int64(max(0, x.asked-x.absent-x.winners)),
		Tombstones: x.removed.tombstones, TombstonesWithoutRow: x.removed.rowless}
	if x.asked == 0 { // otherwise changed has rows in it that a look found
		s.UnchangedByStatement = int64(max(0, x.upserted-x.changed))
	}
	return s
}

// stateClass is the class of the SQLSTATE of an error that is expected to pass, as [sink.Stats.RetriedStates] has it.
func stateClass(err error) string {
	var pg *pgconn.PgError
	var handler *handlerError
	switch {
	case errors.As(err, &pg):
		return pg.Code[:min(2, len(pg.Code))]
	case errors.As(err, &handler):
		return "handler"
	}
	return "network"
}
