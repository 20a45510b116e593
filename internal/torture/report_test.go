package torture

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/torture/checker"
)

// result is what a row came to.
type result struct {
	Row      int             `json:"row"`
	Name     string          `json:"name"`
	Passed   bool            `json:"passed"`
	Seconds  float64         `json:"seconds"`
	Fired    map[string]int  `json:"fired"` // faults, by what proves them
	Verdict  checker.Verdict `json:"verdict"`
	Reads    int             `json:"reads"`          // of readers, in histories that were checked
	Absorbed int             `json:"absorbed"`       // rows that were written once more and changed nothing, or were rolled back
	Fenced   int             `json:"fenced"`         // partitions whose writer was refused
	Unknown  int             `json:"unknown"`        // commits whose answer was lost, and that were resolved
	Recovery []int64         `json:"recovery"`       // milliseconds
	Note     string          `json:"note,omitempty"` // what else the row saw
}

// finish waits for the end of the work, ends the processes, and checks.
func (r *rig) finish() {
	r.Helper()
	r.rest()
	r.drain()
	if r.rules.Ends == nil && !r.noEnds() {
		r.rules.Ends = r.ends()
	}
	for _, p := range r.sinks {
		p.term()
	}
	r.judge()
}

// noEnds: control records at the end of a log are nothing that a position has to pass.
func (r *rig) noEnds() bool { return slices.Contains([]int{19}, r.row.n) }

// judge checks what is there.
func (r *rig) judge() {
	r.Helper()
	r.must(r.history.Flush())
	history, err := checker.Load(r.historyPath())
	r.must(err)
	conn, err := pgx.Connect(context.Background(), r.url)
	r.must(err)
	defer func() { _ = conn.Close(context.Background()) }()
	d, err := checker.Look(context.Background(), conn, r.name)
	r.must(err)
	r.rules.OnlyLatest = r.rules.OnlyLatest || r.tables == guardedTable
	r.res.Verdict = checker.Check(history, d, r.rules)
	if !r.res.Verdict.Clean() {
		r.Errorf("%v\nthe history and the logs are in %s (with -keep they stay)", r.res.Verdict, r.dir)
	}
	if r.res.Verdict.Events == 0 {
		r.Error("nothing was produced")
	}
	if !r.noReads {
		if r.res.Reads, err = linearizable(history); err != nil {
			r.Error(err)
		}
	}
	if len(r.res.Fired) == 0 {
		r.Error("the fault did not fire")
	}
	r.absorbed()
}

// absorbed waits for the server's count of rows that were inserted, those of transactions that were rolled back included, which it gets
// when sessions end.
func (r *rig) absorbed() {
	there := r.number(`select count(*) from events`)
	written := int64(0)
	r.eventually("the server has counted what was written", func() bool {
		written = r.number(`select coalesce(sum(n_tup_ins), 0)::bigint from pg_stat_user_tables where relname = 'events' and schemaname = 'public'`)
		return written >= there && r.number(`select count(*) from pg_stat_activity where datname = current_database() and application_name like 'oncesink%'`) == 0
	})
	r.res.Absorbed = int(max(0, written-there)) + r.metric("rows_total", `result="unchanged"`)
	if r.nothingTwice && r.res.Absorbed != 0 {
		r.Errorf("%d rows were written twice, or rolled back", r.res.Absorbed)
	}
	r.res.Fenced = r.metric("fenced_total", "")
	r.res.Unknown = r.metric("unknown_commits_total", "")
}

// report takes down what is known, after a failure, too.
func (r *rig) report() {
	r.res.Seconds = time.Since(r.began).Seconds()
	r.res.Passed = !r.Failed()
	if len(r.res.Recovery) > 0 {
		slices.Sort(r.res.Recovery)
	}
	r.Logf("fired %v, %d events, L%d D%d V%d O%d P%d, absorbed %d, fenced %d, unknown %d, recovery %v ms, %d reads, %.1f s",
		r.res.Fired, r.res.Verdict.Events, r.res.Verdict.Lost, r.res.Verdict.Doubled, r.res.Verdict.Wrong, r.res.Verdict.Order, r.res.Verdict.Phantoms,
		r.res.Absorbed, r.res.Fenced, r.res.Unknown, r.res.Recovery, r.res.Reads, r.res.Seconds)
	if r.Failed() {
		for _, p := range r.sinks {
			r.Logf("%s:\n%s", p.name, tail(p.text()))
		}
	}
}

func tail(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
