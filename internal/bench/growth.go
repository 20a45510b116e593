package main

import "context"

// growth is the plan of -growth: what happens to the cost of a row and to memory when the backlog and the
// table grow tenfold, and when keys come in random order.
func (p plan) growth(b *bench) []step {
	n := p.records
	small, big := fresh(0, n), fresh(0, 10*n)
	few := updates(big, 3)
	few.events = few.events[:n]
	var out []step
	add := func(name string, loads ...load) {
		out = append(out, step{name: "growth, " + name, run: func(ctx context.Context) ([]result, error) {
			var topics []topic
			for _, l := range loads {
				t, err := b.fill(ctx, "growth-"+name+"-"+l.name, 6, narrow, l)
				if err != nil {
					return nil, err
				}
				topics = append(topics, t)
			}
			return b.oncesink(ctx, name, options{limits: p.limits}, true, topics...)
		}})
	}
	add("sequential", small, updates(small, 1))
	add("random", random(small, 2), updates(small, 1))
	add("tenfold", big, few)
	return out
}
