package offsets_test

import (
	"strings"
	"testing"
	"time"

	"github.com/oncesink/oncesink/offsets"
)

// What an owner is stuck at stands in its rows, where people look, until the
// partition moves, is claimed, or somebody commands it.
func TestStuckUntilItMoves(t *testing.T) {
	const why = "the disk is full"
	for name, end := range map[string]func(*process, offsets.Claim){
		"advance":   func(p *process, c offsets.Claim) { p.rig.must(p.advance(step(c, 1))) },
		"claim":     func(p *process, _ offsets.Claim) { p.claim(1) },
		"halt":      func(p *process, c offsets.Claim) { p.rig.must(p.Halt(p.rig.Context(), c, "a gap")) },
		"no reason": func(p *process, c offsets.Claim) { p.rig.must(p.Stuck(p.rig.Context(), []offsets.Claim{c}, "")) },
		"rewind":    func(p *process, _ offsets.Claim) { p.rig.exec(`select oncesink.rewind($1, 'orders', null, 0)`, group) },
		"accept_gap": func(p *process, _ offsets.Claim) {
			p.rig.exec(`select oncesink.accept_gap($1, 'orders', 0, 99)`, group)
		},
		"pause":  func(p *process, _ offsets.Claim) { p.rig.exec(`select oncesink.pause($1, 'orders')`, group) },
		"resume": func(p *process, _ offsets.Claim) { p.rig.exec(`select oncesink.resume($1, 'orders', 0)`, group) },
		"adopt": func(p *process, _ offsets.Claim) {
			p.rig.exec(`select oncesink.adopt($1, 'orders', gen_random_uuid())`, group)
		},
		"Rewind": func(p *process, _ offsets.Claim) {
			_, err := p.Rewind(p.rig.Context(), func(offsets.Row) int64 { return 0 }, partitions(1)...)
			p.rig.must(err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			p := r.process()
			c := p.claim(2)
			r.must(p.advance(step(c[0], 10), step(c[1], 10)))
			c[0].Position.Next = 10
			r.must(p.Stuck(t.Context(), c[:1], why))
			if got := value[string](r, `select string_agg(coalesce(stuck, '-'), ' ' order by partition) from oncesink.status`); got != why+" -" {
				t.Fatalf("the status says %q", got)
			}
			if rows := p.rows(2); rows[0].Stuck != why || rows[0].Fence != c[0].Fence || rows[0].Position.Next != 10 || rows[1].Stuck != "" {
				t.Fatalf("rows %+v", rows)
			}
			end(p, c[0])
			if rows := p.rows(2); rows[0].Stuck != "" {
				t.Errorf("still stuck at %q", rows[0].Stuck)
			}
		})
	}
}

// A row that is somebody else's by now says nothing of what its last owner is stuck at.
func TestStuckIsTheOwners(t *testing.T) {
	r := newRig(t)
	p, other := r.process(), r.process()
	c := p.claim(3)
	other.claim(1)
	r.exec(`select oncesink.pause($1, 'orders', 1)`, group)
	r.must(p.Stuck(t.Context(), c, "the disk is full"))
	for i, want := range []string{"", "", "the disk is full"} {
		if got := p.rows(3)[i].Stuck; got != want {
			t.Errorf("orders/%d: stuck at %q, want %q", i, got, want)
		}
	}
	r.must(p.Stuck(t.Context(), nil, "nothing"))
	r.must(p.Stuck(t.Context(), c[2:], strings.Repeat("ü", 3000)))
	if got := p.rows(3)[2].Stuck; got != strings.Repeat("ü", 1000) {
		t.Errorf("%d bytes are kept", len(got))
	}
}

// It waits for nobody: not for rows that are being moved, nor for a table that is altered.
func TestStuckWaitsForNobody(t *testing.T) {
	r := newRig(t)
	p := r.process()
	c := p.claim(2)
	_, tx := p.holding(step(c[0], 1))
	r.must(p.Stuck(t.Context(), c, "the disk is full"))
	if rows := p.rows(2); rows[0].Stuck != "" || rows[1].Stuck == "" {
		t.Errorf("rows %+v", rows)
	}
	r.must(tx.Commit(t.Context()))

	r.exec(`begin; lock table oncesink.offsets in access exclusive mode`)
	began := time.Now()
	err := p.Stuck(t.Context(), c, "another reason")
	if took := time.Since(began); state(err) != "55P03" || took > 2500*time.Millisecond {
		t.Errorf("after %v: %v", took, err)
	}
	r.exec(`rollback`)
}

// Moving a position stays an update within its page, and so does a note beside it.
func TestAdvanceStaysHot(t *testing.T) {
	r := newRig(t)
	p := r.process()
	c := p.claim(4)
	// Few updates, on a page with room for them: what can be HOT is HOT, whatever
	// old snapshots keep from being pruned.
	r.exec(`vacuum oncesink.offsets`)
	r.exec(`select pg_stat_force_next_flush()`)
	count := func(of string) int64 {
		return value[int64](r, `select pg_stat_get_tuples_`+of+`('oncesink.offsets'::regclass)`)
	}
	all, hot := count("updated"), count("hot_updated")
	const rounds = 2
	for range rounds {
		r.must(p.Stuck(t.Context(), c, "the disk is full"))
		var steps []offsets.Step
		for i := range c {
			steps = append(steps, step(c[i], 1))
			c[i].Position.Next++
		}
		r.must(p.advance(steps...))
	}
	p.pool.Close() // its sessions report what they did
	want := int64(len(c) * 2 * rounds)
	r.until(`select pg_stat_get_tuples_updated('oncesink.offsets'::regclass) - $1 >= $2`, all, want)
	if all, hot = count("updated")-all, count("hot_updated")-hot; hot != all {
		t.Errorf("%d updates, %d of them HOT", all, hot)
	}
}
