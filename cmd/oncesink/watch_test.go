package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// What a round says of how fast positions move: of those that moved forward since the round before.
func TestWatchRates(t *testing.T) {
	began := time.Now()
	round := func(seconds int, positions ...int64) *watchedStatus {
		r := &watchedStatus{At: began.Add(time.Duration(seconds) * time.Second), statusReport: &statusReport{}}
		for i, at := range positions {
			r.Partitions = append(r.Partitions, partitionStatus{Topic: "orders", Partition: int32(i), Position: at, State: stateRunning})
		}
		return r
	}
	now := round(10, 1500, 40, 700, 9)
	now.since(round(0, 500, 90, 700))
	if *now.RecordsPerSecond != 100 {
		t.Errorf("%v records/s, want 100: one partition moved, one was rewound, one stands, one is new", *now.RecordsPerSecond)
	}
	if text := string((&watch{}).render(now, 0)); !strings.Contains(text, ", 100 records/s\n") || !strings.Contains(text, "PER S") {
		t.Errorf("shown as\n%s", text)
	}
}

// A screen is drawn over in one write, with no more lines and columns than it has; where partitions have no room, topics are shown.
func TestWatchFitsTheScreen(t *testing.T) {
	r := &watchedStatus{statusReport: &statusReport{Group: "g"}}
	lag, age := int64(7), 90.0
	for i := range int32(300) {
		r.Partitions = append(r.Partitions, partitionStatus{Topic: fmt.Sprintf("topic-%d-%s", i%2, strings.Repeat("long.", 30)), Partition: i, State: stateRunning, Lag: &lag, LagSeconds: &age})
	}
	r.Partitions[5].State, r.Partitions[5].Halted = stateHalted, "a gap"
	r.since(&watchedStatus{At: r.At.Add(-time.Second), statusReport: r.statusReport})
	text := string((&watch{}).render(r, 24))
	if strings.Count(text, "150 │") != 2 || !strings.Contains(text, "HALTED") || !strings.Contains(text, "1050") || !strings.Contains(text, "halted: a gap") {
		t.Errorf("shown as\n%s", text)
	}
	for line := range strings.Lines(text) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > screen && strings.ContainsAny(line, "│┌└") {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	var out bytes.Buffer
	f := &frame{out: &out, terminal: true}
	f.show((&watch{}).render(r, 0))
	drawn := out.String()
	if n := strings.Count(drawn, "\n"); n != 23 || !strings.Contains(drawn, "more lines: `oncesink status` has all") || !strings.HasPrefix(drawn, "\x1b[?25l\x1b[2J\x1b[H") {
		t.Errorf("%d lines on a screen of 24: %q", n, drawn)
	}
	out.Reset()
	f.show([]byte("short\n"))
	if out.String() != "\x1b[Hshort\x1b[K\n\x1b[J" {
		t.Errorf("drawn over as %q", out.String())
	}
	out.Reset()
	f.end()
	if out.String() != "\r\x1b[K\x1b[?25h" {
		t.Errorf("ends with %q", out.String())
	}
}
