package engine

import (
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// TableStats counts what a sink has committed since it was opened.
type TableStats struct {
	// Table is its qualified name.
	Table string `json:"table"`
	// Tombstones were applied: those that the delete memory knew already, as in a replay, don't count. Of
	// those that follow each other in one transaction for one key the last one does.
	Tombstones int64 `json:"tombstones"`
	// TombstonesWithoutRow are those of them that met no row. Many of them say that record_key does not name
	// rows as events do.
	TombstonesWithoutRow int64 `json:"tombstones_without_row"`
}

// Stats returns the counts of all tables with tombstones so far, by name. It is safe for concurrent use.
func (s *Sink) Stats() []TableStats {
	s.stats.Lock()
	defer s.stats.Unlock()
	var out []TableStats
	for _, t := range s.stats.tables {
		out = append(out, t.TableStats)
	}
	slices.SortFunc(out, func(a, b TableStats) int { return strings.Compare(a.Table, b.Table) })
	return out
}

// stats are the counts of a sink.
type stats struct {
	sync.Mutex
	tables map[string]*tableStats
}

type tableStats struct {
	TableStats
	warned   time.Time
	unwarned int64 // without a row, since
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

// count adds what a committed transaction did, and warns of tombstones that met no row.
func (s *Sink) count(done effects) {
	s.stats.Lock()
	defer s.stats.Unlock()
	for t, e := range done {
		x := e.removed
		if x == (removed{}) {
			continue
		}
		c := s.stats.tables[t.Title()]
		if c == nil {
			c = &tableStats{TableStats: TableStats{Table: t.Title()}}
			s.stats.tables[t.Title()] = c
		}
		c.Tombstones += x.tombstones
		c.TombstonesWithoutRow += x.rowless
		c.unwarned += x.rowless
		if c.unwarned == 0 || time.Since(c.warned) < rowlessPause {
			continue
		}
		s.log.Warn("tombstones met no row", slog.String("topic", strings.Join(t.Topics, ", ")), slog.String("table", c.Table), slog.Int64("tombstones", c.unwarned),
			slog.String("look_at", "record_key, if rows stay that should go: $key takes the key's bytes as they are, $key_json reads a JSON string"))
		c.warned, c.unwarned = time.Now(), 0
	}
}
