package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/sink"
)

// How often a run tells what it does: in the log, and on a terminal.
const (
	narrateLog  = time.Minute
	narrateShow = time.Second
)

// narrator tells what a run does: as a line below the log on a terminal, and as a line of the log a minute elsewhere.
type narrator struct {
	stats   func() sink.Stats
	status  func() []consumer.PartitionStatus
	display *display
	every   time.Duration // how often it tells; 0: as often as where it tells asks for
	log     *slog.Logger

	last   sink.Stats // as of the line before
	recent []rated    // of some seconds
}

// rated is how many records were applied at a time.
type rated struct {
	at      time.Time
	records int64
}

// rateOver is the time over which records per second are counted.
const rateOver = 5 * time.Second

// run tells until ctx ends.
func (n *narrator) run(ctx context.Context) {
	every := cmp.Or(n.every, narrateLog)
	if n.display.terminal {
		every = cmp.Or(n.every, narrateShow)
		defer n.display.end()
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if n.display.terminal {
				n.display.show(n.line(now))
			} else {
				n.note()
			}
		}
	}
}

// note logs what was applied since the last note, if anything was.
func (n *narrator) note() {
	s := n.stats()
	records, letters := s.Records-n.last.Records, s.DeadLetters-n.last.DeadLetters
	n.last = s
	if records == 0 && letters == 0 {
		return
	}
	attrs := []any{"records", records, "dead_letters", letters}
	lag := lagOf(n.status())
	if lag.known {
		attrs = append(attrs, "lag", lag.records)
	}
	if lag.timed {
		attrs = append(attrs, "lag_seconds", lag.behind.Round(100*time.Millisecond).Seconds())
	}
	n.log.Info("applied", attrs...)
}

// line is what a terminal shows: all that was applied, how fast, what is left, and the dead letters.
func (n *narrator) line(now time.Time) string {
	s := n.stats()
	n.recent = append(n.recent, rated{now, s.Records})
	for len(n.recent) > 2 && now.Sub(n.recent[0].at) > rateOver {
		n.recent = n.recent[1:]
	}
	rate := int64(0)
	if first := n.recent[0]; now.After(first.at) {
		rate = int64(float64(s.Records-first.records)/now.Sub(first.at).Seconds() + 0.5)
	}
	status := n.status()
	line := fmt.Sprintf("%s records, %s/s, lag %s", thousands(s.Records), thousands(rate), lagOf(status))
	if s.DeadLetters > 0 {
		line += fmt.Sprintf(", dead letters %s", thousands(s.DeadLetters))
	}
	halted := 0
	for _, p := range status {
		if p.State == consumer.Halted {
			halted++
		}
	}
	if halted > 0 {
		line += fmt.Sprintf(", halted %d", halted)
	}
	return line
}

// totalLag is the lag of all partitions of this process.
type totalLag struct {
	records int64
	behind  time.Duration // of the record that waits longest
	known   bool          // of at least one partition
	timed   bool          // behind is known of all that have a lag
}

func lagOf(all []consumer.PartitionStatus) totalLag {
	t := totalLag{timed: true}
	for _, p := range all {
		if p.Lag < 0 {
			t.timed = false
			continue
		}
		t.known = true
		t.records += p.Lag
		if p.Behind < 0 {
			t.timed = false
		}
		t.behind = max(t.behind, p.Behind)
	}
	t.timed = t.timed && t.known
	return t
}

func (t totalLag) String() string {
	switch {
	case !t.known:
		return "unknown"
	case t.records == 0 || !t.timed:
		return thousands(t.records)
	}
	return fmt.Sprintf("%s (%s)", thousands(t.records), age(t.behind.Seconds()))
}

// thousands writes a number as 12,345.
func thousands[N int | int64](n N) string {
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// age writes seconds for a person, in eight characters at most.
func age(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second)).Round(time.Second)
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int64(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int64(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int64(d.Hours()))
	}
	return fmt.Sprintf("%d days", int64(d.Hours()/24))
}
