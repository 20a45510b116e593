package engine

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/sink"
)

// Stats returns the counts so far. It is a snapshot, and safe for concurrent use.
func (s *Sink) Stats() sink.Stats {
	s.stats.Lock()
	defer s.stats.Unlock()
	out := s.stats.Stats
	out.Retries, out.RetriedStates = maps.Clone(out.Retries), maps.Clone(out.RetriedStates)
	for _, t := range s.stats.topics {
		out.Topics = append(out.Topics, *t)
	}
	slices.SortFunc(out.Topics, func(a, b sink.TopicStats) int { return strings.Compare(a.Topic, b.Topic) })
	for _, t := range s.stats.tables {
		out.Tables = append(out.Tables, t.TableStats)
	}
	out.Refused = s.stats.refusals.stats()
	slices.SortFunc(out.Tables, func(a, b sink.TableStats) int { return strings.Compare(a.Table, b.Table) })
	return out
}

// stats are the counts of a sink. The lock is taken once in a transaction.
type stats struct {
	sync.Mutex
	sink.Stats // but its Tables, Topics and Refused
	tables     map[string]*tableStats
	topics     map[string]*sink.TopicStats
	refusals   refusals
}

func newStats() *stats {
	return &stats{Stats: sink.Stats{Retries: map[string]int64{}, RetriedStates: map[string]int64{}}, tables: map[string]*tableStats{}, topics: map[string]*sink.TopicStats{},
		refusals: refusals{kinds: map[sink.Refusal]*refusalStats{}}}
}

type tableStats struct {
	sink.TableStats
	warned   time.Time
	unwarned int64 // tombstones without a row, since
}

// removed is what tombstones did in a transaction.
type removed struct{ tombstones, rowless int64 }

func (r removed) plus(x removed) removed {
	return removed{r.tombstones + x.tombstones, r.rowless + x.rowless}
}

// removedBy reads the answer of rememberSQL.
func removedBy(values [][]byte) (x removed) {
	x.tombstones, _ = strconv.ParseInt(string(values[0]), 10, 64)
	x.rowless, _ = strconv.ParseInt(string(values[1]), 10, 64)
	return x
}

// rowlessPause is how far apart warnings of tombstones of one table are.
const rowlessPause = time.Minute

// attempted is what a transaction did. It counts once it is committed.
type attempted struct {
	effects      effects
	refused      map[sink.Refusal]tallied
	resolved     int           // letters whose records were written after all
	again        bool          // the records are letters: they were counted before
	took, commit time.Duration // all of it, and its COMMIT
}

// count adds a committed transaction, and warns of records that were refused, and of tombstones that met no row.
func (s *Sink) count(records spans, done attempted) {
	defer s.tell(time.Now(), false)
	parts := records.measure()
	unmatched := s.unmatched(records)
	s.stats.Lock()
	defer s.stats.Unlock()
	s.stats.Commits++
	s.stats.Unmatched += unmatched
	s.stats.TransactionTime += done.took
	s.stats.CommitTime += done.commit
	s.stats.Resolved += int64(done.resolved)
	if !done.again {
		for i := range parts {
			s.stats.read(&parts[i])
		}
		s.stats.refusals.add(&s.stats.Stats, done.refused)
	}
	for t, e := range done.effects {
		did := e.stats(t.Title())
		if did == (sink.TableStats{Table: did.Table}) {
			continue
		}
		c := s.stats.tables[t.Title()]
		if c == nil {
			c = &tableStats{TableStats: sink.TableStats{Table: t.Title()}}
			s.stats.tables[t.Title()] = c
		}
		c.Copied += did.Copied
		c.Upserted += did.Upserted
		c.UnchangedByLook += did.UnchangedByLook
		c.UnchangedByStatement += did.UnchangedByStatement
		c.Tombstones += did.Tombstones
		c.TombstonesWithoutRow += did.TombstonesWithoutRow
		c.unwarned += did.TombstonesWithoutRow
		if c.unwarned == 0 || time.Since(c.warned) < rowlessPause {
			continue
		}
		s.log.Warn("tombstones met no row", slog.String("topic", strings.Join(t.Topics, ", ")), slog.String("table", c.Table), slog.Int64("tombstones", c.unwarned),
			slog.String("look_at", "record_key, if rows stay that should go: $key takes the key's bytes as they are, $key_json reads a JSON string"))
		c.warned, c.unwarned = time.Now(), 0
	}
}

// unmatched counts the records that met no table's conditions.
func (s *Sink) unmatched(records spans) (n int64) {
	m := s.plan()
	if !slices.ContainsFunc(m.tables, func(t *table) bool { return len(t.When) > 0 }) {
		return 0
	}
	for _, x := range records {
		p := x.part
		row, _ := x.rows()
		for i := x.lo; i < x.hi; i++ {
			has := row < len(p.Rows) && p.Rows[row].Record == i
			for row < len(p.Rows) && p.Rows[row].Record == i {
				row++
			}
			if r := &p.Records[i]; !has && !r.Control && r.Value != nil && (p.Faulty == nil || !p.Faulty[i]) && len(m.Topics[r.Topic]) > 0 {
				n++
			}
		}
	}
	return n
}

// countRetry notes an attempt that came to nothing.
func (s *Sink) countRetry(err error) {
	cause, class := retryCause(err), stateClass(err)
	s.stats.Lock()
	defer s.stats.Unlock()
	s.stats.Retries[cause]++
	s.stats.RetriedStates[class]++
}

// countUnknown notes a COMMIT whose answer was lost: pending is 1 if the ledger is asked for it, 0 if nobody asks, and -1 if nobody
// asks any more for one that was noted before.
func (s *Sink) countUnknown(pending int64) {
	s.stats.Lock()
	defer s.stats.Unlock()
	if pending >= 0 {
		s.stats.UnknownCommits++
	}
	s.stats.UnknownPending += pending
}

// countBisection notes a search for the records that are to blame.
func (s *Sink) countBisection() {
	s.stats.Lock()
	defer s.stats.Unlock()
	s.stats.Bisections++
}

// read adds the records of one partition in a transaction. It is called under the lock.
func (s *stats) read(p *sink.TransactionPart) {
	if p.Records == 0 {
		return
	}
	t := s.topics[p.Topic]
	if t == nil {
		t = &sink.TopicStats{Topic: p.Topic}
		s.topics[p.Topic] = t
	}
	t.Records += int64(p.Records)
	t.Bytes += int64(p.Bytes)
	s.Records += int64(p.Records)
}

// retryCause says what is in the way of an attempt, in one of the words of [sink.Stats.Retries].
func retryCause(err error) string {
	var (
		pg      *pgconn.PgError
		handler *handlerError
	)
	if !errors.As(err, &pg) {
		if errors.As(err, &handler) {
			return "handler"
		}
		return "connection"
	}
	if pgerr.InRecovery(pg) {
		return "server"
	}
	switch pg.Code {
	case "55P03":
		return "lock"
	case "57014", "25P03", "25P04":
		return "timeout"
	case "25006":
		return "server"
	case pgerr.ForeignKeyViolation:
		return "parent"
	}
	switch pg.Code[:min(2, len(pg.Code))] {
	case "08":
		return "connection"
	case "40":
		return "conflict"
	case "53":
		return "resources"
	case "57":
		return "server"
	}
	if errors.As(err, &handler) {
		return "handler"
	}
	return "other"
}
