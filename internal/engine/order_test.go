package engine

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

var (
	histories = flag.Int("histories", testenv.Times(manyHistories, 400), "random histories of each kind")
	seed      = flag.Uint64("seed", rand.Uint64(), "of the random histories")
)

// manyHistories is for each process: the order of events is the same on all routes and versions, which add up.
const manyHistories = 5

// kinds of tables that the random histories are written into.
var historyTables = []struct {
	name       string
	notNull    bool // c is not null: partial events may find no row to update
	partitions int32
	ordered    bool // all partial events of a round in one statement, with flags
	table      sink.TableConfig
	follow     bool // a tombstone follows each deletion with a version
}{
	{"versioned with memory", false, 1, false, sink.TableConfig{Version: "v", RecordKey: map[string]string{"id": "$key"}}, false},
	{"versioned with memory, keys from several partitions", false, 3, false, sink.TableConfig{Version: "v", RecordKey: map[string]string{"id": "$key"}}, false},
	{"unversioned with memory, keys from several partitions", false, 3, false, sink.TableConfig{RecordKey: map[string]string{"id": "$key"}}, false},
	{"versioned, not null", true, 2, false, sink.TableConfig{Version: "v", RecordKey: map[string]string{"id": "$key"}}, false},
	{"versioned with memory, flagged", false, 1, true, sink.TableConfig{Version: "v", RecordKey: map[string]string{"id": "$key"}}, false},
	{"unversioned, not null, flagged", true, 2, true, sink.TableConfig{RecordKey: map[string]string{"id": "$key"}}, false},
	{"deletions with a version", false, 1, false, sink.TableConfig{Version: "v", DeleteWhen: deleteWhen}, false},
	{"deletions with a version, keys from several partitions", false, 3, false, sink.TableConfig{Version: "v", DeleteWhen: deleteWhen}, false},
	{"deletions with a version, and tombstones", false, 1, false, sink.TableConfig{Version: "v", DeleteWhen: deleteWhen, RecordKey: map[string]string{"id": "$key"}}, true},
	{"deletions with a version, and tombstones, flagged", true, 1, true, sink.TableConfig{Version: "v", DeleteWhen: deleteWhen, RecordKey: map[string]string{"id": "$key"}}, true},
	{"deletions with a version, and tombstones, keys from several partitions", false, 3, false, sink.TableConfig{Version: "v", DeleteWhen: deleteWhen, RecordKey: map[string]string{"id": "$key"}}, true},
	{"deletions with a version, and tombstones of their own", false, 2, false, sink.TableConfig{Version: "v", DeleteWhen: deleteWhen, RecordKey: map[string]string{"id": "$key"}}, false},
	{"versioned without tombstones", false, 2, false, sink.TableConfig{Version: "v", Tombstones: "ignore"}, false},
}

// deleteWhen makes the table one that has deletions with a version: the events of a history say by themselves which these are.
var deleteWhen = map[string]sink.Condition{"x": {In: []string{"1"}}}

// Rules 11, 13 and 16: whatever the batch borders, a history leaves the table
// that applying its events one by one leaves, as a model in Go says; and replays
// of any partition, from any offset, with any borders, change no row.
func TestRandomHistories(t *testing.T) {
	for _, h := range historyTables {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			r := newHistoryRig(t, h.notNull, h.follow, h.table)
			r.e.tables[0].learn.ordered.Store(h.ordered)
			for n := range *histories {
				if problem := r.run(*seed+uint64(n), h.partitions); problem != "" {
					t.Fatalf("go test -seed %d -histories 1: %s", *seed+uint64(n), problem)
				}
			}
			t.Logf("seed %d", *seed)
		})
	}
}

// The order of rule 11 is needed: "the later version wins, a tombstone always
// deletes", which is what a table without a guard does, fails the same property.
func TestRandomHistoriesNeedTheGuard(t *testing.T) {
	r := newHistoryRig(t, false, false, sink.TableConfig{Version: "v", Guard: "none", RecordKey: map[string]string{"id": "$key"}})
	for n := range 50 * *histories {
		if problem := r.run(*seed+uint64(n), 1); problem != "" {
			t.Logf("seed %d, history %d: %s", *seed, n, problem)
			return
		}
	}
	t.Errorf("seed %d: no history tells the order of the guard from the naive one", *seed)
}

type historyRig struct {
	t       *testing.T
	e       *engine
	notNull bool
	guarded bool
	n       int
}

func newHistoryRig(t *testing.T, notNull, follow bool, tc sink.TableConfig) *historyRig {
	create := `create table h (id int primary key, v int, a int default 7, b int, c int)`
	if notNull {
		create = `create table h (id int primary key, v int, a int default 7, b int, c int not null)`
	}
	db := newDatabase(t, create)
	tc.Name, tc.Topics, tc.Key = "h", []string{"o"}, []string{"id"}
	if tc.Guard == "none" { // the columns exist, and nothing keeps them
		db.Do("alter table h add column _oncesink_source int, add column _oncesink_offset bigint")
	}
	cfg := sink.Config{Tables: []sink.TableConfig{tc}}
	if follow {
		cfg.Topics = map[string]sink.TopicConfig{"o": {Envelope: &sink.Envelope{Op: "op", Upsert: []string{"u"}, Delete: []string{"d"}}}}
	}
	return &historyRig{t: t, e: db.open(cfg), notNull: notNull, guarded: tc.Guard != "none"}
}

// happening is an event of a history.
type happening struct {
	partition int32
	offset    int64
	id        int
	gone      bool
	fields    map[string]string // v, a, b, c; absent ones are not there. One that is gone has a version or none
}

// versioned reports whether it is a deletion with a version.
func (h happening) versioned() bool { return h.gone && h.fields["v"] != "" }

func (h happening) ev() ev {
	cols := fmt.Sprintf("id=%d", h.id)
	for _, f := range slices.Sorted(maps.Keys(h.fields)) {
		cols += " " + f + "=" + h.fields[f]
	}
	return ev{offset: h.offset, cols: cols, gone: h.gone, versioned: h.versioned()}
}

// run writes one random history and returns what is wrong with it.
func (r *historyRig) run(seed uint64, partitions int32) string {
	rnd := rand.New(rand.NewPCG(seed, 11))
	r.n++
	topic := fmt.Sprintf("o%d", r.n)
	r.e.db.Do("truncate h")
	memory := r.e.tables[0].Memory
	if memory != "" {
		r.e.db.Do("truncate " + memory)
	}
	logs := r.logs(rnd, partitions)
	for p := range logs {
		r.e.claim(topic, int32(p))
		if rnd.IntN(4) == 0 { // a start in the middle of the log
			first := logs[p][rnd.IntN(len(logs[p]))].offset
			r.e.db.Do("select oncesink.accept_gap('g', $1::text, $2::int, $3::bigint + 1)", topic, p, first)
			r.e.claim(topic, int32(p))
		}
	}
	m := &model{versioned: r.e.tables[0].Version >= 0, versionedDeletes: r.e.tables[0].VersionedDeletes, follow: r.e.tables[0].TombstonesFollow, memory: memory != "", notNull: r.notNull, rows: map[int]*modelRow{}, graves: map[int]*grave{}}
	var story []string
	step := func(parts []*decode.Part, batches [][]happening) {
		r.e.write(parts...)
		var names []string
		for i, b := range batches {
			for _, h := range b {
				m.apply(h, parts[i].Claim.Source)
			}
			names = append(names, fmt.Sprintf("%d[%d..%d]", b[0].partition, b[0].offset, b[len(b)-1].offset))
		}
		story = append(story, strings.Join(names, " "))
	}
	r.feed(rnd, topic, logs, step)
	if rnd.IntN(3) == 0 { // rule 12
		r.e.recreate(topic)
		story = append(story, fmt.Sprintf("recreated, after logs %v", logs))
		logs = r.logs(rnd, partitions)
		r.feed(rnd, topic, logs, step)
	}
	got, want := r.dump(""), m.dump(memory != "")
	if got != want && r.guarded {
		return fmt.Sprintf("batches %v\nlogs %v\ngot:\n%s\nwant:\n%s", story, logs, got, want)
	}
	// What lay before the start, seen late, finds its place.
	for p := range logs {
		r.e.rewind(topic, int32(p), 0)
	}
	story = append(story, "from the beginning")
	r.feed(rnd, topic, logs, step)
	got, want = r.dump(""), m.dump(memory != "")
	if got != want && r.guarded {
		return fmt.Sprintf("batches %v\nlogs %v\ngot:\n%s\nwant:\n%s", story, logs, got, want)
	}
	if m.refused > 0 {
		return "" // what a dead letter was refused for may be mended by a later event: a replay applies it
	}
	// No reader sees a row go back in time either: nothing changes after any batch.
	physical := ""
	if r.guarded {
		physical = "xmin::text, ctid::text, " // not even written again
	}
	before := r.dump(physical)
	problem := ""
	for range 2 {
		story = append(story, "replay")
		for p := range logs {
			if rnd.IntN(3) > 0 {
				r.e.rewind(topic, int32(p), int64(rnd.IntN(int(logs[p][len(logs[p])-1].offset+1))))
			}
		}
		r.feed(rnd, topic, logs, func(parts []*decode.Part, batches [][]happening) {
			step(parts, batches)
			if after := r.dump(physical); after != before && problem == "" {
				problem = fmt.Sprintf("batches %v\nlogs %v\nbefore the replay:\n%s\nafter:\n%s", story, logs, before, after)
			}
		})
	}
	return problem
}

func (r *historyRig) logs(rnd *rand.Rand, partitions int32) [][]happening {
	logs := make([][]happening, partitions)
	for p := range logs {
		offset := int64(0)
		for range 3 + rnd.IntN(12) {
			offset += int64(rnd.IntN(3)) // logs have gaps
			logs[p] = append(logs[p], r.random(rnd, int32(p), offset))
			offset++
		}
	}
	return logs
}

func (r *historyRig) random(rnd *rand.Rand, partition int32, offset int64) happening {
	h := happening{partition: partition, offset: offset, id: 1 + rnd.IntN(2), fields: map[string]string{}}
	if r.e.tables[0].RecordKey != nil && rnd.IntN(5) == 0 {
		h.gone = true
		return h
	}
	h.fields["v"] = fmt.Sprint(rnd.IntN(5))
	if r.e.tables[0].VersionedDeletes && rnd.IntN(5) == 0 {
		h.gone = true
		return h
	}
	for _, f := range []string{"a", "b", "c"} {
		switch rnd.IntN(20) {
		case 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11:
			h.fields[f] = fmt.Sprint(rnd.IntN(1000))
		case 12:
			h.fields[f] = "?"
		case 13, 14, 15:
			if !r.notNull || f != "c" {
				h.fields[f] = "null"
			}
		}
	}
	if !r.notNull && rnd.IntN(2) == 0 { // whole events are the rule
		h.fields["a"], h.fields["b"], h.fields["c"] = "1", "2", "3"
		if rnd.IntN(8) == 0 {
			h.fields["b"] = "?"
		}
	}
	return h
}

// feed writes what lies beyond the claims' positions, in random batches of random partitions.
func (r *historyRig) feed(rnd *rand.Rand, topic string, logs [][]happening, step func([]*decode.Part, [][]happening)) {
	for {
		var parts []*decode.Part
		var batches [][]happening
		for _, p := range rnd.Perm(len(logs)) {
			next := r.e.claims[offsets.Partition{Topic: topic, Partition: int32(p)}].Position.Next
			var left []happening
			for _, h := range logs[p] {
				if h.offset >= next {
					left = append(left, h)
				}
			}
			if len(left) == 0 || len(batches) > 0 && rnd.IntN(2) == 0 {
				continue
			}
			batch := left[:1+rnd.IntN(len(left))]
			var evs []ev
			for _, h := range batch {
				evs = append(evs, h.ev())
			}
			parts, batches = append(parts, r.e.part(topic, int32(p), evs...)), append(batches, batch)
		}
		if len(parts) == 0 {
			return
		}
		step(parts, batches)
	}
}

func (r *historyRig) dump(more string) string {
	s := r.e.db.Lines("select " + more + "id, v, a, b, c, _oncesink_source, _oncesink_offset from h order by id")
	if t := r.e.tables[0]; t.Memory != "" {
		v := "null"
		if t.Version >= 0 {
			v = "v"
		}
		if t.VersionedDeletes {
			more += "_oncesink_versioned, exists (select from h where (h._oncesink_source, h._oncesink_offset) = (_oncesink_outlived_source, _oncesink_outlived_offset)), "
		}
		s += "\nmemory\n" + r.e.db.Lines("select "+more+"id, "+v+", _oncesink_source, _oncesink_offset from "+t.Memory+" order by id")
	}
	return s
}

// model applies events one by one, as rule 11 says.
type model struct {
	versioned, versionedDeletes, follow, memory, notNull bool

	rows    map[int]*modelRow
	graves  map[int]*grave
	refused int
}

type modelRow struct {
	v      string
	at     place3
	fields map[string]string
}

type grave struct {
	v         string // "" null
	at        place3
	versioned bool   // of a deletion with a version
	outlived  place3 // the row that the latest one did not take which stands behind it
}

// place3 is generation, offset, source.
type place3 [3]int64

// nowhere is before all places.
var nowhere = place3{-1}

func (p place3) after(q place3) bool { return slices.Compare(p[:], q[:]) > 0 }

func (m *model) apply(h happening, source int32) {
	at := place3{int64(source) >> offsets.SourceBits, h.offset, int64(source)}
	row, g := m.rows[h.id], m.graves[h.id]
	if h.gone && !h.versioned() {
		m.bury(h, at, row, g)
		return
	}
	newer := func(v string, stored place3) bool {
		if !m.versioned || h.fields["v"] == v {
			return at.after(stored)
		}
		return v == "" || h.fields["v"] > v // one digit each
	}
	if row != nil && !newer(row.v, row.at) {
		if outlived := (place3{at[0], row.at[1], at[2]}); m.follow && h.versioned() && outlived == row.at && at.after(row.at) && (g == nil || g.outlived != outlived) {
			if g == nil {
				g = &grave{at: outlived, versioned: true}
				m.graves[h.id] = g
			}
			g.outlived = outlived
		}
		return
	}
	if h.versioned() {
		switch wins := g == nil || newer(g.v, g.at); {
		case row == nil && !wins:
		case g == nil:
			m.graves[h.id] = &grave{v: h.fields["v"], at: at, versioned: true, outlived: nowhere}
		default:
			if g.versioned && wins || at.after(g.at) {
				g.at, g.versioned = at, true
			}
			g.v = max(g.v, h.fields["v"])
		}
		delete(m.rows, h.id)
		return
	}
	if g != nil && (!newer(g.v, g.at) || !g.versioned && g.at[2] == at[2] && h.offset < g.at[1]) {
		return
	}
	withheld := false
	for f, v := range h.fields {
		if v == "?" {
			withheld = true
			delete(h.fields, f)
			defer func() { h.fields[f] = v }()
		}
	}
	if row == nil {
		if _, ok := h.fields["c"]; withheld || m.notNull && !ok {
			m.refused++
			return
		}
		row = &modelRow{fields: map[string]string{"a": "7", "b": "null", "c": "null"}}
		m.rows[h.id] = row
	}
	maps.Copy(row.fields, h.fields)
	row.v, row.at = h.fields["v"], at
}

func (m *model) bury(h happening, at place3, row *modelRow, g *grave) {
	latest := g == nil || at.after(g.at)
	deletes := row != nil && at.after(row.at) && (latest || at[2] == row.at[2]) && !(g != nil && g.outlived == row.at && row.at[2] == at[2])
	if g == nil {
		g = &grave{at: nowhere, outlived: nowhere}
		m.graves[h.id] = g
	}
	if latest {
		g.at, g.versioned = at, false
	}
	if deletes {
		delete(m.rows, h.id)
		g.v = max(g.v, row.v)
	}
}

func (m *model) dump(memory bool) string {
	null := func(s string) string {
		if s == "null" || s == "" {
			return "-"
		}
		return s
	}
	var lines []string
	for _, id := range slices.Sorted(maps.Keys(m.rows)) {
		r := m.rows[id]
		lines = append(lines, fmt.Sprintf("%d|%s|%s|%s|%s|%d|%d", id, r.v, null(r.fields["a"]), null(r.fields["b"]), null(r.fields["c"]), r.at[2], r.at[1]))
	}
	s := strings.Join(lines, "\n")
	if memory {
		lines = nil
		for _, id := range slices.Sorted(maps.Keys(m.graves)) {
			g := m.graves[id]
			v := g.v
			if !m.versioned {
				v = ""
			}
			line := fmt.Sprintf("%d|%s|%d|%d", id, null(v), g.at[2], g.at[1])
			if m.versionedDeletes {
				row := m.rows[id]
				line = fmt.Sprintf("%.1s|%.1s|", fmt.Sprint(g.versioned), fmt.Sprint(row != nil && g.outlived == row.at)) + line
			}
			lines = append(lines, line)
		}
		s += "\nmemory\n" + strings.Join(lines, "\n")
	}
	return s
}
