package offsets_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/offsets"
)

// resolved is what a resolution is expected to say of one partition.
type resolved struct {
	ours, asExpected bool
	next             int64
}

// Rule 6: the position tells what became of a transaction, by the row's claim
// and fence; one partition at its target speaks for all of the transaction.
func TestRule6Resolve(t *testing.T) {
	for name, s := range map[string]struct {
		commit bool                     // whether the doubtful transaction committed
		after  func(r *rig, p *process) // what happened before the resolution
		want   bool                     // Committed
		parts  [2]resolved              // of orders/0, 5 -> 10, and orders/1, 5 -> 20
	}{
		"committed":     {commit: true, want: true, parts: [2]resolved{{true, false, 10}, {true, false, 20}}},
		"not committed": {parts: [2]resolved{{true, true, 5}, {true, true, 5}}},
		"restored to below": {
			after: func(r *rig, _ *process) { r.exec(`update oncesink.offsets set next_offset = 2`) },
			parts: [2]resolved{{true, false, 2}, {true, false, 2}},
		},
		"restored to below after the commit": {
			commit: true,
			after:  func(r *rig, _ *process) { r.exec(`update oncesink.offsets set next_offset = 2`) },
			parts:  [2]resolved{{true, false, 2}, {true, false, 2}},
		},
		"claimed by another": {
			after: func(r *rig, _ *process) { r.process().claim(2) },
			parts: [2]resolved{{false, false, 5}, {false, false, 5}},
		},
		"committed, then claimed by another": {
			commit: true,
			after:  func(r *rig, _ *process) { r.process().claim(2) },
			parts:  [2]resolved{{false, false, 10}, {false, false, 20}},
		},
		"committed, then one claimed by another": {
			commit: true,
			after:  func(r *rig, _ *process) { r.process().claim(1) },
			want:   true,
			parts:  [2]resolved{{false, false, 10}, {true, false, 20}},
		},
		"not committed, one claimed by another": {
			after: func(r *rig, _ *process) { r.process().claim(1) },
			parts: [2]resolved{{false, false, 5}, {true, true, 5}},
		},
		"not committed, one moved to its target by an operator": {
			after: func(r *rig, _ *process) { r.exec(`select oncesink.accept_gap($1, 'orders', 0, 10)`, group) },
			parts: [2]resolved{{true, false, 10}, {true, true, 5}},
		},
		"one restored to below, one to the expected position": {
			after: func(r *rig, _ *process) { r.exec(`update oncesink.offsets set next_offset = 4 where partition = 1`) },
			parts: [2]resolved{{true, true, 5}, {true, false, 4}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			p := r.process()
			c := p.claim(2)
			r.must(p.advance(step(c[0], 5), step(c[1], 5)))
			// In an order that is not the ledger's: the answers are in the steps'.
			steps := []offsets.Step{step(at(c[1], 5), 15), step(at(c[0], 5), 5)}
			if s.commit {
				r.must(p.advance(steps...))
			}
			if s.after != nil {
				s.after(r, p)
			}
			fences := value[int64](r, `select sum(fence_count)::bigint from oncesink.offsets`)
			res, err := p.Resolve(t.Context(), steps, 0)
			r.must(err)
			if res.Committed != s.want {
				t.Errorf("committed %v, want %v", res.Committed, s.want)
			}
			ours := int64(0)
			for i, step := range steps {
				got, want := res.Partitions[i], s.parts[step.Claim.Partition.Partition]
				if got.Claim.Partition != step.Claim.Partition || got.Ours != want.ours || got.AsExpected != want.asExpected || got.Claim.Position.Next != want.next {
					t.Errorf("%s: %+v, want %+v", step.Claim.Partition, got, want)
				}
				if !got.Ours {
					if !got.Claim.Fence.IsZero() || !got.Claim.ID.IsZero() {
						t.Errorf("%s: the tokens of another's claim are given away", step.Claim.Partition)
					}
					continue
				}
				ours++
				if got.Claim.ID != step.Claim.ID || got.Claim.Fence == step.Claim.Fence || got.Claim.Fence.IsZero() {
					t.Errorf("%s: claim %+v, want the same id and a new fence", step.Claim.Partition, got.Claim)
				}
				// Nothing of the old fence may arrive any more, wherever it expects to be.
				old := at(step.Claim, want.next)
				r.fenced(p.advance(offsets.Step{Claim: old, To: offsets.Position{Next: want.next + 1}}), old.Partition)
				r.must(p.advance(offsets.Step{Claim: got.Claim, To: offsets.Position{Next: want.next + 1}}))
			}
			if got := value[int64](r, `select sum(fence_count)::bigint from oncesink.offsets`); got != fences+ours {
				t.Errorf("%d fences drawn, want %d: those of its own claim only", got-fences, ours)
			}
		})
	}
}

// Rules 6 and 12: a topic that was adopted meanwhile begins where the transaction expected the one before it to stand. The
// records of that one must not be sent again as the new one's.
func TestRule12ResolveAfterAdopt(t *testing.T) {
	for name, commit := range map[string]bool{"not committed": false, "committed": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			p := r.process()
			c := p.claim(1)[0]
			if commit {
				r.must(p.advance(step(c, 5)))
			}
			id := offsets.NewToken()
			r.exec(`select oncesink.adopt($1, 'orders', $2)`, group, id.String())
			res, err := p.Resolve(t.Context(), []offsets.Step{step(c, 5)}, 0)
			r.must(err)
			got := res.Partitions[0]
			if res.Committed || !got.Ours || got.AsExpected {
				t.Errorf("committed %v, %+v; want it to be ours, and elsewhere", res.Committed, got)
			}
			if got.Claim.TopicID != id || got.Claim.Generation != c.Generation+1 || got.Claim.Position.Next != 0 {
				t.Errorf("claim %+v, want the new topic's, at 0", got.Claim)
			}
		})
	}
}

// Rule 6: a transaction that is still open ends with its session, at once, and
// its COMMIT can't arrive after the resolution.
func TestRule6ResolveEndsItsOldSession(t *testing.T) {
	for how := range stops {
		t.Run(how, func(t *testing.T) {
			r := newRig(t)
			p := r.process()
			c := p.claim(2)
			conn, tx := p.holding(step(c[0], 5), step(c[1], 5))
			stops[how](r, conn)
			p.SetPatience(time.Minute, time.Minute) // nobody is taken for stuck
			pid := conn.PgConn().PID()
			res, err := p.Resolve(t.Context(), []offsets.Step{step(c[0], 5), step(c[1], 5)}, pid)
			r.must(err)
			for _, part := range res.Partitions {
				if res.Committed || !part.Ours || !part.AsExpected {
					t.Errorf("committed %v, %+v; want to send the same again", res.Committed, part)
				}
			}
			if r.alive(pid) {
				t.Error("the old session is alive")
			}
			if how == "between statements" {
				if err := tx.Commit(t.Context()); err == nil {
					t.Error("the old transaction committed after its resolution")
				}
			}
			r.stands(0, 0)
			r.must(p.advance(step(res.Partitions[0].Claim, 5), step(res.Partitions[1].Claim, 5)))
			r.stands(5, 2)
		})
	}
}

// Rule 6: where the old session can't be named, the resolution waits for the row,
// so that a COMMIT which is on its way is seen.
func TestRule6ResolveWaitsForACommitOnItsWay(t *testing.T) {
	for name, s := range map[string]struct {
		end       func(tx pgx.Tx) error
		committed bool
		next      int64
	}{
		"committed":   {func(tx pgx.Tx) error { return tx.Commit(context.Background()) }, true, 5},
		"rolled back": {func(tx pgx.Tx) error { return tx.Rollback(context.Background()) }, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			p := r.process()
			c := p.claim(1)[0]
			_, tx := p.holding(step(c, 5))
			p.SetPatience(time.Minute, time.Minute)
			answered := make(chan offsets.Resolution, 1)
			go func() {
				res, err := p.Resolve(context.Background(), []offsets.Step{step(c, 5)}, 0)
				if err != nil {
					t.Error(err)
					res.Partitions = make([]offsets.Resolved, 1)
				}
				answered <- res
			}()
			r.untilWaiting(1)
			select {
			case <-answered:
				t.Fatal("resolved while the transaction was open")
			default:
			}
			r.must(s.end(tx))
			res := <-answered
			part := res.Partitions[0]
			if res.Committed != s.committed || !part.Ours || part.AsExpected == s.committed || part.Claim.Position.Next != s.next {
				t.Errorf("resolved to %+v", res)
			}
		})
	}
}

// Rule 6: a request that reaches the server after the resolution, in a
// transaction that had not advanced yet, is too late.
func TestRule6DelayedRequestIsFenced(t *testing.T) {
	r := newRig(t)
	p := r.process()
	c := p.claim(1)[0]
	delayed, err := p.pool.Begin(t.Context())
	r.must(err)
	defer delayed.Rollback(context.Background())
	res, err := p.Resolve(t.Context(), []offsets.Step{step(c, 5)}, 0)
	r.must(err)
	if res.Committed || !res.Partitions[0].AsExpected {
		t.Fatalf("resolved to %+v", res)
	}
	r.fenced(p.Advance(t.Context(), delayed, []offsets.Step{step(c, 5)}), c.Partition)
	r.must(delayed.Rollback(t.Context()))
	r.must(p.advance(step(res.Partitions[0].Claim, 5)))
	r.stands(5, 1)
}

// Rules 1 and 6: a stuck session that can't be named (a pooler's process ids) is
// ended after the usual wait; nothing of it is there.
func TestRule6ResolveEndsAStuckSession(t *testing.T) {
	r := newRig(t)
	p := r.process()
	c := p.claim(1)[0]
	pid := p.stopped("in COPY FROM STDIN", step(c, 5))
	p.SetPatience(300*time.Millisecond, 20*time.Second)
	res, err := p.Resolve(t.Context(), []offsets.Step{step(c, 5)}, 0)
	r.must(err)
	if res.Committed || !res.Partitions[0].AsExpected || r.alive(pid) {
		t.Errorf("resolved to %+v, the session alive: %v", res, r.alive(pid))
	}
	r.stands(0, 0)
}

// Rule 6: the resolver ends only its own old session. The number may be another's
// by now, and one of its own that is idle may have gone back to the pool.
func TestRule6ResolveSparesOthers(t *testing.T) {
	r := newRig(t)
	p, other := r.process(), r.process()
	c := p.claim(1)[0]
	idle, err := p.pool.Acquire(t.Context())
	r.must(err)
	defer idle.Release()
	psql := r.connect("psql")
	_, err = psql.Exec(t.Context(), `begin; select 1`)
	r.must(err)
	busy, err := other.pool.Begin(t.Context())
	r.must(err)
	defer busy.Rollback(context.Background())
	for name, pid := range map[string]uint32{
		"somebody else's":         psql.PgConn().PID(),
		"another process's":       busy.Conn().PgConn().PID(),
		"an idle one of the pool": idle.Conn().PgConn().PID(),
	} {
		res, err := p.Resolve(t.Context(), []offsets.Step{step(c, 5)}, pid)
		r.must(err)
		c = res.Partitions[0].Claim
		if !r.alive(pid) {
			t.Errorf("%s session was ended", name)
		}
	}
	for name, err := range map[string]error{"psql": psql.Ping(t.Context()), "busy": busy.Conn().Ping(t.Context()), "idle": idle.Ping(t.Context())} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Rule 6: a row that stays locked leaves the outcome unknown and the fences as they
// are; the next resolution answers.
func TestRule6ResolveIsBounded(t *testing.T) {
	r := newRig(t)
	p := r.process()
	c := p.claim(2)
	steps := []offsets.Step{step(c[0], 5), step(c[1], 5)}
	r.must(p.advance(steps...))
	dba := r.connect("psql")
	tx, err := dba.Begin(t.Context())
	r.must(err)
	_, err = tx.Exec(t.Context(), `select from oncesink.offsets where partition = 1 for update`)
	r.must(err)
	before := value[string](r, ledgerText)
	p.SetPatience(300*time.Millisecond, 900*time.Millisecond)
	start := time.Now()
	_, err = p.Resolve(t.Context(), steps, 0)
	var held *offsets.HeldError
	if !errors.As(err, &held) || !strings.Contains(held.Holder, `"psql"`) {
		t.Errorf("got %v, want a HeldError that names the session", err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	if after := value[string](r, ledgerText); after != before {
		t.Errorf("an unanswered resolution changed\n%s\nto\n%s", before, after)
	}
	r.must(tx.Commit(t.Context()))
	res, err := p.Resolve(t.Context(), steps, 0)
	r.must(err)
	if !res.Committed {
		t.Error("not committed, in the end")
	}
}

// ledgerText is all that the ledger's rows say.
const ledgerText = `select string_agg(o::text, E'\n' order by sink_group, topic, partition) from oncesink.offsets o`
