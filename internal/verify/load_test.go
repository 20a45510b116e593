package verify_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/internal/verify"
)

// A table that is being written, by events in which each key comes again and again, is never told to be wrong; and a row that is damaged meanwhile is
// found.
func TestNothingIsToldUnderLoad(t *testing.T) {
	for _, name := range []string{"deletes", "anywhere"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shape := shapes[name]
			r := newRig(t, shape.create, shape.tables()...)
			r.anywhere = shape.anywhere
			r.history(300, 60)
			r.sync()
			stop := r.live()
			ctx, cancel := context.WithCancel(t.Context())
			var writing sync.WaitGroup
			var wrote, moved, passes atomic.Int64
			writing.Go(func() {
				for ctx.Err() == nil && wrote.Load() < 50_000 {
					if wrote.Load()-value[int64](r, `select sum(next_offset)::bigint from oncesink.offsets where sink_group = $1`, group) > 300 {
						continue // the group is behind
					}
					r.history(50, 60)
					wrote.Add(50)
				}
			})
			look := func(change ...func(*verify.Options)) func() {
				return func() {
					for passes.Load() < int64(testenv.Times(12, 100)) && ctx.Err() == nil {
						res, err := verify.Run(ctx, r.options(change...))
						if err == verify.ErrTaken {
							continue
						}
						if err != nil {
							t.Error(err)
							return
						}
						moved.Add(res.Moved)
						passes.Add(1)
						if res.Mismatches > 0 || res.Kept > 0 {
							t.Errorf("told: %+v", res)
							return
						}
					}
				}
			}
			var looking sync.WaitGroup
			looking.Go(look())
			looking.Go(look(sampleOf(60)))
			looking.Wait()
			cancel()
			writing.Wait()
			t.Logf("%d events meanwhile, %d rows moved on while they were looked at", wrote.Load(), moved.Load())
			if moved.Load() == 0 {
				t.Error("no row was written while it was looked at: nothing is shown")
			}
			stop()
			r.sync()
			if res := r.verify(); res.Mismatches > 0 || res.Kept > 0 {
				t.Errorf("told in the end: %+v", res)
			}
		})
	}
}

// A walk is bounded, goes on where the last one stopped, and only one call walks at a time.
func TestWalkGoesOn(t *testing.T) {
	r := newRig(t, ordersTable, upserts())
	r.history(900, 300)
	r.sync()
	rows := value[int64](r, "select count(*) from orders")
	all := r.verify()
	began := time.Now()
	short := func(o *verify.Options) { o.Rate, o.For = 100, 1500*time.Millisecond }
	first := r.verify(short)
	if first.Complete || first.Rows == 0 || first.Rows >= rows || first.Pass != 2 {
		t.Errorf("of %d rows a walk of 1.5 s with 100 a second sees %+v", rows, first)
	}
	if took := time.Since(began); took < 900*time.Millisecond || took > 15*time.Second {
		t.Errorf("it took %v", took)
	}
	second := r.verify(short)
	if second.Complete || second.Rows <= first.Rows || second.Pass != 2 {
		t.Errorf("the next one sees %+v after %+v", second, first)
	}
	// Interrupted, it says how far it is.
	ctx, cancel := context.WithCancel(t.Context())
	o := r.options(func(o *verify.Options) {
		o.Continuous = true
		o.Progress = func(p verify.Progress) {
			if p.Phase == "events of orders/1" {
				cancel()
			}
		}
	})
	third, err := verify.Run(ctx, o)
	r.must(err)
	if third.Complete || third.Rows != rows || third.Events == 0 || third.Events >= 900 {
		t.Errorf("interrupted in the events: %+v", third)
	}
	last := r.verify()
	if !last.Complete || last.Rows != all.Rows || last.Events != all.Events || last.Untold[verify.DeadLetter] != all.Untold[verify.DeadLetter] || last.Pass != 2 {
		t.Errorf("in four calls: %+v\nin one: %+v", last, all)
	}
	// Continuous, passes follow each other; who comes later takes the walk over.
	ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var passes int
	_, err = verify.Run(ctx, r.options(func(o *verify.Options) {
		o.Continuous = true
		o.Passed = func(res *verify.Result) error {
			if passes++; passes == 3 {
				r.verify()
			}
			return nil
		}
	}))
	if err != verify.ErrTaken || passes != 3 {
		t.Errorf("%v after %d passes, want %v after 3", err, passes, verify.ErrTaken)
	}
	states, err := verify.States(t.Context(), r.pool, group)
	r.must(err)
	if len(states) != 1 || states[0].Table != "public.orders" || states[0].Finished == nil || states[0].Sum() != 0 {
		t.Errorf("kept: %+v", states)
	}
}
