package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"

	"github.com/oncesink/oncesink/offsets"
)

// watch shows the status again and again.
type watch struct {
	every time.Duration
	count int // how often; 0: until it is stopped
	json  bool

	last *watchedStatus // as of the round before; nil before the first
}

// watchedStatus is one round. `oncesink status --watch --json` prints each on a line.
type watchedStatus struct {
	At time.Time `json:"at"`
	// RecordsPerSecond is how fast the positions moved since the round before; null in the first.
	RecordsPerSecond *float64 `json:"records_per_second"`
	*statusReport
	rates map[offsets.Partition]float64
}

// run shows rounds until ctx ends, which is no error, or until there were as many as asked for: then it ends as status does. What keeps the first
// round from being shown is an error; later on it is shown, and the next round tries again.
func (w *watch) run(ctx context.Context, s *session, out, stderr io.Writer) error {
	screen := newFrame(out)
	defer screen.end()
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for n := 1; ; n++ {
		r, err := w.look(ctx, s)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && n == 1:
			return err
		case err != nil && screen.terminal && !w.json:
			screen.show([]byte(fmt.Sprintf("%s: %v\n", time.Now().Format(time.TimeOnly), err)))
		case err != nil:
			report(stderr, err)
		case w.json:
			enc := json.NewEncoder(out)
			enc.SetEscapeHTML(false)
			if err := enc.Encode(r); err != nil {
				return err
			}
		default:
			if n > 1 && !screen.terminal {
				fmt.Fprintln(out)
			}
			screen.show(w.render(r, screen.room()))
		}
		if n == w.count {
			if err != nil {
				return err
			}
			return r.failure()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// look asks for the status, and compares it with the round before.
func (w *watch) look(ctx context.Context, s *session) (*watchedStatus, error) {
	s.renewMetadata(ctx)
	r, err := s.status(ctx)
	if err != nil {
		return nil, err
	}
	now := &watchedStatus{At: time.Now().UTC(), statusReport: r}
	if w.last != nil {
		now.since(w.last)
	}
	w.last = now
	return now, nil
}

// renewMetadata asks anew who leads which partition; the answer of before is good enough if there is none.
func (s *session) renewMetadata(ctx context.Context) {
	if s.client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if meta, err := s.admin.Metadata(ctx, s.meta.Topics.Names()...); err == nil {
		s.meta = meta
	}
}

// since counts how fast the positions moved. One that went back, or that is new, counts from the next round on.
func (r *watchedStatus) since(before *watchedStatus) {
	seconds := r.At.Sub(before.At).Seconds()
	stood := map[offsets.Partition]int64{}
	for _, p := range before.Partitions {
		stood[p.at()] = p.Position
	}
	r.rates = map[offsets.Partition]float64{}
	all := 0.0
	for _, p := range r.Partitions {
		if was, known := stood[p.at()]; known && seconds > 0 {
			r.rates[p.at()] = float64(max(0, p.Position-was)) / seconds
			all += r.rates[p.at()]
		}
	}
	r.RecordsPerSecond = &all
}

func (p *partitionStatus) at() offsets.Partition {
	return offsets.Partition{Topic: p.Topic, Partition: p.Partition}
}

// lag is that of all partitions together, as far as it is known.
func (r *statusReport) lag() (sum int64, known bool) {
	for _, p := range r.Partitions {
		if p.Lag != nil {
			sum, known = sum+*p.Lag, true
		}
	}
	return sum, known
}

// render is a round in at most so many lines; 0: in as many as it takes.
func (w *watch) render(r *watchedStatus, lines int) []byte {
	var b bytes.Buffer
	head := r.At.Local().Format(time.TimeOnly)
	if r.RecordsPerSecond != nil {
		head += fmt.Sprintf(", %s records/s", thousands(int64(*r.RecordsPerSecond+0.5)))
	}
	if lag, known := r.lag(); known {
		head += fmt.Sprintf(", lag %s", thousands(lag))
	}
	fmt.Fprintln(&b, head)
	at := positions{of: r.Partitions, rates: r.rates}
	if lines > 0 && len(r.Partitions)+10 > lines {
		at = r.byTopic()
	}
	r.printWith(&b, at)
	return b.Bytes()
}

// byTopic has one line for each topic, for a screen that has no room for the partitions.
func (r *watchedStatus) byTopic() positions {
	out := positions{topics: true}
	rates := map[string]float64{}
	for _, p := range r.Partitions {
		i := slices.IndexFunc(out.of, func(t partitionStatus) bool { return t.Topic == p.Topic })
		if i < 0 {
			i = len(out.of)
			out.of = append(out.of, partitionStatus{Topic: p.Topic, State: stateRunning})
		}
		t := &out.of[i]
		t.Partition++
		t.State = states[min(slices.Index(states, t.State), slices.Index(states, p.State))]
		t.Lag, t.LagSeconds = sumOfLags(t.Lag, p.Lag), oldest(t.LagSeconds, p.LagSeconds)
		rates[p.Topic] += r.rates[p.at()]
	}
	if r.rates != nil {
		out.rates = map[offsets.Partition]float64{}
		for _, t := range out.of {
			out.rates[t.at()] = rates[t.Topic]
		}
	}
	return out
}

func sumOfLags(a, b *int64) *int64 {
	if a == nil || b == nil {
		return cmp.Or(a, b)
	}
	sum := *a + *b
	return &sum
}

func oldest(a, b *float64) *float64 {
	if a == nil || b == nil {
		return cmp.Or(a, b)
	}
	age := max(*a, *b)
	return &age
}

// frame is a screen that is drawn over, from its first line.
type frame struct {
	out      io.Writer
	terminal bool
	began    bool
}

func newFrame(out io.Writer) *frame {
	return &frame{out: out, terminal: isTerminal(out) && os.Getenv("TERM") != "dumb"}
}

// room is how many lines there are; 0: any number.
func (f *frame) room() int {
	if !f.terminal {
		return 0
	}
	_, height := f.size()
	return height
}

func (f *frame) size() (width, height int) {
	if file, ok := f.out.(*os.File); ok {
		if w, h, err := term.GetSize(int(file.Fd())); err == nil {
			return w, h
		}
	}
	return screen, 24
}

// show draws a text in the place of the one before, in one write: what stays the same does not flicker. What the screen has no room for is left out.
func (f *frame) show(drawn []byte) {
	if !f.terminal {
		_, _ = f.out.Write(drawn) // the next round sees that nobody reads
		return
	}
	var b bytes.Buffer
	if !f.began {
		b.WriteString("\x1b[?25l\x1b[2J") // no cursor, an empty screen
		f.began = true
	}
	b.WriteString("\x1b[H")
	width, height := f.size()
	lines := strings.Split(strings.TrimRight(string(drawn), "\n"), "\n")
	if most := height - 1; len(lines) > most {
		lines = append(lines[:max(most-1, 0)], fmt.Sprintf("and %d more lines: `oncesink status` has all", len(lines)-most+1))
	}
	for _, line := range lines {
		b.WriteString(text.Trim(line, width) + "\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	_, _ = f.out.Write(b.Bytes()) // the next round sees that nobody reads
}

// end gives the cursor back, below what was drawn.
func (f *frame) end() {
	if f.began {
		fmt.Fprint(f.out, "\r\x1b[K\x1b[?25h") // a terminal shows ^C where the cursor stands
	}
}

// check refuses what can't be meant.
func (w *watch) check(on, everyGiven, countGiven bool) error {
	switch {
	case !on && (everyGiven || countGiven):
		return &usageError{errors.New("--every and --count go with --watch")}
	case w.every < 100*time.Millisecond:
		return &usageError{fmt.Errorf("--every %v: at least 100ms", w.every)}
	case w.count < 0:
		return &usageError{fmt.Errorf("--count %d: how often it is shown, or 0 until it is stopped", w.count)}
	}
	return nil
}
