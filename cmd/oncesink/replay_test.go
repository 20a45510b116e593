package main

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oncesink/oncesink/internal/kafka"
	"github.com/oncesink/oncesink/offsets"
)

func TestParseReplayFrom(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{ // an error, or how it reads
		"beginning":                 "",
		"0":                         "",
		"9223372036854775807":       "",
		"2026-11-24T12:00:00Z":      "",
		"2026-11-24T13:59:59+02:00": "",
		"-1":                        "offsets begin at 0",
		"9223372036854775808":       "use beginning, an offset, or a time",
		"2026-11-24T12:00:01Z":      "lies in the future",
		"2026-11-24":                "use beginning, an offset, or a time",
		"":                          "use beginning, an offset, or a time",
		"latest":                    "use beginning, an offset, or a time",
	} {
		_, err := parseReplayFrom("--from", text, now)
		var usage *usageError
		if want == "" && err != nil || want != "" && (!errors.As(err, &usage) || !strings.Contains(err.Error(), want)) {
			t.Errorf("--from %q: got %v, want %q", text, err, want)
		}
	}
}

// Who stops a replay hears what that leaves behind, and not that a server can't be reached.
func TestReplayInterrupted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "oncesink.yaml")
	const text = "kafka: {brokers: [localhost], group: g}\npostgres: {url: postgres://localhost/shop}\ntables: [{name: orders, topic: orders, key: [id]}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"replay", "-c", file}, &stdout, &stderr)
	if code != exitFailed || !strings.HasPrefix(stderr.String(), "oncesink: interrupted: either all partitions were sent back or none") || stdout.Len() > 0 {
		t.Errorf("exit code %d, %q, %q", code, &stdout, &stderr)
	}
}

func TestReplayPlan(t *testing.T) {
	at := offsets.Partition{Topic: "orders", Partition: 1}
	offset := func(n int64) replayFrom { return replayFrom{text: "an offset", offset: &n} }
	march := replayFrom{text: "2026-03-01T00:00:00Z", time: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	for name, s := range map[string]struct {
		from        replayFrom
		start, want int64 // of the log, of the time
		held        int64 // by an archive, from offset 1 on
		first, next int64 // in the ledger
		paused      bool
		halted      string
		to          int64
		archived    int64
		stays       string
		warnings    []string // what each begins with
	}{
		"beginning":                           {next: 10},
		"beginning of a log that was trimmed": {start: 4, next: 10, to: 4, warnings: []string{"the log no longer has offsets 0 to 3: not read again"}},
		"one record is gone":                  {start: 1, next: 10, to: 1, warnings: []string{"the log no longer has offset 0: not read again"}},
		"trimmed below the group's beginning": {start: 4, first: 6, next: 10, to: 4, warnings: []string{"the group began at 6: offsets 4 to 5 will be written"}},
		"trimmed up to the position":          {start: 10, next: 10, to: 10, stays: "the log begins there", warnings: []string{"the log no longer has offsets 0 to 9: not read again"}},
		"trimmed beyond the position":         {start: 12, next: 10, to: 10, stays: "the log begins above it, at 12", warnings: []string{"the log no longer has offsets 0 to 9: not read again", "the log lost offsets 10 to 11 unread"}},
		"an empty partition":                  {to: 0, stays: "the log begins there"},
		"offset":                              {from: offset(7), next: 10, to: 7},
		"offset, at the position":             {from: offset(10), next: 10, to: 10, stays: "that is not above 10"},
		"offset, above the position":          {from: offset(11), next: 10, to: 10, stays: "that is not above 11"},
		"offset, below the log":               {from: offset(2), start: 4, next: 10, to: 4, warnings: []string{"the log no longer has offsets 2 to 3: not read again"}},
		"offset, in a log that was trimmed":   {from: offset(7), start: 4, next: 10, to: 7},
		"offset, below the group's beginning": {from: offset(2), first: 5, next: 10, to: 2, warnings: []string{"the group began at 5: offsets 2 to 4 will be"}},
		"time":                                {from: march, want: 6, next: 10, to: 6},
		"time, after the last applied record": {from: march, want: 12, next: 10, to: 10, stays: "it has applied nothing of 2026-03-01T00:00:00Z or later"},
		"time, before a log that was trimmed": {from: march, want: 4, start: 4, next: 10, to: 4, warnings: []string{"the log no longer has offsets 0 to 3: not read again"}},
		"paused":                              {next: 10, paused: true, warnings: []string{"it is paused. To have it read again: select oncesink.resume('shop', 'orders', 1)"}},
		"halted, and sent back":               {next: 10, halted: "a full disk"},
		"beginning of an archive":             {start: 4, held: 5, next: 10, to: 1, archived: 3, warnings: []string{"neither the log nor the archive has offset 0: not read again"}},
		"offset in an archive":                {from: offset(3), start: 4, held: 4, next: 10, to: 3, archived: 1},
		"offset in an archive and its seam":   {from: offset(4), start: 4, held: 4, next: 10, to: 4},
		"within an archive":                   {from: offset(2), start: 8, held: 9, next: 5, to: 2, archived: 3},
		"at the beginning of an archive":      {start: 8, held: 9, next: 1, to: 1, stays: "the archive begins there", warnings: []string{"neither the log nor the archive has offset 0: not read again"}},
		"an archive that ends too early":      {start: 8, held: 7, next: 10, to: 8, warnings: []string{"neither the log nor the archive has offsets 0 to 7: not read again"}},
		"halted, and left":                    {halted: "a full disk", stays: "the log begins there", warnings: []string{"it has halted"}},
	} {
		t.Run(name, func(t *testing.T) {
			reach := kafka.Reach{Start: s.start, End: math.MaxInt64}
			if s.held > 0 {
				reach.First, reach.Held = 1, s.held
			}
			p := &replayPlan{group: "shop", from: s.from, reach: map[offsets.Partition]kafka.Reach{at: reach}}
			if !s.from.time.IsZero() {
				p.want = map[offsets.Partition]int64{at: s.want}
			}
			row := offsets.Row{Partition: at, Position: offsets.Position{Next: s.next}, First: s.first, Paused: s.paused, Halted: s.halted}
			r := p.report([]offsets.Rewound{{Row: row, To: p.to(row)}})
			if got := r.Partitions[0]; got.From != s.next || got.To != s.to || got.Stays != s.stays || got.Archived != s.archived || len(r.moved) == 1 != (s.to < s.next) {
				t.Errorf("got %+v, want %d and %q", got, s.to, s.stays)
			}
			if !slices.EqualFunc(r.Warnings, s.warnings, func(got, want string) bool { return strings.HasPrefix(got, "orders/1: "+want) }) {
				t.Errorf("got the warnings %q, want %q", r.Warnings, s.warnings)
			}
		})
	}
}

func TestReplayWait(t *testing.T) {
	p0, p1 := offsets.Partition{Topic: "orders"}, offsets.Partition{Topic: "orders", Partition: 1}
	before, after := offsets.Token{1}, offsets.Token{2}
	was := func(p offsets.Partition, halted string) offsets.Rewound {
		return offsets.Rewound{Row: offsets.Row{Partition: p, Position: offsets.Position{Next: 10}, ClaimID: before, Halted: halted}, To: 4}
	}
	at := func(p offsets.Partition, next int64, changes ...func(*offsets.Row)) offsets.Row {
		r := offsets.Row{Partition: p, Position: offsets.Position{Next: next}, ClaimID: before}
		for _, c := range changes {
			c(&r)
		}
		return r
	}
	halted := func(r *offsets.Row) { r.Halted = "a full disk" }
	claimed := func(r *offsets.Row) { r.ClaimID = after }
	paused := func(r *offsets.Row) { r.Paused = true }
	adopted := func(r *offsets.Row) { r.Generation = 1 }
	for name, s := range map[string]struct {
		old  string // why orders/1 was halted at the rewind
		now  []offsets.Row
		read int64
		done bool
		why  string
	}{
		"sent back":                      {now: []offsets.Row{at(p0, 4), at(p1, 4)}},
		"on the way":                     {now: []offsets.Row{at(p0, 6), at(p1, 10)}, read: 8},
		"back":                           {now: []offsets.Row{at(p0, 10), at(p1, 10)}, read: 12, done: true},
		"and on":                         {now: []offsets.Row{at(p0, 99), at(p1, 11)}, read: 12, done: true},
		"sent back once more":            {now: []offsets.Row{at(p0, 0), at(p1, 10)}, read: 6},
		"halted":                         {now: []offsets.Row{at(p0, 10), at(p1, 5, halted)}, read: 7, done: true, why: "orders/1 halted: a full disk"},
		"halted, the other on its way":   {now: []offsets.Row{at(p0, 9), at(p1, 5, halted)}, read: 6},
		"halted when it was back":        {now: []offsets.Row{at(p0, 10), at(p1, 10, halted)}, read: 12, done: true},
		"halted before":                  {old: "a full disk", now: []offsets.Row{at(p0, 10), at(p1, 4, halted)}, read: 6},
		"halted before, and once more":   {old: "a full disk", now: []offsets.Row{at(p0, 10), at(p1, 4, halted, claimed)}, read: 6, done: true, why: "a full disk"},
		"paused":                         {now: []offsets.Row{at(p0, 10), at(p1, 5, paused)}, read: 7, done: true, why: "select oncesink.resume('shop', 'orders', 1)"},
		"the row is gone":                {now: []offsets.Row{at(p0, 10)}, read: 6, done: true, why: offsets.ErrNoPosition.Error()},
		"the recreated topic is adopted": {now: []offsets.Row{at(p0, 10), at(p1, 0, adopted)}, read: 6, done: true, why: "adopted"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newReplayWait("shop", []offsets.Rewound{was(p0, ""), was(p1, s.old)})
			read, done, err := w.judge(s.now)
			if w.total != 12 || read != s.read || done != s.done {
				t.Errorf("%d of %d, done %v; want %d of 12, %v", read, w.total, done, s.read, s.done)
			}
			if done && ((err == nil) != (s.why == "") || err != nil && !strings.Contains(err.Error(), s.why)) {
				t.Errorf("got %v, want %q", err, s.why)
			}
		})
	}
}
