package sinktest

import (
	"context"
	"errors"
	"fmt"

	"github.com/oncesink/oncesink/offsets"
)

// mishap is what may come before a transaction of a redelivery.
type mishap int

const (
	again  mishap = iota // its parts bring records that were written before
	fence                // another process claims the partitions, and this one doesn't know
	broken               // a connection breaks in the middle, and the sink tries again
	rewind               // a partition is set back
	mishaps
)

// redeliver writes the records as listed, with other borders between the
// transactions, and lets mishaps come between. One kind is certain in each round.
func (r *runner) redeliver(ctx context.Context, t *try) error {
	p, err := r.start(ctx, t)
	if err != nil {
		return err
	}
	defer func() { p.close() }()
	kinds := int(mishaps)
	if r.refused != "" {
		kinds-- // no rewind
	}
	most := r.size(t)
	pl := r.in.inOrder(func() int { return 1 + t.rng.IntN(most) })
	certain := t.rng.IntN(len(pl))
	for i, tx := range pl {
		kind := mishaps // none
		if i == certain {
			kind = mishap(t.round % kinds)
		} else if t.rng.IntN(2) == 0 {
			kind = mishap(t.rng.IntN(kinds))
		}
		handed := 0
		switch kind {
		case again:
			handed = 1 + t.rng.IntN(len(r.in.listed))
			t.note("hand over up to %d written records again, with the next", handed)
		case fence:
			t.note("another process claims everything; the old one tries to write %s, is refused, and ends", tx)
			heir, err := r.start(ctx, t)
			if err != nil {
				return err
			}
			err = p.fenced(ctx, tx)
			p.close()
			p = heir
			if err != nil {
				return err
			}
		case broken:
			// In the middle: after BEGIN, on a connection that is there already.
			if err := p.pool.Ping(ctx); err != nil {
				return err
			}
			n := 1 + t.rng.IntN(14)
			t.note("break the connection after statement %d of the next", n)
			p.wire.arm(n, nil)
		case rewind:
			partition := r.in.partitions[t.rng.IntN(len(r.in.partitions))]
			to := t.rng.Int64N(p.claims[partition].Position.Next + 1)
			t.note("rewind %s to %d", partition, to)
			if err := t.rewind(ctx, partition, to); err != nil {
				return err
			}
			if err := p.claim(ctx); err != nil {
				return err
			}
		}
		t.note("write %s", tx)
		if err := p.write(ctx, tx, handed); err != nil {
			return err
		}
		p.wire.disarm()
	}
	t.note("write what a rewind left, then hand over everything again")
	if err := p.write(ctx, r.in.all(), 0); err != nil {
		return err
	}
	return p.write(ctx, r.in.all(), len(r.in.listed))
}

// crashes lets the process die after each statement, or as many as Case.MaxCuts.
func (r *runner) crashes(ctx context.Context) error {
	pl := r.in.thirds(r.c.random(Crash, 0))
	stride := 1
	if r.c.MaxCuts > 0 {
		var total int
		if err := r.run(ctx, Crash, 0, func(ctx context.Context, t *try) (err error) {
			_, total, err = r.crash(ctx, t, pl, 0)
			return err
		}); err != nil {
			return err
		}
		stride = max(1, (total+r.c.MaxCuts-1)/r.c.MaxCuts)
	}
	cuts := 0
	for n := 1 + r.c.random(Crash, 1).IntN(stride); ; n += stride {
		var fired bool
		err := r.run(ctx, Crash, n, func(ctx context.Context, t *try) (err error) {
			fired, _, err = r.crash(ctx, t, pl, n)
			return err
		})
		if err != nil {
			r.c.Logf("sinktest: %s: %s", Crash, outcome(err, ""))
			return err
		}
		if !fired {
			r.c.Logf("sinktest: %s: %d cuts", Crash, cuts)
			return nil
		}
		cuts++
	}
}

// crash writes a plan with a process that dies after its n-th statement (0: never),
// and what is left with another one.
func (r *runner) crash(ctx context.Context, t *try, pl plan, n int) (fired bool, sent int, err error) {
	first, err := r.start(ctx, t)
	if err != nil {
		return false, 0, err
	}
	life, die := context.WithCancelCause(ctx)
	defer die(nil)
	first.wire.arm(n, func() { die(errCut) })
	for _, tx := range pl {
		t.note("write %s", tx)
		if err = first.write(life, tx, 0); err != nil {
			break
		}
	}
	sent, fired = first.wire.disarm()
	first.close()
	if !fired {
		return false, sent, err
	}
	if err != nil && !errors.Is(err, errCut) {
		return true, sent, fmt.Errorf("with a dead connection: %w", err)
	}
	heir, err := r.start(ctx, t)
	if err != nil {
		return true, sent, err
	}
	defer heir.close()
	t.note("the process dies after statement %d; another one goes on from %s", n, positions(heir, r.in.partitions))
	for _, tx := range pl {
		if err := heir.write(ctx, tx, 0); err != nil {
			return true, sent, err
		}
	}
	return true, sent, nil
}

// positions says where a process stands.
func positions(p *process, partitions []offsets.Partition) string {
	s := ""
	for i, partition := range partitions {
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprintf("%s offset %d", partition, p.claims[partition].Position.Next)
	}
	return s
}
