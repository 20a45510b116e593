package offsets_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/offsets"
)

func TestAdvance(t *testing.T) {
	r := newRig(t)
	p := r.process()
	c := p.claim(2)
	when := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := offsets.Step{Claim: c[0], To: offsets.Position{Next: 7, Epoch: 4, Time: when}}
	r.must(p.advance(s, step(c[1], 3)))
	rows, err := p.Rows(t.Context(), c[0].Partition)
	r.must(err)
	got := rows[0]
	if got.Position.Next != 7 || got.Position.Epoch != 4 || !got.Position.Time.Equal(when) || got.MovedAt.IsZero() {
		t.Errorf("moved to %+v at %v", got.Position, got.MovedAt)
	}
	if got.Fence != c[0].Fence || got.ClaimID != c[0].ID {
		t.Error("an advance keeps fence and claim")
	}
	// A record without a time leaves the last one.
	r.must(p.advance(step(at(c[0], 7), 1)))
	rows, err = p.Rows(t.Context(), c[0].Partition)
	r.must(err)
	if !rows[0].Position.Time.Equal(when) {
		t.Errorf("time %v, want %v", rows[0].Position.Time, when)
	}
}

// An advance that could not be resolved, or not told apart, is a mistake of the caller.
func TestAdvanceRefuses(t *testing.T) {
	r := newRig(t)
	p := r.process()
	c := p.claim(1)[0]
	for name, steps := range map[string][]offsets.Step{
		"no partitions": nil,
		"named twice":   {step(c, 1), step(c, 1)},
		"not lie above": {step(c, 0)},
	} {
		err := p.advance(steps...)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.stands(0, 0)
}

// Rule 3: of any number of claims only the last can commit, even where the
// position is what the older one expects.
func TestRule3ZombieIsFenced(t *testing.T) {
	r := newRig(t)
	zombie, owner := r.process(), r.process()
	old := zombie.claim(2)
	now := owner.claim(2)
	if old[0].Position != now[0].Position {
		t.Fatal("the claims differ in more than the fence")
	}
	r.fenced(zombie.advance(step(old[1], 1), step(old[0], 1)), old[0].Partition, old[1].Partition)
	r.stands(0, 0)
	r.must(owner.advance(step(now[0], 5)))
	r.fenced(zombie.advance(step(at(old[0], 5), 1)), old[0].Partition)
	r.stands(5, 1)
}

// The expected position carries the data: under one and the same fence nothing
// is applied twice, moves back or jumps.
func TestAdvanceOnlyFromWhereItStood(t *testing.T) {
	for name, s := range map[string]struct{ expected, to int64 }{
		"again":    {0, 10},
		"overlap":  {5, 15},
		"back":     {0, 5},
		"jump":     {15, 20},
		"far back": {3, 4},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			p := r.process()
			c := p.claim(1)[0]
			r.must(p.advance(step(c, 10)))
			r.fenced(p.advance(offsets.Step{Claim: at(c, s.expected), To: offsets.Position{Next: s.to}}), c.Partition)
			r.stands(10, 1)
			r.must(p.advance(step(at(c, 10), 1)))
			r.stands(11, 2)
		})
	}
}

// One partition of a group that doesn't match aborts all of them, and is named alone.
func TestAdvanceIsAtomic(t *testing.T) {
	r := newRig(t)
	p, other := r.process(), r.process()
	c := p.claim(3)
	if _, err := other.Claim(t.Context(), r.wants(c[1].Partition)); err != nil {
		t.Fatal(err)
	}
	r.fenced(p.advance(step(c[0], 1), step(c[1], 1), step(c[2], 1)), c[1].Partition)
	r.stands(0, 0)
	r.must(p.advance(step(c[0], 1), step(c[2], 1)))
	r.stands(1, 2)
}

// Rule 2: the fence fails in the server. However the statements of a zombie's
// transaction travel, COMMIT and all, nothing of it is there.
func TestRule2FenceFailsInTheServer(t *testing.T) {
	insert, commit := `insert into target values (1)`, `commit`
	for name, send := range map[string]func(ctx context.Context, conn *pgconn.PgConn, advance string) error{
		"one pipeline": func(ctx context.Context, conn *pgconn.PgConn, advance string) error {
			p := conn.StartPipeline(ctx)
			for _, sql := range []string{"begin", advance, insert, commit} {
				p.SendQueryParams(sql, nil, nil, nil, nil)
			}
			if err := p.Sync(); err != nil {
				return err
			}
			return drain(p)
		},
		"a sync after each": func(ctx context.Context, conn *pgconn.PgConn, advance string) error {
			p := conn.StartPipeline(ctx)
			for _, sql := range []string{"begin", advance, insert, commit} {
				p.SendQueryParams(sql, nil, nil, nil, nil)
				if err := p.Sync(); err != nil {
					return err
				}
			}
			return drain(p)
		},
		"one string": func(ctx context.Context, conn *pgconn.PgConn, advance string) error {
			_, err := conn.Exec(ctx, "begin; "+advance+"; "+insert+"; "+commit).ReadAll()
			return err
		},
		"a batch": func(ctx context.Context, conn *pgconn.PgConn, advance string) error {
			b := &pgconn.Batch{}
			for _, sql := range []string{"begin", advance, insert, commit} {
				b.ExecParams(sql, nil, nil, nil, nil)
			}
			_, err := conn.ExecBatch(ctx, b).ReadAll()
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			zombie := r.process()
			old := zombie.claim(1)[0]
			r.process().claim(1)
			call := `select oncesink.advance('` + group + `', array['orders'], array[0], array['` + old.Fence.String() +
				`']::uuid[], array[0::bigint], array[1::bigint], array[0], array[null::timestamptz])`
			conn := r.connect("oncesink 00000001")
			err := offsets.AdvanceError(send(t.Context(), conn.PgConn(), call))
			r.fenced(err, old.Partition)
			r.stands(0, 0)
		})
	}
}

// drain reads a pipeline to its end and returns the first error.
func drain(p *pgconn.Pipeline) (first error) {
	for {
		res, err := p.GetResults()
		if err == nil && res == nil {
			break
		}
		if rr, ok := res.(*pgconn.ResultReader); ok {
			_, err = rr.Close()
		}
		if err != nil && first == nil {
			first = err
		}
	}
	if err := p.Close(); first == nil {
		first = err
	}
	return first
}

// Rule 1: an advance that waits in vain counts as a lost fence, of nobody in particular.
func TestRule1AdvanceIsBounded(t *testing.T) {
	r := newRig(t)
	p := r.process()
	c := p.claim(1)[0]
	_, tx := p.holding(step(c, 1))
	start := time.Now()
	r.fenced(p.advance(step(c, 1)))
	if d := time.Since(start); d < 2*time.Second || d > 10*time.Second {
		t.Errorf("waited for %v", d)
	}
	r.must(tx.Commit(t.Context()))
	r.stands(1, 1)
}

// Rule 4: rows are locked in one order, whatever the order of the steps, by
// advances, claims, resolutions and operators alike.
func TestRule4NoDeadlocks(t *testing.T) {
	r := newRig(t)
	const n, rounds = 40, 40
	p := r.process()
	p.claim(n)
	seed := rand.Uint64()
	t.Log("seed", seed)
	var wg sync.WaitGroup
	for worker := range 6 {
		rnd := rand.New(rand.NewPCG(seed, uint64(worker)))
		conn := r.connect("psql")
		wg.Go(func() {
			for range rounds {
				order := rnd.Perm(n)
				var err error
				switch worker {
				case 0:
					wants := r.wants(partitions(n)...)
					rnd.Shuffle(n, func(i, j int) { wants[i], wants[j] = wants[j], wants[i] })
					_, err = p.Claim(t.Context(), wants)
				case 1:
					_, err = conn.Exec(t.Context(), `select oncesink.pause($1, 'orders')`, group)
				default:
					err = race(t.Context(), p, conn, order)
				}
				if code := state(err); code == "40P01" || err != nil && code != "OS001" && code != "55P03" {
					t.Errorf("worker %d: %v", worker, err)
				}
			}
		})
	}
	wg.Wait()
}

// race advances all partitions from where they stand, in the given order.
func race(ctx context.Context, p *process, conn *pgx.Conn, order []int) error {
	rows, err := p.Rows(ctx)
	if err != nil {
		return err
	}
	steps := make([]offsets.Step, len(order))
	for i, k := range order {
		row := rows[k]
		steps[i] = step(offsets.Claim{Partition: row.Partition, ID: row.ClaimID, Fence: row.Fence, Position: row.Position}, 1)
	}
	if order[0]%4 == 0 {
		_, err := p.Resolve(ctx, steps, 0)
		return err
	}
	sql, args, err := p.AdvanceCall(steps)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql, args...)
	return err
}
