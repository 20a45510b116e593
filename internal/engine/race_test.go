package engine

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/sink"
)

// Rule 13: a key's events come from two partitions, whose transactions lock
// different ledger rows. A tombstone and an upsert of one key race each other,
// with the tombstone before the upsert in the order of the guard or after it.
// Whoever commits first, the later one by the order wins. Without the table's
// advisory lock the upsert's snapshot misses the memory that the tombstone writes
// at that moment, and brings the row back.
func TestTombstoneRacesUpsert(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key, v int)")
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}, RecordKey: map[string]string{"id": "$key"}}}})
	const keys, rounds = 40, 25
	e.claim("o", 0)
	e.claim("o", 1)
	for round := range rounds {
		base := int64(round * 4 * keys)
		// Every row is there; then partition 0 deletes and partition 1 writes each, one at a higher offset.
		var first, gone, upserts []ev
		for i := range int64(keys) {
			first = append(first, ev{offset: base + i, cols: fmt.Sprintf("id=%d v=1", i)})
			low, high := base+keys+2*i, base+keys+2*i+1
			if i%2 == 0 {
				low, high = high, low
			}
			gone = append(gone, ev{offset: low, cols: fmt.Sprintf("id=%d", i), gone: true})
			upserts = append(upserts, ev{offset: high, cols: fmt.Sprintf("id=%d v=2", i)})
		}
		e.write(e.part("o", 0, first...))
		a, b := e.part("o", 0, gone...), e.part("o", 1, upserts...)
		var out [2]Outcome
		var wg sync.WaitGroup
		wg.Go(func() { out[0] = e.Write(t.Context(), []*decode.Part{a})[0] })
		wg.Go(func() { out[1] = e.Write(t.Context(), []*decode.Part{b})[0] })
		wg.Wait()
		for _, o := range out {
			if o.Err != nil {
				t.Fatal(o.Err)
			}
			e.claims[o.Claim.Partition] = o.Claim
		}
		// Odd keys: the upsert stands after the tombstone. Even keys: before it.
		db.Want(fmt.Sprintf("%d|0", keys/2), "select count(*) filter (where id % 2 = 1 and v = 2), count(*) filter (where id % 2 = 0) from q")
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
}

// Writers whose events have different sets of fields write a statement for each
// set, and may deadlock. They notice, and go on in one order of locks.
func TestMixedWritersStopDeadlocking(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key, a int, b int)", "insert into q select generate_series(0, 99)")
	e := db.upsert("q", sink.TableConfig{Key: []string{"id"}})
	const writers = 4
	for p := range int32(writers) {
		e.claim("o", p)
	}
	offset := int64(0)
	batch := func() {
		var parts []*decode.Part
		for p := range int32(writers) {
			var evs []ev
			for i := range int64(100) {
				evs = append(evs, ev{offset: offset + i, cols: fmt.Sprintf("id=%d %s=1", i, [...]string{"a", "b"}[(i+int64(p))%2])})
			}
			parts = append(parts, e.part("o", p, evs...))
		}
		offset += 100
		outs := make([]Outcome, writers)
		var wg sync.WaitGroup
		for i, p := range parts {
			wg.Go(func() { outs[i] = e.Write(t.Context(), []*decode.Part{p})[0] })
		}
		wg.Wait()
		for _, o := range outs {
			if o.Err != nil {
				t.Fatal(o.Err)
			}
			e.claims[o.Claim.Partition] = o.Claim
		}
	}
	for n := 0; !e.tables[0].learn.ordered.Load(); n++ {
		if n == 500 {
			t.Fatal("no deadlock")
		}
		batch()
	}
	e.warned.at, e.warned.count = time.Time{}, 0
	for range 50 {
		batch()
	}
	if n := e.warnings(); n > 0 {
		t.Errorf("%d transactions were tried again", n)
	}
	db.Want("100", "select count(*) from q where a = 1 and b = 1")
}

// Rule 4: writers that meet on the same rows lock them in one order: however
// their batches are shuffled, none deadlocks. Partial events and tombstones too.
func TestWritersDoNotDeadlock(t *testing.T) {
	for _, tt := range []struct {
		name string
		cols func(r *rand.Rand) string
		cfg  sink.TableConfig
	}{
		{"upserts", func(*rand.Rand) string { return " a=1 b=2" }, sink.TableConfig{}},
		{"partial", func(*rand.Rand) string { return " a=1" }, sink.TableConfig{}},
		{"tombstones", func(*rand.Rand) string { return " a=1 b=2" }, sink.TableConfig{RecordKey: map[string]string{"id": "$key"}}},
		{"unguarded", func(*rand.Rand) string { return " a=1 b=2" }, sink.TableConfig{Guard: "none"}},
		{"unguarded tombstones", func(*rand.Rand) string { return "" }, sink.TableConfig{Guard: "none", RecordKey: map[string]string{"id": "$key"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := newDatabase(t, "create table q (id int primary key, a int, b int not null)")
			if tt.name == "partial" || tt.name == "unguarded tombstones" {
				db.Do("insert into q select g, 0, 0 from generate_series(0, 400) g")
			}
			cfg := tt.cfg
			cfg.Name, cfg.Topics, cfg.Key = "q", []string{"o"}, []string{"id"}
			e := db.open(sink.Config{Tables: []sink.TableConfig{cfg}})
			const writers = 4
			for p := range int32(writers) {
				e.claim("o", p)
			}
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			offset := int64(0)
			for range 8 {
				var parts []*decode.Part
				for p := range int32(writers) {
					r := rand.New(rand.NewPCG(seed, uint64(p)))
					var evs []ev
					for i, id := range r.Perm(400) {
						evs = append(evs, ev{offset: offset + int64(i), cols: fmt.Sprintf("id=%d%s", id, tt.cols(r)), gone: tt.cols(r) == "" || cfg.RecordKey != nil && r.IntN(4) == 0})
					}
					parts = append(parts, e.part("o", p, evs...))
				}
				offset += 400
				outs := make([]Outcome, writers)
				var wg sync.WaitGroup
				for i, p := range parts {
					wg.Go(func() { outs[i] = e.Write(t.Context(), []*decode.Part{p})[0] })
				}
				wg.Wait()
				for _, o := range outs {
					if o.Err != nil {
						t.Fatal(o.Err)
					}
					e.claims[o.Claim.Partition] = o.Claim
				}
			}
			db.Do("select pg_stat_force_next_flush()")
			waitUntil(t, func() bool { // the statistics are those of sessions that reported
				return db.Lines("select xact_commit > 0 from pg_stat_database where datname = current_database()") == "t"
			})
			db.Want("0", "select deadlocks from pg_stat_database where datname = current_database()")
			if n := e.warnings(); n > 0 {
				t.Errorf("%d transactions were tried again", n)
			}
		})
	}
}
