package main

import (
	"testing"
)

// Rounds are brought together by their median, memory by its highest.
func TestMedians(t *testing.T) {
	var rs []result
	for i, seconds := range []float64{3, 1, 10} {
		rs = append(rs, result{Who: "a", Load: "fresh", Rows: 100, Seconds: seconds, Peak: float64(i)})
	}
	rs = append(rs, result{Who: "b", Load: "fresh", Rows: 100, Seconds: 1}, result{Who: "b", Load: "fresh", Rows: 100, Seconds: 2})
	got := medians(rs)
	if len(got) != 2 || got[0].Seconds != 3 || got[0].Peak != 2 || got[1].Seconds != 1.5 {
		t.Errorf("got %+v", got)
	}
}

// Each goal compares what it says it does, and is met on its own side.
func TestGoals(t *testing.T) {
	rate := func(who, variant, load string, rows int, cpu float64) result {
		return result{Who: who, Variant: variant, Load: load, Rows: rows, Seconds: 1, CPU: cpu}
	}
	got := map[string]goal{}
	for _, g := range goals([]result{
		rate("PostgreSQL alone", "upsert, 2 connection(s)", "fresh", 100, 0),
		rate("PostgreSQL alone", "upsert, prefiltered, 2 connection(s)", "fresh", 120, 0),
		rate("PostgreSQL alone", "upsert, 1 connection(s)", "fresh", 500, 0),
		rate("PostgreSQL alone", "COPY, 2 connection(s)", "fresh", 400, 0),
		rate("oncesink", "default", "fresh", 240, 2),
		rate("oncesink", "mixed, default", "fresh", 900, 0.1),
		rate("oncesink", "default", "updates", 100, 4),
		rate("oncesink", "default", "replay", 150, 1),
		rate("Debezium JDBC", "batch, 1 task(s)", "fresh", 40, 30),
		rate("Debezium JDBC", "batch, 2 task(s)", "fresh", 60, 36),
		{Who: "oncesink", Variant: "idle", Load: "latency", P99: 25},
	}) {
		got[g.what] = g
	}
	for what, want := range map[string]struct {
		got float64
		met bool
	}{
		"fresh load / best raw upsert, 2 connection(s)": {2, true},
		"fresh load / raw COPY, 2 connection(s)":        {0.6, false},
		"replay / its own updates":                      {1.5, false},
		"fresh load / Debezium's best":                  {4, false},
		"CPU s per 1 M rows, fresh":                     {2, true},
		"CPU s per 1 M rows, updates":                   {4, false},
		"Debezium's least CPU / CPU, fresh":             {15, true},
		"p99 ms from produce to visible, idle":          {25, false},
	} {
		if g, ok := got[what]; !ok || g.got != want.got || g.met() != want.met {
			t.Errorf("%s: %+v, want %+v", what, g, want)
		}
	}
	if _, ok := got["updates / best raw upsert, 2 connection(s)"]; ok {
		t.Error("a ratio without its measurement")
	}
}
