package main

import (
	"context"
	"fmt"
)

// growth is the plan of -growth: what happens to the cost of a row and to memory when the backlog and the
// table grow tenfold, when keys come in random order, and when there are many partitions.
//
// Each run loads a backlog into an empty table (fresh), as many new keys as a small backlog has into the
// table that is there then (more), updates as many rows of it in random order (updates), and
// reads these updates again (replay).
func (p plan) growth(b *bench) []step {
	n := p.records
	var out []step
	for _, x := range []struct {
		partitions, backlog int
		random              bool
	}{
		{6, n, false}, {6, n, true}, {1, n, false}, {48, n, false}, {1000, n, false},
		{6, 10 * n, false}, {6, 10 * n, true}, {1000, 10 * n, false},
	} {
		order := "in order"
		if x.random {
			order = "random"
		}
		name := fmt.Sprintf("%s events, %s, %d partition(s)", count(x.backlog), order, x.partitions)
		out = append(out, step{name: "growth, " + name, run: func(ctx context.Context) ([]result, error) {
			first, more := fresh(0, x.backlog), fresh(x.backlog, n)
			again := updates(first, 3)
			again.events = again.events[:n]
			if x.random {
				first, more = random(first, 1), random(more, 2)
			}
			more.name = "more"
			var topics []topic
			for i, l := range []load{first, more, again} {
				t, err := b.fill(ctx, fmt.Sprintf("growth-%d-%d-%v-%d", x.partitions, x.backlog, x.random, i), x.partitions, narrow, l)
				if err != nil {
					return nil, err
				}
				topics = append(topics, t)
			}
			return b.oncesink(ctx, name, options{limits: p.limits}, true, topics...)
		}})
	}
	return out
}

// count is a number of events as one says it.
func count(n int) string {
	switch {
	case n >= 1_000_000 && n%100_000 == 0:
		return fmt.Sprintf("%g M", float64(n)/1e6)
	case n >= 1000 && n%100 == 0:
		return fmt.Sprintf("%g k", float64(n)/1e3)
	default:
		return fmt.Sprint(n)
	}
}
