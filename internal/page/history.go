package page

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/oncesink/oncesink/sink"
)

const (
	slotWidth = 5 * time.Second
	slots     = int(15 * time.Minute / slotWidth)
	rateSlots = 6 // of whole ones, by which rates of tables go

	// Durations are counted by classes that grow by a factor, from the first one on.
	firstDuration  = 100 * time.Microsecond
	durationFactor = 1.15
	durations      = 96 // up to a minute and more
)

// history is what happened in the last quarter of an hour, in slots of some seconds. It is safe for concurrent use.
type history struct {
	mu     sync.Mutex
	at     int64 // the number of the newest slot
	slots  [slots]slot
	tables map[string]*tableHistory
	// Records and letters that were committed since the beginning.
	records, letters int64
}

type slot struct {
	records   int64
	took      [durations]uint32
	lag       float64 // the most that was seen
	lagKnown  bool
	committed int64
}

type tableHistory struct {
	total sink.TableStats
	slots [rateSlots + 1]struct {
		at int64
		n  sink.TableStats
	}
}

func newHistory() *history { return &history{tables: map[string]*tableHistory{}} }

func slotAt(t time.Time) int64 { return t.UnixNano() / int64(slotWidth) }

// now returns the slot of a moment, and forgets what is too old.
func (h *history) now(t time.Time) *slot {
	n := slotAt(t)
	if h.at == 0 || n-h.at >= int64(slots) {
		h.slots = [slots]slot{}
	} else {
		for i := h.at + 1; i <= n; i++ {
			h.slots[i%int64(slots)] = slot{}
		}
	}
	h.at = max(h.at, n)
	return &h.slots[h.at%int64(slots)]
}

func (h *history) lag(t time.Time, seconds float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.now(t)
	s.lag, s.lagKnown = max(s.lag, seconds), true
}

func (h *history) committed(t time.Time, tx *sink.Transaction) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.now(t)
	if !tx.Again {
		s.records += int64(tx.Records)
		h.records += int64(tx.Records)
		h.letters += int64(tx.DeadLetters)
	}
	s.committed++
	s.took[durationClass(tx.Duration)]++
	for i := range tx.Tables {
		n := &tx.Tables[i]
		x := h.tables[n.Table]
		if x == nil {
			x = &tableHistory{}
			x.total.Table = n.Table
			h.tables[n.Table] = x
		}
		addTable(&x.total, n)
		in := &x.slots[h.at%int64(len(x.slots))]
		if in.at != h.at {
			in.at, in.n = h.at, sink.TableStats{}
		}
		addTable(&in.n, n)
	}
}

func addTable(to, n *sink.TableStats) {
	to.Copied += n.Copied
	to.Upserted += n.Upserted
	to.UnchangedByLook += n.UnchangedByLook
	to.UnchangedByStatement += n.UnchangedByStatement
	to.Tombstones += n.Tombstones
}

func durationClass(d time.Duration) int {
	if d <= firstDuration {
		return 0
	}
	return min(durations-1, int(math.Ceil(math.Log(float64(d)/float64(firstDuration))/math.Log(durationFactor))))
}

// percentile is the upper bound of the class in which the share of transactions ends, in seconds; NaN if there were none.
func (s *slot) percentile(share float64) float64 {
	want := int64(math.Ceil(float64(s.committed) * share))
	if want == 0 {
		return math.NaN()
	}
	for i, n := range s.took {
		if want -= int64(n); want <= 0 {
			return firstDuration.Seconds() * math.Pow(durationFactor, float64(i))
		}
	}
	return math.NaN()
}

// series are the values of all slots, the oldest first; NaN where nothing is known. The newest slot is not over: it is left out.
func (h *history) series(t time.Time, since time.Time, value func(*slot) float64) []float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now(t)
	out := make([]float64, 0, slots-1)
	for i := h.at - int64(slots) + 1; i < h.at; i++ {
		if i < slotAt(since) {
			out = append(out, math.NaN())
			continue
		}
		out = append(out, value(&h.slots[(i%int64(slots)+int64(slots))%int64(slots)]))
	}
	return out
}

// tableRow is what was written of a table by this process.
type tableRow struct {
	Table string `json:"table"`
	// PerSecond in the last half minute.
	PerSecond routes `json:"per_second"`
	Total     routes `json:"total"`
	// Way says which ways there are, and why, as `oncesink check` does.
	Way string `json:"way,omitempty"`
	// Findings are those of `oncesink check`.
	Findings []string `json:"findings,omitempty"`
}

// routes are numbers by the way that rows go.
type routes struct {
	Copied    float64 `json:"copied"`
	Upserted  float64 `json:"upserted"`
	Deleted   float64 `json:"deleted"`
	Unchanged float64 `json:"unchanged"`
}

// Written are the rows that were changed.
func (r routes) Written() float64 { return r.Copied + r.Upserted + r.Deleted }

func routesOf(n *sink.TableStats, seconds float64) routes {
	return routes{float64(n.Copied) / seconds, float64(n.Upserted) / seconds, float64(n.Tombstones) / seconds, float64(n.UnchangedByLook+n.UnchangedByStatement) / seconds}
}

// tableRows are the tables with rows so far, and those for which a way is known.
func (h *history) tableRows(t time.Time, ways map[string]string) []tableRow {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now(t)
	out := []tableRow{}
	for name, way := range ways {
		if h.tables[name] == nil {
			out = append(out, tableRow{Table: name, Way: way})
		}
	}
	for name, x := range h.tables {
		var lately sink.TableStats
		for i := range x.slots {
			if s := &x.slots[i]; s.at < h.at && s.at >= h.at-rateSlots {
				addTable(&lately, &s.n)
			}
		}
		out = append(out, tableRow{name, routesOf(&lately, rateSlots*slotWidth.Seconds()), routesOf(&x.total, 1), ways[name], nil})
	}
	slices.SortFunc(out, func(a, b tableRow) int { return cmp.Compare(a.Table, b.Table) })
	return out
}

// withFindings adds what is found of tables, and those of which nothing else is known, and counts it.
func withFindings(rows []tableRow, found map[string][]string) (all []tableRow, n int) {
	for name, findings := range found {
		i := slices.IndexFunc(rows, func(r tableRow) bool { return r.Table == name })
		if i < 0 {
			rows, i = append(rows, tableRow{Table: name}), len(rows)
		}
		rows[i].Findings = findings
		n += len(findings)
	}
	slices.SortFunc(rows, func(a, b tableRow) int { return cmp.Compare(a.Table, b.Table) })
	return rows, n
}

func (h *history) counts() (records, letters int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.records, h.letters
}
