package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
)

// step is one run of the plan.
type step struct {
	name string
	once bool // in the first round only
	slow bool // left out of a quick run
	run  func(ctx context.Context) ([]result, error)
}

// measure makes the topics and runs the plan round by round, so that a moment's noise does
// not fall on one program alone.
func (p plan) measure(ctx context.Context, b *bench) error {
	if p.grow {
		return p.repeat(ctx, b, func() []step { return p.growth(b) })
	}
	if p.anew {
		return p.repeat(ctx, b, func() []step { return p.rebuilds(b) })
	}
	if p.family {
		return p.repeat(ctx, b, func() []step { return p.children(b) })
	}
	if p.poison {
		return p.repeat(ctx, b, func() []step { return p.refused(b) })
	}
	if p.wrapped {
		return p.repeat(ctx, b, func() []step { return p.envelopes(b) })
	}
	n := p.records
	first := fresh(0, n)
	again, half := updates(first, 1), mixed(first, 2)
	topics := []struct {
		name       string
		partitions int
		shape      shape
		load       load
	}{
		{"fresh", 6, narrow, first}, {"updates", 6, narrow, again}, {"mixed", 6, narrow, half},
	}
	if p.sums || p.metrics {
		topics = topics[:2]
	}
	var made []topic
	for _, x := range topics {
		t, err := b.fill(ctx, x.name, x.partitions, x.shape, x.load)
		if err != nil {
			return err
		}
		say("topic %s: %d events", t.name, len(t.load.events))
		made = append(made, t)
	}
	if p.sums {
		return p.repeat(ctx, b, func() []step { return p.rollups(b, made[0], made[1]) })
	}
	if p.metrics {
		round := 0
		return p.repeat(ctx, b, func() []step { round++; return p.pair(b, round, made[0], made[1]) })
	}
	return p.repeat(ctx, b, func() []step { return p.steps(b, made) })
}

// repeat runs the steps round by round.
func (p plan) repeat(ctx context.Context, b *bench, steps func() []step) error {
	for round := range p.rounds {
		for _, s := range steps() {
			if !p.only.MatchString(s.name) || s.once && round > 0 || s.slow && p.quick {
				continue
			}
			say("round %d of %d: %s", round+1, p.rounds, s.name)
			rs, err := s.run(ctx)
			if err != nil {
				return err
			}
			for _, r := range rs {
				if r.P50 > 0 {
					say("    p50 %.1f ms, p99 %.1f ms", r.P50, r.P99)
				} else {
					say("    %-8s %6.1fk rows/s, %.2f s of processors per 1 M, %.2f with PostgreSQL's", r.Load, r.rate()/1000, r.CPU, r.all())
				}
			}
			b.results = append(b.results, rs...)
		}
	}
	return nil
}

func (p plan) steps(b *bench, made []topic) []step {
	fresh2 := made[:2]
	var out []step
	add := func(s step) { out = append(out, s) }
	for _, connections := range []int{1, 2} {
		for _, way := range raws {
			add(step{name: fmt.Sprintf("PostgreSQL alone, %s, %d connection(s)", way.name, connections), run: func(ctx context.Context) ([]result, error) {
				return b.ceiling(ctx, way, connections, made[0].load, made[1].load)
			}})
		}
	}
	ours := func(variant string, o options, replay, slow, once bool, topics ...topic) {
		o.limits = strings.Trim(o.limits+", "+p.limits, ", ")
		add(step{name: "oncesink, " + variant, slow: slow, once: once, run: func(ctx context.Context) ([]result, error) {
			return b.oncesink(ctx, variant, o, replay, topics...)
		}})
	}
	ours("default", options{}, true, false, false, fresh2...)
	ours("1 writer", options{limits: "writers: 1"}, true, false, false, fresh2...)
	ours("mixed, default", options{}, false, true, false, made[0], made[2])
	ours("asynchronous commit", options{async: true}, false, true, true, fresh2...)
	for _, x := range []struct {
		variant    string
		partitions int
		shape      shape
		n          int
	}{{"1 partition", 1, narrow, p.records}, {"48 partitions", 48, narrow, p.records}, {"1000 partitions", 1000, narrow, p.records}, {"40 columns", 6, wide, p.records / 4}} {
		add(step{name: "oncesink, " + x.variant, slow: true, once: true, run: func(ctx context.Context) ([]result, error) {
			t, err := b.fill(ctx, strings.ReplaceAll(x.variant, " ", "-"), x.partitions, x.shape, fresh(0, x.n))
			if err != nil {
				return nil, err
			}
			return b.oncesink(ctx, x.variant, options{}, false, t)
		}})
	}
	add(step{name: "hand-written consumer", run: func(ctx context.Context) ([]result, error) { return b.handwritten(ctx, fresh2...) }})
	for _, unnest := range []bool{false, true} {
		for _, tasks := range []int{1, 2} {
			add(step{name: fmt.Sprintf("Debezium JDBC, unnest %v, %d task(s)", unnest, tasks), slow: true, once: true, run: func(ctx context.Context) ([]result, error) {
				return b.debezium(ctx, unnest, tasks, fresh2...)
			}})
		}
	}
	if binary := os.Getenv("ONCESINK_BENCH_BENTO"); binary != "" {
		add(step{name: "Bento", slow: true, once: true, run: func(ctx context.Context) ([]result, error) { return b.bento(ctx, binary, fresh2...) }})
	}
	for _, name := range []string{"idle", "half load"} {
		for _, x := range []struct {
			who string
			run func(context.Context, topic, string, *pgx.Conn) (*process, error)
		}{
			{"oncesink", func(ctx context.Context, t topic, url string, _ *pgx.Conn) (*process, error) {
				return b.startOncesink(ctx, options{}, t, url)
			}},
			{"hand-written consumer", func(ctx context.Context, t topic, url string, conn *pgx.Conn) (*process, error) {
				if _, err := conn.Exec(ctx, t.shape.create("orders")); err != nil {
					return nil, err
				}
				return b.startHandwritten(t, url)
			}},
		} {
			add(step{name: "latency, " + x.who + ", " + name, slow: true, run: func(ctx context.Context) ([]result, error) {
				rate := 0
				if name == "half load" {
					rate = b.halfLoad(x.who)
				}
				r, err := b.latency(ctx, x.who, name, 200, rate, x.run)
				if err != nil && rate > 0 && ctx.Err() == nil && x.who != "oncesink" {
					say("    does not keep up with %d a second: %.80v", rate, err)
					return nil, nil
				}
				return []result{r}, err
			}})
		}
	}
	return out
}

// halfLoad is half of what a program took of the fresh load.
func (b *bench) halfLoad(who string) int {
	rate := 50_000.0
	for _, r := range medians(b.results) {
		if r.Who == who && r.Load == "fresh" && (r.Variant == "default" || who != "oncesink") {
			rate = r.rate() / 2
		}
	}
	return int(rate)
}
