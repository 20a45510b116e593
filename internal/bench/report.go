package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
)

// key names what results of several rounds have in common.
type key struct{ who, variant, load string }

func (r result) key() key { return key{r.Who, r.Variant, r.Load} }

// medians brings the rounds of each measurement together, in the order of their first ones.
func medians(results []result) []result {
	rounds := map[key][]result{}
	var order []key
	for _, r := range results {
		if rounds[r.key()] == nil {
			order = append(order, r.key())
		}
		rounds[r.key()] = append(rounds[r.key()], r)
	}
	var out []result
	for _, k := range order {
		rs := rounds[k]
		m := rs[0]
		m.Seconds = median(rs, func(r result) float64 { return r.Seconds })
		m.CPU = median(rs, func(r result) float64 { return r.CPU })
		m.Server = median(rs, func(r result) float64 { return r.Server })
		m.WAL = median(rs, func(r result) float64 { return r.WAL })
		m.P50 = median(rs, func(r result) float64 { return r.P50 })
		m.P99 = median(rs, func(r result) float64 { return r.P99 })
		for _, r := range rs {
			m.Peak = max(m.Peak, r.Peak)
		}
		out = append(out, m)
	}
	return out
}

// median of an even number is the mean of the two in the middle.
func median(rs []result, of func(result) float64) float64 {
	v := make([]float64, len(rs))
	for i := range rs {
		v[i] = of(rs[i])
	}
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// report is the table of all measurements.
func report(rs []result) table.Writer {
	t := table.NewWriter()
	t.AppendHeader(table.Row{"", "", "load", "rows/s", "CPU s per 1 M", "with PostgreSQL's", "peak MB", "WAL bytes a row", "p50 ms", "p99 ms"})
	last := ""
	for _, r := range rs {
		who := r.Who
		if who == last {
			who = ""
		}
		last = r.Who
		rate := number(r.rate()/1000, 1) + "k"
		if r.P50 > 0 {
			rate = ""
		}
		t.AppendRow(table.Row{who, r.Variant, r.Load, rate, number(r.CPU, 2), number(r.all(), 2), number(r.Peak, 0), number(r.WAL, 0), number(r.P50, 1), number(r.P99, 1)})
	}
	return t
}

// all is the processor time of the client and of the server per million rows; 0 if it was not measured.
func (r result) all() float64 {
	if r.Server == 0 {
		return 0
	}
	return r.CPU + r.Server
}

func number(v float64, digits int) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%.*f", digits, v)
}

// goal is a line of what oncesink has to show.
type goal struct {
	what   string
	got    float64
	want   float64
	atMost bool
}

// String is what was wanted.
func (g goal) String() string {
	if g.atMost {
		return fmt.Sprintf("<= %g", g.want)
	}
	return fmt.Sprintf(">= %g", g.want)
}

func (g goal) met() bool { return g.atMost && g.got <= g.want || !g.atMost && g.got >= g.want }

// goals computes the ratios for which all measurements are there.
func goals(rs []result) []goal {
	const us, pg, dbz, hand = "oncesink", "PostgreSQL alone", "Debezium JDBC", "hand-written consumer"
	var out []goal
	// find returns the results of one variant, or of all for "".
	find := func(who, variant, load string) []result {
		var found []result
		for _, r := range rs {
			if r.Who == who && (variant == "" || r.Variant == variant) && r.Load == load {
				found = append(found, r)
			}
		}
		return found
	}
	best := func(found []result) (v float64) {
		for _, r := range found {
			v = max(v, r.rate())
		}
		return v
	}
	raw := func(way, load, connections string) (v float64) {
		for _, r := range find(pg, "", load) {
			if strings.HasPrefix(r.Variant, way) && strings.HasSuffix(r.Variant, connections) {
				v = max(v, r.rate())
			}
		}
		return v
	}
	least := func(what string, got, of, want float64) {
		if got > 0 && of > 0 {
			out = append(out, goal{what, got / of, want, false})
		}
	}
	most := func(what string, got, want float64) {
		if got > 0 {
			out = append(out, goal{what, got, want, true})
		}
	}
	for _, v := range []struct{ us, pg string }{{"default", "2 connection(s)"}, {"1 writer", "1 connection(s)"}} {
		fresh, updates := best(find(us, v.us, "fresh")), best(find(us, v.us, "updates"))
		least("fresh load / best raw upsert, "+v.pg, fresh, raw("upsert", "fresh", v.pg), 1.6)
		least("fresh load / raw COPY, "+v.pg, fresh, raw("COPY", "fresh", v.pg), 0.7)
		least("updates / best raw upsert, "+v.pg, updates, raw("upsert", "updates", v.pg), 0.9)
	}
	fresh, updates := find(us, "default", "fresh"), find(us, "default", "updates")
	least("replay / its own updates", best(find(us, "default", "replay")), best(updates), 2)
	for _, r := range find(us, "default", "replay") {
		most("WAL bytes a row of a replay", max(r.WAL, 0.01), 5)
	}
	least("fresh load / Debezium's best", best(fresh), best(find(dbz, "", "fresh")), 5)
	least("updates / Debezium's best", best(updates), best(find(dbz, "", "updates")), 3.5)
	least("fresh load / hand-written consumer", best(fresh), best(find(hand, "", "fresh")), 4)
	least("updates / hand-written consumer", best(updates), best(find(hand, "", "updates")), 2.5)
	for _, r := range append(fresh, updates...) {
		most("CPU s per 1 M rows, "+r.Load, r.CPU, 3)
		cheapest := 0.0
		for _, d := range find(dbz, "", r.Load) {
			if cheapest == 0 || d.CPU < cheapest {
				cheapest = d.CPU
			}
		}
		least("Debezium's least CPU / CPU, "+r.Load, cheapest, r.CPU, 12)
	}
	peak := 0.0
	for _, r := range rs {
		if r.Who == us && !strings.Contains(r.Variant, "1000 partitions") {
			peak = max(peak, r.Peak)
		}
	}
	most("peak MB", peak, 136) // 34 of them are the program, which the system may drop
	for _, r := range find(us, "1000 partitions", "fresh") {
		most("peak MB, 1,000 partitions", r.Peak, 250)
	}
	for _, l := range []string{"undamaged", "emptied", "swapped"} {
		least("rebuild, "+l+", "+withChildren+" / COPY and index", best(find(us, withChildren, l)), best(find(pg, "COPY, then index, "+withChildren+", 1 connection(s)", "rebuild")), 0.5)
	}
	for _, v := range []string{"1 version(s) a key", "4 version(s) a key"} {
		live, plain := best(find(us, v, "live")), best(find(pg, "COPY, then index, "+v+", 1 connection(s)", "rebuild"))
		for _, l := range []string{"undamaged", "emptied", "swapped"} {
			rate := best(find(us, v, l))
			least("rebuild, "+l+", "+v+" / COPY and index", rate, plain, 0.6)
			least("rebuild, "+l+", "+v+" / live load", rate, live, 1.5)
		}
	}
	for _, writers := range []string{"1 writer(s)", "4 writer(s)"} {
		for _, load := range []string{"fresh", "updates"} {
			for _, groups := range rolled[1:] {
				least(load+" with a rollup of "+groups.name+" / without, "+writers, best(find(us, groups.name+", "+writers, load)), best(find(us, rolled[0].name+", "+writers, load)), 0.75)
			}
		}
	}
	for _, load := range []string{"fresh", "updates"} {
		ours := find(us, enveloped, load)
		var theirs []result
		for _, r := range find(dbz, "", load) {
			if strings.HasPrefix(r.Variant, enveloped) {
				theirs = append(theirs, r)
			}
		}
		least(enveloped+", "+load+" / Debezium's best", best(ours), best(theirs), 5)
		cheapest := 0.0
		for _, r := range theirs {
			if cheapest == 0 || r.CPU < cheapest {
				cheapest = r.CPU
			}
		}
		for _, r := range ours {
			least(enveloped+", "+load+", Debezium's least CPU / CPU", cheapest, r.CPU, 12)
		}
	}
	for _, r := range refusals {
		least("1 % refused by "+r.name+" / none", best(find(us, r.name, inHundred)), best(find(us, r.name, "fresh")), 0.5)
	}
	for _, r := range find(us, "", "frozen") {
		most("p99 ms of the frozen moment of a "+r.Variant, r.P99, 1000)
	}
	for _, r := range find(us, "idle", "latency") {
		most("p99 ms from produce to visible, idle", r.P99, 20)
	}
	for _, r := range find(us, "half load", "latency") {
		most("p99 ms from produce to visible, half load", r.P99, 100)
	}
	return out
}

func ratioTable(gs []goal) table.Writer {
	t := table.NewWriter()
	t.AppendHeader(table.Row{"", "measured", "goal", ""})
	for _, g := range gs {
		verdict := "met"
		if !g.met() {
			verdict = "NOT MET"
		}
		t.AppendRow(table.Row{g.what, fmt.Sprintf("%.2f", g.got), g.String(), verdict})
	}
	return t
}

// print writes the tables for a terminal.
func print(w io.Writer, s scene, rs []result) {
	fmt.Fprintf(w, "%s\n%s\n", report(rs).Render(), s)
	if gs := goals(rs); len(gs) > 0 {
		fmt.Fprintf(w, "\n%s\n", ratioTable(gs).Render())
	}
}
